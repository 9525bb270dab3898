"""A list names IMG.JPG and the file is img.jpg, or its accents are written otherwise: told with the file's own name."""

import unicodedata
from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.data import near
from provision.data.lists import load
from tests.unit import data_kit as kit

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("named", "there", "said"),
    [
        ("IMG.JPG", "img.jpg", "; there is img.jpg, in other capitals"),
        (f"{NFC}.jpg", f"{NFD}.jpg", f"; there is {NFD}.jpg, its accents written otherwise (NFC, NFD)"),
        (f"{NFD}.jpg", f"{NFC}.jpg", f"; there is {NFC}.jpg, its accents written otherwise (NFC, NFD)"),
        (f"{NFC.upper()}.jpg", f"{NFD}.jpg", f"; there is {NFD}.jpg, in other capitals"),
        ("a.jpg", "a.png", "; there is a.png, with another ending"),
        ("2007_000027", "2007_000027.jpg", "; there is 2007_000027.jpg, with another ending"),
        ("Cat/1.jpg", "cat/1.jpg", "; there is ../cat/1.jpg, in other capitals"),
        ("a.jpg", "b.jpg", ""),
        ("a.v2", "a.jpg", ""),  # .v2 is a part of the name
    ],
    ids=range(9),
)
def test_what_may_be_meant_is_told(named: str, there: str, said: str, tmp_path: Path) -> None:
    kit.write(tmp_path / there)
    assert near.said(tmp_path / named) == said
    assert near.is_said(said) == bool(said)
    assert near.said(tmp_path / there) == ""


def test_a_picture_in_other_letters_is_told_by_each_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.jpegs(tmp_path, 2)  # 000.jpg, 001.jpg
    (tmp_path / "001.jpg").rename(tmp_path / f"{NFD}.jpg")
    source = kit.write(tmp_path / "list.txt", "000.JPG 0", f"{NFC}.jpg 1")
    monkeypatch.chdir(tmp_path)
    assert run(["data", "lmdb", str(source), "db"]) == 2
    said = capsys.readouterr().err
    assert "cannot be read: No such file or directory; there is 000.jpg, in other capitals" in said
    assert near.MEND in said
    assert run(["data", "check", str(source)]) == 2
    assert "there is 000.jpg, in other capitals" in capsys.readouterr().out
    assert run(["data", "sizes", str(source), "sizes.txt"]) == 2
    assert "000.JPG is not there; there is 000.jpg, in other capitals" in capsys.readouterr().err
    kit.write(tmp_path / "list.txt", "000.jpg 0", f"{NFC}.jpg 1")
    assert run(["data", "lmdb", str(source), "db"]) == 0
    assert "its accents written otherwise" in (tmp_path / "db/bad.txt").read_text()


def test_boxes_and_coco_tell_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit.jpegs(tmp_path, 1)
    kit.write(tmp_path / "a.xml", "<annotation/>")
    source = kit.write(tmp_path / "list.txt", "000.JPG a.xml")
    words = ["--train", str(source), "--test", str(source), "--root", str(tmp_path)]
    assert run(["data", "boxes", str(tmp_path / "db"), *words]) == 2
    kit.write(tmp_path / "a.json", '{"images": [{"id": 1, "file_name": "000.JPG", "width": 80, "height": 60}],'
              ' "annotations": [], "categories": []}')  # fmt: skip
    assert run(["data", "coco-check", str(tmp_path / "a.json"), "--images", str(tmp_path)]) == 2
    assert "there is 000.jpg, in other capitals" in capsys.readouterr().out


def test_label_pictures_and_classes_are_found_however_accents_are_written(tmp_path: Path) -> None:
    kit.jpegs(tmp_path / "images" / NFC, 1)
    kit.label_picture(tmp_path / "labels" / NFD / "000.png", [[0, 1]])
    (entry,) = load(tmp_path / "images", labels=tmp_path / "labels").entries
    assert entry.label_path == str(tmp_path / "labels" / NFD / "000.png")
    found = load(tmp_path / "images", classes=("dog", NFD))
    assert [(entry.path, entry.label) for entry in found.entries] == [(f"{NFC}/000.jpg", 1)]
    source = kit.write(tmp_path / "list.txt", f"{NFC}/000.jpg {NFC}")
    assert load(source, classes=("dog", NFD)).entries[0].label == 1
    (tmp_path / "images" / NFD).mkdir()
    with pytest.raises(UsageError, match="two folders of one name"):
        load(tmp_path / "images")


def test_a_label_picture_in_other_capitals_is_told(tmp_path: Path) -> None:
    kit.jpegs(tmp_path / "images", 1)
    (tmp_path / "images/000.jpg").rename(tmp_path / "images/IMG.jpg")
    kit.label_picture(tmp_path / "labels/img.png", [[0, 1]])
    with pytest.raises(UsageError, match=r"IMG.jpg has no label picture in .*; there is img.png, in other capitals"):
        load(tmp_path / "images", labels=tmp_path / "labels")


def test_a_name_of_several_words_is_the_longest_that_fits(tmp_path: Path) -> None:
    source = kit.write(tmp_path / "list.txt", "my dog.jpg german shepherd", "b.jpg shepherd", "c.jpg\tdog")
    found = load(source, classes=("dog", "shepherd", "german shepherd"))
    assert [(entry.path, entry.label) for entry in found.entries] == [("my dog.jpg", 2), ("b.jpg", 1), ("c.jpg", 0)]
