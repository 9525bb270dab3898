"""What a data layer says is held against its database: backend, channels, mean, classes' names."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from provision.cli import run
from provision.data.convert import Order, convert
from provision.data.datum import Datum, encode_blob
from provision.data.pictures import Shape
from provision.lint.data import check
from provision.lint.finding import Finding
from provision.lint.targets import Asked, units
from tests.unit import data_kit as kit
from tests.unit.test_data_boxes import picture as photo
from tests.unit.test_data_boxes import xml
from tests.unit.test_data_show import database

NET = """
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { TRANSFORM } data_param { source: "/data/db" batch_size: 2 BACKEND } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


def findings(folder: Path, transform: str = "", backend: str = "backend: LMDB") -> list[Finding]:
    path = kit.write(folder / "net.prototxt", NET.replace("TRANSFORM", transform).replace("BACKEND", backend))
    return check(units([path], Asked(data=folder)))


def errors(folder: Path, transform: str = "", backend: str = "backend: LMDB") -> list[tuple[str, str]]:
    return [(one.what, one.mend) for one in findings(folder, transform, backend) if one.level == "error"]


@pytest.fixture
def gray_among_coloured(tmp_path: Path) -> Path:
    """/data/db: a coloured JPEG and a gray one, encoded, 40 x 40."""
    kit.jpegs(tmp_path / "set", 2, 40, 40)
    cv2.imwrite(str(tmp_path / "set/001.jpg"), cv2.cvtColor(kit.cutting(1, 40, 40), cv2.COLOR_BGR2GRAY))
    listed = kit.write(tmp_path / "set/list.txt", "000.jpg 0", "001.jpg 1")
    convert(Order(listed, tmp_path / "db", shape=Shape(encode="auto")))
    return tmp_path


@pytest.mark.parametrize("transform", ["", "crop_size: 32"])
def test_gray_among_coloured_pictures_stops_caffe(gray_among_coloured: Path, transform: str) -> None:
    ((what, mend),) = errors(gray_among_coloured, transform)
    assert what.startswith("pictures have 2 numbers of channels: ") and "such as 001.jpg" in what
    assert mend == "transform_param { force_color: true }"


@pytest.mark.parametrize("transform", ["force_color: true", "force_gray: true crop_size: 32"])
def test_what_cures_it_is_no_fault(gray_among_coloured: Path, transform: str) -> None:
    assert findings(gray_among_coloured, transform) == []


def test_without_a_net_it_is_a_warning(gray_among_coloured: Path) -> None:
    (finding,) = check(units([gray_among_coloured / "db"], Asked()))
    assert (finding.level, finding.mend) == ("warning", "transform_param { force_color: true }")


def test_palettes_and_cmyk_are_colours_to_caffe(tmp_path: Path) -> None:
    for number, (mode, form) in enumerate([("RGB", "JPEG"), ("P", "PNG"), ("CMYK", "JPEG")]):
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(kit.cutting(number)).convert(mode).save(tmp_path / f"set/{number}.{form.lower()}", format=form)
    convert(Order(tmp_path / "set", tmp_path / "db", shape=Shape(encode="auto")))
    assert check(units([tmp_path / "db"], Asked())) == []


def raw(folder: Path, channels: int = 3, backend: str = "lmdb") -> Path:
    """/data/db: two classes, 4 x 6."""
    pictures = [Datum(channels, 4, 6, bytes([number]) * (24 * channels), number % 2, False) for number in range(4)]
    return database(folder / "db", pictures, backend)


@pytest.mark.parametrize(
    ("held", "said", "wrong"),
    [
        ("lmdb", "", True),
        ("lmdb", "backend: LEVELDB", True),
        ("lmdb", "backend: 0", True),
        ("lmdb", "backend: LMDB", False),
        ("lmdb", "backend: 1", False),
        ("leveldb", "", False),
        ("leveldb", "backend: LMDB", True),
    ],
)
def test_the_backend_is_that_of_the_folder(tmp_path: Path, held: str, said: str, wrong: bool) -> None:
    raw(tmp_path, backend=held)
    found = errors(tmp_path, backend=said)
    assert [mend for _, mend in found] == ([f"data_param {{ backend: {held.upper()} }}"] if wrong else [])


@pytest.mark.parametrize(
    ("channels", "transform", "said"),
    [
        (3, "mean_value: 1", ""),
        (3, "mean_value: 1 mean_value: 2 mean_value: 3", ""),
        (3, "mean_value: 1 mean_value: 2", "in has 2 mean_values, and pictures of 3 channels"),
        (1, "mean_value: 1 mean_value: 2 mean_value: 3", "in has 3 mean_values, and pictures of 1 channels"),
        (3, 'mean_value: 1 mean_file: "/data/mean"', "in has mean_file and mean_value"),
        (3, 'mean_file: "/data/mean"', ""),
        (1, 'mean_file: "/data/mean"', "is 3 x 4 x 6, and pictures are 1 x 4 x 6: Caffe stops"),
        (3, 'mean_file: "/data/small" crop_size: 2', "is 3 x 2 x 2, and pictures are 3 x 4 x 6"),
        (3, 'mean_file: "/data/text"', "is no mean file"),
    ],
)
def test_a_mean_fits_the_pictures(tmp_path: Path, channels: int, transform: str, said: str) -> None:
    raw(tmp_path, channels)
    for name, shape in (("mean", (3, 4, 6)), ("small", (3, 2, 2))):
        (tmp_path / name).write_bytes(encode_blob(np.zeros(shape, "<f4").tobytes(), *shape))
    kit.write(tmp_path / "text", "no mean")
    assert [said in what for what, _ in errors(tmp_path, transform)] == [True] * bool(said)


def test_a_mean_that_is_not_there_is_told(tmp_path: Path) -> None:
    raw(tmp_path)
    (finding,) = findings(tmp_path, 'mean_file: "/data/nowhere"')
    assert (finding.level, "mean_file /data/nowhere is not there" in finding.what) == ("warning", True)


def test_pictures_on_their_side_are_told_where_caffe_does_not_turn_them(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for number in range(2):
        photo(tmp_path / f"set/{number}.jpg", 40 + number, 40 + number, orientation=6)
    listed = kit.write(tmp_path / "set/list.txt", "0.jpg 0", "1.jpg 1")
    convert(Order(listed, tmp_path / "db", shape=Shape(encode="auto")))
    (finding,) = [one for one in findings(tmp_path, "crop_size: 32") if one.level == "warning"]
    assert "2 pictures are stored lying on their side or mirrored (EXIF), such as 0.jpg" in finding.what
    assert "make it again with --upright" in finding.mend
    assert findings(tmp_path, "crop_size: 32 force_color: true") == []
    assert run(["data", "lmdb", str(listed), str(tmp_path / "turned"), "--encoded", "--upright"]) == 0
    seen = units([tmp_path / "turned"], Asked())[0].images
    assert sorted(seen.sizes()) == [(3, 40, 40), (3, 41, 41)] and not any(record.turned for record in seen.good)
    stored = cv2.imdecode(np.frombuffer(kit.read(tmp_path / "turned")[0][1][4], np.uint8), -1)  # type: ignore[arg-type]
    shown = cv2.imread(str(tmp_path / "set/0.jpg")).astype(int)
    assert abs(stored.astype(int) - shown).mean() < 3
    convert(Order(listed, tmp_path / "raw"))  # raw records are upright
    assert not [one for one in check(units([tmp_path / "raw"], Asked())) if "side" in one.what]


def test_the_same_number_is_the_same_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for phase, names in (("train", ("bird", "cat")), ("val", ("cat", "dog"))):
        for number, name in enumerate(names):
            kit.jpegs(tmp_path / phase / name, 1)
            cv2.imwrite(str(tmp_path / phase / name / "000.jpg"), kit.cutting(number + 5 * len(phase)))
        convert(Order(tmp_path / phase, tmp_path / f"db_{phase}"))
    words = ["data", "check", str(tmp_path / "db_train"), "--test", str(tmp_path / "db_val")]
    assert run(words) == 2
    said = capsys.readouterr().out
    assert "classes have other numbers: class 0 is bird and cat" in said
    assert f"--classes {tmp_path}/db_train/labels.txt" in said


def test_folders_that_gave_no_labels_are_told(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        kit.jpegs(tmp_path / "set" / name, 2)
    convert(Order(tmp_path / "set", tmp_path / "db", kind="images"))
    (finding,) = check(units([tmp_path / "db"], Asked()))
    assert finding.what == "every picture has the label 0, though they lie in 2 folders: cat, dog"


SSD = """
layer { name: "in" type: "AnnotatedData" top: "data" top: "label" include { phase: TRAIN }
  transform_param { RESIZE resize_param { height: 30 width: 30 } }
  data_param { source: "/data/out/train_lmdb" batch_size: 2 backend: LMDB } }
layer { name: "loss" type: "MultiBoxLoss" bottom: "a" bottom: "b" bottom: "c" bottom: "label" top: "loss"
  multibox_loss_param { num_classes: NUMBER } }
"""


@pytest.mark.parametrize(
    ("number", "colour", "said"), [(3, "true", ""), (2, "true", "labels 2"), (3, "false", "chann")]
)
def test_ssds_data_is_checked_by_its_boxes(tmp_path: Path, number: int, colour: str, said: str) -> None:
    from provision.data.boxes import prepare

    for name, mode in (("a", "RGB"), ("b", "L")):
        photo(tmp_path / f"{name}.jpg", 50 + 10 * len(mode), 50, mode=mode)
        kit.write(tmp_path / f"{name}.xml", xml((1, 1, 20, 20), name="cat" if name == "a" else "dog"))
    listed = kit.write(tmp_path / "list.txt", "a.jpg a.xml", "b.jpg b.xml")
    prepare(tmp_path / "out", listed, listed, tmp_path, ["cat", "dog"])
    net = SSD.replace("NUMBER", str(number)).replace("RESIZE", f"force_color: {colour}")
    found = check(units([kit.write(tmp_path / "net.prototxt", net)], Asked(data=tmp_path)))
    assert [said in one.what for one in found if one.level == "error"] == [True] * bool(said)
    assert units([tmp_path / "net.prototxt"], Asked(data=tmp_path))[0].images.values() == {1: 1, 2: 1}
