"""A log's numbers as CSV, JSON and TensorBoard's files, and the command that gives them."""

import csv
import errno
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.errors import DiskError, MissingExtraError
from provision.cli import run
from provision.logs import export
from provision.logs.export import write_tensorboard
from provision.logs.read import Log, rows
from tests.unit.test_plot import DATA, joined, log_of


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_caffes_header_and_all_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = joined(tmp_path)
    assert run(["logs", str(log.path), "--csv", str(tmp_path / "out.csv")]) == 0
    train, test = table(tmp_path / "out.train.csv"), table(tmp_path / "out.test.csv")
    assert list(train[0]) == ["NumIters", "Seconds", "LearningRate", "loss"]
    assert list(test[0]) == ["NumIters", "Seconds", "LearningRate", "accuracy", "loss"]
    assert train[1] == {"NumIters": "10", "Seconds": "0.275797", "LearningRate": "0.0199253", "loss": "2.17297"}
    assert (test[0]["LearningRate"], test[-1]["NumIters"], test[-1]["accuracy"]) == ("0.02", "1500", "0.983287")
    assert [int(row["NumIters"]) for row in train] == list(range(0, 1500, 10))
    seconds = [float(row["Seconds"]) for row in train]
    assert seconds == sorted(seconds)
    assert "out.train.csv" in capsys.readouterr().out


def test_lost_rows_are_left_out_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = joined(tmp_path, resumed_at=450)
    assert log.lost_from == {0: 450}
    assert run(["logs", str(log.path), "--csv", str(tmp_path / "out.csv")]) == 0
    at = [int(row["NumIters"]) for row in table(tmp_path / "out.train.csv")]
    assert at == [*range(0, 450, 10), *range(680, 1500, 10)]
    assert "25 rows are left out" in capsys.readouterr().err


def test_csv_to_standard_output_is_both_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", str(DATA / "digits-two-test-nets.log"), "--csv"]) == 0
    train, first, second = capsys.readouterr().out.split("\n\n")
    assert train.startswith("NumIters,Seconds,LearningRate,loss\n0,")
    assert first.splitlines()[1].split(",")[3:] == second.splitlines()[1].split(",")[3:] == ["0.100279", "2.30592"]


def test_column_that_comes_later_is_named_too(tmp_path: Path) -> None:
    lines = [
        "Iteration 0, loss = 1", "    Train net output #0: a = 1", "Iteration 0, lr = 0.1",
        "Iteration 1, loss = 1", "    Train net output #0: a = 2", "    Train net output #1: b = nan",
    ]  # fmt: skip
    assert run(["logs", str(log_of(tmp_path, lines).path), "--csv", str(tmp_path / "out")]) == 0
    first, second = table(tmp_path / "out.train.csv")
    assert (first["a"], first["b"], second["a"], second["b"]) == ("1.0", "", "2.0", "nan")


def test_json_has_every_number_and_no_bare_nan(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", str(DATA / "digits-diverged.log"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"bare {word}"))
    assert found[0] == {
        "attempt": 0, "iteration": 0, "log": "digits-diverged", "name": "accuracy", "net": 0, "output": 0,
        "phase": "test", "seconds": found[0]["seconds"], "value": 0.100279,
        "weight": None,
    }  # fmt: skip
    assert "nan" in [one["value"] for one in found]


def test_log_as_it_is_packed_or_from_a_folder(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    data = (DATA / "digits-no-gpu.log").read_bytes()
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(data))
    (tmp_path / "fetched").mkdir()
    (tmp_path / "fetched" / "log.txt").write_bytes(data)
    assert run(["logs", str(tmp_path / "a.log.gz"), str(tmp_path / "fetched")]) == 0
    assert capfdbinary.readouterr().out == data * 2


def test_tensorboards_files_hold_the_scalars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboardX")
    assert run(["logs", str(joined(tmp_path).path), "--tensorboard", str(tmp_path / "board")]) == 0
    (file,) = (tmp_path / "board" / "digits").iterdir()
    data = file.read_bytes()
    for tag in (b"train/loss", b"train/smoothed_loss", b"test/accuracy", b"lr"):
        assert tag in data
    assert data.count(b"test/accuracy") == sum(row.phase == "test" for row in rows(joined(tmp_path)))
    assert "tensorboard --logdir" in capsys.readouterr().out


def test_tensorboard_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError) as caught:
        write_tensorboard([joined(tmp_path)], tmp_path / "board")
    assert caught.value.mend == "pip install 'provision-spot[tensorboard]'"


def test_million_outputs_are_one_row(tmp_path: Path) -> None:
    lines = ["Iteration 0, Testing net (#0)", *(f"    Test net output #{at}: pred = {at}" for at in range(20_000))]
    (row,) = rows(log_of(tmp_path, lines))
    assert (row.values, row.scalars()) == ({"pred": 19_999.0}, {})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.log"], "there is no file nowhere.log"),
        (["{log}", "--chart", "1"], "--chart draws a picture"),
        (["{log}", "--follow"], "--follow follows one run"),
        (["{log}", "--csv", "{log}/out.csv"], "digits-resumed.log/out.train.csv cannot be written"),
        (["{log}", "--plot", "{log}/out.png"], "digits-resumed.log/out.png cannot be written"),
        (["{log}", "--plot", "out.words"], "out.words cannot be drawn"),
    ],
)
def test_wrong_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    filled = [word.format(log=DATA / "digits-resumed.log") for word in words]
    assert run(["logs", *filled]) == 2
    assert said in capsys.readouterr().err


def test_what_fails_on_the_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture or a table that was there stays as it was, and nothing lies beside it."""
    for name in ("o.train.csv", "o.png"):
        (tmp_path / name).write_text("old")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(export._Table, "write", _raising(full))
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", _raising(full))
    for words in (["--csv", str(tmp_path / "o.csv")], ["--plot", str(tmp_path / "o.png")]):
        assert run(["logs", str(DATA / "digits-resumed.log"), *words]) == DiskError.exit_code
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"o.train.csv": "old", "o.png": "old"}


def _raising(error: OSError) -> Callable[..., None]:
    def write(*_: object, **__: object) -> None:
        raise error

    return write


def test_log_named_twice_keeps_its_name(tmp_path: Path) -> None:
    assert (
        run(["logs", str(DATA / "digits-resumed.log"), str(joined(tmp_path).path), "--csv", str(tmp_path / "o")]) == 0
    )
    assert {path.name for path in tmp_path.glob("o.*.csv")} == {
        f"o.{name}.{part}.csv" for name in ("digits-resumed", "digits") for part in ("train", "test")
    }


def test_log_object_reads_again(tmp_path: Path) -> None:
    log = Log("one", joined(tmp_path).path)
    assert repr(list(log.events())) == repr(list(log.events()))
