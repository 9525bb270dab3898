"""`provision net show` and `net lint` as a user meets them."""

import json
from pathlib import Path

import pytest

from provision.cli import run
from tests.unit.test_net_lint import BODY, DATA, SOLVER


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net and a solver; no engine is there to be asked for a schema."""
    monkeypatch.setattr("provision.net.schema_source._from_image", lambda *_: None)
    (tmp_path / "net.prototxt").write_text(DATA + BODY)
    (tmp_path / "solver.prototxt").write_text(SOLVER)
    return tmp_path / "net.prototxt"


def test_a_table_with_totals_and_the_way_to_what_is_unknown(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["net", "show", str(net)]) == 0
    out = capsys.readouterr().out
    assert "score" in out and "?" in out and "--shape data:N,C,H,W" in out
    assert run(["net", "show", str(net), "--shape", "data:4,1,8,8", "--phase", "TEST"]) == 0
    out = capsys.readouterr().out
    assert "4 x 1 x 8 x 8" in out and "195" in out and "accuracy" in out and "total" in out


def test_json_has_every_number(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["net", "show", str(net), "--shape", "data:4,1,8,8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    score = next(one for one in found["layers"] if one["name"] == "score")
    assert score["tops"] == {"score": [4, 3]} and score["params"] == [[3, 64], [3]]
    assert found["params"] == 195 and found["macs"] == 768 and found["whole"] is True


def test_a_picture(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["net", "show", str(net), "--shape", "data:4,1,8,8", "--out", str(tmp_path / "net.svg")]) == 0
    assert "drawn into" in capsys.readouterr().out
    assert "4 x 1 x 8 x 8" in (tmp_path / "net.svg").read_text()


@pytest.mark.parametrize("word", ["data", "data:", "data:1,x", ":1,2", "data:0,3"])
def test_a_shape_that_is_none(word: str, net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["net", "show", str(net), "--shape", word]) == 2
    assert "write --shape data:1,3,224,224" in capsys.readouterr().err


def test_a_sound_solver_ends_with_0_and_says_what_was_left_out(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["net", "lint", str(net.with_name("solver.prototxt"))]) == 0
    out = capsys.readouterr().out
    assert "no errors, no warnings" in out and "not checked: unknown fields" in out and "--source" in out


def test_errors_end_with_2_and_name_file_and_line(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net.write_text((DATA + BODY).replace('bottom: "data"', 'bottom: "dat"'))
    assert run(["net", "lint", str(net)]) == 2
    out = capsys.readouterr().out
    assert f"{net}:7: error: score reads dat" in out and "→ did you mean data?" in out


def test_warnings_alone_end_with_0(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net.write_text(DATA + BODY + 'layer { name: "p" type: "Softmax" bottom: "score" top: "p" }')
    assert run(["net", "lint", str(net), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == 0 and {one["level"] for one in found["findings"]} == {"warning"}
    assert {"level", "rule", "file", "line", "what", "why", "mend"} == set(found["findings"][0])


def test_a_file_that_is_no_prototxt(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net.write_text("layer {\n  name: \n}")
    assert run(["net", "lint", str(net)]) == 2
    assert f"{net}:3:1:" in capsys.readouterr().err


BOTH = DATA + "".join(
    f'''layer {{ name: "c{at}" type: "Convolution" bottom: "{f"c{at - 1}" if at else "data"}" top: "c{at}"
    convolution_param {{ num_output: 4 kernel_size: 1 }} }}
    layer {{ name: "bn{at}" type: "BatchNorm" bottom: "c{at}" top: "c{at}" }}
    layer {{ name: "s{at}" type: "Scale" bottom: "c{at}" top: "c{at}" }}
    '''
    for at in range(40)
)


def test_findings_of_one_kind_are_told_once(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net.write_text(BOTH + BODY.replace('"data"', '"c39"'))
    assert run(["net", "lint", str(net)]) == 0
    out = capsys.readouterr().out
    assert out.count("has a bias") == 1 and "and 39 more, in lines " in out and "no errors, 40 warnings" in out
    assert run(["net", "lint", str(net), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 40


def test_a_net_is_read_as_the_fork_whose_words_it_speaks(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    norm = 'layer { name: "n" type: "Normalize" bottom: "data" top: "n" norm_param { scale_filler { value: 9 } } }'
    net.write_text(DATA + norm + BODY.replace('"data"', '"n"'))
    assert run(["net", "lint", str(net)]) == 0
    out = capsys.readouterr().out
    assert "no errors, no warnings, read as caffe-ssd (SSD's words)" in out
    assert "not checked: unknown fields" in out and "--stack caffe-ssd --source git" in out
    assert run(["net", "lint", str(net), "--stack", "caffe-ssd"]) == 0
    assert "no errors, no warnings" in capsys.readouterr().out
    assert run(["net", "lint", str(net), "--stack", "caffe"]) == 0
    out = capsys.readouterr().out
    assert "warning: layers of SSD (weiliu89/caffe): Normalize; caffe lacks them" in out and "--stack caffe-ssd" in out


def test_a_fork_that_no_stack_has_is_named_once(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    norm = "".join(f'layer {{ name: "b{at}" type: "BN" bottom: "data" top: "data" }}' for at in range(30))
    up = 'layer { name: "up" type: "Upsample" bottom: "data" top: "up" upsample_param { scale: 2 } }'
    net.write_text(DATA + norm + up + BODY.replace('"data"', '"up"'))
    assert run(["net", "lint", str(net)]) == 0
    out = capsys.readouterr().out
    assert (
        out.count("warning:") == 1 and "BN (30 layers)" in out and "Upsample" in out and "no stack here has them" in out
    )


def test_a_fork_that_is_not_known(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["net", "lint", str(net), "--stack", "caffe-crf"]) == 2
    assert "caffe-crfrnn" in capsys.readouterr().err
