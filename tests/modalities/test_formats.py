"""Raster formats and regular files only; what is something else is named, with what to do about it."""

import base64
import os
import socket

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from sktransfer.exceptions import InvalidImageError
from sktransfer.modalities._formats import what_else

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("content", [EPS, b"\xc5\xd0\xd3\xc6" + EPS, b"\n" + EPS])
def test_no_program_starts_for_postscript_named_jpg(content, as_bytes, read, tmp_path, monkeypatch):
    def start(*_, **__):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InvalidImageError, match=r"Row 0 of X.*PostScript, a program"):
        read([content if as_bytes else path])


@pytest.mark.parametrize("use", ["read", "digest"])
@pytest.mark.parametrize("kind", ["a FIFO", "a socket", "a device", "a folder"])
def test_what_is_no_regular_file_is_refused_at_once(kind, use, tmp_path, fitted, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if kind == "a FIFO":
        os.mkfifo("a.jpg")
    elif kind == "a folder":
        (tmp_path / "a.jpg").mkdir()
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("a.jpg")
    path = "/dev/zero" if kind == "a device" else "a.jpg"
    samples = fitted([path])[1]
    with pytest.raises(InvalidImageError, match=f"Row 0 of X.*it is {kind}, not an image file"):
        getattr(samples, use)(0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\n<html>", "web page"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (b"%PDF-1.7", "PDF.*pypdfium2"),
        (b"\0" * 128 + b"DICM", "DICOM.*pydicom"),
        (b"\0\0\0\x18ftypheic", r"HEIC.*register_heif_opener\(\)"),
        (b"\0\0\0\x18ftypmif1", "HEIC"),
        (b"\0\0\0\x18ftypmp42", "video"),
        (b"\x1aE\xdf\xa3", "video"),
        (b"RIFF\0\0\0\0AVI ", "video"),
        (b"\x93NUMPY\1\0", "numpy.load"),
        (b"PK\3\4", "archive"),
        (b"\x1f\x8b\x08", "archive"),
        (b"{}", "JSON"),
        (b"", "there is nothing in it"),
        (b"nonsense", "not an image, or of a format unknown"),
    ],
)
def test_other_files_are_named_with_the_remedy(content, words, read, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for X in ([path], [content]):
        with pytest.raises(InvalidImageError, match=f"Row 0 of X.*{words}"):
            read(X)


def test_avif_without_its_plugin():
    assert "AVIF" in what_else(b"\0\0\0\x18ftypavif")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://example.org/a.jpg", "web address.*urlretrieve"),
        ("s3://bucket/a.jpg", r"address in a store \(s3://\).*fsspec"),
        ("gs://bucket/a.jpg", r"\(gs://\)"),
        ("file:///tmp/a.jpg", "without file://"),
        ("no.jpg", "No such file"),
    ],
)
def test_texts_that_name_no_file_say_how_to_fetch(text, words, fitted):
    for use in ("read", "digest"):
        with pytest.raises(InvalidImageError, match=f"Row 0 of X.*{words}"):
            getattr(fitted([text])[1], use)(0)


def test_base64_text_is_named_and_not_echoed(encode, fitted):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        text = base64.b64encode(encode(noise, form)).decode()
        for given in (text, f"data:image/{form.lower()};base64,{text}"):
            for use in ("read", "digest"):
                with pytest.raises(InvalidImageError, match=r"base64\.b64decode\(text") as caught:
                    getattr(fitted([given])[1], use)(0)
                assert len(str(caught.value)) < 500


def test_paths_as_bytes_in_numpy_say_how_to_write_them(save, image, read):
    with pytest.raises(InvalidImageError, match=r"path as bytes.*X\.astype\(str\)"):
        read(np.array([save(image, "a.png")], dtype="S"))


def test_a_list_of_numbers_is_named(fitted):
    with pytest.raises(ValueError, match=r"list of 3 number.*no pictures, and no paths"):
        fitted([1, 2, 3])


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_is_an_invalid_image(size, read):
    with pytest.raises(InvalidImageError, match=rf"Row 0 of X.*{size[0]} x {size[1]} pixels has none"):
        read([Image.new("RGB", size)])


def test_an_image_without_pixels_becomes_a_row_of_nan(image):
    from sktransfer import PretrainedFeatureExtractor
    from sktransfer.exceptions import InvalidImageWarning

    extractor = PretrainedFeatureExtractor("sktransfer_mini", on_error="nan")
    with pytest.warns(InvalidImageWarning, match="1 of 2 samples"):
        features = extractor.fit_transform([Image.new("RGB", (0, 5)), image])
    assert np.isnan(features[0]).all() and np.isfinite(features[1]).all()


def test_bombs_are_refused(read, monkeypatch, encode):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InvalidImageError, match="MAX_IMAGE_PIXELS"):
        read([encode(Image.new("RGB", (50, 50)), "PNG")])
