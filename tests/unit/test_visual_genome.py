"""Visual Genome becomes COCO annotations of chosen classes; what is left out is counted by its cause."""

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.data import classes as lists
from provision.data.coco_check import check
from provision.data.visual_genome import Wanted, clip, convert, file_name, held_out

pytest.importorskip("ijson")

URL = "https://cs.stanford.edu/people/rak248/VG_100K{}/{}.jpg"
WORN = {"shirt": ("shirts", "t-shirt"), "hat": ("Cap  of wool",), "tie": ()}


def thing(number: int, *names: str, box: tuple[float, ...] = (10, 20, 30, 40), merged: list[int] | None = None) -> Any:
    x, y, w, h = box
    return {"object_id": number, "x": x, "y": y, "w": w, "h": h, "names": list(names), "synsets": ["shirt.n.01"],
            "merged_object_ids": merged or []}  # fmt: skip


# of both versions: 1.0 calls numbers `id`
IMAGES = [
    {"image_id": 7, "url": URL.format("_2", 2370463), "width": 100, "height": 80, "coco_id": None, "flickr_id": 1},
    {"id": 3, "url": URL.format("", 3), "width": 50, "height": 50},
    {"image_id": 9, "url": URL.format("", 9), "width": 50, "height": 50},
]
OBJECTS = [
    {"image_id": 7, "image_url": "x", "objects": [
        thing(1, "man"), thing(2, "Shirt "), thing(3, "garment", "cap of wool", "shirt"),
        thing(4, "t-shirt", box=(-5, 70, 30, 40)), thing(5, "shirt", box=(200, 0, 5, 5)),
        thing(6, "tie", box=(3, 3, 1, 9)), thing(7, "shirts", merged=[2]), thing(8, "hat", merged=[4]),
    ]},
    {"id": 3, "objects": [{"id": 11, "x": 1.5, "y": 2, "w": 10, "h": 10, "names": ["hat"]}]},
    {"image_id": 9, "objects": [thing(21, "tree")]},
    {"image_id": 404, "objects": [thing(31, "shirt")]},
]  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    objects, images, chosen = tmp_path / "objects.json", tmp_path / "image_data.json", tmp_path / "worn.yaml"
    objects.write_text(json.dumps(OBJECTS))
    images.write_text(json.dumps(IMAGES))
    chosen.write_text("shirt: [shirts, t-shirt]\nhat: [Cap  of wool]\ntie:\n")
    return objects, images, chosen


def command(files: tuple[Path, Path, Path], out: Path, *more: str) -> int:
    objects, images, chosen = map(str, files)
    words = ["--objects", objects, "--images", images, "--classes", chosen, str(out), *more]
    return run(["data", "visual-genome", *words])


def test_objects_become_annotations(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    report = convert(files[0], files[1], tmp_path / "out.json", Wanted(WORN))
    made = json.loads((tmp_path / "out.json").read_text())
    assert "visualgenome.org" not in json.dumps(made["info"])
    assert made["categories"] == [
        {"id": 1, "name": "shirt", "supercategory": "visual genome"},
        {"id": 2, "name": "hat", "supercategory": "visual genome"},
        {"id": 3, "name": "tie", "supercategory": "visual genome"},
    ]
    # the file's name and folder are the url's, not the id's; pictures without such objects are left out
    assert made["images"] == [
        {"id": 3, "file_name": "VG_100K/3.jpg", "width": 50, "height": 50},
        {"id": 7, "file_name": "VG_100K_2/2370463.jpg", "width": 100, "height": 80},
    ]
    got = [(one["id"], one["image_id"], one["category_id"], one["bbox"]) for one in made["annotations"]]
    assert got == [
        (1, 3, 2, [1.5, 2, 10, 10]),
        (2, 7, 2, [10, 20, 30, 40]),  # of several names the first that a class knows
        (3, 7, 1, [0, 70, 25, 10]),  # clipped
        (4, 7, 1, [10, 20, 30, 40]),  # 7 stands for 2 as well
        (5, 7, 2, [10, 20, 30, 40]),  # 8 is merged with 4, but 4 is of another class: both stay
    ]
    first = made["annotations"][1]
    assert (first["area"], first["iscrowd"]) == (1200, 0)
    assert first["segmentation"] == [[10, 20, 40, 20, 40, 60, 10, 60]]
    assert dict(report.dropped) == {
        "the same thing once more (merged_object_ids)": 1,
        "its box is empty, or outside of the picture": 1,
        "its box is narrower than 2 pixels": 1,
        "its picture is not in image_data": 1,
    }
    assert (report.objects, report.elsewhere, report.clipped) == (11, 2, 1)
    assert report.classes == {
        "shirt": {"annotations": 2, "images": 1}, "hat": {"annotations": 3, "images": 2},
        "tie": {"annotations": 0, "images": 0},
    }  # fmt: skip


def test_detectron_can_train_with_what_comes_out(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    convert(files[0], files[1], tmp_path / "out.json", Wanted(WORN))
    findings, counts = check(tmp_path / "out.json", None, None, 4)
    assert {one.level for one in findings} == {"note"}
    assert counts == {"images": 2, "annotations": 5, "categories": 3}


def test_two_that_name_each_other_are_one(tmp_path: Path, files: tuple[Path, Path, Path]) -> None:
    twins = [thing(4, "hat", merged=[4, 5]), thing(5, "hat", merged=[4, 5]), thing(6, "hat", merged=[5])]
    files[0].write_text(json.dumps([{"image_id": 7, "objects": twins}]))
    report = convert(files[0], files[1], tmp_path / "out.json", Wanted(WORN))
    assert report.classes["hat"]["annotations"] == 2
    assert report.dropped["the same thing once more (merged_object_ids)"] == 1


@pytest.mark.parametrize("more", [(), ("--stream",)])
@pytest.mark.parametrize("packed", ["", ".zip", ".gz"])
def test_both_ways_and_packed_files_give_the_same_bytes(
    packed: str, more: tuple[str, ...], files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    convert(files[0], files[1], tmp_path / "plain.json", Wanted(WORN))
    objects = files[0].with_name(f"objects.json{packed}")
    if packed == ".zip":
        with zipfile.ZipFile(objects, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(files[0], "objects.json")
            archive.writestr("__MACOSX/._objects.json", "no")
    elif packed == ".gz":
        objects.write_bytes(gzip.compress(files[0].read_bytes()))
    assert command((objects, *files[1:]), tmp_path / "other.json", *more) == 0
    assert (tmp_path / "other.json").read_bytes() == (tmp_path / "plain.json").read_bytes()


def test_the_order_of_the_input_does_not_matter(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    convert(files[0], files[1], tmp_path / "one.json", Wanted(WORN))
    files[0].write_text(json.dumps(OBJECTS[::-1]))
    files[1].write_text(json.dumps(IMAGES[::-1]))
    convert(files[0], files[1], tmp_path / "two.json", Wanted(WORN))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_empty_pictures_on_purpose_and_one_folder_for_all(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    assert command(files, tmp_path / "out.json", "--keep-empty", "--flat") == 0
    names = [one["file_name"] for one in json.loads((tmp_path / "out.json").read_text())["images"]]
    assert names == ["3.jpg", "2370463.jpg", "9.jpg"]


def test_a_part_is_held_out_and_stays_so(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    many = [{**IMAGES[2], "image_id": n} for n in range(1, 1001)]
    files[1].write_text(json.dumps(many))
    files[0].write_text(json.dumps([{"image_id": n, "objects": [thing(n, "hat")]} for n in range(1, 1001)]))
    out = tmp_path / "out.json"
    convert(files[0], files[1], out, Wanted(WORN, val_fraction=0.2))
    train, val = (json.loads(path.read_text()) for path in (out, tmp_path / "out-val.json"))
    ids = [{one["id"] for one in part["images"]} for part in (train, val)]
    assert ids[0] | ids[1] == set(range(1, 1001))
    assert not ids[0] & ids[1]
    assert 150 < len(ids[1]) < 250
    for part in (train, val):
        assert {one["image_id"] for one in part["annotations"]} == {one["id"] for one in part["images"]}
    assert ids[1] == {n for n in range(1, 1001) if held_out(n, Wanted({"other": ()}, val_fraction=0.2))}
    assert ids[1] != {n for n in range(1, 1001) if held_out(n, Wanted(WORN, val_fraction=0.2, seed=2))}


def test_what_the_command_says(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(files, tmp_path / "out.json", "--dry-run") == 0
    assert "3 classes" in capsys.readouterr().out
    assert not (tmp_path / "out.json").exists()
    assert command(files, tmp_path / "out.json") == 0
    said = capsys.readouterr().out
    assert "out.json: 2 pictures, 5 annotations" in said
    assert "NUM_CLASSES is 4" in said
    assert "not Mask R-CNN" in said
    assert "its picture is not in image_data" in said
    assert command(files, tmp_path / "out.json", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["train"] == {"images": 2, "annotations": 5}
    assert told["classes"]["hat"] == {"annotations": 3, "images": 2}


@pytest.mark.parametrize("more", [(), ("--stream",)])
@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ([{"image_id": 1, "objects": [{"x": 1, "y": "2", "w": 3, "h": 4}]}], "picture 0: Expected"),
        ([{"image_id": 1, "objects": []}, {"image_id": 2}], "missing required field 'objects'"),
        ([{"objects": [thing(1, "hat")]}], "without image_id"),
        ({"image_id": 1}, "is not Visual Genome's objects.json"),
    ],
)
def test_input_of_something_else_names_the_place(
    objects: Any, said: str, more: tuple[str, ...], files: tuple[Path, Path, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    files[0].write_text(json.dumps(objects))
    assert command(files, tmp_path / "out.json", *more) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("more", [(), ("--stream",), ("--keep-empty",)])
def test_a_file_without_an_object_is_not_written(
    more: tuple[str, ...], files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].write_text(json.dumps([{"image_id": 7, "objects": [thing(1, "tree"), thing(2, "hat", box=(9, 9, 1, 1))]}]))
    assert command(files, tmp_path / "out.json", *more) == 2
    said = capsys.readouterr().err
    assert "none of 2 objects is of one of the 3 classes (1 left out: its box is narrower" in said
    files[0].write_text(json.dumps([]))
    assert command(files, tmp_path / "out.json", *more) == 2
    files[0].write_text(json.dumps([{"image_id": 7, "objects": [thing(1, "hat")]}]))
    assert command(files, tmp_path / "out.json", "--val-fraction", "0.00001", *more) == 2
    assert "out-val.json would have no object" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("more", [(), ("--stream",)])
def test_a_file_that_was_cut_off(
    more: tuple[str, ...], files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].write_text(files[0].read_text()[:-100])
    assert command(files, tmp_path / "out.json", *more) == 2
    assert "is not Visual Genome's objects.json" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


def test_files_that_are_missing_or_swapped(
    files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command((files[1], files[0], files[2]), tmp_path / "out.json") == 2
    assert "is not Visual Genome's image_data.json" in capsys.readouterr().err
    assert command((tmp_path / "none.json", *files[1:]), tmp_path / "out.json") == 2
    assert "provision data get visual-genome" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.json", "[]")
        archive.writestr("b.json", "[]")
    assert command((tmp_path / "two.zip", *files[1:]), tmp_path / "out.json") == 2
    assert "holds 2 JSON files" in capsys.readouterr().err


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_read_is_never_written_over(number: int, files: tuple[Path, Path, Path]) -> None:
    before = files[number].read_bytes()
    with pytest.raises(UsageError, match="is the file itself"):
        convert(files[0], files[1], files[number], Wanted(WORN))
    assert files[number].read_bytes() == before


def test_our_list_of_clothing_has_38_classes_and_no_name_twice() -> None:
    ours = lists.load("clothing")
    assert len(ours) == 38
    owners = lists.owners(ours)
    assert owners["t-shirt"] == owners["shirt"] == 1
    assert "ours" in lists.OURS["clothing"].read_text()


def test_lists_of_classes_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    for text, said in (
        ("shirt: [tee]\nhat: [ Tee ]\n", "'tee' belongs to 'shirt' and to 'hat'"),
        ("", "names no class"),
        ("shirt: tee\n", "Expected"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            lists.load(str(path))
    with pytest.raises(UsageError, match="no list of classes 'cloths'"):
        lists.load("cloths")


def test_boxes_and_names() -> None:
    assert clip((-3, -4, 10, 20), 5, 6) == (0, 0, 5, 6)
    assert clip((5, 0, 3, 3), 5, 6)[2] <= 0
    assert file_name(URL.format("", 1) + "?x=1") == "VG_100K/1.jpg"


@pytest.mark.parametrize("stream", [False, True])
def test_packed_and_marked_files_are_read_whatever_their_names(
    stream: bool, files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    wanted = Wanted(lists.load(str(files[2])))
    convert(files[0], files[1], tmp_path / "plain.json", wanted, stream)
    objects, images = (path.read_bytes() for path in files[:2])
    (tmp_path / "a.json").write_bytes(gzip.compress(b"\xef\xbb\xbf" + objects))
    with zipfile.ZipFile(tmp_path / "b.ZIP", "w") as out:
        out.writestr("image_data.json", b"\xef\xbb\xbf" + images)
    convert(tmp_path / "a.json", tmp_path / "b.ZIP", tmp_path / "packed.json", wanted, stream)
    assert (tmp_path / "packed.json").read_bytes() == (tmp_path / "plain.json").read_bytes()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("left", "number", "said"), [(-20, "30", "it is cut off"), (None, "NaN", "it is no JSON")])
def test_a_file_that_is_no_json_has_the_mend_of_its_fault(
    left: int | None, number: str, said: str, stream: bool, files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    files[0].write_text(files[0].read_text().replace('"w": 30', f'"w": {number}')[:left])
    with pytest.raises(UsageError) as caught:
        convert(files[0], files[1], tmp_path / "out.json", Wanted(lists.load(str(files[2]))), stream)
    assert said in caught.value.mend


def test_two_pictures_of_one_id_and_no_address_are_refused(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    wanted = Wanted(lists.load(str(files[2])))
    files[1].write_text(json.dumps([*IMAGES, {**IMAGES[0], "width": 5}]))
    with pytest.raises(UsageError, match="two pictures with the image_id 7"):
        convert(files[0], files[1], tmp_path / "out.json", wanted)
    files[1].write_text(json.dumps([*IMAGES, IMAGES[0]]))  # the same one
    convert(files[0], files[1], tmp_path / "out.json", wanted)
    with pytest.raises(UsageError, match="whose url is ''"):
        file_name("")


@pytest.mark.parametrize("least", ["nan", "-1"])
def test_a_least_size_that_is_none_is_refused(
    least: str, files: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(files, tmp_path / "out.json", "--min-size", least) == 2
    assert "is no number of pixels" in capsys.readouterr().err
