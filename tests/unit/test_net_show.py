"""`provision net show`: the phase that a file means, what is unknown, and what is kept, as a user meets them."""

import json
from pathlib import Path

import pytest

from provision.cli import run
from provision.net import graph
from provision.net.text import parse

CONV = (
    'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
    "convolution_param { num_output: 4 kernel_size: 3 } }\n"
)
INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "c" top: "loss" }\n'


def data(name: str = "data", rule: str = "") -> str:
    return f'layer {{ name: "{name}" type: "HDF5Data" top: "data" top: "label" {rule} }}\n'


def phase(word: str) -> str:
    return f"include {{ phase: {word} }}"


STAGED = (
    data("t", 'include { stage: "train" }') + data("v", 'include { stage: "val" }')
    + 'layer { name: "d" type: "Input" top: "data" include { stage: "deploy" } '
    "input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n" + CONV
    + LOSS.replace("}\n", 'exclude { stage: "deploy" } }\n')
)  # fmt: skip


@pytest.mark.parametrize(
    ("net", "asked", "meant"),
    [
        (INPUT + CONV, None, ("TEST", [])),  # for use
        ('input: "data" input_dim: 1\n' + CONV, None, ("TEST", [])),
        (INPUT + CONV + LOSS, None, ("TRAIN", [])),
        (data() + CONV, None, ("TRAIN", [])),
        (data("a", phase("TRAIN")) + data("b", phase("TEST")) + CONV, None, ("TRAIN", [])),
        (data("b", phase("TEST")) + CONV + LOSS, None, ("TEST", [])),  # SSD's test.prototxt
        (data("b", phase("TEST")) + CONV + LOSS, "TRAIN", ("TRAIN", [])),
        (STAGED, None, ("TRAIN", ["train"])),
        (STAGED, "TEST", ("TEST", ["val"])),
        (CONV, None, ("TEST", [])),  # a part of a net, for use
        (CONV + LOSS, None, ("TRAIN", [])),
    ],
)
def test_the_phase_and_stage_that_the_file_means(net: str, asked: graph.Phase | None, meant: object) -> None:
    found, stages = graph.meant(parse(net), asked)
    assert (found, sorted(stages)) == meant


def shown(tmp_path: Path, net: str, *words: str) -> int:
    (tmp_path / "net.prototxt").write_text(net)
    return run(["net", "show", str(tmp_path / "net.prototxt"), *words])


def test_stages_are_taken_or_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(tmp_path, STAGED) == 0
    out = capsys.readouterr().out
    assert "TRAIN, stage train" in out and "--stage val | deploy" in out
    assert shown(tmp_path, STAGED, "--stage", "deploy", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["phase"] == "TEST" and found["stages"] == ["deploy"]
    assert found["params"] == 4 * 27 + 4 and found["layers"][0]["name"] == "d"
    assert shown(tmp_path, STAGED, "--stage", "trane") == 2
    assert "it names train, val, deploy" in capsys.readouterr().err


def test_a_level_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = INPUT + CONV.replace('name: "c"', 'name: "c" include { min_level: 2 }')
    assert shown(tmp_path, net, "--level", "2", "--json") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["layers"]] == ["data", "c"]
    assert shown(tmp_path, net) == 0
    assert "1 layers" in capsys.readouterr().out


def test_the_hint_names_the_phase_in_which_the_data_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(tmp_path, data("b", phase("TEST")) + CONV, "--phase", "TRAIN") == 0
    out = capsys.readouterr().out
    assert "nothing makes data in TRAIN: --phase TEST" in out and "--shape" not in out
    assert shown(tmp_path, STAGED, "--stage", "val", "--phase", "TEST") == 0
    assert "--phase" not in capsys.readouterr().out


def test_the_hint_names_the_stage_in_which_the_data_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = STAGED + 'layer { name: "z" type: "ReLU" bottom: "c" top: "c" include { stage: "fine" } }\n'
    assert shown(tmp_path, net, "--stage", "fine") == 0
    assert "nothing makes data in TRAIN, stage fine: --stage train" in capsys.readouterr().out


def test_a_phase_without_layers_is_no_empty_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = f'layer {{ name: "x" type: "HDF5Data" top: "data" {phase("TEST")} }}'
    assert shown(tmp_path, net, "--phase", "TRAIN") == 2
    said = capsys.readouterr().err
    assert "has no layers in TRAIN" in said and "--phase TEST" in said


def test_nothing_unknown_is_shown_as_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(tmp_path, data() + CONV, "--out", str(tmp_path / "a.svg")) == 0
    total = next(line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("total"))
    assert total.split() == ["total", "2", "layers", "?", "?"]
    assert "? parameters, ? multiply-adds" in (tmp_path / "a.svg").read_text()
    assert shown(tmp_path, data() + CONV, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["params"], found["macs"], found["params_known"], found["unknown"]) == (
        None, None, False, ["data", "label"]
    )  # fmt: skip


def test_a_part_that_is_known_is_at_least(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = 'layer { name: "n" type: "Brandnew" bottom: "c" top: "c" }\n'
    assert shown(tmp_path, INPUT + CONV + strange, "--out", str(tmp_path / "a.svg")) == 0
    out = capsys.readouterr().out
    assert "at least 112" in out and "at least 3.89 k" in out
    assert "Brandnew: no fork of Caffe known here has such a layer" in out
    picture = (tmp_path / "a.svg").read_text()
    assert "at least 112 parameters" in picture and "Convolution 3x3 + Brandnew" in picture


def test_kept_numbers_have_a_column_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = INPUT + CONV + 'layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }\n'
    assert shown(tmp_path, net, "--out", str(tmp_path / "a.svg")) == 0
    out = capsys.readouterr().out
    total = next(line for line in out.splitlines() if line.strip().startswith("total"))
    assert total.split() == ["total", "3", "layers", "112", "9", "3.89", "k"]
    assert "a snapshot has 121" in out
    assert "112 parameters and 9 kept" in (tmp_path / "a.svg").read_text()
    assert shown(tmp_path, net, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["params"], found["learned"], found["kept"]) == (121, 112, 9)
    assert shown(tmp_path, INPUT + CONV) == 0
    assert "kept" not in capsys.readouterr().out.replace(str(tmp_path), "")


def test_a_shape_of_no_blob_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(tmp_path, data() + CONV, "--shape", "dat:1,3,8,8") == 2
    said = capsys.readouterr().err
    assert "no layer has such a blob" in said and "did you mean data?" in said


def test_a_shape_may_be_told_of_any_blob(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(tmp_path, CONV, "--shape", "data:1,3,8,8", "--json") == 0  # nothing makes it
    found = json.loads(capsys.readouterr().out)
    assert found["params"] == 112 and found["layers"][0]["tops"] == {"c": [1, 4, 6, 6]}
    assert shown(tmp_path, INPUT + CONV, "--shape", "data:5,3,9,9", "--json") == 0
    assert json.loads(capsys.readouterr().out)["layers"][1]["tops"] == {"c": [5, 4, 7, 7]}


def test_a_solver_leads_to_its_net(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(tmp_path, 'train_net: "other.prototxt"\nbase_lr: 1\n') == 2
    assert "show its net, other.prototxt" in capsys.readouterr().err
    (tmp_path / "other.prototxt").write_text(INPUT + CONV)
    assert shown(tmp_path, 'train_net: "other.prototxt"\nbase_lr: 1\n') == 2
    assert f"provision net show {tmp_path / 'other.prototxt'}" in capsys.readouterr().err


def test_a_net_inside_a_solver_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(tmp_path, f"base_lr: 1\nnet_param {{\n{INPUT}{CONV}}}\n", "--json") == 0
    assert json.loads(capsys.readouterr().out)["params"] == 112
