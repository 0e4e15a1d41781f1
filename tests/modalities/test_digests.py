"""Equal content is known again; other content, or the same read otherwise, is not."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from sktransfer.modalities import _pictures as pictures_module
from sktransfer.modalities._digests import array_digest


def test_files(save, image, encode, fitted):
    path, other = save(image, "a.png"), save(image.rotate(90), "b.png")
    content = Path(path).read_bytes()
    samples = fitted([path, str(Path(path).parent / "." / "a.png"), other, content, bytes(content)])[1]
    digests = [samples.digest(i) for i in range(5)]
    assert digests[0] == digests[1] and digests[3] == digests[4]
    assert len({*digests}) == 3


def test_a_file_is_known_by_its_state_and_not_read(monkeypatch, save, image, fitted):
    path = save(image, "a.png")
    samples = [fitted([path])[1] for _ in range(5)]
    first = samples[0].digest(0)
    with monkeypatch.context() as patch:
        for name in ("open", "read_bytes"):
            patch.setattr(Path, name, None)
        assert samples[1].digest(0) == first
    os.utime(path, ns=(1, 1))
    touched = samples[2].digest(0)
    content = Path(path).read_bytes()
    time = Path(path).stat().st_mtime_ns
    Path(path).write_bytes(content[::-1])  # of the same size
    os.utime(path, ns=(time, time))
    rewritten = samples[3].digest(0)
    Path(path).write_bytes(content + b"more")
    assert len({first, touched, rewritten, samples[4].digest(0)}) == 4


def test_a_sample_is_hashed_once(monkeypatch, colours, fitted):
    hashed = []
    monkeypatch.setattr(pictures_module, "array_digest", lambda *args: hashed.append(1) or array_digest(*args))
    samples = fitted(np.stack([colours] * 3))[1]
    part = samples.take([2, 1])
    for _ in range(3):
        assert [samples.digest(i) for i in (1, 2)] == [part.digest(i) for i in (1, 0)]
    assert len(hashed) == 2


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
