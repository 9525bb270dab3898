"""Logs of one name stay apart, and a log without numbers is never an empty answer."""

import json
from pathlib import Path

import pytest

from provision.cli import run
from provision.logs import absence, apart
from provision.logs.log import Log
from tests.unit.test_plot import DATA, log_of

G = "I0306 10:27:54.000000 7 solver.cpp:347] "


@pytest.fixture
def twins(tmp_path: Path) -> list[str]:
    """Two logs of one name, as DIGITS makes them."""
    for folder, name in (("A", "interrupted"), ("B", "resumed")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "caffe_output.log").write_bytes((DATA / f"digits-{name}.log").read_bytes())
    return [str(tmp_path / folder / "caffe_output.log") for folder in "AB"]


def test_tables_of_logs_of_one_name(twins: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", *twins, "--csv", str(tmp_path / "x")]) == 0
    written = [line for line in capsys.readouterr().out.splitlines() if line.startswith("written: ")]
    assert len(set(written)) == len(written) == 4
    assert {path.name for path in tmp_path.glob("x.*")} == {
        f"x.{folder}-caffe_output.{part}.csv" for folder in "AB" for part in ("train", "test")
    }


def test_numbers_and_scalars_of_logs_of_one_name(
    twins: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["logs", *twins, "--json"]) == 0
    assert {row["log"] for row in json.loads(capsys.readouterr().out)} == {"A/caffe_output", "B/caffe_output"}
    pytest.importorskip("tensorboardX")
    assert run(["logs", *twins, "--tensorboard", str(tmp_path / "board")]) == 0
    assert all(len(list((tmp_path / "board" / name / "caffe_output").iterdir())) == 1 for name in "AB")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/x.log", "/b/y.log"], ["x", "y"]),
        (["/a/x.log", "/b/x.log", "/b/y.log"], ["a/x", "b/x", "y"]),
        (["/1/a/x.log", "/2/a/x.log"], ["1/a/x", "2/a/x"]),
        (["/a/x.log", "/a/x.log.gz"], ["a/x.log", "a/x.log.gz"]),
        (["/a/x.log", "/a/x.log"], ["a/x.log", "a/x.log-2"]),
        (["/a/x.log", "/b/X.log"], ["a/x", "b/X"]),
        (["/a/x.log", "/b/x.log", "/c/a-x.log"], ["a/x.log", "b/x", "a-x.log-2"]),  # as files both would be a-x
    ],
)
def test_names_that_differ(paths: list[str], names: list[str]) -> None:
    logs = [
        Log(Path(path).name.removesuffix(".gz").removesuffix(".log"), Path(path), shown=Path(path)) for path in paths
    ]
    assert [log.name for log in apart._named(logs)] == names


@pytest.mark.parametrize("way", [["--csv"], ["--json"], ["--tensorboard", "{}/board"], ["--plot", "{}/a.png"],
                                 ["--plot", "{}/a.png", "--chart", "0"], ["--csv", "{}/out"]])  # fmt: skip
def test_a_log_without_numbers_is_no_empty_answer(
    way: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.log").write_text("first words\n\nsecond \x1b[31mwords\nthird\nfourth\n")
    assert run(["logs", str(tmp_path / "notes.log"), *(word.format(tmp_path) for word in way)]) == 13
    out, err = capsys.readouterr()
    assert out == "" and [path.name for path in tmp_path.iterdir()] == ["notes.log"]
    assert "no metrics were found in 5 lines" in err and "Caffe and Detectron" in err and "progress bars" in err
    assert all(line in err for line in ("\n    first words\n", "\n    second words\n", "\n    third\n"))
    assert "fourth" not in err


@pytest.mark.parametrize("words", [[], ["--csv"], ["--json"]])
def test_an_empty_log_is_said_to_be_empty(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.log").touch()
    assert run(["logs", str(tmp_path / "a.log"), *words]) == 13
    out, err = capsys.readouterr()
    assert out == "" and "a.log is empty" in err and "2>&1" in err


def test_others_are_written_before_the_empty_one_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.log").write_text("words\n")
    words = [str(tmp_path / "notes.log"), str(DATA / "digits-resumed.log"), "--csv", str(tmp_path / "out")]
    assert run(["logs", *words]) == 13
    assert (tmp_path / "out.digits-resumed.train.csv").is_file()
    assert "notes.log: no metrics" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "mend"),
    [
        ("Iteration 10, loss = 2.5\n", "glog's own prefix"),
        (f"{G}Batch 3, accuracy = 0.5\n", "caffe test"),
        (f"{G}     conv1\tforward: 1.25 ms.\n", "caffe time"),
        (f"{G}Creating layer x\n", "wait for the first display"),
        (f"{G}Snapshotting to binary proto file a.caffemodel\n", "display: 20 in the solver"),
        (f"{G}Optimization Done.\n", "display: 20 in the solver"),
        (f"{G}x\nF0306 10:27:54.0 7 a.cpp:1] Check failed\n", "before its first display: provision diagnose"),
        ("a\0b\n", "this is no text"),
        ("epoch one, loss unknown\n", "--metrics 'regex:"),
    ],
)
def test_what_helps_a_log_without_numbers(lines: str, mend: str, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(lines)
    log = Log("a", tmp_path / "a.log")
    assert not absence.told(log)
    assert mend in absence.error(log).mend


def test_a_net_without_outputs_has_tables_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = log_of(tmp_path, ["Iteration 0, loss = 2.5", "Iteration 0, lr = 0.1", "Iteration 5, loss = 1.5"])
    assert run(["logs", str(log.path), "--csv"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NumIters,Seconds,LearningRate,loss", "0,0.000000,0.1,2.5", "5,0.000000,0.1,1.5"
    ]  # fmt: skip


def test_a_display_that_was_cut_off_makes_no_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = ["Iteration 0, loss = 2.5", "    Train net output #0: top = 1", "Iteration 0, lr = 0.1"]
    log = log_of(tmp_path, [*whole, "Iteration 5, loss = 1.5"])
    assert run(["logs", str(log.path), "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["0,0.000000,0.1,1.0"]


def test_tables_of_several_logs_are_parted_by_an_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(DATA / f"digits-{name}.log") for name in ("interrupted", "resumed")]
    assert run(["logs", *names, "--csv"]) == 0
    assert [part.split(",")[0] for part in capsys.readouterr().out.split("\n\n")] == ["NumIters"] * 4


def test_a_learning_rate_alone_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", str(log_of(tmp_path, ["Iteration 0, lr = 0.1"]).path), "--csv"]) == 13
    assert "no loss and no output" in capsys.readouterr().err
