"""`data boxes` of COCO, YOLO and labelme: the same records as of VOC's XML, whoever drew the box."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.cli import run
from provision.data.backends import reader
from provision.data.datum import fields
from tests.unit.test_box_files import (
    CORNERS,
    as_coco,
    as_darknet,
    as_labelme,
    as_ultralytics,
    as_voc,
    as_voc_folder,
    as_yolo,
    root,
)

pytest.importorskip("lmdb")
__all__ = ["root"]
FORMS = (as_coco, as_darknet, as_labelme, as_ultralytics, as_yolo)


def boxes(folder: Path) -> list[tuple[str, int, list[float]]]:
    """Key, label and shares of each box, as stored."""
    base, found = reader(folder), []
    for key, value in base.items():
        for group in (inner for number, inner in fields(value) if number == 3):
            told = dict(fields(group))  # type: ignore[arg-type]
            box = dict(fields(dict(fields(told[2]))[2]))  # type: ignore[arg-type]
            corners = [struct.unpack("<f", box[place])[0] for place in (1, 2, 3, 4)]  # type: ignore[arg-type]
            found.append((key.decode(), int(told[1]), corners))  # type: ignore[arg-type]
    base.close()
    return found


def call(source: Path, root: Path, out: Path, *more: str) -> int:
    return run(["data", "boxes", str(out), "--train", str(source), "--test", str(source), "--root", str(root), *more])


@pytest.mark.parametrize("drawn", FORMS)
def test_the_same_records_come_out_of_each_form(
    drawn: Callable[[Path], Path], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = drawn(root)
    assert call(source, root, tmp_path / "out", "--dry-run") == 0
    assert "2 images to train with, 2 to test" in capsys.readouterr().out
    assert call(source, root, tmp_path / "out", "--classes", "dog,cat") == 0
    assert "1 images have no object" in capsys.readouterr().out
    shares = [CORNERS[0] / 100, CORNERS[1] / 50, CORNERS[2] / 100, CORNERS[3] / 50]
    assert boxes(tmp_path / "out" / "train_lmdb") == [("00000000_images/a.jpg", 2, pytest.approx(shares))]


@pytest.mark.parametrize("drawn", [as_voc, as_voc_folder])
def test_vocs_records_stay_those_of_its_own_tool(drawn: Callable[[Path], Path], root: Path, tmp_path: Path) -> None:
    """Which takes the corners as they stand there, from 1."""
    assert call(drawn(root), root, tmp_path / "out") == 0
    (one,) = boxes(tmp_path / "out" / "train_lmdb")
    assert one[2] == pytest.approx([0.11, 6 / 50, 0.5, 35 / 50])


def test_the_classes_are_the_sources_own_and_others_are_told(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = as_coco(root)
    assert call(source, root, tmp_path / "out") == 0
    assert "--set classes=dog,cat" in capsys.readouterr().out
    assert call(source, root, tmp_path / "dogs", "--classes", "dog") == 2
    assert "has an object 'cat', which is none of the classes" in capsys.readouterr().err
    assert call(source, root, tmp_path / "none", "--classes", "dog", "--leave-out-others") == 2
    assert "nothing to learn" in capsys.readouterr().err


def test_what_the_form_leaves_out_is_told_and_a_picture_of_another_size_too(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = as_coco(root)
    text = source.read_text().replace('"width": 100, "height": 50', '"width": 200, "height": 100')
    lost = '"annotations": [{"id": 9, "image_id": 77, "category_id": 7, "bbox": [1, 1, 5, 5]}, '
    source.write_text(text.replace('"annotations": [', lost))
    assert call(source, root, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "1 objects of a picture that is not in the file are left out" in said
    assert "annotations say another size than their picture has" in said
    assert boxes(tmp_path / "out" / "train_lmdb")[0][2] == pytest.approx([0.05, 0.05, 0.25, 0.35])
    (root / "images" / "a.jpg").write_bytes(b"<html>")
    assert call(source, root, tmp_path / "bad") == 2
    assert call(source, root, tmp_path / "bad", "--strict") == 2
    assert "images/a.jpg is not a picture" in capsys.readouterr().err
