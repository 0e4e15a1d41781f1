import os
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktransfer import PretrainedFeatureExtractor, load_folder
from sktransfer.exceptions import InvalidTextError


def write(folder, *names, content=b""):
    """Write small files by their names under a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def below(paths, folder):
    return [Path(path).relative_to(folder).as_posix() for path in paths]


def test_folders_are_classes_in_the_order_of_their_names(tmp_path):
    write(tmp_path, "rose/2.jpg", "rose/10.JPG", "daisy/b.png", "daisy/a.Tiff", "tulip/x.heic")
    X, y = load_folder(tmp_path)
    assert below(X, tmp_path) == ["daisy/a.Tiff", "daisy/b.png", "rose/10.JPG", "rose/2.jpg", "tulip/x.heic"]
    assert y == ["daisy", "daisy", "rose", "rose", "tulip"]
    assert {type(entry) for entry in (*X, *y)} == {str}
    assert load_folder(str(tmp_path), kind="images") == (X, y)


def test_folders_of_folders_are_domains_and_classes(tmp_path):
    write(tmp_path, "studio/rose/1.jpg", "studio/daisy/1.jpg", "phone/rose/1.jpg", "phone/rose/2.jpg")
    X, y, sample_domain = load_folder(tmp_path, domains=True)
    assert below(X, tmp_path) == ["phone/rose/1.jpg", "phone/rose/2.jpg", "studio/daisy/1.jpg", "studio/rose/1.jpg"]
    assert y == ["rose", "rose", "daisy", "rose"]
    assert sample_domain == ["phone", "phone", "studio", "studio"]


def test_texts_are_what_the_files_say(tmp_path):
    write(tmp_path, "ham/1.txt", content="see you at 5 \u2013 Zoë".encode())
    write(tmp_path, "spam/1.TXT", content=b"\xef\xbb\xbfwin a prize\r\nnow")
    X, y = load_folder(tmp_path)
    assert X == ["see you at 5 \u2013 Zoë", "win a prize\nnow"]
    assert y == ["ham", "spam"]
    (tmp_path / "spam/2.txt").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(InvalidTextError, match=r"2\.txt' cannot be read as a text in UTF-8: .*iconv -f latin1"):
        load_folder(tmp_path)


def test_recordings_are_paths(tmp_path):
    write(tmp_path, "cat/1.wav", "cat/2.FLAC", "dog/1.ogg", "dog/2.mp3")
    X, y = load_folder(tmp_path)
    assert below(X, tmp_path) == ["cat/1.wav", "cat/2.FLAC", "dog/1.ogg", "dog/2.mp3"]
    assert y == ["cat", "cat", "dog", "dog"]


def test_what_is_read_is_x_and_y_of_an_estimator(tmp_path):
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / name).mkdir()
        for number in range(4):
            pixels = rng.integers(level - 30, level + 30, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    X, y = load_folder(tmp_path)
    model = make_pipeline(PretrainedFeatureExtractor("sktransfer_mini", cache=None), LogisticRegression())
    assert_array_equal(model.fit(X, y).predict(X), y)


def test_hidden_and_other_files_are_counted_and_named(tmp_path):
    write(tmp_path, "a/1.jpg", "b/1.jpg", "README.txt", "a/notes.pdf", "a/caption.txt", "b/Thumbs.db", ".git/config")
    write(tmp_path, "a/.DS_Store", "b/._1.jpg", "__MACOSX/a/._1.jpg", "a/.thumbnails/1.jpg")
    with pytest.warns(UserWarning, match="left out") as caught:
        X, _ = load_folder(tmp_path, kind="images")
    assert below(X, tmp_path) == ["a/1.jpg", "b/1.jpg"]
    (warning,) = caught
    assert warning.filename == __file__
    message = str(warning.message)
    assert "left out 6 hidden and 3 other file(s)" in message
    assert ".git, README.txt, __MACOSX, a/.DS_Store, a/.thumbnails, ..." in message.replace(os.sep, "/")
    assert "whose names end in such as .jpg" in message


def test_deeper_files_belong_to_the_class_above_them(tmp_path):
    write(tmp_path, "a/1.jpg", "a/more/2.jpg", "a/more/and/more/3.jpg", "b/2020/1.jpg", "b/2021/1.jpg")
    X, y = load_folder(tmp_path)
    assert below(X, tmp_path) == ["a/1.jpg", "a/more/2.jpg", "a/more/and/more/3.jpg", "b/2020/1.jpg", "b/2021/1.jpg"]
    assert y == ["a", "a", "a", "b", "b"]


def test_links_are_followed_and_do_not_turn_in_circles(tmp_path):
    write(tmp_path, "real/1.jpg", "data/a/2.jpg")
    (tmp_path / "data/b").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "data/a/1.jpg").symlink_to(tmp_path / "real/1.jpg")
    X, y = load_folder(tmp_path / "data")
    assert below(X, tmp_path) == ["data/a/1.jpg", "data/a/2.jpg", "data/b/1.jpg"]
    assert y == ["a", "a", "b"]
    (tmp_path / "data/a/circle").symlink_to(tmp_path / "data/a", target_is_directory=True)
    (tmp_path / "data/a/nowhere.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.warns(UserWarning, match=r"2 other file\(s\).*circle.*nowhere"):
        assert load_folder(tmp_path / "data") == (X, y)


def test_pipes_are_not_waited_for(tmp_path):
    write(tmp_path, "a/1.txt", "b/1.txt")
    os.mkfifo(tmp_path / "a/2.txt")
    with pytest.warns(UserWarning, match="1 other"):
        assert load_folder(tmp_path)[1] == ["a", "b"]


def test_a_path_is_relative_where_the_folder_is_and_home_is_found(tmp_path, monkeypatch):
    write(tmp_path, "data/a/1.jpg", "data/b/1.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_folder("data")[0] == [str(Path("data/a/1.jpg")), str(Path("data/b/1.jpg"))]
    assert load_folder("~/data")[0] == [str(tmp_path / "data/a/1.jpg"), str(tmp_path / "data/b/1.jpg")]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], {}, r"has no subfolders, one a class: expected .*/CLASS/FILE, found nothing"),
        (["1.jpg", "2.jpg"], {}, r"no subfolders.*found 2 file\(s\), such as '1.jpg'.*table\['label'\]"),
        (["a/1.jpg", "b/"], {}, r"The folder '.*b' has no images but no files"),
        (["a/1.jpg", "b/1.dcm"], {}, r"The folder '.*b' has no images but 1\.dcm, and each is a class"),
        (["a/1.jpg", "b/1.jpg", "b/2.wav"], {}, r"holds 2 images and 1 audio, such as .*: pass kind='images'"),
        (["a/1.csv", "b/1.csv"], {}, r"holds no pictures, texts or recordings, but 1\.csv, 1\.csv"),
        (["a/1.jpg", "b/1.jpg"], {"kind": "texts"}, r"has no texts but 1\.jpg"),
        (["train/a/1.jpg", "test/a/1.jpg"], {}, r"all lie two folders down.*'test' is a domain: pass domains=True"),
        (["flowers/a/1.jpg", "flowers/b/1.jpg"], {}, r"'a' is one: load_folder\('.*flowers'\)"),
        (["target/1.jpg"], {"domains": True}, r"target' has no subfolders, one a class.*pack_domains\(source=\(X, y\)"),
        (["1.jpg"], {"domains": True}, r"has no subfolders, one a domain: expected .*/DOMAIN/CLASS/FILE"),
        (["s/a/1.jpg", "t/a/"], {"domains": True}, r"The folder '.*t.a' has no images"),
        (["s/a/x/1.jpg", "s/b/x/1.jpg"], {"domains": True}, r"all lie two folders down.*'a' is a class: take"),
        (["a/1.jpg"], {"kind": "image"}, r"kind must be one of .* got 'image'. Did you mean 'images'\?"),
    ],
)
def test_what_is_no_folder_of_classes_is_said(tmp_path, names, options, message):
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir(parents=True)
        else:
            write(tmp_path, name)
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        load_folder(tmp_path, **options)


def test_what_is_no_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder='pictures' does not exist, seen from"):
        load_folder("pictures")
    write(tmp_path, "pictures.zip")
    with pytest.raises(NotADirectoryError, match=r"is a file: .*Unpack an archive"):
        load_folder(tmp_path / "pictures.zip")
    for folder in (b"pictures", ["pictures"], None):
        with pytest.raises(TypeError, match="folder must be a str or a Path"):
            load_folder(folder)
    with pytest.raises(TypeError, match="domains must be True or False, got 'studio'"):
        load_folder(tmp_path, domains="studio")
