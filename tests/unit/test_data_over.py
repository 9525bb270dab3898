"""A command writes over what it made itself and nothing else; what is proposed for names with commas works."""

from pathlib import Path

import numpy as np
import pytest

from provision.cli import run
from tests.unit import data_kit as kit
from tests.unit.test_data_boxes import picture, xml


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    kit.jpegs(tmp_path / "p", 2)
    return kit.write(tmp_path / "list.txt", "p/000.jpg 0", "p/001.jpg 1")


@pytest.mark.parametrize("there", ["p/000.jpg", "classes.txt"])
def test_sizes_are_written_over_sizes_alone(
    there: str, lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.write(tmp_path / "classes.txt", "big cat", "dog")
    before = (tmp_path / there).read_bytes()
    assert run(["data", "sizes", str(lists), str(tmp_path / there)]) == 2
    assert f"{there} is there, and is no list of sizes" in capsys.readouterr().err
    assert (tmp_path / there).read_bytes() == before
    for _ in range(2):
        assert run(["data", "sizes", str(lists), str(tmp_path / "sizes.txt")]) == 0
    assert (tmp_path / "sizes.txt").read_text() == "000 60 80\n001 60 80\n"


def test_a_kits_own_lists_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = kit.kit(tmp_path / "VOCdevkit")
    own = home / "VOC2012/ImageSets/Main"
    before = (own / "trainval.txt").read_text()
    assert run(["data", "voc-lists", str(home), str(own)]) == 2
    assert "trainval.txt is there, and is no list of ours" in capsys.readouterr().err
    assert (own / "trainval.txt").read_text() == before
    for words in ([], ["--segmentation"], ["--seed", "2"]):
        assert run(["data", "voc-lists", str(home), str(tmp_path / "lists"), *words]) == 0


def test_a_mean_as_an_array_is_written_over_arrays_alone(
    lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "lmdb", str(lists), str(tmp_path / "db")]) == 0
    words = ["data", "mean", str(tmp_path / "db"), str(tmp_path / "m.binaryproto"), "--npy"]
    kit.write(tmp_path / "m.npy", "mine")
    assert run(words) == 2
    assert "m.npy is there, and is no array of numpy's" in capsys.readouterr().err
    assert not (tmp_path / "m.binaryproto").exists()
    np.save(tmp_path / "m.npy", np.zeros(3))
    assert run(words) == 0 and np.load(tmp_path / "m.npy").shape == (3, 60, 80)


def test_annotations_are_written_over_json_alone(
    lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.xml").write_text(xml((10, 10, 50, 50)))
    source = kit.write(tmp_path / "boxes.txt", "a.jpg a.xml")
    words = ["data", "coco", str(source), "--root", str(tmp_path)]
    assert run([*words, str(tmp_path / "a.jpg")]) == 2
    assert "a.jpg is there, and is no file of annotations" in capsys.readouterr().err
    for _ in range(2):
        assert run([*words, str(tmp_path / "a.json")]) == 0


def test_a_file_of_classes_that_is_not_there_is_no_class(lists: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "lmdb", str(lists), str(lists.parent / "db"), "--classes", "clases.txt"]) == 2
    assert "--classes clases.txt is not there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("big cat", "--set 'classes=big cat,other' --on"),
        ("cat, big", "is a list with commas: before ssd-voc, rename 'cat, big'"),
    ],
)
def test_what_is_proposed_for_names_with_blanks_and_commas_works(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.xml").write_text(xml((10, 10, 50, 50), name=name))
    source = kit.write(tmp_path / "boxes.txt", "a.jpg a.xml")
    classes = kit.write(tmp_path / "classes.txt", name, "other")
    words = ["--train", str(source), "--test", str(source), "--root", str(tmp_path), "--classes", str(classes)]
    assert run(["data", "boxes", str(tmp_path / "db"), *words]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    assert run(["data", "coco", str(source), str(tmp_path / "a.json"), "--root", str(tmp_path)]) == 0
    given = "'big cat'" if "," not in name else "FILE (these names, one on each line)"
    assert f"--classes {given}, for the same numbers" in capsys.readouterr().out
