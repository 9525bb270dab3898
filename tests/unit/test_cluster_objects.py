"""Objects on a shared file system, the image that is unpacked there, and the door: what runs on a login node."""

import io
import json
import os
import tarfile
import threading
from pathlib import Path

import pytest

from infra.cluster import door, unpack
from infra.cluster.objects import Objects


def test_an_object_is_there_whole_and_of_many_writers_of_a_new_one_one_wins(tmp_path: Path) -> None:
    store = Objects(str(tmp_path / "root"))
    won: list[bytes] = []

    def write(number: int) -> None:
        data = b"%d" % number * 100_000
        if store.write_new("runs/a/claim.json", data):
            won.append(data)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and store.read("runs/a/claim.json") == won[0]
    assert store.write_new("runs/a/claim.json", won[0])  # whose answer was lost on the way
    assert list((tmp_path / "root" / ".new").iterdir()) == []


def test_a_replaced_object_is_the_one_that_was_read(tmp_path: Path) -> None:
    store = Objects(str(tmp_path))
    store.write("a/b", b"1")
    etag = store.head("a/b")[1]
    assert store.replace("a/b", b"2", etag)
    assert not store.replace("a/b", b"3", etag)
    assert store.read("a/b") == b"2"


def test_objects_are_listed_by_key_and_empty_folders_go_with_their_last_one(tmp_path: Path) -> None:
    store = Objects(str(tmp_path))
    for key in ("runs/b/1", "runs/a/2", "runs/a/1", "other"):
        store.write(key, b"x")
    assert [row[0] for row in store.list("runs/")] == ["runs/a/1", "runs/a/2", "runs/b/1"]
    assert [row[0] for row in store.list("runs/a/", "runs/a/1")] == ["runs/a/2"]
    assert store.folders("runs/") == ["a", "b"] and store.folders("none/") == []
    store.delete(["runs/b/1", "runs/b/1"])
    assert store.folders("runs/") == ["a"] and store.read("runs/b/1") is None


def test_several_objects_are_written_and_read_by_one_question_each(tmp_path: Path) -> None:
    rows = [["a/1", 2], ["b", 0], ["a/2", 3]]
    answers = _ask(tmp_path, ("open", [str(tmp_path)], b""), ("write_all", [rows], b"xxyyy"),
                   ("read_all", [["a/2", "none", "b", "a/1"]], b""))  # fmt: skip
    assert answers[1][:2] == ("ok", 3)
    assert answers[2] == ("ok", [3, None, 0, 2], b"yyyxx")


def test_a_link_among_the_objects_is_none(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    store = Objects(str(tmp_path / "root"))
    store.write("runs/a/log", b"x")
    (tmp_path / "root/runs/a/link").symlink_to(tmp_path / "secret")
    (tmp_path / "root/runs/far").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "root/runs/a/fifo")
    assert [row[0] for row in store.list("runs/")] == ["runs/a/log"]
    assert store.head("runs/a/link") is None
    with pytest.raises(OSError, match="symbolic"):
        store.read("runs/a/link")


@pytest.mark.parametrize("key", ["../a", "a/../../b", "/a", "a//b", ".new/x", "a\0b"])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="names nothing"):
        Objects(str(tmp_path / "root")).write(key, b"x")


def _archive(path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for entry, data in entries:
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, link, mode
    return entry


def test_an_image_is_unpacked_below_its_folder_alone_and_its_note_comes_last(tmp_path: Path) -> None:
    store, outside = Objects(str(tmp_path / "root")), tmp_path / "outside"
    outside.mkdir()
    _archive(
        tmp_path / "root/images/abc.tar.gz",
        [
            (_entry("bin", tarfile.DIRTYPE, mode=0o555), b""),
            (_entry("bin/caffe", mode=0o755), b"program"),
            (_entry("link", tarfile.SYMTYPE, str(outside)), b""),
            (_entry("link/evil"), b"x"),
            (_entry("../evil"), b"x"),
            (_entry("dev/null", tarfile.CHRTYPE), b""),
        ],
    )
    assert unpack.unpack(store, "abc", "charliecloud", {"env": ["A=1"]})
    folder = tmp_path / "root/images/abc"
    assert (folder / "bin/caffe").read_text() == "program" and os.access(folder / "bin/caffe", os.X_OK)
    assert (folder / "work").is_dir() and (folder / "driver").is_dir()
    assert list(outside.iterdir()) == [] and not (tmp_path / "root/evil").exists()
    assert json.loads((store.read("images/abc.json") or b"").decode()) == {"env": ["A=1"], "runtime": "charliecloud"}
    assert store.head("images/abc.tar.gz") is None


def test_of_an_image_whose_archive_is_cut_off_nothing_is_left_that_could_run(tmp_path: Path) -> None:
    store = Objects(str(tmp_path))
    _archive(tmp_path / "images/abc.tar.gz", [(_entry(f"file{number}"), os.urandom(9999)) for number in range(20)])
    packed = tmp_path / "images/abc.tar.gz"
    packed.write_bytes(packed.read_bytes()[:50_000])
    with pytest.raises((EOFError, tarfile.TarError)):
        unpack.unpack(store, "abc", "charliecloud", {})
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["abc.tar.gz"]


def _ask(tmp_path: Path, *questions: tuple[object, ...]) -> list[tuple[str, object, bytes]]:
    """What the door answers to questions [word, given, bytes]."""
    asked = b""
    for word, given, data in questions:
        assert isinstance(data, bytes)
        asked += json.dumps([word, given, len(data)]).encode() + b"\n" + data
    out = io.BytesIO()
    door.Door(io.BytesIO(asked), out).serve()
    out.seek(len(door.HELLO))
    found = []
    while line := out.readline():
        kind, value, size = json.loads(line)
        found.append((kind, value, out.read(size)))
    return found


def test_a_file_that_is_sent_in_pieces_becomes_an_object_by_its_sum_alone(tmp_path: Path) -> None:
    import hashlib

    whole = b"a" * 10 + b"b" * 10
    answers = _ask(
        tmp_path,
        ("open", [str(tmp_path)], b""),
        ("grown", ["x.part", 0], whole[:10]),
        ("grown", ["x.part", 10], b"wrong bytes"),
        ("settle", ["x.part", "x", hashlib.sha256(whole).hexdigest()], b""),
        ("read", ["x"], b""),
        ("grown", ["x.part", 0], whole[:10]),
        ("grown", ["x.part", 10], whole[10:]),
        ("grown", ["x.part", 10], whole[10:]),  # whose answer was lost
        ("settle", ["x.part", "x", hashlib.sha256(whole).hexdigest()], b""),
        ("read", ["x"], b""),
    )
    assert [(kind, value) for kind, value, _ in answers[1:]] == [
        ("ok", 10), ("ok", 21), ("ok", False), ("ok", False), ("ok", 10), ("ok", 20), ("ok", 20), ("ok", True),
        ("ok", True),
    ]  # fmt: skip
    assert answers[-1][2] == whole


def test_the_door_says_whose_a_folder_is_and_answers_what_makes_no_sense(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs.chmod(0o777)
    answers = _ask(
        tmp_path,
        ("open", [str(tmp_path / "new")], b""),
        ("read", ["../secret"], b""),
        ("nonsense", [], b""),
        ("open", [str(theirs)], b""),
    )
    assert answers[0][1] == [str(tmp_path / "new"), True, False]
    assert answers[1][0] == "damaged"
    assert answers[2][0] == "damaged"
    assert answers[3][1] == [str(theirs), False, True]
