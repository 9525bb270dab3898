"""VOC's label pictures become class indices, and its development kit becomes lists."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from infra.errors import UsageError
from provision.cli import run
from provision.data import voc
from provision.data.devkit import Wanted, write
from provision.data.devkit import read as lists
from provision.data.label_pictures import classes_of
from provision.data.labels import Rule, convert
from tests.unit import data_kit as kit

CLASSES = np.array([[0, 1, 7, 15], [20, 255, 255, 0]], np.uint8)


def converted(tmp_path: Path, mode: str = "P", rule: Rule = Rule()) -> list[list[int]]:  # noqa: B008  frozen
    kit.label_picture(tmp_path / "in" / "deep" / "a.png", CLASSES, mode)
    convert(tmp_path / "in", tmp_path / "out", rule)
    written = Image.open(tmp_path / "out/deep/a.png")
    assert written.mode == "L"  # Caffe and OpenCV would read a palette's colours
    return np.asarray(written).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_palettes_colours_and_numbers_become_the_same_classes(tmp_path: Path, mode: str) -> None:
    assert converted(tmp_path, mode) == CLASSES.tolist()


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
@pytest.mark.parametrize(("others", "left"), [("background", 0), ("ignore", 255)])
def test_chosen_classes_are_numbered_as_they_are_named(tmp_path: Path, mode: str, others: str, left: int) -> None:
    rule = Rule(classes=("car", "aeroplane"), others=others)
    assert converted(tmp_path, mode, rule) == [[0, 2, 1, left], [left, 255, 255, 0]]


def test_a_palette_in_another_order_is_read_by_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([*voc.PALETTE[15], *voc.PALETTE[255], *voc.PALETTE[7]])
    picture.save(tmp_path / "a.png")
    convert(tmp_path / "a.png", tmp_path / "out.png", Rule())
    assert np.asarray(Image.open(tmp_path / "out.png")).tolist() == [[15, 255, 7]]


def test_every_colour_of_a_class_and_no_other(tmp_path: Path) -> None:
    picture = np.zeros((16, 21, 3), np.uint8)
    for index in range(21):
        picture[:, index] = voc.PALETTE[index]
    Image.fromarray(picture).save(tmp_path / "a.png")
    made = convert(tmp_path / "a.png", tmp_path / "out.png", Rule())
    assert made.pixels == dict.fromkeys(range(21), 16)
    picture[3, 4] = (1, 2, 3)
    picture[5:7, 4] = (9, 9, 9)
    Image.fromarray(picture).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"a.png .*colour 1,2,3 in 1 pixels, colour 9,9,9 in 2 pixels") as caught:
        convert(tmp_path / "a.png", tmp_path / "other.png", Rule())
    assert "--unknown ignore" in caught.value.mend


@pytest.mark.parametrize(("unknown", "value"), [("ignore", 255), ("background", 0)])
def test_unknown_colours_become_what_was_asked(tmp_path: Path, unknown: str, value: int) -> None:
    Image.fromarray(np.full((1, 1, 3), 77, np.uint8)).save(tmp_path / "a.png")
    assert convert(tmp_path / "a.png", tmp_path / "b.png", Rule(unknown=unknown)).pixels == {value: 1}


def test_a_palette_of_other_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 3]], np.uint8))
    picture.putpalette([10, 20, 30] * 4)
    picture.save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"colour 10,20,30 \(number 0\) in 1 pixels"):
        convert(tmp_path / "a.png", tmp_path / "b.png", Rule())
    assert convert(tmp_path / "a.png", tmp_path / "b.png", Rule(by_number=True)).pixels == {0: 1, 3: 1}


def test_nothing_is_left_of_a_folder_with_a_wrong_picture(tmp_path: Path) -> None:
    for number in range(8):
        kit.label_picture(tmp_path / "in" / f"{number}.png", CLASSES)
    (tmp_path / "in/3.png").write_bytes((tmp_path / "in/3.png").read_bytes()[:-30])
    kit.label_picture(tmp_path / "in/5.png", np.full((2, 2), 40), "L")
    with pytest.raises(UsageError, match=r"(?s)3.png is a PNG that is cut off.*5.png has pixels of no class: 40 in 4"):
        convert(tmp_path / "in", tmp_path / "out", Rule())
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_command_tells_the_share_of_each_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit.label_picture(tmp_path / "in" / "a.png", CLASSES)
    words = ["data", "voc-labels", str(tmp_path / "in"), str(tmp_path / "out")]
    assert run([*words, "--dry-run"]) == 0
    assert "would make" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert run([*words, "--classes", "person"]) == 0
    told = capsys.readouterr().out
    assert "1 person        12.50 %" in told
    assert "255 ignored       25.00 %" in told
    assert run([*words, "--classes", "persn"]) == 2
    assert "did you mean person" in capsys.readouterr().err


def test_lists_of_both_years(tmp_path: Path) -> None:
    listed = lists(Wanted(kit.kit(tmp_path)))
    assert listed.sets["test"] == [
        f"VOC2007/JPEGImages/2007_{number:06d}.jpg VOC2007/Annotations/2007_{number:06d}.xml" for number in (1, 3)
    ]
    names = [line.split()[0].rpartition("/")[2] for line in listed.sets["trainval"]]
    wanted = ["2007_000000", "2007_000002", *(f"2012_{number:06d}" for number in range(4))]
    assert sorted(names) == [f"{name}.jpg" for name in wanted] != names
    assert lists(Wanted(tmp_path)) == listed
    assert lists(Wanted(tmp_path, seed=2)).sets["trainval"] != listed.sets["trainval"]


def test_lists_for_segmentation_and_for_classes(tmp_path: Path) -> None:
    kit.kit(tmp_path)
    listed = lists(Wanted(tmp_path, segmentation=True, classes=("person",), sets=("trainval",)))
    assert sorted(listed.sets["trainval"]) == [
        f"VOC2012/JPEGImages/2012_{number:06d}.jpg VOC2012/SegmentationClass/2012_{number:06d}.png" for number in (1, 3)
    ]
    with pytest.raises(UsageError, match="VOC has no class 'persn'"):
        lists(Wanted(tmp_path, classes=("persn",)))


def test_missing_files_are_told_or_refused(tmp_path: Path) -> None:
    kit.kit(tmp_path)
    (tmp_path / "VOC2012/Annotations/2012_000002.xml").unlink()
    listed = lists(Wanted(tmp_path))
    assert listed.missing == ["VOC2012/Annotations/2012_000002.xml"]
    assert not [line for line in listed.sets["trainval"] if "2012_000002" in line]
    with pytest.raises(UsageError, match="1 files of the kit's lists are not there"):
        lists(Wanted(tmp_path, strict=True))
    (tmp_path / "VOC2007/ImageSets/Main/test.txt").unlink()
    with pytest.raises(UsageError, match=r"test.txt is not there\n.*VOCtest_06-Nov-2007.tar"):
        lists(Wanted(tmp_path))


def test_files_of_lists(tmp_path: Path) -> None:
    root = kit.kit(tmp_path / "kit")
    (root / "VOC2012/Annotations/2012_000002.xml").unlink()
    files = write(lists(Wanted(root)), root, tmp_path / "lists")
    assert [path.name for path in files] == ["trainval.txt", "test.txt", "missing.txt", "test_name_size.txt"]
    assert files[3].read_text() == "2007_000001 30 40\n2007_000003 30 40\n"


def test_lists_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = kit.kit(tmp_path / "VOCdevkit")
    out = tmp_path / "lists"
    assert run(["data", "voc-lists", str(tmp_path), str(out)]) == 2
    assert f"it holds {root}: name that" in capsys.readouterr().err
    assert run(["data", "voc-lists", str(root), str(out), "--dry-run"]) == 0
    assert not out.exists()
    capsys.readouterr()
    assert run(["data", "voc-lists", str(root), str(out), "--json", "--sets", "train"]) == 2
    assert run(["data", "voc-lists", str(root), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sets"] == {"test": 2, "trainval": 6}


def test_sizes_are_those_that_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit.jpegs(tmp_path, 2, 30, 40)
    lying = Image.fromarray(kit.cutting(3, 30, 50)[..., ::-1])
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "lying.jpg", exif=exif)
    assert cv2.imread(str(tmp_path / "lying.jpg")).shape[:2] == (50, 30)
    listed = kit.write(tmp_path / "list.txt", "000.jpg a/000.xml", "lying.jpg a/lying.xml")
    assert run(["data", "sizes", str(listed), str(tmp_path / "sizes.txt")]) == 0
    assert (tmp_path / "sizes.txt").read_text() == "000 30 40\nlying 50 30\n"
    (tmp_path / "lying.jpg").write_text("no")
    assert run(["data", "sizes", str(listed), str(tmp_path / "other.txt")]) == 2
    assert "lying.jpg is not a picture" in capsys.readouterr().err
    assert not (tmp_path / "other.txt").exists()


COLOURS = """# what the camera saw
0,0,0 background
64 128 64\tanimal
128,0,0, red car
192,192,192 ignore
"""


@pytest.mark.parametrize(
    "text", [COLOURS, "background:0,0,0::\nanimal:64,128,64::\nred car:128,0,0:parts:\nvoid:192,192,192::\n"]
)
def test_colours_of_ones_own(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "colours.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    colours = [[(0, 0, 0), (64, 128, 64)], [(128, 0, 0), (192, 192, 192)]]
    Image.fromarray(np.array(colours, np.uint8)).save(tmp_path / "a.png")
    words = ["data", "voc-labels", str(tmp_path / "a.png"), "--colours", str(tmp_path / "colours.txt")]
    assert run([*words, str(tmp_path / "b.png")]) == 0
    assert np.asarray(Image.open(tmp_path / "b.png")).tolist() == [[0, 1], [2, 255]]
    assert "2 red car       25.00 %" in capsys.readouterr().out
    assert run([*words, str(tmp_path / "c.png"), "--classes", "red car"]) == 0
    assert np.asarray(Image.open(tmp_path / "c.png")).tolist() == [[0, 0], [1, 255]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,0,0 a\n0,0,0 b\n", "txt:2: '0,0,0 b' has a name or a colour that stood before"),
        ("0,0,0 a\n300,0,0 b\n", "txt:2: '300,0,0 b' is no colour with a name"),
        ("a\n", "is no colour with a name"),
        ("# nothing\n", "names 0 classes"),
    ],
)
def test_colours_that_are_none(tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    kit.write(tmp_path / "colours.txt", text)
    words = ["data", "voc-labels", "a.png", str(tmp_path / "b.png"), "--colours", str(tmp_path / "colours.txt")]
    assert run(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_masks_of_black_and_white(tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert(mode).save(tmp_path / "a.png")
    words = ["data", "voc-labels", str(tmp_path / "a.png")]
    assert run([*words, str(tmp_path / "b.png"), "--map", "255:1"]) == 0
    assert np.asarray(Image.open(tmp_path / "b.png")).tolist() == [[0, 1]]
    assert run([*words, str(tmp_path / "c.png"), "--map", "white:1"]) == 2
    assert "--map white:1 is no list of FROM:TO" in capsys.readouterr().err


def test_a_black_palette_tells_nothing_and_numbers_do(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 3, 255]], np.uint8))
    picture.putpalette([0] * 768)
    picture.save(tmp_path / "a.png")
    assert run(["data", "voc-labels", str(tmp_path / "a.png"), str(tmp_path / "b.png")]) == 0
    assert np.asarray(Image.open(tmp_path / "b.png")).tolist() == [[0, 3, 255]]
    assert classes_of(tmp_path / "a.png").tolist() == [[0, 3, 255]]


def test_a_pipe_in_the_place_of_the_output_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit.label_picture(tmp_path / "a.png", np.zeros((3, 3)))
    os.mkfifo(tmp_path / "b.png")
    assert run(["data", "voc-labels", str(tmp_path / "a.png"), str(tmp_path / "b.png")]) == 2
    assert "b.png is there already" in capsys.readouterr().err and (tmp_path / "b.png").is_fifo()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--classes", "cat,cat"], "no list of different names"),
        (["--map", "255:1,255:2"], "gives one value two classes"),
    ],
)
def test_two_numbers_for_one_class_or_value_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.label_picture(tmp_path / "a.png", [[0, 8]])
    assert run(["data", "voc-labels", str(tmp_path / "a.png"), str(tmp_path / "out.png"), *words]) == 2
    assert said in capsys.readouterr().err


def test_classes_may_have_blanks_between_and_a_damaged_file_has_its_own_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.label_picture(tmp_path / "in/a.png", [[0, 8, 12]])
    words = ["data", "voc-labels", str(tmp_path / "in"), str(tmp_path / "out"), "--classes", "dog, cat"]
    assert run(words) == 0
    assert classes_of(tmp_path / "out/a.png").tolist() == [[0, 2, 1]]
    (tmp_path / "in/b.png").write_bytes(b"")
    assert run([*words[:3], str(tmp_path / "other")]) == 2
    said = capsys.readouterr().err
    assert "b.png is empty" in said and "mend these files" in said and "--unknown" not in said
