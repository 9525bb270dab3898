"""Annotations as the world has them: what would be read as another box, another class or no object is named or read
right."""

import json
from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.data import box_files
from provision.data.box_set import BoxSet
from provision.data.voc_xml import parsed
from tests.unit import data_kit as kit
from tests.unit.test_data_boxes import made, picture, xml

PLAIN = [[0.1, 0.1, 0.5, 0.5]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    picture(tmp_path / "a.jpg")  # 100 x 60
    return tmp_path


def read(source: Path, root: Path) -> BoxSet:
    return box_files.read(source, root)


# VOC


@pytest.mark.parametrize("head", ['<annotation xmlns="http://x/y">', '<v:annotation xmlns:v="http://x/y">'])
def test_an_annotation_with_namespaces_has_its_objects(head: str, root: Path) -> None:
    text = xml((10, 6, 50, 30)).replace("<annotation>", head)
    if head.startswith("<v:"):
        text = text.replace("</annotation>", "</v:annotation>").replace("<object>", "<v:object>")
        text = text.replace("</object>", "</v:object>")
    assert made(root, text) == PLAIN


@pytest.mark.parametrize("text", ["<foo/>", "<annotations><image name='a.jpg'><box xtl='1'/></image></annotations>"])
def test_xml_of_another_kind_is_no_image_without_objects(text: str, root: Path) -> None:
    with pytest.raises(ValueError, match=r"is no annotation of VOC's form: it begins with <(foo|annotations)>"):
        parsed(text.encode())
    with pytest.raises(UsageError, match="no annotation of VOC's form"):
        made(root, text)


def test_a_name_that_is_long_is_cut_in_the_message(root: Path) -> None:
    with pytest.raises(UsageError, match=r"has an object 'x{60}…', which") as caught:
        made(root, xml((10, 6, 50, 30), name="x" * 10_000))
    assert len(caught.value.what) < 400


def test_objects_without_a_name_are_no_class(root: Path) -> None:
    (root / "a.xml").write_text(
        xml((10, 6, 50, 30)).replace("</annotation>", "") + xml((1, 1, 9, 9), name=" ")[len("<annotation>") :]
    )
    found = read(kit.write(root / "list.txt", "a.jpg a.xml"), root)
    assert [box.name for box in found.images[0].boxes] == ["cat"] and found.left_out == {"without a name": 1}


# COCO


def coco(root: Path, **change: object) -> Path:
    """A file of one cat, with other lists."""
    lists = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 60}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 6, 40, 24], "iscrowd": 0}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (root / "a.json").write_text(json.dumps(lists | change))
    return root / "a.json"


def box(*numbers: float, category: int = 1) -> dict[str, object]:
    return {"id": 1, "image_id": 1, "category_id": category, "bbox": numbers, "iscrowd": 0}


def test_cocos_boxes_between_0_and_1_are_no_pixels(root: Path) -> None:
    with pytest.raises(UsageError, match="has boxes between 0 and 1"):
        read(coco(root, annotations=[box(0.1, 0.1, 0.4, 0.4)]), root)
    assert read(coco(root, annotations=[box(0, 0, 1, 1)]), root).images[0].boxes  # one pixel


def test_an_id_of_two_categories_is_refused_and_numbers_are_names(root: Path) -> None:
    two = [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]
    with pytest.raises(UsageError, match="has two categories with the id 1, 'cat' and 'dog'"):
        read(coco(root, categories=two), root)
    assert read(coco(root, categories=[{"id": 1, "name": 5}]), root).names == ["5"]
    none = coco(root, categories=[{"id": 1, "name": None}, {"id": 2, "name": "dog"}], annotations=[
        box(1, 1, 9, 9), box(2, 2, 9, 9, category=2)
    ])  # fmt: skip
    assert read(none, root).left_out == {"of a category that is not in the file, or has no name": 1}


def test_a_category_without_a_name_and_json_in_utf16_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = coco(root, categories=[{"id": 1, "name": " "}])
    run(["data", "coco-check", str(path)])
    assert "a category without a name" in " ".join(capsys.readouterr().out.split())
    path.write_bytes(path.read_text().encode("utf-16-le"))
    assert run(["data", "coco-check", str(path)]) == 2
    assert "is in UTF-16" in capsys.readouterr().err


def test_a_file_name_that_cannot_be_one_is_bad_and_stops_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [{"id": 2, "file_name": "a\0.jpg", "width": 1, "height": 1}]
    path = coco(root, images=[*images, {"id": 1, "file_name": "a.jpg", "width": 100, "height": 60}])
    words = ["--train", str(path), "--test", str(path), "--root", str(root)]
    assert run(["data", "boxes", str(root / "db"), *words]) == 0
    assert "null byte" in (root / "db/bad.txt").read_text()


def test_a_class_called_background_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = coco(root, categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "background"}])
    words = ["--train", str(path), "--test", str(path), "--root", str(root)]
    assert run(["data", "boxes", str(root / "db"), *words]) == 2
    assert "a class is called background" in capsys.readouterr().err
    assert run(["data", "boxes", str(root / "db"), *words, "--classes", "cat", "--leave-out-others"]) == 0


# YOLO


def yolo(root: Path, line: str) -> Path:
    (root / "images").mkdir(exist_ok=True)
    picture(root / "images/a.jpg")
    kit.write(root / "labels/a.txt", line)
    kit.write(root / "labels/classes.txt", "cat", "dog")
    return root / "images"


def test_a_folder_of_images_with_labels_beside_it_is_yolos(root: Path) -> None:
    (one,) = read(yolo(root, "1 0.5 0.5 0.2 0.2"), root).images
    assert one.image == "images/a.jpg" and [box.name for box in one.boxes] == ["dog"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1.5 0.5 0.5 0.2 0.2", "is no object"), ("-0.5 0.5 0.5 0.2 0.2", "is no object"),
        ("0 0.5 0.5 0.2 0.2 0.1 0.1 2 0.3 0.3 2", "2 is no share of a picture, but a keypoint's mark"),
    ],
)  # fmt: skip
def test_numbers_that_are_no_class_and_no_polygon_are_refused(line: str, said: str, root: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read(yolo(root, line), root)


def test_yolos_files_may_be_of_windows_and_keypoints_are_refused(root: Path) -> None:
    folder = yolo(root, "0 0.5 0.5 0.2 0.2")
    for name in ("a.txt", "classes.txt"):
        path = root / "labels" / name
        path.write_bytes(path.read_text().replace("\n", "\r\n").encode("utf-16"))
    (root / "list.txt").write_bytes("images/a.jpg\r\n".encode("utf-16"))
    for source in (folder, root / "list.txt"):
        assert [box.name for box in read(source, root).images[0].boxes] == ["cat"]
    pose = kit.write(root / "data.yaml", "train: images", "names: [cat, dog]", "kpt_shape: [17, 3]")
    with pytest.raises(UsageError, match="is of keypoints"):
        read(pose, root)
    kit.write(root / "list.txt", "images/A.JPG")
    with pytest.raises(UsageError, match=r"has a file of labels; there is a\.jpg, in other capitals"):
        read(root / "list.txt", root)


# labelme


def labelme(root: Path, *points: tuple[float, float], form: str = "rectangle", label: str = "cat") -> Path:
    folder = root / "labelme"
    folder.mkdir(exist_ok=True)
    picture(folder / "a.jpg")
    shapes = [{"label": label, "points": points, "shape_type": form}]
    (folder / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "a.jpg"}))
    (folder / "._a.json").write_bytes(b"\0\5\x16\7")  # of macOS
    return folder


def test_rectangles_of_four_points_and_turned_ones_are_boxes(root: Path) -> None:
    corners = ((10.0, 10.0), (50.0, 10.0), (50.0, 30.0), (10.0, 30.0))
    (found,) = read(labelme(root, *corners), root).images[0].boxes
    assert found.corners == (10, 10, 50, 30) and found.polygons == ()
    (found,) = read(labelme(root, (30, 0), (60, 30), (30, 60), (0, 30), form="rotation"), root).images[0].boxes
    assert found.corners == (0, 0, 60, 60) and found.polygons == ((30, 0, 60, 30, 30, 60, 0, 30),)
    with pytest.raises(UsageError, match="has no object"):
        read(labelme(root, (1, 1), (9, 9), label=""), root)


@pytest.mark.parametrize("name", ["a.txt", "classes.txt"])
def test_yolos_files_in_a_code_page_are_refused(name: str, root: Path) -> None:
    """Their names would go into JSON, which has no bytes."""
    folder = yolo(root, "0 0.5 0.5 0.2 0.2")
    (root / "labels" / name).write_bytes("狗\n".encode("gbk"))
    with pytest.raises(UsageError, match=r"is no text in UTF-8 \(line 1\)"):
        read(folder, root)
