"""Files that are there whole or not at all."""

import errno
import os

import pytest
from common_files import little_room

from sktransfer.utils._files import replace_file, write_atomically


def write_with_name(path, content):
    with replace_file(path) as temporary:
        temporary.write_bytes(content)


def write_with_handle(path, content):
    write_atomically(path, lambda file: file.write(content))


@pytest.fixture(params=[write_with_name, write_with_handle])
def write(request):
    return request.param


def test_file_is_replaced_and_nothing_else_is_left(write, tmp_path):
    write(tmp_path / "a", b"old")
    write(str(tmp_path / "a"), b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_full_disk_leaves_the_old_file(write, tmp_path):
    write(tmp_path / "a", b"old")
    with little_room(), pytest.raises(OSError, match="too large") as caught:
        write(tmp_path / "a", b"x" * 200_000)
    assert caught.value.errno == errno.EFBIG
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_error_while_writing_leaves_the_old_file(tmp_path):
    write_with_name(tmp_path / "a", b"old")
    with pytest.raises(KeyboardInterrupt), replace_file(tmp_path / "a") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_permissions_are_those_of_any_new_file_or_of_the_old_one(write, tmp_path):
    (tmp_path / "plain").touch()
    write(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new").chmod(0o640)
    write(tmp_path / "new", b"again")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_link_stays_a_link(write, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write(tmp_path / "link", b"content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"content"


def test_folder_that_is_not_there_or_a_folder_itself(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'.*nowhere/a' cannot be written: No such file"):
        write_with_name(tmp_path / "nowhere" / "a", b"")
    with pytest.raises(IsADirectoryError, match="cannot be written: Is a directory"):
        write_with_name(tmp_path, b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_is_closed(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="may be written to"):
        write_with_name(tmp_path / "a", b"")
