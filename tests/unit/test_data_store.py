"""Databases that are not whole (cut off, emptied, of another version) are told as such, and never taken for whole."""

import json
from pathlib import Path
from random import Random

import lmdb
import pytest

from infra.errors import DiskError, UsageError
from provision.cli import run
from provision.data.backends import reader, writer
from provision.data.convert import Order, convert
from provision.data.digits import prepare
from tests.unit import data_kit as kit


def cut(database: Path, share: float) -> Path:
    data = (database / "data.mdb").read_bytes()
    (database / "data.mdb").write_bytes(data[: int(len(data) * share)])
    return database


@pytest.mark.parametrize("share", [0.5, 0.99])
@pytest.mark.parametrize("words", [["lmdb-show"], ["check"], ["mean", "-"]])
def test_an_lmdb_that_is_cut_off(
    tmp_path: Path, words: list[str], share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.jpegs(tmp_path / "set", 6)
    convert(Order(tmp_path / "set", tmp_path / "db"))
    more = [str(tmp_path / "mean")] if words[1:] else []
    assert run(["data", words[0], str(cut(tmp_path / "db", share)), *more]) == 2
    assert "data.mdb is cut off: it has" in capsys.readouterr().err


def grown_and_shrunk(folder: Path, seed: int, size: int) -> Path:
    """A database of a few transactions that put and delete."""
    random = Random(seed)
    with lmdb.open(str(folder), map_size=1 << 26) as env:
        for _ in range(4):
            with env.begin(write=True) as txn:
                for _ in range(200):
                    txn.put(b"%08d" % random.randrange(10**8), b"x" * random.randint(1, size))
                for key, _ in list(txn.cursor())[:: random.choice([2, 3])]:
                    txn.delete(key)
    return folder


def test_an_lmdb_whose_last_pages_were_never_written_is_whole(tmp_path: Path) -> None:
    short = 0
    for seed, size in ((57, 300), (17, 3000), (26, 3000), (1, 300)):
        folder = grown_and_shrunk(tmp_path / str(seed), seed, size)
        with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn:
            used = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
            keys = [key for key, _ in txn.cursor()]
        short += (folder / "data.mdb").stat().st_size < used
        base = reader(folder)
        assert [key for key, _ in base.items()] == keys
        base.close()
        with pytest.raises(UsageError, match="is cut off"):
            reader(cut(folder, 0.5))
    assert short  # else this tests nothing


def test_is_there_already_means_that_it_is_there(tmp_path: Path) -> None:
    kit.jpegs(tmp_path / "set", 3)
    order = Order(tmp_path / "set", tmp_path / "db")
    convert(order)
    (tmp_path / "db/data.mdb").unlink()
    with pytest.raises(UsageError, match=r"is not whole any more: .*holds no LMDB"):
        convert(order)
    writer(tmp_path / "db", "lmdb").close()
    with pytest.raises(UsageError, match=r"holds 0 records, and its data.json says 3"):
        convert(order)


def test_what_an_older_version_made_is_not_taken_for_the_same(tmp_path: Path) -> None:
    kit.jpegs(tmp_path / "set", 3)
    order = Order(tmp_path / "set", tmp_path / "db")
    convert(order)
    facts = json.loads((tmp_path / "db/data.json").read_text())
    (tmp_path / "db/data.json").write_text(json.dumps(facts | {"format": 1}))
    with pytest.raises(UsageError, match="made by another version of provision"):
        convert(order)


def test_strict_holds_for_what_is_there_already(tmp_path: Path) -> None:
    kit.jpegs(tmp_path / "set", 3)
    (tmp_path / "set/001.jpg").write_bytes(b"")
    convert(Order(tmp_path / "set", tmp_path / "db"))
    with pytest.raises(UsageError, match="1 bad pictures are not in it"):
        convert(Order(tmp_path / "set", tmp_path / "db", strict=True))


def test_digits_that_are_gone_are_not_there(tmp_path: Path) -> None:
    prepare(tmp_path / "digits")
    (tmp_path / "digits/test_lmdb/data.mdb").unlink()
    with pytest.raises(UsageError, match=r"is not whole any more: .*test_lmdb"):
        prepare(tmp_path / "digits")


def test_a_database_that_lost_a_part_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit.jpegs(tmp_path / "set", 5)
    convert(Order(tmp_path / "set", tmp_path / "db", backend="leveldb"))
    base = writer(tmp_path / "db", "leveldb")
    base.trim(b"00000002")
    base.close()
    assert run(["data", "check", str(tmp_path / "db")]) == 2
    assert "holds 2 records, and its data.json says 5: a part of it is lost" in capsys.readouterr().out
    assert run(["data", "mean", str(tmp_path / "db"), str(tmp_path / "mean")]) == 2
    assert "a part of it is lost" in capsys.readouterr().err
    assert run(["data", "lmdb-show", str(tmp_path / "db")]) == 0
    assert "3 more are in its data.json" in capsys.readouterr().out


def test_what_the_disk_says_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plyvel = pytest.importorskip("plyvel")

    def full(*_: object, **__: object) -> None:
        raise plyvel.IOError(b"IO error: /db/LOG: No space left on device")

    monkeypatch.setattr(plyvel, "DB", full)
    with pytest.raises(DiskError, match="no room to write"):
        writer(tmp_path / "level", "leveldb")

    def refused(*_: object, **__: object) -> None:
        raise lmdb.Error("db: Function not implemented")

    monkeypatch.setattr(lmdb, "open", refused)
    with pytest.raises(UsageError, match="cannot be written as LMDB") as caught:
        writer(tmp_path / "lmdb", "lmdb")
    assert "local file system" in caught.value.mend


@pytest.mark.parametrize("words", [["lmdb-show"], ["check"], ["mean", "-"]])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_leveldb_that_is_damaged(
    tmp_path: Path, words: list[str], damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.jpegs(tmp_path / "set", 12)
    convert(Order(tmp_path / "set", tmp_path / "db", backend="leveldb"))
    reader(tmp_path / "db").close()  # which makes a table of the log
    (table,) = (tmp_path / "db").glob("*.ldb")
    data = bytearray(table.read_bytes())
    if damage == "changed":
        data[2000:2010] = bytes(255 - byte for byte in data[2000:2010])  # within a record's pixels
    table.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    if damage == "gone":
        table.unlink()
    more = [str(tmp_path / "mean")] if words[1:] else []
    assert run(["data", words[0], str(tmp_path / "db"), *more]) == 2
    said = capsys.readouterr().err
    assert ("is damaged: " in said or "cannot be opened as LevelDB" in said) and "copy it again" in said


def test_an_lmdb_that_is_damaged(tmp_path: Path) -> None:
    kit.jpegs(tmp_path / "set", 2)
    convert(Order(tmp_path / "set", tmp_path / "db"))
    data = bytearray((tmp_path / "db/data.mdb").read_bytes())
    with lmdb.open(str(tmp_path / "db"), readonly=True, lock=False) as env:
        size = env.stat()["psize"]
    for at in range(2 * size, len(data), size):
        data[at + 10 : at + 12] = b"\0\0"  # a page that is no branch, leaf or overflow
    (tmp_path / "db/data.mdb").write_bytes(data)
    base = reader(tmp_path / "db")
    with pytest.raises(UsageError, match="is damaged: "):
        list(base.items())
    base.close()


def test_a_writer_maps_no_lock_file_which_a_full_disk_would_kill_it_for(tmp_path: Path) -> None:
    sink = writer(tmp_path / "db", "lmdb")
    sink.put([(b"00000000_a", b"value")])
    assert [path.name for path in (tmp_path / "db").iterdir()] == ["data.mdb"]
    sink.close()
