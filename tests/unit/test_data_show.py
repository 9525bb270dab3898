"""What is in a database is shown and saved, and its mean is Caffe's: float sums in order, as a BlobProto."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import UsageError
from provision.cli import run
from provision.data import datum, voc
from provision.data.backends import writer
from provision.data.convert import Order, convert
from provision.data.datum import Datum
from provision.data.mean import mean
from provision.data.pictures import Shape
from tests.unit import data_kit as kit
from tests.unit.test_data import decode as independent

BACKENDS = ("lmdb", "leveldb")


def database(folder: Path, records: list[Datum], backend: str = "lmdb", names: str = "") -> Path:
    """Records under the names 0.jpg, 1.jpg and so on, after `names`."""
    base = writer(folder, backend)
    keys = [f"{number:08d}_{names}{number}.jpg".encode() for number in range(len(records))]
    base.put([(key, record.encode()) for key, record in zip(keys, records, strict=True)])
    base.close()
    return folder


@given(
    st.integers(0, 9), st.integers(0, 2**20), st.binary(max_size=50), st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([None, True, False]), st.lists(st.floats(width=32, allow_nan=False), max_size=4),
)  # fmt: skip
def test_a_datum_is_read_as_it_was_written(
    channels: int, width: int, data: bytes, label: int, encoded: bool | None, floats: list[float]
) -> None:
    given = Datum(channels, 5, width, data, label, encoded, struct.pack(f"<{len(floats)}f", *floats))
    assert datum.decode(given.encode()) == given


def test_the_picture_of_an_annotated_datum_is_found() -> None:
    inner = Datum(0, 0, 0, b"jpeg", 3, True).encode()
    assert datum.decode(b"\x0a" + datum.varint(len(inner)) + inner + b"\x10\x00").data == b"jpeg"


@pytest.mark.parametrize("message", [b"\x22\x7fabc", b"\x08", b"\x0b", b"\x22\x80", b"\x20\x01", b"not a message"])
def test_what_is_no_datum_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"Datum|protobuf"):
        datum.decode(message)


@pytest.mark.parametrize("backend", BACKENDS)
def test_show_counts_records_sizes_and_labels(tmp_path: Path, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    records = [Datum(1, 2, 3, bytes([number] * 6), number % 3, False) for number in range(30, 40)]
    database(tmp_path / "db", [*records, Datum(3, 1, 1, b"abc", 7, False)], backend)
    assert run(["data", "lmdb-show", str(tmp_path / "db"), "--n", "2"]) == 0
    said = capsys.readouterr().out
    assert f"11 records ({backend})" in said
    assert "sizes: 1 x 2 x 3 (10), 3 x 1 x 1 (1)" in said
    assert "labels: 0 (4), 1 (3), 2 (3), 7 (1)" in said
    assert "00000001_1.jpg" in said
    assert "00000002_2.jpg" not in said


def test_label_pictures_are_counted_by_pixel_and_saved_in_vocs_colours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.array([[0, 15, 255]], np.uint8)
    encoded = cv2.imencode(".png", values)[1].tobytes()
    database(tmp_path / "db", [Datum(1, 1, 3, values.tobytes(), 0, False), Datum(0, 0, 0, encoded, 0, True)])
    assert run(["data", "lmdb-show", str(tmp_path / "db"), "--json", "--save", str(tmp_path / "pictures")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["labels"] == {"0": 2, "15": 2, "255": 2}
    assert told["stored"] == {"raw": 1, "encoded png": 1}
    assert [(row["height"], row["width"]) for row in told["first"]] == [(1, 3), (1, 3)]
    for path in told["saved"]:
        assert cv2.imread(path)[0, :, ::-1].tolist() == [list(voc.PALETTE[value]) for value in (0, 15, 255)]


def test_photos_are_saved_as_they_were(tmp_path: Path) -> None:
    kit.jpegs(tmp_path / "set", 2)
    convert(Order(tmp_path / "set", tmp_path / "db"))
    assert run(["data", "lmdb-show", str(tmp_path / "db"), "--save", str(tmp_path / "saved")]) == 0
    saved = sorted((tmp_path / "saved").iterdir())
    assert [path.name for path in saved] == ["00000000_000.jpg.png", "00000001_001.jpg.png"]
    assert (cv2.imread(str(saved[1])) == cv2.imread(str(tmp_path / "set/001.jpg"))).all()


def test_a_record_that_is_no_datum_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = writer(tmp_path / "db", "lmdb")
    base.put([(b"00000000_a", b"{json: 1}")])
    base.close()
    assert run(["data", "lmdb-show", str(tmp_path / "db")]) == 2
    assert "the record 00000000_a is" in capsys.readouterr().err


def test_a_folder_of_databases_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database(tmp_path / "both/images_lmdb", [Datum(1, 1, 1, b"a", 0, False)])
    assert run(["data", "lmdb-show", str(tmp_path / "both")]) == 2
    assert f"it holds some: {tmp_path}/both/images_lmdb" in capsys.readouterr().err


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("encode", ["", "jpg"])
def test_mean_is_a_float_sum_in_order(tmp_path: Path, backend: str, encode: str) -> None:
    names = kit.jpegs(tmp_path / "set", 12)
    convert(Order(tmp_path / "set", tmp_path / "db", backend=backend, shape=Shape(encode=encode)))
    made = mean(tmp_path / "db", tmp_path / "mean.binaryproto", npy=True)
    total = np.zeros((3, 60, 80), np.float32)
    for name in names:
        total = total + cv2.imread(str(tmp_path / "set" / name)).transpose(2, 0, 1).astype(np.float32)
    wanted = (total / np.float32(12)).astype(np.float32)
    fields = independent((tmp_path / "mean.binaryproto").read_bytes())
    assert {number: fields[number] for number in (1, 2, 3, 4)} == {1: 1, 2: 3, 3: 60, 4: 80}
    assert fields[5] == wanted.tobytes()
    assert (np.load(tmp_path / "mean.npy") == wanted).all()
    assert made.channels == pytest.approx(wanted.mean(axis=(1, 2)), rel=1e-5)
    assert datum.decode_blob((tmp_path / "mean.binaryproto").read_bytes()) == ((3, 60, 80), wanted.tobytes())


def test_mean_of_other_sizes_and_of_nothing(tmp_path: Path) -> None:
    database(tmp_path / "db", [Datum(1, 1, 2, b"ab", 0, False), Datum(1, 2, 1, b"ab", 0, False)])
    with pytest.raises(UsageError, match=r"00000001_1.jpg is 1 x 2 x 1, the first is 1 x 1 x 2"):
        mean(tmp_path / "db", tmp_path / "mean")
    database(tmp_path / "none", [])
    with pytest.raises(UsageError, match="is empty"):
        mean(tmp_path / "none", tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_mean_of_floats(tmp_path: Path) -> None:
    database(tmp_path / "db", [Datum(1, 1, 2, b"", 0, None, struct.pack("<2f", 1.5, number)) for number in (1.0, 2.0)])
    assert mean(tmp_path / "db", tmp_path / "mean").channels == (1.5,)


def test_mean_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database(tmp_path / "db", [Datum(3, 1, 1, bytes([1, 2, 3]), 0, False)])
    words = ["data", "mean", str(tmp_path / "db"), str(tmp_path / "mean.binaryproto")]
    assert run([*words, "--dry-run"]) == 0
    assert not (tmp_path / "mean.binaryproto").exists()
    capsys.readouterr()
    assert run(words) == 0
    assert "transform_param { mean_value: 1.0000 mean_value: 2.0000 mean_value: 3.0000 }" in capsys.readouterr().out
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["channels"] == [1, 2, 3]
