"""A folder of files as X and y: subfolders are classes."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, overload

from sktransfer.exceptions import InvalidTextError
from sktransfer.modalities import KINDS, kind_of_file
from sktransfer.utils._messages import caller_level, shorten, unknown_option

__all__ = ["load_folder"]

_NAMED = 5
_SUCH_AS = {"images": ".jpg, .png or .tif", "texts": ".txt", "audio": ".wav, .flac or .mp3"}
_NOT_MINE = ("desktop.ini", "thumbs.db", "__macosx")  # what systems leave in folders, beside names with a dot


@overload
def load_folder(
    folder: str | os.PathLike[str], *, kind: str = "auto", domains: Literal[False] = False
) -> tuple[list[str], list[str]]: ...


@overload
def load_folder(
    folder: str | os.PathLike[str], *, kind: str = "auto", domains: Literal[True]
) -> tuple[list[str], list[str], list[str]]: ...


def load_folder(
    folder: str | os.PathLike[str], *, kind: str = "auto", domains: bool = False
) -> tuple[list[str], list[str]] | tuple[list[str], list[str], list[str]]:
    """Read a folder whose subfolders are classes, as X and y.

    Nothing but texts is opened: pictures and recordings are paths, which every estimator of this package takes as X.
    What a file is, the ending of its name says, whatever its case. Files in deeper folders belong to the class that
    they lie under. Links are followed.

    Parameters
    ----------
    folder : str or path-like
        ``folder/daisy/1.jpg``, ``folder/rose/2.jpg``, ...; with ``domains=True`` ``folder/studio/daisy/1.jpg``,
        ``folder/phone/rose/2.jpg``, ....
    kind : {"auto", "images", "texts", "audio"}, default="auto"
        Which files are samples: "images" (all that Pillow opens as pixels), "texts" (``.txt``, in UTF-8), "audio"
        (WAV, FLAC, OGG, MP3 and what else soundfile opens). "auto" takes the kind that the folder holds, and refuses
        a folder that holds several.
    domains : bool, default=False
        Whether the first subfolders are domains, and those in them classes.

    Returns
    -------
    X : list of str
        Paths, or with "texts" what the files say; in the order of the names of domains, classes and files.
    y : list of str
        Names of the classes.
    sample_domain : list of str
        Names of the domains; only with ``domains=True``.

    Raises
    ------
    FileNotFoundError or NotADirectoryError
        If there is no such folder.
    ValueError
        If a class has no file, there are no subfolders, or files are of several kinds or of none.
    InvalidTextError
        If a text is not in UTF-8.

    Warns
    -----
    UserWarning
        If files were left out: hidden ones (whose names begin with a dot, and what systems leave behind) and others,
        with their number and the first names.

    See Also
    --------
    pack_domains : The same for domains in hand, and for a target without labels.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from sktransfer import load_folder
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("daisy", "rose"):
    ...         (Path(folder) / name).mkdir()
    ...         Image.new("RGB", (32, 32)).save(Path(folder) / name / "1.png")
    ...     X, y = load_folder(folder)
    >>> [Path(path).name for path in X], y
    (['1.png', '1.png'], ['daisy', 'rose'])
    """
    root = _check_parameters(folder, kind, domains)
    left = _LeftOut([], [])
    groups = _domains_of(root, left) if domains else _classes_of(root, left, ())
    kind = _kind_of(groups, root) if kind == "auto" else kind
    paths: list[str] = []
    names: list[tuple[str, ...]] = []
    for group in groups:
        mine = [path for path in group.files if kind_of_file(path) == kind]
        if not mine:
            raise ValueError(_empty(group, kind, root))
        left.others.extend(path for path in group.files if kind_of_file(path) != kind)
        paths.extend(mine)
        names.extend([group.names] * len(mine))
    left.warn(root, kind)
    X = [_read_text(path) for path in paths] if kind == "texts" else paths
    y = [own[-1] for own in names]
    return (X, y, [own[0] for own in names]) if domains else (X, y)


class _Group(NamedTuple):
    """The files of one class, of one domain where there are domains."""

    names: tuple[str, ...]
    files: list[str]


class _LeftOut(NamedTuple):
    """Paths that are no samples."""

    hidden: list[str]
    others: list[str]

    def warn(self, root: Path, kind: str) -> None:
        """Say how many there are, and the first of them."""
        if not (self.hidden or self.others):
            return
        parts = [f"{len(part)} {word}" for part, word in ((self.hidden, "hidden"), (self.others, "other")) if part]
        names = [os.path.relpath(path, root) for path in sorted((*self.hidden, *self.others))]
        more = ", ..." if len(names) > _NAMED else ""
        warnings.warn(
            f"load_folder left out {' and '.join(parts)} file(s) of {str(root)!r}: "
            f"{', '.join(names[:_NAMED])}{more}. Taken are {kind} in folders of classes, whose names end in such as "
            f"{_SUCH_AS[kind]}.",
            UserWarning,
            stacklevel=caller_level(),
        )


def _check_parameters(folder: str | os.PathLike[str], kind: str, domains: bool) -> Path:
    if not isinstance(folder, (str, os.PathLike)) or isinstance(os.fspath(folder), bytes):
        raise TypeError(f"folder must be a str or a Path, got {shorten(folder)} ({type(folder).__name__}).")
    if kind not in ("auto", *KINDS):
        raise ValueError(unknown_option("kind", kind, ("auto", *KINDS)))
    if not isinstance(domains, bool):
        raise TypeError(f"domains must be True or False, got {shorten(domains)}.")
    root = Path(folder).expanduser()
    if not root.exists():
        raise FileNotFoundError(
            f"folder={str(folder)!r} does not exist, seen from {str(Path.cwd())!r}: pass the path of a folder whose "
            "subfolders are classes."
        )
    if not root.is_dir():
        raise NotADirectoryError(
            f"folder={str(folder)!r} is a file: expected a folder whose subfolders are classes. Unpack an archive "
            "first; a table of paths and labels is read with pandas.read_csv."
        )
    return root


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NOT_MINE


def _subfolders(folder: Path, left: _LeftOut) -> list[str]:
    """Give the names of its folders, in order; its files are left out."""
    found = []
    for entry in _entries(folder):
        if _is_hidden(entry.name):
            left.hidden.append(entry.path)
        elif entry.is_dir():
            found.append(entry.name)
        else:
            left.others.append(entry.path)
    return found


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _domains_of(root: Path, left: _LeftOut) -> list[_Group]:
    names = _subfolders(root, left)
    if not names:
        raise ValueError(_no_subfolders(root, "domain", f"{root}/DOMAIN/CLASS/FILE", left))
    return [group for name in names for group in _classes_of(root / name, left, (name,))]


def _classes_of(folder: Path, left: _LeftOut, above: tuple[str, ...]) -> list[_Group]:
    names = _subfolders(folder, left)
    if not names:
        raise ValueError(_no_subfolders(folder, "class", f"{folder}/CLASS/FILE", left, above))
    groups = [_Group((*above, name), list(_files(folder / name, left, ()))) for name in names]
    _check_depth(folder, groups, above)
    return groups


def _files(folder: Path | str, left: _LeftOut, above: tuple[str, ...]) -> Iterator[str]:
    """Give the paths of all files under a folder, in the order of their names."""
    inside = (*above, os.path.realpath(folder))
    for entry in _entries(folder):
        if _is_hidden(entry.name):
            left.hidden.append(entry.path)
        elif entry.is_file():
            yield entry.path
        elif entry.is_dir() and os.path.realpath(entry.path) not in inside:
            yield from _files(entry.path, left, inside)
        else:  # a link that leads nowhere or back, a pipe
            left.others.append(entry.path)


def _check_depth(folder: Path, groups: Sequence[_Group], above: tuple[str, ...]) -> None:
    """Refuse folders of folders where classes are expected: domains, sets to train and to test on, one class."""
    inner: Counter[str] = Counter()
    for group in groups:
        parts = [Path(path).relative_to(folder / group.names[-1]).parts for path in group.files]
        if not parts or any(len(part) == 1 for part in parts):
            return
        inner.update({part[0] for part in parts})
    shared = [name for name, count in sorted(inner.items()) if count > 1]
    names = [group.names[-1] for group in groups]
    if len(groups) > 1 and not shared:
        return
    ways = [f"{names[0]!r} is a class: take the folders between it and its files out"]
    if not above:
        ways.append(f"{sorted(inner)[0]!r} is one: load_folder({str(folder / names[0])!r}), and so on")
        ways.append(f"{names[0]!r} is a domain: pass domains=True")
    raise ValueError(
        f"The files of {str(folder)!r} all lie two folders down, such as {groups[0].files[0]!r}, and which names are "
        f"the classes is not plain. Either {'; or '.join(ways)}."
    )


def _kind_of(groups: Sequence[_Group], root: Path) -> str:
    """Give the one kind of files that there is."""
    kinds = [kind_of_file(path) for group in groups for path in group.files]
    counts = {kind: kinds.count(kind) for kind in KINDS if kind in kinds}
    if len(counts) == 1:
        return next(iter(counts))
    if not counts:
        some = ", ".join([Path(path).name for group in groups for path in group.files][:_NAMED]) or "no files at all"
        endings = "; ".join(f"{kind} end in {ending}" for kind, ending in _SUCH_AS.items())
        raise ValueError(f"{str(root)!r} holds no pictures, texts or recordings, but {some}: {endings}.")
    found = " and ".join(f"{count} {kind}" for kind, count in counts.items())
    first = {kind: next(p for group in groups for p in group.files if kind_of_file(p) == kind) for kind in counts}
    raise ValueError(
        f"{str(root)!r} holds {found}, such as {' and '.join(map(repr, first.values()))}: pass kind="
        f"{max(counts, key=lambda kind: counts[kind])!r}, or another, to say which are the samples."
    )


def _empty(group: _Group, kind: str, root: Path) -> str:
    what = ", ".join([Path(path).name for path in group.files][:_NAMED]) if group.files else "no files"
    return (
        f"The folder {str(root.joinpath(*group.names))!r} has no {kind} but {what}, and each is a class: remove it, or "
        f"put files in it whose names end in such as {_SUCH_AS[kind]}."
    )


def _no_subfolders(folder: Path, role: str, expected: str, left: _LeftOut, above: tuple[str, ...] = ()) -> str:
    mine = [path for path in left.others if Path(path).parent == folder]
    found = f"{len(mine)} file(s), such as {Path(mine[0]).name!r}" if mine else "nothing"
    if above:
        advice = (
            "Files without labels are a target by themselves: pack_domains(source=(X, y), "
            f"target=sorted(map(str, Path({str(folder)!r}).iterdir())))."
        )
    else:
        advice = "Where labels stand in a table, pass its columns: table['path'].tolist(), table['label'].tolist()."
    return f"{str(folder)!r} has no subfolders, one a {role}: expected {expected}, found {found}. {advice}"


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTextError(
            f"{path!r} cannot be read as a text in UTF-8: {error}. Convert it, such as with iconv -f latin1 -t utf-8, "
            "or read the files with the encoding that they are in: Path(path).read_text(encoding=...)."
        ) from error
