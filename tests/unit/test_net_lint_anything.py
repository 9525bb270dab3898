"""`net lint` of anything: a report or one message, never a traceback, and never slower than its file grows."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from infra.errors import UsageError
from provision.lint.net import lint
from provision.net.shape_rules import RULES
from tests.unit.test_net_lint import BODY, DATA, SOLVER

_TYPES = (*sorted(RULES), "Python", "HDF5Data", "Unheard", "", "BN", "Upsample", "PriorBox", "DetectionOutput")
_BLOBS = ("data", "label", "a", "b", "c", "mbox_conf", "")
_FIELDS = (
    "num_output: 0", "num_output: 7", "num_output: -3", "kernel_size: 3", "kernel_size: 3 kernel_size: 4", "stride: 0",
    "pad: -1", "axis: -9", "axis: 3", "dim: 0 dim: -1", "dim: -1 dim: -1 dim: 5", "group: 0", "top_k: 0", "step: 0",
    "batch_size: 0", "num_classes: 0", "num_classes: 3", "min_size: 1e38", "min_size: nan", "max_size: word",
    "aspect_ratio: 0", "order: 9", "shape { dim: 1 dim: 3 dim: 8 dim: 8 }", "shape { }", "slice_point: -4", "value: {}",
    "pool: WORD", "global_pooling: true", "crop_size: 99999999999999999999", "source: \"x\"", "flip: maybe",
    "param { lr_mult: a }", "share_location: false", "tiles: 0", "bias_term: 7", "offset: 3",
)  # fmt: skip
_RULES = (
    "", "", "include { phase: TRAIN }", "include { phase: TEST }", "include { phase: 7 }", 'include { stage: "s" }',
    'exclude { not_stage: "s" }', "include { min_level: 2 }", "include: 3",
)  # fmt: skip


@some.composite
def layers(draw: some.DrawFn) -> str:
    kind = draw(some.sampled_from(_TYPES))
    blobs = [f'bottom: "{name}"' for name in draw(some.lists(some.sampled_from(_BLOBS), max_size=4))]
    blobs += [f'top: "{name}"' for name in draw(some.lists(some.sampled_from(_BLOBS), max_size=3))]
    fields = " ".join(draw(some.lists(some.sampled_from(_FIELDS), max_size=4)))
    small = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind).lstrip("_")
    names = ("convolution", "prior_box", "multibox_loss", "reshape", "input", small or "x")
    param = draw(some.sampled_from(names))
    name = draw(some.sampled_from(("one", "two", "")))
    rule = draw(some.sampled_from(_RULES))
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(blobs)} {param}_param {{ {fields} }} {fields} {rule} }}\n'


@settings(max_examples=300)
@given(net=some.lists(layers(), min_size=1, max_size=8), solver=some.booleans())
def test_nets_of_any_layers(net: list[str], solver: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("net")
    (folder / "net.prototxt").write_text("".join(net))
    (folder / "solver.prototxt").write_text(SOLVER)
    report = lint(folder / ("solver.prototxt" if solver else "net.prototxt"), given={"data": (2, 3, 16, 16)})
    assert all(one.what and one.rule for one in report.findings)


@settings(max_examples=150)
@given(at=some.integers(0, len(DATA + BODY)), more=some.sampled_from(("", "}", '"', "layer", "\x00", "é", "\n")))
def test_files_that_are_cut(at: int, more: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "net.prototxt").write_text((DATA + BODY)[:at] + more)
    (folder / "solver.prototxt").write_text(SOLVER)
    for name in ("net.prototxt", "solver.prototxt"):
        try:
            lint(folder / name)
        except UsageError as error:
            assert error.what


@settings(max_examples=150)
@given(
    data=some.one_of(
        some.binary(max_size=200), some.text("{}[]<>:;,.\"'\\#-0123456789eExf \nlayer", max_size=80).map(str.encode)
    )
)
def test_files_of_anything(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "net.prototxt"
    path.write_bytes(data)
    try:
        lint(path)
    except UsageError as error:
        assert error.what


@settings(max_examples=150)
@given(lines=some.lists(some.sampled_from((
    'net: "net.prototxt"', "net: 5", 'net: ""', 'train_net: "solver.prototxt"', 'test_net: "net.prototxt"', "net { }",
    'net: "\\000"', f'net: "{"long" * 2000}"', "net_param { }", 'net_param { layer { type: "Data" } }', "test_iter: 3",
    "test_iter: -1", "test_interval: 7", "test_state { }", 'test_state { stage: "s" level: 2 phase: TRAIN }', "type: 7",
    "solver_type: 9", "solver_type: ADAM", 'type: "adam"', "max_iter: word", "max_iter: 1e9", "stepvalue: 3",
    "base_lr: 1", "stepvalue: 1", "snapshot: -4", 'snapshot_prefix: "\\000/x"', f'snapshot_prefix: "{"long/" * 2000}"',
    "train_state: 3",
    "momentum: word", "rms_decay: nan", 'lr_policy: "stepp"', "test_net_param { }", "average_loss: 0", 'type: ""',
)), max_size=12))  # fmt: skip
def test_solvers_of_any_lines(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("solver")
    (folder / "net.prototxt").write_text(DATA + BODY)
    (folder / "solver.prototxt").write_text("\n".join(["base_lr: 0.1", *lines]))
    assert all(one.what for one in lint(folder / "solver.prototxt").findings)


def test_a_net_with_no_layer_in_the_training(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "x" type: "BatchNorm" bottom: "d" top: "d" include { phase: TEST } }'
    )
    assert [one.rule for one in lint(tmp_path / "net.prototxt").findings] == ["bottom"]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text("")
    with pytest.raises(UsageError, match="neither a net nor a solver"):
        lint(tmp_path / "net.prototxt")


def test_bottoms_that_nobody_makes_cost_no_more_than_their_number(tmp_path: Path) -> None:
    """Near names are looked for a few times only: what was looked at grows as the file does."""
    chance = random.Random(1)
    names = [f"blob{chance.randrange(10**9)}" for _ in range(3000)]
    net = "".join(f'layer {{ name: "{name}" type: "ReLU" bottom: "{name}x" top: "{name}" }}\n' for name in names)
    (tmp_path / "net.prototxt").write_text(net)
    found = lint(tmp_path / "net.prototxt").findings
    assert len(found) == 3000 and sum("did you mean" in one.mend for one in found) <= 10
