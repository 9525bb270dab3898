"""`data coco-check`: what Detectron stumbles over or drops is named, and what can be mended is."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provision.cli import run
from provision.data import coco_kinds as kinds
from provision.data import coco_masks
from provision.data.coco_check import Picture, check, dropped

pil = pytest.importorskip("PIL.Image")

BOX = [10, 10, 50, 40]
MASK = [[10, 10, 60, 12, 58, 50, 11, 48]]


def annotation(number: int = 1, **more: Any) -> dict[str, Any]:
    plain = {"id": number, "image_id": 1, "category_id": 1, "bbox": BOX, "area": 1900, "iscrowd": 0,
             "segmentation": MASK}  # fmt: skip
    return {key: value for key, value in {**plain, **more}.items() if value is not ...}


def written(folder: Path, *annotations: Any, **more: Any) -> Path:
    whole = {
        "info": {"year": 2014}, "images": [{"id": 1, "file_name": "a/1.jpg", "width": 100, "height": 80}],
        "annotations": list(annotations), "categories": [{"id": 1, "name": "shirt"}], **more,
    }  # fmt: skip
    path = folder / "set.json"
    path.write_text(json.dumps(whole))
    return path


def found(path: Path, **more: Any) -> set[tuple[str, str]]:
    findings, _ = check(path, more.get("folder"), more.get("sample"), more.get("num_classes"))
    return {(one.level, one.what) for one in findings}


def test_a_sound_file_has_nothing_and_says_its_number_of_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, annotation())
    assert run(["data", "coco-check", str(path), "--num-classes", "2"]) == 0
    said = capsys.readouterr().out
    assert "1 pictures, 1 annotations, 1 categories: NUM_CLASSES 2" in said
    assert "all that Detectron needs is there" in said


@pytest.mark.parametrize("key", ["id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"])
def test_each_key_that_detectron_reads_is_missed(key: str, tmp_path: Path) -> None:
    path = written(tmp_path, annotation(), annotation(2, **{key: ...}))
    assert ("error", f"an annotation without '{key}': Detectron stops with KeyError") in found(path)


@pytest.mark.parametrize("key", ["id", "file_name", "width", "height"])
def test_each_key_of_a_picture_is_missed(key: str, tmp_path: Path) -> None:
    picture = {"id": 2, "file_name": "2.jpg", "width": 5, "height": 5}
    del picture[key]
    path = written(tmp_path, annotation(), images=[{"id": 1, "file_name": "1.jpg", "width": 99, "height": 80}, picture])
    assert ("error", f"a picture without '{key}': Detectron stops with KeyError") in found(path)


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"area": 0}, kinds.NO_AREA),
        ({"bbox": [10, 10, 1, 40]}, kinds.TINY),
        ({"bbox": [99, 10, 30, 40]}, kinds.TINY),
        ({"bbox": [10, 10, 0, 40]}, kinds.EMPTY),
        ({"bbox": [200, 10, 50, 40]}, kinds.OUTSIDE),
        ({"bbox": [80, 10, 50, 40]}, kinds.SPILLS),
        ({"bbox": [10, 10, 50]}, kinds.NO_BOX),
        ({"bbox": None}, kinds.NO_BOX),
        ({"image_id": 9}, kinds.LOST),
        ({"image_id": [1]}, kinds.LOST),
        ({"category_id": 9}, kinds.NO_CATEGORY),
        ({"iscrowd": 2}, kinds.CROWD),
        ({"ignore": 1}, kinds.IGNORED),
        ({"segmentation": []}, kinds.NO_MASK),
        ({"segmentation": [[1, 2, 3, 4]]}, kinds.NO_MASK),
        ({"segmentation": {"size": [80, 100], "counts": [0, 10, 7990]}}, kinds.PACKED),
        ({"segmentation": {"size": [80, 100], "counts": "abc"}}, kinds.BAD_RUNS),
        ({"segmentation": {"size": [80, 100], "counts": [10, 20, 53]}}, kinds.BAD_RUNS),
        ({"segmentation": {"size": [100, 80], "counts": [0, 10, 7990]}}, kinds.BAD_RUNS),
        ({"segmentation": {"counts": [0, 10, 7990]}}, kinds.BAD_RUNS),
        ({"segmentation": None}, kinds.NO_SEGMENTATION),
        ({"segmentation": {}}, kinds.NO_SEGMENTATION),
        ({"segmentation": "[[1]]"}, kinds.NO_SEGMENTATION),
        ({"segmentation": [[[10, 10], [60, 12], [58, 50], [11, 48], [9, 9], [8, 8]]]}, kinds.NO_POLYGON),
        ({"segmentation": [[10, 10, None, 12, 58, 50]]}, kinds.NO_POLYGON),
        ({"segmentation": [[10, 10, 60, 12, 58, 50, 9]]}, kinds.NO_POLYGON),
        ({"segmentation": [10, 10, 60, 12, 58, 50]}, kinds.NO_POLYGON),
        ({"segmentation": [[80, 60, 90, 60, 90, 70]]}, kinds.FAR),
        ({"image_id": "1"}, kinds.TEXT_ID),
        ({"category_id": 1.0}, kinds.TEXT_ID),
        ({"id": 1}, kinds.TWICE["annotations"]),
    ],
)
def test_each_thing_that_is_wrong_with_an_object(more: dict[str, Any], kind: kinds.Kind, tmp_path: Path) -> None:
    path = written(tmp_path, annotation(), annotation(**{"id": 2, **more}))
    assert (kind.level, kind.what) in found(path)


def test_run_length_masks_of_crowds_are_as_they_should_be(tmp_path: Path) -> None:
    mask = {"size": [80, 100], "counts": [0, 10, 7990]}
    assert found(written(tmp_path, annotation(), annotation(2, iscrowd=1, segmentation=mask))) == set()


def test_categories_and_pictures_that_are_wrong(tmp_path: Path) -> None:
    path = written(
        tmp_path, annotation(),
        images=[{"id": 1, "file_name": "1.jpg", "width": 100, "height": 80},
                {"id": 1, "file_name": "1.jpg", "width": 100, "height": 80},
                {"id": 2, "file_name": "../2.jpg", "width": 0, "height": 80}, "3.jpg"],
        categories=[{"id": 1, "name": "shirt"}, {"id": 2, "name": "shirt"}, {"id": 3, "name": "__background__"},
                    {"id": "four", "name": "hat"}],
    )  # fmt: skip
    said = {what for _, what in found(path)}
    for kind in (kinds.TWICE["images"], kinds.FILE_TWICE, kinds.ELSEWHERE, kinds.NO_SIZE, kinds.NOT_A_MAPPING,
                 kinds.SAME_NAME, kinds.BACKGROUND, kinds.UNUSED, kinds.BARE):  # fmt: skip
        assert kind.what in said
    assert "categories: an id that is no whole number" in said


@pytest.mark.parametrize(
    ("given", "effect"), [(1, "could not broadcast input array"), (81, "trains outputs that mean nothing")]
)
def test_a_wrong_number_of_classes_and_what_it_does(
    given: int, effect: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, annotation())
    assert run(["data", "coco-check", str(path), "--num-classes", str(given), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [one["level"] for one in told["findings"]] == ["error"]
    assert effect in told["findings"][0]["what"]
    assert told["findings"][0]["mend"] == "set MODEL.NUM_CLASSES 2"


def test_boxes_that_pose_as_masks_are_told(tmp_path: Path) -> None:
    x, y, w, h = BOX
    box = [[x, y, x, y + h, x + w, y + h, x + w, y]]
    assert found(written(tmp_path, annotation(segmentation=box))) == {("note", kinds.ALL_BOXES.what)}


def test_a_file_of_which_nothing_is_left(tmp_path: Path) -> None:
    assert ("error", kinds.NOTHING.what) in found(written(tmp_path, annotation(area=0)))
    assert ("error", kinds.NOTHING.what) in found(written(tmp_path))
    assert ("error", kinds.NOTHING.what) in found(written(tmp_path, annotation(), images=[]))
    assert ("error", kinds.NOTHING.what) in found(written(tmp_path, annotation(image_id=9), annotation(2, image_id=8)))


def test_pictures_are_looked_for_and_measured(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    pil.new("RGB", (100, 80)).save(folder / "1.png")
    pil.new("RGB", (80, 100)).save(folder / "2.png")
    (folder / "3.png").write_bytes(b"<html>not found</html>")
    images = [{"id": n, "file_name": f"{n}.png", "width": 100, "height": 80} for n in range(1, 5)]
    path = written(tmp_path, *(annotation(n, image_id=n) for n in range(1, 5)), images=images)
    findings, _ = check(path, folder, None, None)
    told = {one.what: one.examples for one in findings}
    assert told[kinds.MISSING.what] == ["4.png"]
    assert told[kinds.UNREADABLE.what] == ["3.png"]
    assert told[kinds.OTHER_SIZE.what] == ["2.png: 80 x 100, not 100 x 80"]
    assert len(told) == 3
    assert {one.what for one in check(path, folder, 1, None)[0]} == set()  # only the first is looked at


def test_many_of_one_kind_are_counted_and_some_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, annotation(), *(annotation(n, segmentation=...) for n in range(2, 50)))
    assert run(["data", "coco-check", str(path), "--json"]) == 2
    (one,) = json.loads(capsys.readouterr().out)["findings"]
    assert (one["count"], one["examples"]) == (48, ["annotations[1]", "annotations[2]", "annotations[3]"])
    assert run(["data", "coco-check", str(path)]) == 2
    said = capsys.readouterr().out
    assert "KeyError" in said
    assert "--fix OUT.json" in said


def test_a_mended_copy_passes_and_keeps_what_was_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "1.jpg").touch()
    images = [{"id": 1, "file_name": "1.jpg", "width": 100, "height": 80, "license": 3},
              {"id": 2, "file_name": "2.jpg", "width": 100, "height": 80}, {"id": 3, "file_name": "3.jpg"}]  # fmt: skip
    path = written(
        tmp_path, annotation(1, keypoints=[1, 2, 2]), annotation(1, segmentation=...),
        annotation(3, bbox=[80, 10, 50, 40], segmentation=[[80, 10, 99, 10, 99, 49, 80, 49]]),
        annotation(4, area=0, iscrowd=...), annotation(5, segmentation=[[1, 2], *MASK]),
        annotation(6, bbox=[10, 10, 1, 9]),
        annotation(7, image_id=2), annotation(8, category_id=5), annotation(9, bbox=...), images=images,
    )  # fmt: skip
    before = path.read_bytes()
    target = tmp_path / "mended.json"
    words = ["data", "coco-check", str(path), "--images", str(folder), "--fix", str(target)]
    run([*words, "--dry-run"])
    assert "would write" in capsys.readouterr().err
    assert not target.exists()
    assert run(words) == 2  # of the original
    said = capsys.readouterr().err
    assert "2 areas" not in said
    assert "1 areas taken from the box" in said
    assert "pictures left out (no such file)" in said
    mended = json.loads(target.read_text())
    assert path.read_bytes() == before
    assert mended["info"] == {"year": 2014}
    assert mended["images"] == images[:1]
    assert [one["id"] for one in mended["annotations"]] == [1, 10, 3, 4, 5]
    first, second, third, fourth, fifth = mended["annotations"]
    assert first == annotation(1, keypoints=[1, 2, 2])
    assert second["segmentation"] == [[10, 10, 60, 10, 60, 50, 10, 50]]
    assert third["bbox"] == [80, 10, 20, 40]
    assert (fourth["area"], fourth["iscrowd"]) == (2000, 0)
    assert fifth["segmentation"] == MASK
    assert {level for level, _ in found(target)} <= {"note"}


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_replaced(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = written(tmp_path, annotation()), tmp_path / "target"
    make(target)
    kind = target.stat().st_mode
    assert run(["data", "coco-check", str(path), "--fix", str(target)]) == 2
    assert "is a folder" in (said := capsys.readouterr().err) or "is no file that can be replaced" in said
    assert target.stat().st_mode == kind and not list(tmp_path.glob(".*"))


def test_a_mended_copy_does_not_guess_whose_objects_these_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = {"width": 100, "height": 80}
    images = [{"id": 1, "file_name": "1.jpg", **sides}, {"id": 1, "file_name": "other.jpg", **sides},
              {"id": 2, "file_name": "2.jpg", **sides}, {"id": 2, "file_name": "2.jpg", **sides}]  # fmt: skip
    path, target = written(tmp_path, annotation(1), annotation(2, image_id=2), images=images), tmp_path / "mended.json"
    run(["data", "coco-check", str(path), "--fix", str(target)])
    assert "2 pictures left out (another picture has their id" in capsys.readouterr().err
    mended = json.loads(target.read_text())
    assert [one["file_name"] for one in mended["images"]] == ["2.jpg"]
    assert [one["id"] for one in mended["annotations"]] == [2]


def test_sizes_that_are_texts_are_no_sizes_and_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pil.new("RGB", (100, 80)).save(tmp_path / "1.jpg")
    images = [{"id": 1, "file_name": "1.jpg", "width": "100", "height": "80"}]
    path = written(tmp_path, annotation(), images=images)
    errors = {what for level, what in found(path, folder=tmp_path) if level == "error"}
    assert errors == {kinds.NO_SIZE.what}
    assert run(["data", "coco-check", str(path), "--fix", str(tmp_path / "mended.json")]) == 2
    said = capsys.readouterr().err
    assert "1 pictures left out (no size)" in said and " 0 " not in said.replace("iscrowd 0", "")


def test_the_original_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, annotation())
    assert run(["data", "coco-check", str(path), "--fix", str(path)]) == 2
    assert "is the file itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is no file of COCO annotations"), ("{", "is no file of COCO annotations"),
        ('{"images": []}', "has no 'annotations'"),
        ('{"images": [], "annotations": [{"area": NaN}], "categories": []}', "is no file of COCO annotations"),
    ],
)  # fmt: skip
def test_files_of_something_else(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text(text)
    assert run(["data", "coco-check", str(tmp_path / "x.json")]) == 2
    assert said in capsys.readouterr().err
    assert run(["data", "coco-check", str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err


# photos that their EXIF turns


def photo(path: Path, width: int, height: int, orientation: int) -> None:
    exif = pil.Exif()
    exif[0x0112] = orientation
    pil.new("RGB", (width, height)).save(path, exif=exif)


@pytest.mark.parametrize(
    ("size", "orientation", "kind"),
    [
        ((60, 100), 6, kinds.TURNED), ((100, 60), 6, kinds.STORED_SIZE), ((60, 100), 8, kinds.TURNED),
        ((100, 60), 3, kinds.TURNED), ((100, 60), 1, None), ((50, 50), 6, kinds.OTHER_SIZE),
    ],
)  # fmt: skip
def test_a_photo_has_the_size_that_it_is_shown_with(
    size: tuple[int, int], orientation: int, kind: kinds.Kind | None, tmp_path: Path
) -> None:
    """As OpenCV reads it, and so Detectron."""
    cv2 = pytest.importorskip("cv2")
    photo(tmp_path / "1.jpg", 100, 60, orientation)
    images = [{"id": 1, "file_name": "1.jpg", "width": size[0], "height": size[1]}]
    path = written(tmp_path, annotation(bbox=[5, 5, 20, 20], segmentation=[[5, 5, 25, 5, 25, 20]]), images=images)
    findings, _ = check(path, tmp_path, None, None)
    assert [one.what for one in findings] == ([kind.what] if kind else [])
    read = cv2.imread(str(tmp_path / "1.jpg")).shape[1::-1]
    assert (read == size) == (kind in (None, kinds.TURNED))


def test_the_head_of_a_huge_picture_is_read_and_odd_names_are_told(tmp_path: Path) -> None:
    pil.new("1", (30_000, 20_000)).save(tmp_path / "huge.png")
    before = pil.MAX_IMAGE_PIXELS
    images = [{"id": 1, "file_name": "huge.png", "width": 30_000, "height": 20_000},
              {"id": 2, "file_name": "n" * 300, "width": 9, "height": 9},
              {"id": 3, "file_name": None, "width": 9, "height": 9}]  # fmt: skip
    findings, _ = check(written(tmp_path, annotation(), images=images), tmp_path, None, None)
    told = {one.what: one.examples for one in findings}
    assert told[kinds.MISSING.what] == ["n" * 300] and told[kinds.NO_NAME.what] == ["images[2]"]
    assert kinds.UNREADABLE.what not in told and kinds.OTHER_SIZE.what not in told
    assert before == pil.MAX_IMAGE_PIXELS


# what is meant otherwise


def test_boxes_that_are_two_corners_or_shares_are_recognised(tmp_path: Path) -> None:
    corners = [[10, 10, 60, 50], [50, 30, 90, 70], [5, 40, 99, 79], [60, 5, 95, 35]]
    assert ("error", kinds.CORNERS.what) in found(
        written(tmp_path, *(annotation(n, bbox=box) for n, box in enumerate(corners, 1)))
    )
    right = [[x, y, right - x, bottom - y] for x, y, right, bottom in corners]
    assert not {kinds.CORNERS.what, kinds.SHARES.what} & {
        what for _, what in found(written(tmp_path, *(annotation(n, bbox=box) for n, box in enumerate(right, 1))))
    }
    assert ("error", kinds.SHARES.what) in found(written(tmp_path, annotation(bbox=[0.1, 0.2, 0.5, 0.5])))


def test_ids_as_texts_are_told_and_written_as_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [{"id": "7", "file_name": "7.jpg", "width": 100, "height": 80}]
    path = written(
        tmp_path, annotation("3", image_id="7"), annotation("4", image_id=7.0, category_id="1"), images=images
    )  # type: ignore[arg-type]
    assert {what for _, what in found(path)} == {kinds.TEXT_ID.what}
    assert run(["data", "coco-check", str(path), "--fix", str(tmp_path / "mended.json")]) == 2
    assert "ids of annotations written as numbers" in capsys.readouterr().err
    mended = json.loads((tmp_path / "mended.json").read_text())
    assert [(one["id"], one["image_id"], one["category_id"]) for one in mended["annotations"]] == [(3, 7, 1), (4, 7, 1)]
    assert found(tmp_path / "mended.json") == set()


def test_a_mended_copy_has_something_or_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, annotation(image_id=9), annotation(2, bbox=None))
    assert run(["data", "coco-check", str(path), "--fix", str(tmp_path / "mended.json")]) == 2
    assert "nothing of" in (said := capsys.readouterr().err) and "their picture is not in the file" in said
    assert [one.name for one in tmp_path.iterdir()] == ["set.json"]


def test_masks_that_are_none_become_the_box_and_sound_ones_stay(tmp_path: Path) -> None:
    runs = {"size": [80, 100], "counts": [0, 10, 7990]}
    masks: list[Any] = [
        None,
        [[[10, 10], [60, 12], [58, 50]]],
        {"size": [1, 1], "counts": [5]},
        runs,
        [*MASK, [1, None]],
    ]
    path = written(tmp_path, *(annotation(n, segmentation=mask, iscrowd=1) for n, mask in enumerate(masks, 1)))
    run(["data", "coco-check", str(path), "--fix", str(tmp_path / "mended.json")])
    made = [one["segmentation"] for one in json.loads((tmp_path / "mended.json").read_text())["annotations"]]
    box = [[10, 10, 60, 10, 60, 50, 10, 50]]
    assert made == [box, box, box, runs, MASK]


def test_runs_are_counted_as_pycocotools_packs_them(tmp_path: Path) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    numpy = pytest.importorskip("numpy")
    random = numpy.random.RandomState(1)
    for share in (0.001, 0.5, 0.999):
        dots = numpy.asfortranarray(random.rand(80, 100) < share, dtype=numpy.uint8)
        dots[20:70, 30:80] ^= 1
        packed = mask.encode(dots)["counts"].decode()
        assert sum(coco_masks._unpacked(packed) or []) == 8000
        assert found(written(tmp_path, annotation(), annotation(2, iscrowd=1,
                     segmentation={"size": [80, 100], "counts": packed}))) == set()  # fmt: skip
        assert ("error", kinds.BAD_RUNS.what) in found(written(
            tmp_path, annotation(2, iscrowd=1, segmentation={"size": [80, 100], "counts": packed[:-1]})))  # fmt: skip


# files that cannot be read


def test_a_byte_order_mark_is_told_and_goes(tmp_path: Path) -> None:
    path = written(tmp_path, annotation())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert found(path) == {("error", kinds.MARKED.what)}
    run(["data", "coco-check", str(path), "--fix", str(tmp_path / "mended.json")])
    assert found(tmp_path / "mended.json") == set()


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        (gzip.compress, "gunzip"), (lambda data: data.decode().encode("utf-16"), "save it as UTF-8"),
        (lambda data: b"PK\x03\x04" + data, "unpack it"), (lambda data: data[:-40], "cut off"),
        (lambda data: data + b"\n" + data, "JSON Lines"), (lambda data: b"[" + data + b"]", "as detections are"),
        (lambda data: data.replace(b"1900", b"NaN"), "neither NaN nor comments"),
        (lambda data: data.replace(b"1900", b"1e400"), "mend the entry that begins with"),
        (lambda data: data.replace(b"shirt", b"caf\xe9"), "in UTF-8"),
    ],
)  # fmt: skip
def test_each_file_that_is_not_json_has_its_own_mend(
    change: Callable[[bytes], bytes], mend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, annotation())
    path.write_bytes(change(path.read_bytes()))
    assert run(["data", "coco-check", str(path)]) == 2
    assert mend in capsys.readouterr().err


def by_pixels(box: tuple[float, float, float, float], width: int, height: int) -> bool:
    """Whether a box is kept, by the corners as Detectron sees them: the last pixel is inside, and all are clipped."""
    x, y, w, h = box
    corners = [x, y, x + max(0, w - 1), y + max(0, h - 1)]
    left, top, right, bottom = (
        min(max(value, 0), limit - 1) for value, limit in zip(corners, [width, height] * 2, strict=True)
    )
    return right > left and bottom > top


_SIDE = st.floats(-30, 130).map(lambda value: round(value, 1))


@example((0.0, 15.1, 2.0, 1.0), 2, 17)
@given(st.tuples(_SIDE, _SIDE, _SIDE, _SIDE), st.integers(1, 100), st.integers(1, 100))
def test_a_box_is_kept_when_detectron_keeps_it(box: tuple[float, float, float, float], width: int, height: int) -> None:
    assert (dropped(box, Picture(width, height)) in (None, kinds.SPILLS)) == by_pixels(box, width, height)
