"""TensorBoard's event files: written by tensorboardX, or byte by byte, and read without either."""

import json
import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from provision.cli import run
from provision.logs import tensorboard
from provision.logs.events import Metric
from provision.logs.log import Log

tensorboardX = pytest.importorskip("tensorboardX")


def written(folder: Path) -> Path:
    """An event file with scalars, a picture and a text."""
    numpy = pytest.importorskip("numpy")
    with tensorboardX.SummaryWriter(str(folder)) as writer:
        for at in range(50):
            writer.add_scalar("Loss/train", 1 / (at + 1), at, walltime=1000.0 + at)
            writer.add_scalar("Loss/val", 2 / (at + 1), at, walltime=1000.0 + at)
        writer.add_image("picture", numpy.zeros((3, 32, 32), dtype="uint8"), 5)
        writer.add_text("words", "step 5 loss 0.5", 5)
        writer.add_scalar("Loss/train", math.nan, 50)
        writer.add_scalar("epoch", 3, 50)
    return next(folder.glob("events.out.tfevents.*"))


def numbers(path: Path) -> list[tuple[str, str, int, float]]:
    found = [one for one in Log("board", path).events() if isinstance(one, Metric) and one.phase != "solver"]
    return [(one.phase, one.name, one.iteration, one.value) for one in found]


def test_scalars_of_another_writer_are_read(tmp_path: Path) -> None:
    found = numbers(written(tmp_path))
    assert len(found) == 101 and math.isnan(found[-1][3])
    assert found[2:4] == [("train", "Loss", 1, 0.5), ("test", "Loss", 1, 1.0)]
    seconds = {one.iteration: one.seconds for one in Log("b", next(tmp_path.iterdir())).events()}
    assert seconds[49] == 49.0


def test_what_we_write_is_read_back(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"step={at} loss={1 / at:.3f} val_acc=0.5\n" for at in (10, 20)))
    assert run(["logs", str(log), "--tensorboard", str(tmp_path / "board")]) == 0
    found = numbers(next((tmp_path / "board" / "a").glob("events.*")))
    told = {(phase, name, at): round(value, 6) for phase, name, at, value in found}
    assert told[("train", "loss", 20)] == 0.05 and told[("test", "acc", 10)] == 0.5


def test_a_folder_is_all_its_event_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A training that was started again writes another one: what it tells again counts."""
    for number, steps in enumerate((range(1, 6), range(4, 9)), 1):
        path = tmp_path / "board" / f"events.out.tfevents.{number}.host"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(map(_scalar, steps)))
    (tmp_path / "board" / "hparams.yaml").write_text("lr: 0.1")
    assert run(["logs", str(tmp_path / "board"), "--csv", str(tmp_path / "out")]) == 0
    at = [line.split(",")[0] for line in (tmp_path / "out.train.csv").read_text().splitlines()]
    assert at == ["NumIters", *"12345678"]
    assert "2 rows are left out" in capsys.readouterr().err
    assert run(["diagnose", str(tmp_path / "board")]) == 0


def test_an_event_file_is_printed_as_lines(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["logs", str(written(tmp_path))]) == 0
    first = json.loads(capfdbinary.readouterr().out.splitlines()[0])
    assert first == {"wall_time": 1000.0, "step": 0, "Loss/train": 1.0}


def _varint(value: int) -> bytes:
    made = b""
    while value > 0x7F:
        made, value = made + bytes([value & 0x7F | 0x80]), value >> 7
    return made + bytes([value])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", tensorboard._masked(length)) + data + b"\0\0\0\0"


def _event(step: int, value: bytes) -> bytes:
    """An event of event.proto with one value of summary.proto."""
    return _record(b"\x09" + struct.pack("<d", 1000.0) + b"\x10" + _varint(step) + _field(5, _field(1, value)))


def _tensor(kind: int, *fields: bytes) -> bytes:
    return _field(1, b"val_loss") + _field(8, b"\x08" + _varint(kind) + b"".join(fields))


@pytest.mark.parametrize(
    ("fields", "kind", "told"),
    [
        ([_field(5, struct.pack("<f", 0.5))], 1, 0.5),  # float_val, packed
        ([b"\x2d" + struct.pack("<f", 0.5)], 1, 0.5),  # float_val, as one number
        ([_field(6, struct.pack("<d", 0.25))], 2, 0.25),  # double_val
        ([_field(4, struct.pack("<f", 0.5))], 1, 0.5),  # tensor_content
        ([_field(4, struct.pack("<d", 0.125))], 2, 0.125),
        ([_field(4, struct.pack("<ff", 0.5, 0.5))], 1, None),  # two numbers are no scalar
        ([_field(8, b"text")], 7, None),
    ],
)
def test_tensors_of_tensorflow_2(fields: Sequence[bytes], kind: int, told: float | None) -> None:
    found = list(tensorboard.lines([_event(7, _tensor(kind, *fields))]))
    assert [json.loads(line)["val_loss"] for line in found] == ([] if told is None else [told])


def _scalar(step: int) -> bytes:
    return _event(step, _field(1, b"loss") + b"\x15" + struct.pack("<f", 0.5))


def _steps(pieces: Iterator[bytes]) -> list[int]:
    return [json.loads(line)["step"] for line in tensorboard.lines(pieces)]


def test_what_is_cut_off_or_damaged_ends_it() -> None:
    data = b"".join(map(_scalar, range(5)))
    assert _steps(iter([data])) == [0, 1, 2, 3, 4]
    assert _steps(data[at : at + 3] for at in range(0, len(data), 3)) == [0, 1, 2, 3, 4]
    assert _steps(iter([data[:-7]])) == [0, 1, 2, 3]
    size = len(_scalar(0))
    assert _steps(iter([data[:size] + b"\xff" + data[size + 1 :]])) == [0]
    assert _steps(iter([data[:size] + _record(b"\x0b\x0c") + data[size:]])) == [0, 1, 2, 3, 4]  # no message


def test_a_large_record_is_passed_over_unread() -> None:
    length = 5 << 20
    head = struct.pack("<Q", length)

    def pieces() -> Iterator[bytes]:
        yield _scalar(1) + head + struct.pack("<I", tensorboard._masked(head))
        for _ in range(5):
            yield bytes(1 << 20)
        yield b"\0\0\0\0" + _scalar(2)

    assert _steps(pieces()) == [1, 2]


def test_a_text_is_no_event_file() -> None:
    assert not any(map(tensorboard.begins, (b"", b"I1120 23:36:21.594349", b"\x18\0\0\0\0\0\0\0", bytes(12))))
