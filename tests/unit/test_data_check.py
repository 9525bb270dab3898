"""`provision data check` finds what stops or spoils a training, and nothing in good data."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.data.convert import Order, convert
from provision.data.datum import Datum
from provision.lint.data import check
from provision.lint.finding import Finding
from provision.lint.targets import Asked, units
from tests.unit import data_kit as kit
from tests.unit.test_data_show import database

NET = """
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        data_param { source: "/data/train_lmdb" batch_size: 4 backend: LMDB } transform_param { crop_size: CROP } }
layer { name: "in" type: "Data" top: "data" top: "label" include { phase: TEST }
        data_param { source: "/data/test_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
PAIR_NET = """
layer { name: "i" type: "Data" top: "data" data_param { source: "/data/images_lmdb" batch_size: 1 backend: LMDB } }
layer { name: "l" type: "Data" top: "label" data_param { source: "/data/labels_lmdb" batch_size: 1 backend: LMDB } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 21 } }
layer { name: "crop" type: "Crop" bottom: "score" bottom: "data" top: "crop" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "crop" bottom: "label" top: "loss" LOSS }
"""


def picture(value: int, label: int = 0, height: int = 2, width: int = 2) -> Datum:
    return Datum(1, height, width, bytes([value]) * (height * width), label, False)


def found(*targets: Path, **asked: object) -> list[Finding]:
    return check(units(list(targets), Asked(**asked)))  # type: ignore[arg-type]


def whats(findings: list[Finding], level: str) -> list[str]:
    return [one.what for one in findings if one.level == level]


def net(folder: Path, text: str = NET, crop: int = 0) -> Path:
    return kit.write(folder / "net.prototxt", text.replace("CROP", str(crop)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Good data for NET: three classes, mixed."""
    database(tmp_path / "data/train_lmdb", [picture(number, number % 3) for number in range(30)])
    fresh = [picture(100 + number, number % 3) for number in range(6)]
    database(tmp_path / "data/test_lmdb", fresh, names="new")
    return tmp_path / "data"


def test_nothing_is_wrong_with_good_data(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = net(tmp_path)
    assert run(["data", "check", str(path), "--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert "30 records (train), 1 x 2 x 2" in said
    assert "labels: 0: 10, 1: 10, 2: 10" in said
    assert said.endswith("\nnothing is wrong\n")


def test_a_solver_leads_to_its_net(data: Path, tmp_path: Path) -> None:
    net(tmp_path)
    solver = kit.write(tmp_path / "solver.prototxt", 'net: "net.prototxt"')
    assert whats(found(solver, data=data), "error") == []
    assert len(units([solver], Asked(data=data))) == 2


def test_labels_that_are_no_class(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [picture(number, number % 4) for number in range(8)]
    database(tmp_path / "wrong/train_lmdb", records)
    (data / "test_lmdb").rename(tmp_path / "wrong/test_lmdb")
    words = ["data", "check", str(net(tmp_path)), "--data", str(tmp_path / "wrong")]
    assert run(words) == 2
    said = capsys.readouterr().out
    assert "labels 3 are no class of 3 (0 to 2), 3 in 00000003_3.jpg: error 77 or 700" in said
    assert "→ num_output: 4" in said
    assert run([*words, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert set(told["findings"][0]) == {"level", "where", "what", "mend"}
    assert told["findings"][0]["level"] == "error"
    assert told["checked"][0]["histogram"] == {"0": 2, "1": 2, "2": 2, "3": 2}


def test_classes_numbered_from_one(tmp_path: Path) -> None:
    database(tmp_path / "db", [picture(number, 1 + number % 3) for number in range(9)])
    (finding, *_) = found(tmp_path / "db", classes=3)
    assert finding.mend == "number the classes from 0"


def pair(tmp_path: Path, values: list[int], images: int = 0) -> Path:
    """Image and label databases in step, labels of two columns."""
    count = images or len(values)
    database(tmp_path / "data/images_lmdb", [picture(number, 0, 1, 2) for number in range(count)])
    labels = [Datum(1, 1, 2, bytes([value, 0]), 0, False) for value in values]
    database(tmp_path / "data/labels_lmdb", labels)
    return tmp_path / "data"


def test_label_pictures_and_the_label_to_ignore(tmp_path: Path) -> None:
    data = pair(tmp_path, [15, 255, 7])
    (finding, *_) = found(net(tmp_path, PAIR_NET.replace("LOSS", "")), data=data)
    assert "labels 255 are no class of 21" in finding.what
    assert finding.mend == "loss_param { ignore_label: 255 }"
    good = PAIR_NET.replace("LOSS", "loss_param { ignore_label: 255 }")
    assert whats(found(net(tmp_path, good), data=data), "error") == []
    assert whats(found(data, classes=21), "error") == []
    assert any("18 of 21 classes do not occur" in what for what in whats(found(data, classes=21), "warning"))


def test_images_and_labels_out_of_step(tmp_path: Path) -> None:
    (what,) = whats(found(pair(tmp_path, [1, 2], images=3)), "error")
    assert what.startswith("3 images and 2 label pictures")


def test_other_keys_and_other_sizes(tmp_path: Path) -> None:
    database(tmp_path / "images_lmdb", [picture(1), picture(2)])
    from provision.data.backends import writer

    base = writer(tmp_path / "labels_lmdb", "lmdb")
    base.put([(b"00000000_0.jpg", picture(1).encode()), (b"00000001_x.jpg", picture(0, 0, 3, 2).encode())])
    base.close()
    errors = whats(found(tmp_path), "error")
    assert "1 image and the label pictures in the same places have different keys: 00000001_1.jpg" in errors
    assert "1 label pictures differ in size: 00000001_1.jpg is 1 x 2 x 2, its 1 x 3 x 2" in errors


def test_nothing_but_background(tmp_path: Path) -> None:
    (what, *_) = whats(found(pair(tmp_path, [0, 0, 0]), classes=21), "error")
    assert what == "every pixel has the label 0: there is nothing to learn"


def test_a_link_to_a_folder_above_is_not_gone_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = kit.write(tmp_path / "list.txt", *(f"{name} 0" for name in kit.jpegs(tmp_path, 1)))
    assert run(["data", "lmdb", str(source), str(tmp_path / "all/sets/db")]) == 0
    (tmp_path / "all/sets/up").symlink_to(tmp_path / "all")
    capsys.readouterr()
    assert run(["data", "check", str(tmp_path / "all")]) == 0
    assert capsys.readouterr().out.count("1 records") == 1


def test_pictures_of_many_sizes(tmp_path: Path, data: Path) -> None:
    database(tmp_path / "mixed", [picture(1, 0), picture(2, 1, 3, 3), picture(3, 0)])
    (what,) = whats(found(tmp_path / "mixed"), "warning")
    assert what == "pictures have 2 sizes: 2 x 2 (2), 3 x 3 (1); Caffe stops where they meet in one batch"
    (what,) = whats(found(tmp_path / "mixed", limit=2), "error")
    assert what == "1 pictures are larger than 2: 3 x 3"
    (tmp_path / "mixed").rename(tmp_path / "data/other")
    text = NET.replace("/data/train_lmdb", "/data/other")
    assert any("pictures have 2 sizes" in what for what in whats(found(net(tmp_path, text), data=data), "error"))
    errors = whats(found(net(tmp_path, text, crop=3), data=data), "error")
    assert errors == ["2 pictures are smaller than the crop of 3: 2 x 2"]


def test_an_empty_database(tmp_path: Path) -> None:
    database(tmp_path / "db", [])
    assert whats(found(tmp_path / "db"), "error") == ["holds no records: Caffe stops"]


def test_records_that_hold_no_picture(tmp_path: Path) -> None:
    wrong = [Datum(1, 2, 2, b"abc", 0, False), Datum(0, 0, 0, b"no picture", 0, True), picture(1, 1)]
    database(tmp_path / "db", wrong)
    (what,) = whats(found(tmp_path / "db"), "error")
    assert what.startswith("2 pictures cannot be used: 00000000_0.jpg holds 3 values, not 1 x 2 x 2, 00000001_1.jpg")


def test_sorted_by_class(tmp_path: Path) -> None:
    database(tmp_path / "train_lmdb", [picture(number, number // 15) for number in range(30)])
    (finding,) = found(tmp_path / "train_lmdb")
    assert "sorted by class" in finding.what
    assert finding.mend == "make it again with --shuffle"


def test_pictures_of_the_test_in_training(tmp_path: Path, data: Path) -> None:
    database(tmp_path / "other", [picture(3, 0), picture(101, 1), picture(102, 0)])
    (finding,) = [one for one in found(data / "train_lmdb", test=tmp_path / "other") if one.level == "error"]
    assert finding.what == "training and test share 1 picture: 0.jpg"


def test_the_same_names_are_a_warning(tmp_path: Path) -> None:
    database(tmp_path / "train", [picture(1, 0), picture(2, 1)])
    database(tmp_path / "test", [picture(3, 0), picture(4, 1)])
    assert whats(found(tmp_path), "error") == []
    assert "training and test share 2 names: 0.jpg, 1.jpg" in whats(found(tmp_path), "warning")


def test_lists_of_files(tmp_path: Path) -> None:
    kit.jpegs(tmp_path, 4)
    (tmp_path / "002.jpg").unlink()
    (tmp_path / "copy.jpg").write_bytes((tmp_path / "001.jpg").read_bytes())
    train = kit.write(tmp_path / "train.txt", "000.jpg 0", "001.jpg 1", "002.jpg 9")
    test = kit.write(tmp_path / "test.txt", "copy.jpg 1", "003.jpg 0")
    errors = whats(found(train, test=test, classes=2), "error")
    assert errors == [
        "1 picture cannot be used: 002.jpg cannot be read: No such file or directory",
        "training and test share 1 picture: copy.jpg",
    ]
    kit.write(tmp_path / "train.txt", "000.jpg 0", "001.jpg 2")
    assert any("labels 2 are no class of 2" in what for what in whats(found(train, classes=2), "error"))


def test_a_list_of_pairs(tmp_path: Path) -> None:
    root = kit.kit(tmp_path)
    names = [f"VOC2012/{{}}/2012_{number:06d}" for number in range(2)]
    lines = [f"{name.format('JPEGImages')}.jpg {name.format('SegmentationClass')}.png" for name in names]
    listed = kit.write(tmp_path / "list.txt", *lines)
    assert whats(found(listed, root=root, classes=21), "error") == []
    cv2.imwrite(str(root / "VOC2012/SegmentationClass/2012_000001.png"), np.full((9, 9), 15, np.uint8))
    (what,) = whats(found(listed, root=root, classes=21), "error")
    assert what.startswith("1 label pictures differ in size: VOC2012/JPEGImages/2012_000001.jpg is 30 x 40, its 9 x 9")


def test_a_folder_of_pairs_is_found_whole(tmp_path: Path) -> None:
    root = kit.kit(tmp_path / "kit") / "VOC2012"
    for phase in ("train", "test"):
        convert(Order(root / "JPEGImages", tmp_path / "set" / phase, labels=root / "SegmentationClass"))
    looked = units([tmp_path / "set"], Asked())
    assert [(one.phase, one.labels is not None) for one in looked] == [("test", True), ("train", True)]
    (what,) = whats(check(looked), "error")
    assert what.startswith("training and test share 4 pictures")


def test_what_is_no_target(tmp_path: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        found(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no LMDB or LevelDB"):
        (tmp_path / "empty").mkdir()
        found(tmp_path / "empty")
    with pytest.raises(UsageError, match=r"the layer in reads /data/train_lmdb.*\n.*--data FOLDER"):
        found(net(tmp_path), data=tmp_path / "empty")
    with pytest.raises(UsageError, match="no Data layer"):
        found(kit.write(tmp_path / "bare.prototxt", 'layer { name: "a" type: "ReLU" bottom: "b" top: "b" }'))


def test_one_picture_with_two_labels_is_told(tmp_path: Path) -> None:
    twice = [picture(1, 0), picture(2, 1), picture(1, 0), picture(1, 1)]
    database(tmp_path / "db", twice)
    (what,) = whats(found(tmp_path / "db"), "warning")
    assert what.startswith("1 picture came before with another label: ") and "has 0" in what and "has 1" in what
    database(tmp_path / "same", twice[:3])
    assert found(tmp_path / "same") == []
