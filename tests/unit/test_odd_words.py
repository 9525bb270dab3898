"""Defects that the property test found, each by its own words."""

import io
import sys
from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.cli import run

DEEP = "[" * 3000
NO_NUMBER = b'{"images": [1e999], "annotations": [], "categories": []}'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recipe", "check", "a" * 300 + "/b"], "too long for the name of a file"),
        (["data", "check", "9" * 300], "too long for the name of a file"),
        (["data", "mean", "db", "/"], "cannot be made"),
        (["data", "boxes", "out", "--train", "x", "--test", "x", "--classes", "a" * 300], "x cannot be read"),
        (["data", "visual-genome", "o", "--objects", "x", "--images", "x", "--classes", "a" * 300], "no list of cl"),
        (["data", "get", "http://[", "--dry-run"], "is no address"),
        (["image", "matrix", "--verify", "--mirror", "ubuntu=http://["], "--mirror ubuntu=http://["),
        (["up", "--instance", "p3*", "--dry-run"], "cannot name an instance type"),
        (["up", "--gpus", "1", "--disk", "9" * 30, "--dry-run"], "disk_gb must be at least 8 and at most 16384"),
        (["extend", "lab", "9" * 400 + "d"], "is no time"),
        (["up", "--gpus", "1", "--idle-minutes", "9" * 400, "--dry-run"], "is no time"),
        (["image", "ls", "--on", "ssh://["], "is no address"),
        (["data", "digits", "x", "--seed", "9" * 30], "--seed"),
    ],
)
def test_odd_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == UsageError.exit_code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["j\udc80g", "a" * 400, "..", "j g", "%s%s%s%n"])
def test_an_odd_suffix_does_not_reach_opencv(suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("list.txt").write_text("a.jpg 0\n")
    words = ["data", "lmdb", "list.txt", "out", "--encoded", "--encode-type", suffix, "--dry-run"]
    assert run(words) == UsageError.exit_code
    assert "OpenCV cannot write pictures of type" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "words", "said"),
    [
        ("list.txt", b"a\0.jpg 0\n", "data sizes list.txt out", "holds NUL bytes"),
        ("names.txt", b"\x80", "data boxes out --train x --test x --classes names.txt --dry-run", "no text in UTF-8"),
        ("net.prototxt", b"a { " * 3000, "net show net.prototxt", "nested too deep"),
        ("coco.json", b'{"images": [{"x": "\x80"}]}', "data coco-check coco.json", "no text in UTF-8"),
        ("coco.json", NO_NUMBER, "data coco-check coco.json", "out of range"),
        ("coco.json", DEEP.encode(), "data coco-check coco.json", "no file of COCO annotations"),
        ("run/manifest.json", DEEP.encode(), "score run --dry-run", "holds no run"),
        (".ssh/config", b"Host h\n Port \x002222\n", "image ls --on ssh://h", "is no port"),
        (".ssh/config", b"Host h\n HostName 127.0:1\n", "image ls --on ssh://h", "is no host"),
        (".ssh/config", b"\x80", "image ls --on ssh://h", ".ssh/config cannot be read"),
        (".ssh/known_hosts", b"\x80", "image ls --on ssh://h", ".ssh/known_hosts cannot be read"),
        (
            "VOC/VOC2012/ImageSets/Main/train.txt",
            b"9" * 5000,
            "data voc-lists VOC out --sets train --years 2012",
            "none of the images of train",
        ),
        (
            "VOC/VOC2012/ImageSets/Main/train.txt",
            b"\x80",
            "data voc-lists VOC out --sets train --years 2012",
            "no text",
        ),
    ],
)
def test_odd_files(name: str, content: bytes, words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content)
    assert run(words.split()) == UsageError.exit_code
    assert said in capsys.readouterr().err


def test_a_list_may_name_files_that_are_no_utf8() -> None:
    Path("list.txt").write_bytes(b"\x80.jpg 0\n")
    assert run(["data", "lmdb", "list.txt", "out", "--dry-run"]) == 0
    Path("boxes.txt").write_bytes(b"\x80.jpg a.xml\n")
    assert run(["data", "boxes", "out", "--train", "boxes.txt", "--test", "boxes.txt", "--dry-run"]) == 0


def test_an_ignore_file_may_name_files_that_are_no_utf8() -> None:
    from provision.files.index import local_index

    Path("folder").mkdir()
    for name in (b"folder/\x80.log", b"folder/a", b"folder/.provisionignore"):
        Path(name.decode("utf-8", "surrogateescape")).write_bytes(b"\x80.log\n")
    assert sorted(local_index(Path("folder"))) == ["a"]


def test_a_name_that_cannot_be_written_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, "utf-8"))
    assert run(["data", "digits", "\udc80", "--dry-run"]) == 0
    assert out.getvalue().startswith(rb"would make \udc80")


def test_a_database_has_any_name() -> None:
    assert run(["data", "digits", "\udc80"]) == 0
    assert run(["data", "lmdb-show", "\udc80/train_lmdb"]) == 0


def test_a_database_below_a_file_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("x")
    assert run(["data", "digits", "file/x"]) == UsageError.exit_code
    assert "file/x cannot be written: Not a directory" in capsys.readouterr().err


def test_a_file_that_leads_out_of_the_folder_is_not_made() -> None:
    from provision.data.datasets import File

    assert File(url="https://x/a%2F..%2F..%2Fetc").name == "etc"
    assert File(url="https://x/%2E%2E").name == "download"
