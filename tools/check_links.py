"""Check the links of built pages that lead to other built pages: files and anchors, offline.

``make docs-links``, or ``python tools/check_links.py build/docs``. Sphinx warns of references that it cannot resolve;
what it does not read are links written by hand, in HTML and in drawings, and what its theme and the gallery write.
(LinkChecker asks for page after page as a browser would: minutes where this takes seconds, and no drawing is opened.)
"""

import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"href", "xlink:href", "src", "data", "poster"}
ALWAYS_THERE = {"", "top"}
READ = (".html", ".svg")


class Page(HTMLParser):
    """Where a page leads, and which anchors it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag points to and how it is called."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif name in LINKS:
                self.links.append(value)


def pages(root: Path) -> list[Path]:
    """Give what is read of a folder: pages and drawings, without the templates of themes."""
    found = (path for path in root.rglob("*") if path.suffix in READ)
    return sorted(path for path in found if path.relative_to(root).parts[0] != "_static")


@cache
def read(path: Path) -> Page:
    """Read a page or a drawing, once."""
    return Page(path)


def broken_links(root: Path) -> Iterator[str]:
    """Give a line for each link inside of a folder of pages that leads nowhere."""
    for path in pages(root):
        for link in dict.fromkeys(read(path).links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            place = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            where = f"{path.relative_to(root)}: {link}"
            if not place.is_relative_to(root) or not place.exists():
                yield f"{where} is no file"
            elif (
                place.suffix in (".html", ".svg") and unquote(parts.fragment) not in ALWAYS_THERE | read(place).anchors
            ):
                yield f"{where} has no such anchor"


def main(words: list[str]) -> int:
    """Print what is broken; 1 if anything is."""
    root = Path(words[0]).resolve()
    broken = list(broken_links(root))
    print(*broken, sep="\n", end="\n" if broken else "")
    n_links = sum(len(set(page.links)) for page in map(read, pages(root)))
    print(f"{len(broken)} of {n_links} links of {root} are broken")
    return 1 if broken or not n_links else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
