"""Equal content is known again; other content, or the same read otherwise, is not."""

import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from sktransfer.inputs import _digests as digests_module


def test_files(save, image, encode, tmp_path, fitted):
    path = save(image, "a.png")
    copy = tmp_path / "copy.png"
    shutil.copy(path, copy)
    other = save(image.rotate(90), "b.png")
    samples = fitted([path, copy, Path(path).read_bytes(), other])[1]
    digests = [samples.digest(i) for i in range(4)]
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_a_known_file_is_not_read_again(monkeypatch, save, image, tmp_path, fitted):
    path = save(image, "a.png")
    samples = fitted([path])[1]
    first = samples.digest(0)
    reads = []
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or b"new content")
    assert samples.digest(0) == first and not reads
    os.utime(path, ns=(1, 1))
    assert samples.digest(0) != first and len(reads) == 1


def test_the_table_of_files_is_bounded(monkeypatch, save, image, fitted):
    monkeypatch.setattr(digests_module, "_MAX_FILES", 3)
    monkeypatch.setattr(digests_module, "_known_files", type(digests_module._known_files)())
    samples = fitted([save(image, f"{i}.png") for i in range(5)])[1]
    for i in range(5):
        samples.digest(i)
    assert len(digests_module._known_files) == 3


def test_arrays(colours, fitted):
    def digest(X, **options):
        return fitted(X, **options)[1].digest(0)

    X = colours[None]
    assert digest(X) == digest(X.copy()) == digest([colours]) == digest(np.asfortranarray(X))
    distinct = [
        digest(X),
        digest(X[:, ::-1]),
        digest(X.reshape(1, 60, 40, 3)),
        digest(X.astype(int)),
        digest(X / 255),
        digest(X / 255 * 16),
        digest([Image.fromarray(colours).rotate(180)]),
    ]
    assert len(set(distinct)) == len(distinct)


def test_images(image, fitted):
    samples = fitted([image, image.copy(), image.rotate(90)])[1]
    assert samples.digest(0) == samples.digest(1) != samples.digest(2)
