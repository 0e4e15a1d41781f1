"""Read the pictures of a folder, and damaged ones made of a few, as the estimators read them.

Each picture is read in a child process with a limit of time, and compared with what Pillow makes of it. Pillow's own
test pictures are in its source archive, in ``Tests/images``::

    python benchmarks/robustness/pillow_pictures.py FOLDER [--damaged N] [--seconds S]

Counted are: right (the pixels are those of Pillow's own conversion to RGB on white), told (read, with a warning that
says how, or a picture of numbers on a scale of its own that Pillow clips), named (an InvalidImageError), wrong (other
pixels, silently), crash (another exception, or the end of the process) and hang.
"""

import argparse
import collections
import multiprocessing
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from sklearn.base import BaseEstimator

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities import open_images

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.common_damage import damaged

TOLERANCE = 2  # grey levels


def expected(path):
    """Upright RGB on white, by Pillow alone; None where Pillow cannot read the file or clips its values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.mode in {"I", "F"} or image.mode.startswith("I;"):
                    return None
                image.load()
                upright = ImageOps.exif_transpose(image)
                if not upright.has_transparency_data:
                    return np.asarray(upright.convert("RGB"))
                layers = upright.convert("RGBA")
                white = Image.new("RGBA", layers.size, "white")
                return np.asarray(Image.alpha_composite(white, layers).convert("RGB"))
    except Exception:
        return None


def judge(path):
    """Read one file, and say how it went: ``(word, details)``."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            picture = np.asarray(open_images(BaseEstimator(), [str(path)], reset=True).read(0))
        except InvalidImageError as error:
            return "named", str(error)
        except Exception as error:
            return "crash", f"{type(error).__name__}: {error}"
    said = [str(warning.message) for warning in caught if "can be read in two ways" in str(warning.message)]
    wanted = expected(path)
    if said or wanted is None:
        return "told", said[0] if said else ""
    same = wanted.shape == picture.shape and np.abs(wanted.astype(int) - picture).max() <= TOLERANCE
    return ("right", "") if same else ("wrong", f"{wanted.shape} {picture.shape}")


def _serve(connection):
    while True:
        connection.send(judge(connection.recv()))


class Child:
    """A process that reads files one after the other, and is replaced when it ends or takes too long."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._start()

    def _start(self):
        self.connection, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()

    def judge(self, path):
        self.connection.send(path)
        try:
            if self.connection.poll(self.seconds):
                return self.connection.recv()
            word = "hang"
        except EOFError:
            word = "crash"
        self.process.kill()
        self._start()
        return word, "" if word == "hang" else "the process ended"


def main():
    """Print how many files went which way, and which ones went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--damaged", type=int, default=0, help="damaged files to make beside")
    parser.add_argument("--seconds", type=float, default=30.0, help="limit for a file")
    options = parser.parse_args()
    child, counts, bad = Child(options.seconds), collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        given = sorted(path for path in options.folder.rglob("*") if path.is_file())
        made = []
        for number, (name, content) in enumerate(damaged(options.damaged, seed=0)):
            made.append(Path(folder) / f"{number}_{name}")
            made[-1].write_bytes(content)
        for path in given + made:
            word, details = child.judge(path)
            # A damaged file may be read by Pillow in one way or another; what counts is that nothing breaks.
            counts[f"damaged: {word}" if path in made else word] += 1
            if word in ("wrong", "crash", "hang"):
                bad.append(f"{word}: {path.name}: {details}")
    print(*(f"{word}: {count}" for word, count in sorted(counts.items())), sep="\n")
    print(*bad, sep="\n")


if __name__ == "__main__":
    main()
