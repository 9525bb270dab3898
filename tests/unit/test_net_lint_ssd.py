"""SSD's arithmetic on one small detector: priors x 4 and priors x classes, their order, and who else names classes."""

from pathlib import Path

import pytest

from provision.data.annotated import Annotated, Box
from provision.data.datum import Datum, varint
from provision.data.lmdb_writer import write
from provision.lint.finding import Finding
from provision.lint.heads import priors_of
from provision.lint.net import NetReport, lint
from provision.net.graph import every
from provision.net.text import parse

SIDE = 64
FEED = """layer { name: "data" type: "AnnotatedData" top: "data" top: "label" include { phase: %s }
  transform_param { resize_param { height: 64 width: 64 } } data_param { source: "/data/%s_lmdb" batch_size: 1 } }
"""
LOSS = """layer { name: "loss" type: "MultiBoxLoss" bottom: "loc" bottom: "conf" bottom: "boxes"
  bottom: "label" top: "loss" multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE } }
"""
FOUND = """layer { name: "rows" type: "Reshape" bottom: "conf" top: "rows"
  reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "soft" type: "Softmax" bottom: "rows" top: "soft" softmax_param { axis: 2 } }
layer { name: "flat" type: "Flatten" bottom: "soft" top: "flat" }
layer { name: "out" type: "DetectionOutput" bottom: "loc" bottom: "flat" bottom: "boxes" top: "out"
  detection_output_param { num_classes: 3 code_type: CENTER_SIZE } }
"""
SCORE = """layer { name: "eval" type: "DetectionEvaluate" bottom: "out" bottom: "label" top: "eval"
  detection_evaluate_param { num_classes: 3 background_label_id: 0 } }
"""
SOLVER = """train_net: "train.prototxt" test_net: "test.prototxt" test_iter: 9 test_interval: 9 base_lr: 0.1
lr_policy: "fixed" max_iter: 100 snapshot: 50 snapshot_prefix: "run"
"""


def box(name: str, feature: str, priors: str) -> str:
    blobs = f'bottom: "{feature}" bottom: "data" top: "{name}"'
    return f'layer {{ name: "{name}" type: "PriorBox" {blobs} prior_box_param {{ {priors} }} }}\n'


def conv(name: str, bottom: str, outputs: int, stride: int = 1) -> str:
    sizes = f"num_output: {outputs} kernel_size: 3 pad: 1 stride: {stride}"
    blobs = f'bottom: "{bottom}" top: "{name}"'
    return f'layer {{ name: "{name}" type: "Convolution" {blobs} convolution_param {{ {sizes} }} }}\n'


def head(name: str, feature: str, outputs: int) -> str:
    order = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
    return (
        conv(name, feature, outputs)
        + f'layer {{ name: "{name}_perm" type: "Permute" bottom: "{name}" top: "{name}_perm" {order} }}\n'
        + f'layer {{ name: "{name}_flat" type: "Flatten" bottom: "{name}_perm" top: "{name}_flat" }}\n'
    )


def join(name: str, bottoms: list[str], axis: int) -> str:
    blobs = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "Concat" {blobs} top: "{name}" concat_param {{ axis: {axis} }} }}\n'


# maps of 16 and 8 cells a side; 4 priors a cell in the first, 6 in the second; 3 classes
BODY = (
    conv("f1", "data", 8, 4) + conv("f2", "f1", 8, 2)
    + head("loc1", "f1", 16) + head("loc2", "f2", 24) + head("conf1", "f1", 12) + head("conf2", "f2", 18)
    + box("box1", "f1", "min_size: 10 max_size: 20 aspect_ratio: 2 step: 4")
    + box("box2", "f2", "min_size: 20 max_size: 40 aspect_ratio: 2 aspect_ratio: 3 flip: true")
    + join("loc", ["loc1_flat", "loc2_flat"], 1) + join("conf", ["conf1_flat", "conf2_flat"], 1)
    + join("boxes", ["box1", "box2"], 2)
)  # fmt: skip
TRAIN = FEED % ("TRAIN", "train") + BODY + LOSS
TEST = FEED % ("TEST", "test") + BODY + FOUND + SCORE
USE = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 64 input_dim: 64\n' + BODY + FOUND


def check(folder: Path, train: str = TRAIN, test: str = TEST, data: Path | None = None) -> NetReport:
    for name, text in (("train", train), ("test", test), ("solver", SOLVER)):
        (folder / f"{name}.prototxt").write_text(text)
    return lint(folder / "solver.prototxt", data=data)


def used(folder: Path, net: str) -> Finding:
    """The one thing that is wrong with a net for use."""
    (folder / "deploy.prototxt").write_text(net)
    (found,) = lint(folder / "deploy.prototxt").findings
    assert found.rule in ("ssd", "shape")
    return found


@pytest.mark.parametrize(
    ("priors", "count"),
    [
        ("min_size: 30", 1),
        ("min_size: 30 max_size: 60", 2),
        ("min_size: 30 max_size: 60 aspect_ratio: 2", 4),
        ("min_size: 30 max_size: 60 aspect_ratio: 2 aspect_ratio: 3 flip: true", 6),
        ("min_size: 30 aspect_ratio: 2 flip: false", 2),
        ("min_size: 30 min_size: 40 max_size: 60 max_size: 70 aspect_ratio: 2", 8),
        ("min_size: 30 aspect_ratio: 1", 1),
        ("min_size: 30 aspect_ratio: 2 aspect_ratio: 0.5", 3),
    ],
)
def test_priors_of_a_cell(priors: str, count: int) -> None:
    (layer,) = every(parse(box("box", "f", priors)))
    assert priors_of(layer) == count


def test_a_sound_detector(tmp_path: Path) -> None:
    assert check(tmp_path).findings == ()
    (tmp_path / "deploy.prototxt").write_text(USE)
    assert lint(tmp_path / "deploy.prototxt").findings == ()


def test_num_classes_against_the_convolutions(tmp_path: Path) -> None:
    found = used(tmp_path, USE.replace("num_classes: 3", "num_classes: 5"))
    assert found.level == "error" and "out: num_classes 5, and the 2 convolutions of classes" in found.what
    assert "conf1: 12 / 4 priors a cell) have 3" in found.what and "num_classes: 3" in found.mend


@pytest.mark.parametrize(
    ("old", "new", "said", "mend"),
    [
        (conv("conf2", "f2", 18), conv("conf2", "f2", 12), "6 priors a cell x 3 classes = 18", "num_output: 18"),
        (conv("loc1", "f1", 16), conv("loc1", "f1", 24), "4 priors a cell x 4 = 16", "num_output: 16"),
        ("min_size: 10 max_size: 20", "min_size: 10 max_size: 10", "max_size 10 is not above min_size 10", "larger"),
        ('"conf1_flat" bottom: "conf2_flat"', '"conf2_flat" bottom: "conf1_flat"', "out of order", "f1, f2"),
        ('bottom: "box1" bottom: "box2"', 'bottom: "box1"', "boxes joins 1 maps", "the same maps"),
        ("dim: -1 dim: 3", "dim: -1 dim: 6", "rows of 6", "dim: 3"),
        ("step: 4", "step: 16", "step 16 x 16 cells is 256 pixels of a height of 64", "step: 4"),
    ],
)
def test_what_does_not_fit(old: str, new: str, said: str, mend: str, tmp_path: Path) -> None:
    assert old in USE
    found = used(tmp_path, USE.replace(old, new))
    assert said in found.what and mend in found.mend


def test_a_flatten_of_channels_first(tmp_path: Path) -> None:
    found = used(tmp_path, USE.replace('bottom: "conf2_perm"', 'bottom: "conf2"'))
    assert "conf2 is flattened without a Permute" in found.what and "without a word" in found.why


def test_places_for_each_class(tmp_path: Path) -> None:
    apart = USE.replace("num_classes: 3", "num_classes: 3 share_location: false")
    assert used_all(tmp_path, apart) == ["loc1", "loc2"]
    wide = apart.replace(conv("loc1", "f1", 16), conv("loc1", "f1", 48)).replace(
        conv("loc2", "f2", 24), conv("loc2", "f2", 72)
    )
    assert used_all(tmp_path, wide) == []


def used_all(folder: Path, net: str) -> list[str]:
    (folder / "deploy.prototxt").write_text(net)
    return [one.what.partition(":")[0] for one in lint(folder / "deploy.prototxt").findings]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("background_label_id: 0", "background_label_id: 1", "eval: background_label_id 1, and out has 0"),
        (
            "detection_evaluate_param { num_classes: 3",
            "detection_evaluate_param { num_classes: 21",
            "eval: num_classes 21",
        ),
        (
            "code_type: CENTER_SIZE",
            "code_type: CORNER",
            "out: code_type CORNER, and loss of the training has CENTER_SIZE",
        ),
    ],
)
def test_the_test_against_the_training(old: str, new: str, said: str, tmp_path: Path) -> None:
    (found,) = check(tmp_path, test=TEST.replace(old, new)).findings
    assert found.level == "error" and said in found.what and found.where.endswith("test.prototxt")


def test_heads_that_are_wired_otherwise_are_left_alone(tmp_path: Path) -> None:
    unknown = USE.replace('type: "Flatten" bottom: "conf2_perm"', 'type: "Sorted" bottom: "conf2_perm"')
    (tmp_path / "deploy.prototxt").write_text(unknown)
    assert {one.rule for one in lint(tmp_path / "deploy.prototxt").findings} == {"type"}


def test_boxes_of_labels_that_are_no_class(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, labels in (("train", (1, 2)), ("test", (0, 1, 3))):
        annotated(tmp_path / "data" / f"{name}_lmdb", labels)
    found = [one for one in check(tmp_path, data=tmp_path / "data").findings if one.rule == "label"]
    assert ["boxes of the labels 0, 3" in one.what and one.line for one in found] == [found[0].line]
    assert found[0].where.endswith("test.prototxt") and "num_classes: 4" in found[0].mend


def annotated(folder: Path, labels: tuple[int, ...]) -> None:
    """A database of one record of SSD's, with boxes of these labels around nothing."""

    class Record(Datum):
        def encode(self) -> bytes:
            datum = Datum(3, SIDE, SIDE, bytes(3 * SIDE * SIDE)).encode()
            boxes = tuple(Box(label, (1.0, 1.0, 9.0, 9.0)) for label in labels)
            rest = Annotated("a", b"", SIDE, SIDE, boxes).encode()
            return b"\x0a" + varint(len(datum)) + datum + rest[rest.index(b"\x10\x00\x1a") :]

    write(folder, [Record(3, SIDE, SIDE, b"")])


def test_a_label_map_against_the_classes(tmp_path: Path) -> None:
    mapped = TRAIN.replace("batch_size: 1 }", 'batch_size: 1 } annotated_data_param { label_map_file: "map.prototxt" }')
    assert check(tmp_path, train=mapped).findings == ()  # the map is not here
    for last, said in ((2, 0), (4, 1), (1, 1)):
        text = "".join(f'item {{ name: "n{label}" label: {label} display_name: "d" }}' for label in range(last + 1))
        (tmp_path / "map.prototxt").write_text(text)
        found = check(tmp_path, train=mapped).findings
        assert [(one.level, one.rule, f"num_classes: {last + 1}" in one.mend) for one in found] == (
            [("warning", "label", True)] * said
        )
