"""Damage the file of the feature cache in many ways: ``python benchmarks/robustness/fuzz_cache.py``.

Each case begins with a whole cache, does one thing to it and fits. The features must be, bit for bit, those without a
cache; what was found wrong must be said by a CacheWarning; and the fit after that must be quiet. Prints what happened
to each case, and ends with status 1 where one is not right. ``--seed`` draws other bytes.
"""

import argparse
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sktransfer import PretrainedFeatureExtractor
from sktransfer._frozen import _disk, _store
from sktransfer.exceptions import CacheWarning

FILE = "sktransfer_features.sqlite"
SECONDS = 100  # that one fit may take, on a busy machine


def make_extractor(cache):
    """Make the extractor that all cases fit: as cheap as a network can be."""
    return PretrainedFeatureExtractor("test_resnet", weights=None, image_size=32, cache=cache, n_jobs=1)


def make_pictures():
    """Draw the pictures that all cases share."""
    return np.random.default_rng(0).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)


def forget_open_files():
    """Make the next fit open the file as a new process would."""
    for store in _store._disks.values():
        store._close()
    _store._disks.clear()


def overwrite(start: float, content: Callable[[int], bytes], length: int) -> Callable[[Path], None]:
    """Overwrite `length` bytes from a share of the file on."""

    def damage(path):
        old = bytearray(path.read_bytes())
        first = min(int(start * len(old)), len(old) - 1)
        new = content(len(old[first : first + length]))
        old[first : first + len(new)] = new
        path.write_bytes(old)

    return damage


def edit(find: bytes, replace: bytes) -> Callable[[Path], None]:
    """Replace some bytes of the file, wherever they are."""

    def damage(path):
        content = path.read_bytes()
        if find not in content:
            raise ValueError(f"{find!r} is not in the file")
        path.write_bytes(content.replace(find, replace))

    return damage


def sql(*statements: str) -> Callable[[Path], None]:
    """Run statements on the file."""

    def damage(path):
        connection = sqlite3.connect(path, isolation_level=None)
        connection.create_function("sealed", 2, lambda key, value: _disk._checksum(key, value))
        connection.create_function("crc", 1, zlib.crc32)
        connection.create_function("numbers", 2, lambda n, x: np.full(n, x, dtype="<f4").tobytes())
        connection.create_function("nan_in", 1, lambda value: value[:-4] + np.float32(np.nan).tobytes())
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return damage


def beside(suffix: str, content: bytes | None) -> Callable[[Path], None]:
    """Put a file beside the cache's, or a folder."""

    def damage(path):
        other = path.with_name(path.name + suffix)
        if content is None:
            other.mkdir()
        else:
            other.write_bytes(content)

    return damage


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something else in the place of the file."""

    def damage(path):
        path.unlink()
        make(path)

    return damage


def unfinished(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """Leave the write-ahead log of a process that was killed, and change it."""

    def damage(path):
        killed = path.parent / "killed"
        connection = sqlite3.connect(path)
        connection.execute("UPDATE features SET value = value")
        connection.commit()
        killed.mkdir()
        for part in path.parent.glob(f"{FILE}*"):
            shutil.copy(part, killed)
        connection.close()
        for part in path.parent.glob(f"{FILE}*"):
            part.unlink()
        for part in killed.iterdir():
            part.replace(path.parent / part.name)
        killed.rmdir()
        change(path)

    return damage


def log(change: Callable[[Path], None], suffix: str = "-wal") -> Callable[[Path], None]:
    """Do something to the file beside the cache's."""
    return unfinished(lambda path: change(path.with_name(path.name + suffix)))


def _random(rng, length):
    return rng.bytes(length)


def bytes_of_the_file(rng: np.random.Generator) -> dict[str, Callable]:
    """Flip, overwrite and cut."""
    cases = {}
    for i in range(30):
        start, bit = rng.random(), 1 << int(rng.integers(8))
        cases[f"flip a bit, {i}"] = lambda path, start=start, bit=bit: _flip(path, start, bit)
    for offset in range(0, 100, 4):
        new = rng.bytes(4)
        cases[f"header at {offset}"] = lambda path, at=offset, new=new: _write_at(path, at, new)
    for i in range(8):
        noise, start = rng.bytes(2**14), rng.random()
        cases[f"noise, {i}"] = overwrite(start, lambda n, noise=noise: noise[:n], int(rng.integers(1, 2**14)))
    for i, share in enumerate((0.0, 0.001, 0.02, 0.1, 0.5, 0.9, 0.999)):
        cases[f"cut, {i}"] = lambda path, share=share: os.truncate(path, int(share * path.stat().st_size))
    noise = rng.bytes(2**17)
    cases |= {
        "all noise": overwrite(0, lambda n: noise[:n], 2**17),
        "all zero": overwrite(0, bytes, 2**20),
        "zero in the middle": overwrite(0.3, bytes, 2**12),
        "longer": lambda path: path.write_bytes(path.read_bytes() + noise[:5000]),
        "twice": lambda path: path.write_bytes(path.read_bytes() * 2),
        "empty": lambda path: path.write_bytes(b""),
        "text": lambda path: path.write_text("not a database\n" * 200),
        "only the magic word": lambda path: path.write_bytes(b"SQLite format 3\0"),
        "another database": instead(
            lambda path: sql("CREATE TABLE other (a, b)", "INSERT INTO other VALUES (1, 2)")(path)
        ),
    }
    return cases


def schema(rng: np.random.Generator) -> dict[str, Callable]:
    """Change what the file says of itself."""
    word = b"CREATE TABLE features"
    cases = {
        f"0xfc in the schema, {i}": edit(word[: i + 1] + word[i + 1 : i + 2], word[: i + 1] + b"\xfc")
        for i in (0, 5, 6, 12, 13, 18)
    }
    cases |= {
        "0xfc in a column": edit(b"key BLOB PRIMARY", b"k\xfcy BLOB PRIMARY"),
        "0 in the schema": edit(b"value BLOB NOT", b"value BLOB\0NOT"),
        "another column": edit(b"value BLOB NOT", b"valie BLOB NOT"),
        "another type": edit(b"value BLOB", b"value TEXT"),
        "the index renamed": edit(b"sqlite_autoindex_features_1", b"sqlite_autoindex_features_2"),
        "no table": sql("DROP TABLE features"),
        "the table renamed": sql("ALTER TABLE features RENAME TO old"),
        "a column renamed": sql("ALTER TABLE features RENAME COLUMN value TO val"),
        "one column more": sql("ALTER TABLE features ADD COLUMN more TEXT DEFAULT 'x'"),
        "one table more": sql("CREATE TABLE more (a)"),
        "one index more": sql("CREATE INDEX more ON features (value)"),
        "a view instead": sql(
            "ALTER TABLE features RENAME TO old",
            "CREATE VIEW features AS SELECT key, zeroblob(length(value)) AS value, checksum FROM old",
        ),
        "a trigger": sql("CREATE TRIGGER t AFTER INSERT ON features BEGIN DELETE FROM features; END"),
        "a computed column": sql(
            "CREATE TABLE new (key BLOB PRIMARY KEY, old BLOB, checksum BLOB, value AS (zeroblob(length(old))))",
            "INSERT INTO new (key, old, checksum) SELECT key, value, checksum FROM features",
            "DROP TABLE features",
            "ALTER TABLE new RENAME TO features",
        ),
        "an older version": sql(
            "DROP TABLE features",
            "CREATE TABLE features (key BLOB PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL)",
        ),
        "no schema": sql("PRAGMA writable_schema=ON", "DELETE FROM sqlite_master"),
        "schema without text": sql("PRAGMA writable_schema=ON", "UPDATE sqlite_master SET sql = NULL"),
        "schema of numbers": sql("PRAGMA writable_schema=ON", "UPDATE sqlite_master SET sql = 5"),
        "schema that loops": sql("PRAGMA writable_schema=ON", "UPDATE sqlite_master SET rootpage = 1"),
        "roots changed": sql("PRAGMA writable_schema=ON", "UPDATE sqlite_master SET rootpage = 5 - rootpage"),
        "a root far away": sql("PRAGMA writable_schema=ON", "UPDATE sqlite_master SET rootpage = 99999"),
        "no index": sql("PRAGMA writable_schema=ON", "DELETE FROM sqlite_master WHERE type = 'index'"),
        "UTF-16": sql(
            "CREATE TEMP TABLE kept AS SELECT * FROM features",
            "DROP TABLE features",
            "PRAGMA journal_mode=DELETE",
            "VACUUM",
            "PRAGMA encoding='UTF-16'",
        ),
        "other pages": sql("PRAGMA journal_mode=DELETE", "PRAGMA page_size=512", "VACUUM"),
        "other numbers": sql("PRAGMA user_version=77", "PRAGMA application_id=99", "PRAGMA journal_mode=DELETE"),
    }
    return cases


def rows(rng: np.random.Generator) -> dict[str, Callable]:
    """Change what the table holds, with checksums that fit and that do not."""
    seal = "UPDATE features SET checksum = sealed(key, value)"
    other = "(SELECT {} FROM features AS o WHERE o.key > features.key ORDER BY o.key LIMIT 1)"
    return {
        "zeros": sql("UPDATE features SET value = zeroblob(length(value))"),
        "zeros, old checksum": sql("UPDATE features SET value = zeroblob(length(value)), checksum = crc(value)"),
        "shorter": sql("UPDATE features SET value = substr(value, 1, length(value) - 4)"),
        "shorter, sealed": sql("UPDATE features SET value = substr(value, 1, length(value) - 4)", seal),
        "longer, sealed": sql("UPDATE features SET value = numbers(1000, 1.0)", seal),
        "no number, sealed": sql("UPDATE features SET value = x''", seal),
        "half a number, sealed": sql("UPDATE features SET value = substr(value, 1, length(value) - 2)", seal),
        "a huge row": sql("UPDATE features SET value = zeroblob(50000000)", "VACUUM"),
        "NaN, sealed": sql("UPDATE features SET value = nan_in(value)", seal),
        "all NaN, sealed": sql("UPDATE features SET value = numbers(length(value) / 4, 'nan')", seal),
        "infinite, sealed": sql("UPDATE features SET value = numbers(length(value) / 4, 'inf')", seal),
        "NaN in one row, sealed": sql("UPDATE features SET value = nan_in(value) WHERE rowid = 1", seal),
        "text": sql("UPDATE features SET value = 'text'"),
        "text that is no text": sql("UPDATE features SET value = CAST(x'fcfdfeff' AS TEXT)"),
        "a number": sql("UPDATE features SET value = 7"),
        "a fraction": sql("UPDATE features SET value = 7.5, checksum = 7.5"),
        "no checksum": sql("UPDATE features SET checksum = x''"),
        "text for a checksum": sql("UPDATE features SET checksum = 'text'"),
        "a number for a checksum": sql("UPDATE features SET checksum = crc(value)"),
        "values of the neighbour": sql(
            f"UPDATE features SET value = {other.format('value')}, checksum = {other.format('checksum')} "
            "WHERE key < (SELECT max(key) FROM features)"
        ),
        "text keys": sql("UPDATE features SET key = CAST(key AS TEXT)"),
        "shorter keys": sql("UPDATE features SET key = substr(key, 2)"),
        "half of the rows": sql("DELETE FROM features WHERE rowid % 2"),
        "no rows": sql("DELETE FROM features"),
        "far rows": sql("UPDATE features SET rowid = rowid + 9223372036854775000"),
    }


def files(rng: np.random.Generator) -> dict[str, Callable]:
    """Do something to the files beside, or to the place."""
    cases = {}
    for suffix in ("-wal", "-shm", "-journal"):
        cases[f"noise as {suffix}"] = beside(suffix, rng.bytes(10_000))
        cases[f"zeros as {suffix}"] = beside(suffix, bytes(10_000))
        cases[f"nothing as {suffix}"] = beside(suffix, b"")
        cases[f"a folder as {suffix}"] = beside(suffix, None)
    for i in range(12):
        noise, start = rng.bytes(64), rng.random()
        cases[f"noise in the log, {i}"] = log(overwrite(start, lambda n, noise=noise: noise[:n], 64))
    cases |= {
        "the log of a kill": unfinished(lambda path: None),
        "half of the log": log(lambda wal: os.truncate(wal, wal.stat().st_size // 2)),
        "no log": log(lambda wal: wal.unlink()),
        "noise as the log's index": log(overwrite(0, rng.bytes, 2**15), "-shm"),
        "the log without its file": unfinished(lambda path: path.unlink()),
        "the log beside an empty file": unfinished(lambda path: path.write_bytes(b"")),
        "a hot journal": beside("-journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + rng.bytes(8192)),
        "a folder": instead(lambda path: path.mkdir()),
        "a folder that is not empty": instead(lambda path: (path / "a").mkdir(parents=True)),
        "a pipe": instead(os.mkfifo),
        "a link that leads nowhere": instead(lambda path: path.symlink_to("nowhere")),
        "a link to itself": instead(lambda path: path.symlink_to(path)),
        "a link to nothing": instead(lambda path: path.symlink_to("/dev/null")),
        "gone": instead(lambda path: None),
        "the folder gone": lambda path: shutil.rmtree(path.parent),
        "a file in place of the folder": lambda path: (shutil.rmtree(path.parent), path.parent.write_text("x")),
    }
    return cases


def make_cases(seed: int) -> dict[str, Callable[[Path], None]]:
    """Make all cases: what each does to the file of the cache, by name."""
    rng = np.random.default_rng(seed)
    return {**bytes_of_the_file(rng), **schema(rng), **rows(rng), **files(rng)}


def _flip(path, start, bit):
    content = bytearray(path.read_bytes())
    content[int(start * len(content))] ^= bit
    path.write_bytes(content)


def _write_at(path, offset, new):
    content = bytearray(path.read_bytes())
    content[offset : offset + len(new)] = new
    path.write_bytes(content)


def run_case(damage: Callable[[Path], None], folder: Path, expected: np.ndarray, *, while_open: bool = False) -> str:
    """Damage a whole cache and fit; say what happened, "WRONG ..." where it is not right."""
    X = make_pictures()
    make_extractor(folder).fit_transform(X)
    if while_open:  # all of it in the file, nothing in the log
        _store.open_store(folder)._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        forget_open_files()
    damage(folder / FILE)
    said, again = [], []
    for messages in (said, again):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                features = make_extractor(folder).fit_transform(X)
            except Exception as error:  # whatever it is, it is reported
                return _refused(error, folder)
        messages += caught
        if features.tobytes() != expected.tobytes():
            return "WRONG features"
        forget_open_files()
    if while_open and again and not said:
        return "right, said by the next process"  # SQLite had pages of its own
    return _what_was_said(said, again)


def _refused(error, folder):
    if isinstance(error, ValueError) and folder.is_file() and "is a file; pass the path of a folder" in str(error):
        return "refused by name"
    return f"WRONG: raised {type(error).__name__}: {error}"


def _what_was_said(said, again):
    strangers = [str(one.message) for one in said + again if not issubclass(one.category, CacheWarning)]
    if strangers:
        return f"WRONG: warned {strangers[0]}"
    if not said:
        return "right, nothing said" if not again else "WRONG: said a fit too late"
    if "rebuilt" in str(said[0].message):
        return "right, rebuilt" if not again else f"WRONG: not rebuilt for good: {again[0].message}"
    return "right, cannot be used"


def _too_long(signum, frame):
    raise TimeoutError(f"more than {SECONDS} seconds")


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--while-open", action="store_true", help="damage a file that this process has open")
    options = parser.parse_args()
    expected = make_extractor(None).fit_transform(make_pictures())
    outcomes = {}
    signal.signal(signal.SIGALRM, _too_long)
    with tempfile.TemporaryDirectory() as base:
        for i, (name, damage) in enumerate(make_cases(options.seed).items()):
            if options.only not in name:
                continue
            signal.alarm(2 * SECONDS)
            outcomes[name] = run_case(damage, Path(base) / f"cache{i}", expected, while_open=options.while_open)
            signal.alarm(0)
            print(f"{name:<34} {outcomes[name]}")
    counts = {outcome: list(outcomes.values()).count(outcome) for outcome in sorted(set(outcomes.values()))}
    print(f"\n{len(outcomes)} cases of seed {options.seed}: {counts}")
    return 1 if any(outcome.startswith("WRONG") for outcome in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
