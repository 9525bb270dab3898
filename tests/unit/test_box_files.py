"""Boxes of VOC, COCO, YOLO and labelme: one object is the same box whoever drew it, and becomes COCO annotations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.data.box_files import form_of, read
from provision.data.box_set import Box, BoxSet
from provision.data.coco_check import check

pil = pytest.importorskip("PIL.Image")

CORNERS = (10.0, 5.0, 50.0, 35.0)  # of a cat in a picture of 100 x 50
POLYGON = (10.0, 5.0, 50.0, 5.0, 50.0, 35.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set" / "images"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        pil.new("RGB", (100, 50)).save(folder / name)
    return tmp_path / "set"


def xml(name: str, corners: tuple[float, ...], more: str = "", size: str = "") -> str:
    keys = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{key}>{value:g}</{key}>" for key, value in zip(keys, corners, strict=True))
    return f"<annotation>{size}<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object></annotation>"


def as_voc(root: Path) -> Path:
    (root / "Annotations").mkdir()
    (root / "Annotations" / "a.xml").write_text(xml("cat", (11, 6, 50, 35)))
    (root / "Annotations" / "b.xml").write_text("<annotation/>")
    path = root / "list.txt"
    path.write_text("\ufeffimages/a.jpg Annotations/a.xml\r\nimages/b.jpg Annotations/b.xml\n")
    return path


def as_voc_folder(root: Path) -> Path:
    as_voc(root)
    return root / "Annotations"


def as_yolo(root: Path) -> Path:
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("1 0.3 0.4 0.4 0.6\n")
    (root / "classes.txt").write_text("dog\ncat\n")
    return root


def as_darknet(root: Path) -> Path:
    """Labels beside the pictures, and a list of these."""
    (root / "images" / "a.txt").write_text("1 0.3 0.4 0.4 0.6\n\n")
    (root / "images" / "b.txt").write_text("")
    (root / "obj.names").write_text("dog\ncat\n")
    (root / "train.txt").write_text("images/a.jpg\nimages/b.jpg\n")
    return root / "train.txt"


def as_ultralytics(root: Path) -> Path:
    as_yolo(root)
    (root / "classes.txt").unlink()
    path = root / "data.yaml"
    path.write_text("train: ../images\nval: images\nnames: {0: dog, 1: cat}\n")
    return path


def as_coco(root: Path) -> Path:
    path = root / "coco.json"
    images = [
        {"id": n, "file_name": f"images/{name}.jpg", "width": 100, "height": 50} for n, name in ((1, "a"), (2, "b"))
    ]
    box = {"id": 1, "image_id": "1", "category_id": 7, "bbox": [10, 5, 40, 30], "iscrowd": 0}
    names = [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}]
    path.write_text(json.dumps({"images": images, "annotations": [box], "categories": names}))
    return path


def as_labelme(root: Path) -> Path:
    (root / "json").mkdir()
    for name, shapes in (
        ("a", [{"label": "cat", "points": [[50, 35], [10, 5]], "shape_type": "rectangle"}]),
        ("b", []),
    ):
        whole = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"..\\images\\{name}.jpg",
                 "imageData": None, "imageHeight": 50, "imageWidth": 100}  # fmt: skip
        (root / "json" / f"{name}.json").write_text(json.dumps(whole))
    return root / "json"


FORMS = (as_voc, as_voc_folder, as_yolo, as_darknet, as_ultralytics, as_coco, as_labelme)


@pytest.mark.parametrize("drawn", FORMS)
def test_the_same_box_comes_out_of_each_form(drawn: Callable[[Path], Path], root: Path) -> None:
    found = read(drawn(root), root)
    assert [image.image for image in found.images] == ["images/a.jpg", "images/b.jpg"]
    first, second = (image.in_pixels(100, 50).boxes for image in found.images)
    assert [(box.name, pytest.approx(CORNERS)) for box in first] == [
        ("cat", box.corners) for box in first
    ] and second == ()
    assert "cat" in found.names
    assert form_of(root / "coco.json") == "coco" if drawn is as_coco else True


@pytest.mark.parametrize("drawn", [one for one in FORMS if one is not as_coco])
def test_each_becomes_annotations_that_detectron_can_train_with(
    drawn: Callable[[Path], Path], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made.json"
    words = ["data", "coco", str(drawn(root)), str(out), "--root", str(root), "--classes", "cat,dog"]
    assert run([*words, "--dry-run"]) == 0
    assert "2 images with 1 objects" in capsys.readouterr().out and not out.exists()
    assert run(words) == 0
    said = capsys.readouterr().out
    assert "2 images, 1 annotations, NUM_CLASSES is 3" in said and "train Faster R-CNN, not Mask R-CNN" in said
    made = json.loads(out.read_text())
    assert made["categories"] == [
        {"id": 1, "name": "cat", "supercategory": ""},
        {"id": 2, "name": "dog", "supercategory": ""},
    ]
    (box,) = made["annotations"]
    assert box["bbox"] == pytest.approx([10, 5, 40, 30]) and box["area"] == pytest.approx(1200)
    findings, _ = check(out, root, None, 3)
    assert {one.level for one in findings} == {"note"}


def test_polygons_are_masks_and_points_are_told(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = as_labelme(root)
    whole = json.loads((folder / "a.json").read_text())
    points = [[x, y] for x, y in zip(POLYGON[::2], POLYGON[1::2], strict=True)]
    whole["shapes"] = [{"label": "cat", "points": points, "shape_type": "polygon"},
                       {"label": "cat", "points": [[30, 20], [30, 30]], "shape_type": "circle"},
                       {"label": "cat", "points": [[1, 1]], "shape_type": "point"}]  # fmt: skip
    (folder / "a.json").write_text(json.dumps(whole))
    assert run(["data", "coco", str(folder), str(tmp_path / "made.json"), "--root", str(root)]) == 0
    said = capsys.readouterr().out
    assert "left out: 1 objects that are points of 1 points" in said and "Faster" not in said
    first, second = json.loads((tmp_path / "made.json").read_text())["annotations"]
    assert first["segmentation"] == [list(POLYGON)] and first["area"] == 600
    assert second["bbox"] == pytest.approx([20, 10, 20, 20]) and 300 < second["area"] < 3.15 * 100


def test_polygons_of_yolo(root: Path) -> None:
    source = as_yolo(root)
    (root / "labels" / "a.txt").write_text(
        "0 " + " ".join(f"{v / (50 if at % 2 else 100)}" for at, v in enumerate(POLYGON))
    )
    (box,) = read(source, root).images[0].in_pixels(100, 50).boxes
    assert box.corners == pytest.approx(CORNERS) and box.polygons[0] == pytest.approx(POLYGON)


def test_difficult_objects_and_crowds_are_ignored(root: Path, tmp_path: Path) -> None:
    source = as_voc(root)
    (root / "Annotations" / "b.xml").write_text(xml("cat", (50, 35, 11, 6), "<difficult>1</difficult>"))
    found = read(source, root)
    assert found.images[1].boxes == (Box("cat", CORNERS, True),)
    assert run(["data", "coco", str(source), str(tmp_path / "made.json"), "--root", str(root)]) == 0
    made = json.loads((tmp_path / "made.json").read_text())
    assert [one.get("ignore") for one in made["annotations"]] == [None, 1]
    assert len(made["categories"]) == 20  # VOC's own, in their order
    path = as_coco(root)
    path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd": 1'))
    assert read(path, root).images[0].boxes[0].difficult


def test_images_that_cannot_be_used_are_told_or_stop_it(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = as_voc(root)
    (root / "images" / "b.jpg").unlink()
    words = ["data", "coco", str(source), str(tmp_path / "made.json"), "--root", str(root)]
    assert run(words) == 0
    assert "left out: images/b.jpg is not there" in capsys.readouterr().out
    assert run([*words, "--strict"]) == 2
    size = "<size><width>50</width><height>100</height></size>"
    (root / "Annotations" / "a.xml").write_text(xml("cat", (11, 6, 50, 35), size=size))
    (tmp_path / "made.json").unlink()
    assert run(words) == 2
    assert "images/a.jpg is 100 x 50, and its annotation says 50 x 100" in capsys.readouterr().err
    assert not (tmp_path / "made.json").exists()


def test_other_classes_are_refused_or_left_out(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = as_voc(root)
    (root / "Annotations" / "b.xml").write_text(xml("dog", (1, 1, 9, 9)))
    words = ["data", "coco", str(source), str(tmp_path / "made.json"), "--root", str(root), "--classes", "cat"]
    assert run(words) == 2
    assert "there are 1 objects 'dog'" in capsys.readouterr().err
    assert run([*words, "--leave-out-others"]) == 0
    assert "left out: 1 objects of another class" in capsys.readouterr().out


def wrong_yolo(line: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        (as_yolo(root) / "labels" / "a.txt").write_text(line)
        return root

    return write


def without(drawn: Callable[[Path], Path], *names: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        source = drawn(root)
        for name in names:
            (root / name).unlink()
        return source

    return write


def with_text(drawn: Callable[[Path], Path], name: str, text: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        source = drawn(root)
        (root / name).write_text(text)
        return source

    return write


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        (wrong_yolo("2 0.3 0.4 0.4 0.6"), "class 2, and there are 2 names"),
        (wrong_yolo("1 30 40 40 60"), "is no share of a picture"), (wrong_yolo("1 0.3 nan 0.4 0.6"), "is no share"),
        (wrong_yolo("1 0.3 0.4 0.4"), "3 numbers behind the class"),
        (wrong_yolo("cat 0.3 0.4 0.4 0.6"), "is no object"),
        (without(as_yolo, "classes.txt"), "names the classes"),
        (without(as_yolo, "labels/a.txt"), "has a file of labels"),
        (wrong_yolo(""), "has no object in 2 images"), (lambda root: root / "none", "is not there"),
        (with_text(as_ultralytics, "data.yaml", "val: images\nnames: [dog, cat]"), "no set to train with"),
        (with_text(as_ultralytics, "data.yaml", "train: nowhere\nnames: [dog, cat]"), "nowhere is not there"),
        (with_text(as_voc, "Annotations/a.xml", "<annotation>"), "is no XML"),
        (with_text(as_voc, "Annotations/a.xml", xml("cat", (1, 1, 9, float("inf")))), "four corners"),
        (with_text(as_voc, "list.txt", "images/a.xml\n"), "is not an image and an annotation"),
        (with_text(as_labelme, "json/b.json", "{}"), "is no file of labelme's"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_its_place(drawn: Callable[[Path], Path], said: str, root: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read(drawn(root), root)


def test_classes_that_are_only_seen_are_told_for_the_other_sets(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--root", str(root)]
    source = str(as_labelme(root))
    assert run(["data", "coco", source, str(tmp_path / "train.json"), *words]) == 0
    assert "give your other sets --classes cat, for the same numbers" in capsys.readouterr().out
    assert run(["data", "coco", source, str(tmp_path / "val.json"), *words, "--classes", "dog,cat"]) == 0
    assert "other sets" not in capsys.readouterr().out
    assert run(["data", "coco", str(as_ultralytics(root)), str(tmp_path / "yolo.json"), *words]) == 0
    assert "other sets" not in capsys.readouterr().out  # its file says which classes there are


def two_of_one_name(root: Path) -> Path:
    path = as_ultralytics(root)
    path.write_text(path.read_text().replace("dog", "cat"))
    return path


def two_of_one_id(root: Path) -> Path:
    path = as_coco(root)
    found = json.loads(path.read_text())
    found["images"] += [{**found["images"][0], "file_name": "images/b.jpg"}]
    path.write_text(json.dumps(found))
    return path


@pytest.mark.parametrize(
    ("drawn", "said"),
    [(two_of_one_name, "two classes of one name, cat"), (two_of_one_id, r"two pictures with the id \d+: whose boxes")],
)
def test_what_could_mean_two_things_is_refused(drawn: Callable[[Path], Path], said: str, root: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read(drawn(root), root)


def test_vocs_files_are_read_as_for_boxes_whatever_their_encoding(root: Path, tmp_path: Path) -> None:
    path = as_voc(root)
    path.write_bytes(path.read_text(encoding="utf-8-sig").encode("utf-16"))
    annotation = root / "Annotations" / "a.xml"
    head = '<?xml version="1.0" encoding="GB2312"?>'
    annotation.write_bytes(
        (head + annotation.read_text().replace("<object>", "<owner>猫</owner><object>")).encode("gb2312")
    )
    names = tmp_path / "names.txt"
    names.write_bytes("cat\r\ndog\r\n".encode("utf-16"))
    words = ["--root", str(root), "--classes", str(names)]
    assert run(["data", "coco", str(path), str(tmp_path / "a.json"), *words]) == 0
    assert len(json.loads((tmp_path / "a.json").read_text())["annotations"]) == 1


def test_a_name_that_json_cannot_hold_is_told(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = as_voc(root)
    odd = "images/\udcb9\udcb7.jpg"
    pil.new("RGB", (100, 50)).save(root / odd, format="JPEG")
    path.write_bytes(f"images/a.jpg Annotations/a.xml\n{odd} Annotations/b.xml\n".encode(errors="surrogateescape"))
    assert run(["data", "coco", str(path), str(tmp_path / "a.json"), "--root", str(root)]) == 0
    assert "JSON knows no other: rename it" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["json/a.json", "json"])
def test_annotations_are_never_written_over(name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_labelme(root)
    before = (root / "json" / "a.json").read_bytes()
    assert run(["data", "coco", str(root / name), str(root / "json" / "a.json"), "--root", str(root)]) == 2
    assert "is the file itself" in capsys.readouterr().err
    assert (root / "json" / "a.json").read_bytes() == before


def test_a_box_set_is_plain_data(root: Path) -> None:
    found: Any = read(as_coco(root), root)
    assert isinstance(found, BoxSet) and found.form == "coco" and found.left_out == {}
