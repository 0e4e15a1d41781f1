import os
import resource
import signal
import sqlite3
import threading
import time
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from common_frozen import count_pictures, make_pictures
from common_pictures import TINY
from common_process import run_code
from numpy.testing import assert_array_equal

from sktransfer import PretrainedFeatureExtractor, clear_cache
from sktransfer._frozen import _store, open_store
from sktransfer._frozen._disk import DiskStore
from sktransfer._frozen._store import MemoryStore, row_key
from sktransfer.exceptions import CacheWarning

FILE = "sktransfer_features.sqlite"
X = make_pictures(6)


SIZE = 64


def some_rows(n, *, seed=0, size=SIZE):
    rng = np.random.default_rng(seed)
    return {rng.bytes(32): rng.random(size, dtype=np.float32) for _ in range(n)}


def assert_same_rows(found, expected):
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert_array_equal(found[key], row)


def fork(work):
    """Run `work` in a forked child and give its process id; the child exits with 0 if nothing was raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on: the children use no torch
        pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def forget_open_stores():
    """Make later calls open the stores of folders as a new process would."""
    for store in _store._disks.values():
        store._close()
    _store._disks.clear()


@contextmanager
def not_root():
    """Root may write anywhere: act as nobody, where this is root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def open_folder(tmp_path_factory):
    """A folder that other users may enter, which tmp_path is not."""
    path = tmp_path_factory.mktemp("open")
    changed = [parent for parent in (path, *path.parents) if not parent.stat().st_mode & 0o001]
    modes = [parent.stat().st_mode for parent in changed]
    for parent, mode in zip(changed, modes, strict=True):
        parent.chmod(mode | 0o011)
    path.chmod(0o777)
    yield path
    for parent, mode in zip(changed, modes, strict=True):
        parent.chmod(mode)


def extract(cache):
    return PretrainedFeatureExtractor(**TINY, cache=cache).fit_transform(X)


@pytest.fixture(scope="module")
def expected():
    return extract(None)


@pytest.fixture(params=["memory", "disk"])
def store(request, folder):
    return MemoryStore() if request.param == "memory" else DiskStore(folder)


# Both stores.


def test_a_store_gives_back_what_was_put_and_nothing_else(store):
    rows = some_rows(5)
    store.put_many(rows)
    assert_same_rows(store.get_many({*rows, b"another key"}, SIZE), rows)


@pytest.mark.parametrize("n", [0, 1, 499, 500, 501, 2000])
def test_a_store_takes_any_number_of_keys_at_once(store, n):
    rows = some_rows(n, size=2)
    store.put_many(rows)
    assert_same_rows(store.get_many(rows, 2), rows)


def test_putting_a_row_twice_keeps_one(store):
    rows = some_rows(2)
    store.put_many(rows)
    store.put_many(rows)
    assert_same_rows(store.get_many(rows, SIZE), rows)


def test_clear_forgets_every_row(store):
    rows = some_rows(3)
    store.put_many(rows)
    store.clear()
    assert store.get_many(rows, SIZE) == {}


def test_a_store_keeps_signed_zero_and_subnormal_numbers_bit_for_bit(store):
    row = np.array([3e38, -0.0, 1e-45], dtype=np.float32)
    store.put_many({b"key": row})
    assert store.get_many([b"key"], 3)[b"key"].tobytes() == row.tobytes()


@pytest.mark.filterwarnings("ignore:The feature cache .* was damaged:sktransfer.exceptions.CacheWarning")
def test_a_row_of_another_length_is_not_given(store):
    store.put_many(rows := some_rows(1, size=2))
    assert_same_rows(store.get_many(rows, 2), rows)
    assert store.get_many(rows, 3) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_computed_each_time_where_it_would_go_to_disk(value, folder):
    store = DiskStore(folder)
    store.put_many({b"key": np.array([value], dtype=np.float32)})
    assert store.get_many([b"key"], 1) == {}


def test_threads_share_a_store(store):
    parts = [some_rows(40, seed=seed) for seed in range(4)]
    threads = [threading.Thread(target=store.put_many, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = {key: row for part in parts for key, row in part.items()}
    assert_same_rows(store.get_many(everything, SIZE), everything)


@pytest.mark.parametrize(
    ("one", "other"),
    [((b"a" * 16, "x"), (b"b" * 16, "x")), ((b"a" * 16, "x"), (b"a" * 16, "y"))],
    ids=["picture", "computation"],
)
def test_row_key_tells_pictures_and_computations_apart(one, other):
    assert row_key(*one) != row_key(*other)
    assert row_key(*one) == row_key(*one)


# The store in memory.


def test_memory_stays_within_its_limit_and_drops_the_oldest_row_first():
    store = MemoryStore(limit=3 * 64 * 4)
    rows = some_rows(5)
    for key, row in rows.items():
        store.put_many({key: row})
        assert store.n_bytes <= store.limit
    assert list(store.get_many(rows, SIZE)) == list(rows)[2:]


def test_a_row_that_was_used_outlives_one_that_was_not():
    store = MemoryStore(limit=2 * 64 * 4)
    (old, row), (unused, _), (new, _) = rows = list(some_rows(3).items())
    store.put_many(dict(rows[:2]))
    store.get_many([old], SIZE)
    store.put_many({new: row})
    assert store.get_many([old, unused, new], SIZE).keys() == {old, new}


def test_memory_keeps_copies():
    store, row = MemoryStore(), np.ones(3, dtype=np.float32)
    store.put_many({b"key": row})
    row[:] = 0
    assert_array_equal(store.get_many([b"key"], 3)[b"key"], np.ones(3))


def test_clear_cache_empties_the_memory():
    extract("memory")
    clear_cache()
    with count_pictures() as seen:
        extract("memory")
    assert sum(seen) == len(X)


# The store on disk.


def test_rows_outlive_the_process(folder):
    rows = some_rows(3)
    assert exit_code(fork(lambda: DiskStore(folder).put_many(rows))) == 0
    assert_same_rows(DiskStore(folder).get_many(rows, SIZE), rows)


def test_processes_write_at_once(folder):
    parts = [some_rows(60, seed=seed) for seed in range(3)]

    def write(part):
        warnings.simplefilter("error")
        store = DiskStore(folder)
        for key, row in {**part, **parts[0]}.items():  # parts[0] by all of them
            store.put_many({key: row})

    children = [fork(lambda part=part: write(part)) for part in parts]
    assert [exit_code(pid) for pid in children] == [0, 0, 0]
    everything = {key: row for part in parts for key, row in part.items()}
    assert_same_rows(DiskStore(folder).get_many(everything, SIZE), everything)


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03])
def test_a_kill_in_the_middle_of_a_write_loses_no_earlier_row(folder, delay):
    DiskStore(folder).put_many(earlier := some_rows(20))
    later = some_rows(500, seed=1, size=2000)
    ready, started = os.pipe()

    def write():
        store = DiskStore(folder)
        store.get_many(earlier, SIZE)
        os.write(started, b"!")
        while True:
            store.put_many(later)

    pid = fork(write)
    os.read(ready, 1)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    assert exit_code(pid) == -signal.SIGKILL
    store = DiskStore(folder)
    assert_same_rows(store.get_many(earlier, SIZE), earlier)
    found = store.get_many(later, 2000)
    assert len(found) in (0, len(later))  # one transaction: all or nothing
    store.put_many(later)
    assert_same_rows(store.get_many(later, 2000), later)


def overwrite(share, start=0.0):
    def damage(path):
        content = bytearray(path.read_bytes())
        first, last = int(start * len(content)), int((start + share) * len(content))
        content[first:last] = np.random.default_rng(0).bytes(last - first)
        path.write_bytes(content)

    return damage


DAMAGES = {
    "random header": overwrite(0.02),
    "random middle": overwrite(0.4, start=0.3),
    "all random": overwrite(1.0),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "all zero": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not a database\n" * 100),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_set_aside_and_begun_anew(damage, folder):
    rows = some_rows(1000, size=SIZE)
    store = DiskStore(folder)
    store.put_many(rows)
    store._close()
    damage(folder / FILE)
    store = DiskStore(folder)
    with pytest.warns(CacheWarning, match="was damaged .* begun anew"):
        found = store.get_many(rows, SIZE)
        store.put_many(rows)
    assert_same_rows(found, {key: rows[key] for key in found})
    assert list(folder.glob(f"{FILE}.damaged-*"))
    assert_same_rows(DiskStore(folder).get_many(rows, SIZE), rows)


def test_an_empty_file_is_a_new_store(folder):
    folder.mkdir()
    (folder / FILE).touch()
    store = DiskStore(folder)
    store.put_many(rows := some_rows(2))
    assert_same_rows(store.get_many(rows, SIZE), rows)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_replaced_by_a_damaged_one_while_it_is_open_is_begun_anew(damage, folder):
    rows = some_rows(1000, size=SIZE)
    store = DiskStore(folder)
    store.put_many(rows)
    store._close()
    store.get_many(rows, SIZE)
    copy = folder / "copy"
    copy.write_bytes((folder / FILE).read_bytes())
    damage(copy)
    copy.replace(folder / FILE)
    with pytest.warns(CacheWarning):
        found = store.get_many(rows, SIZE)
        store.put_many(rows)
    assert_same_rows(found, {key: rows[key] for key in found})
    assert_same_rows(store.get_many(rows, SIZE), rows)


def test_features_are_right_and_stored_again_after_damage(folder, expected):
    extract(folder)
    forget_open_stores()
    overwrite(1.0)(folder / FILE)
    with pytest.warns(CacheWarning, match="damaged"):
        assert_array_equal(extract(folder), expected)
    with count_pictures() as seen:
        assert_array_equal(extract(folder), expected)
    assert sum(seen) == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE features SET value = zeroblob(length(value))",
        "UPDATE features SET value = substr(value, 1, length(value) - 4)",
        "UPDATE features SET value = 'text'",
        "UPDATE features SET checksum = checksum + 1",
        "UPDATE features SET checksum = 'text'",
        "UPDATE features SET value = (SELECT value FROM features AS other WHERE other.key > features.key LIMIT 1), "
        "checksum = (SELECT checksum FROM features AS other WHERE other.key > features.key LIMIT 1) "
        "WHERE key < (SELECT max(key) FROM features)",
    ],
)
def test_a_file_with_a_row_that_does_not_fit_its_checksum_is_rebuilt(change, folder, expected):
    extract(folder)
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute(change)
    connection.close()
    with count_pictures() as seen:
        with pytest.warns(CacheWarning, match="rebuilt"):
            assert_array_equal(extract(folder), expected)
        assert_array_equal(extract(folder), expected)  # mended by the first
    assert sum(seen) == len(X)


def test_one_flipped_bit_is_noticed(folder):
    store = DiskStore(folder)
    store.put_many(rows := some_rows(2))
    broken = next(iter(rows))
    flipped = bytearray(rows[broken].tobytes())
    flipped[-1] ^= 1
    with sqlite3.connect(folder / FILE) as connection:
        connection.execute("UPDATE features SET value = ? WHERE key = ?", (bytes(flipped), broken))
    connection.close()
    with pytest.warns(CacheWarning, match="does not fit its checksum"):
        assert store.get_many(rows, SIZE) == {}


def unusable(kind, folder):
    """Make a cache that cannot be written; gives the parameter ``cache``."""
    folder.mkdir(exist_ok=True)
    if kind == "read-only folder":
        folder.chmod(0o555)
    elif kind == "read-only damaged file":
        (folder / FILE).write_text("not a database\n" * 100)
        (folder / FILE).chmod(0o444)
        folder.chmod(0o555)
    elif kind == "folder below a file":
        (folder / "file").touch()
        return folder / "file" / "cache"
    elif kind == "closed folder":
        folder.chmod(0)
        return folder / "cache"
    return folder


@pytest.mark.parametrize(
    "kind",
    ["read-only folder", "read-only damaged file", "folder below a file", "closed folder"],
)
def test_a_cache_that_cannot_be_used_warns_and_gives_right_features(kind, open_folder, expected):
    cache = unusable(kind, open_folder)
    with not_root(), pytest.warns(CacheWarning, match="cannot be used"):
        assert_array_equal(extract(cache), expected)


def test_a_cache_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cache='.*file' is a file; pass the path of a folder"):
        extract(tmp_path / "file")


def test_a_full_disk_warns_and_gives_right_features(folder, expected):
    (pages,) = open_store(folder)._open().execute("PRAGMA page_count").fetchone()
    open_store(folder)._open().execute(f"PRAGMA max_page_count={pages}")
    with pytest.warns(CacheWarning, match="full"):
        assert_array_equal(extract(folder), expected)


def test_a_full_disk_harms_no_earlier_row(folder):
    DiskStore(folder).put_many(rows := some_rows(3))

    def write_beyond_the_limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
        with pytest.warns(CacheWarning, match="cannot be used"):
            DiskStore(folder).put_many(some_rows(100, seed=1, size=1000))

    assert exit_code(fork(write_beyond_the_limit)) == 0
    store = DiskStore(folder)
    assert_same_rows(store.get_many(rows, SIZE), rows)
    store.put_many(more := some_rows(100, seed=1, size=1000))
    assert_same_rows(store.get_many(more, len(next(iter(more.values())))), more)


def test_a_file_begun_anew_by_another_process_is_noticed(folder):
    here = DiskStore(folder)
    here.put_many(some_rows(3))
    rows = some_rows(3, seed=1)

    def begin_anew():
        for part in folder.iterdir():
            part.rename(part.with_suffix(".aside"))
        DiskStore(folder).put_many(rows)

    assert exit_code(fork(begin_anew)) == 0
    assert_same_rows(here.get_many(rows, SIZE), rows)
    here.put_many(more := some_rows(3, seed=2))
    assert_same_rows(DiskStore(folder).get_many(more, SIZE), more)


@pytest.mark.parametrize("gone", ["file", "folder"])
def test_a_store_removed_by_hand_is_begun_anew(gone, folder):
    store = DiskStore(folder)
    store.put_many(rows := some_rows(2))
    for part in folder.iterdir():
        part.unlink()
    if gone == "folder":
        folder.rmdir()
    assert store.get_many(rows, SIZE) == {}
    store.put_many(rows)
    assert_same_rows(DiskStore(folder).get_many(rows, SIZE), rows)


def test_a_forked_child_and_its_parent_both_go_on(folder):
    store = DiskStore(folder)
    store.put_many(before := some_rows(20))
    by_child, by_parent = some_rows(50, seed=1), some_rows(50, seed=2)

    def go_on():
        assert_same_rows(store.get_many(before, SIZE), before)
        store.put_many(by_child)

    pid = fork(go_on)
    for key, row in by_parent.items():
        store.put_many({key: row})
    assert exit_code(pid) == 0
    everything = {**before, **by_child, **by_parent}
    assert_same_rows(store.get_many(everything, SIZE), everything)
    assert store._open().execute("PRAGMA integrity_check").fetchone() == (b"ok",)


def test_clear_cache_of_a_folder_empties_that_folder_alone(folder, tmp_path):
    other = tmp_path / "other"
    for cache in (folder, other, "memory"):
        extract(cache)
    clear_cache(folder)
    for cache, n_pictures in ((folder, len(X)), (other, 0), ("memory", 0)):
        with count_pictures() as seen:
            extract(cache)
        assert sum(seen) == n_pictures


def test_the_home_folder_is_meant_by_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    extract("~/features")
    assert (tmp_path / "features" / FILE).is_file()


SECOND_PROCESS = """
from common_frozen import count_pictures, make_pictures
from common_pictures import TINY
from common_process import run_code
from sktransfer import PretrainedFeatureExtractor

with count_pictures() as seen:
    features = PretrainedFeatureExtractor(**TINY, cache={folder!r}).fit_transform(make_pictures(6))
print(sum(seen), features.tobytes().hex())
"""


def test_a_second_process_passes_no_picture_through_the_network(folder, expected):
    extract(folder)
    code, printed, error = run_code(SECOND_PROCESS.format(folder=str(folder)))
    assert code == 0, error
    assert printed.split() == ["0", expected.tobytes().hex()]


def test_an_empty_path_is_refused():
    with pytest.raises(ValueError, match="cache=''"):
        open_store("")


def test_clearing_a_folder_that_is_not_there_makes_none(tmp_path):
    clear_cache(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
