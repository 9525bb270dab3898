"""Pictures and records as the world has them: what Caffe would stop at or learn nothing from is named."""

from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from PIL import Image

from infra.errors import UsageError
from provision.cli import run
from provision.data.backends import reader
from provision.data.datum import Datum, decode, fields
from provision.data.heads import head
from provision.data.lists import load
from provision.data.mean import planes
from tests.unit import data_kit as kit

PIXELS = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
DARK = PIXELS.tobytes()


def stored(folder: Path, *records: bytes, keys: str = "%08d") -> Path:
    folder.mkdir()
    env = lmdb.open(str(folder), map_size=1 << 24)
    with env.begin(write=True) as txn:
        for number, record in enumerate(records):
            txn.put((keys % number).encode(), record)
    env.close()
    return folder


def deep(folder: Path) -> list[Path]:
    """Pictures of 16 bits that Pillow calls RGB."""
    wide = kit.cutting(1).astype(np.uint16) * 257
    cv2.imwrite(str(folder / "a.tif"), wide)
    (folder / "b.ppm").write_bytes(b"P6\n80 60\n65535\n" + wide[..., ::-1].astype(">u2").tobytes())
    return [folder / "a.tif", folder / "b.ppm"]


def test_tiffs_and_ppms_of_16_bits_are_encoded_anew(tmp_path: Path) -> None:
    for path in deep(tmp_path):
        assert head(path).bits == 16
        source = kit.write(tmp_path / "list.txt", f"{path.name} 0")
        assert run(["data", "lmdb", str(source), str(tmp_path / f"db{path.suffix}"), "--encoded"]) == 0
        (record,) = reader(tmp_path / f"db{path.suffix}").items()
        assert np.array_equal(planes(decode(record[1])), kit.cutting(1).transpose(2, 0, 1))  # of 8 bits
    for name in ("a.tif", "b.ppm"):
        cv2.imwrite(str(tmp_path / name), kit.cutting(1))
        assert head(tmp_path / name).bits == 8


def test_a_tiff_of_four_inks_has_four_channels_as_opencv_reads_it(tmp_path: Path) -> None:
    Image.fromarray(kit.cutting(1)).convert("CMYK").save(tmp_path / "a.tif")
    assert head(tmp_path / "a.tif").channels == cv2.imread(str(tmp_path / "a.tif"), -1).shape[2] == 4


@pytest.mark.parametrize("record", [b"", Datum(0, 0, 0, b"", 1).encode()], ids=["empty", "no size"])
def test_a_record_without_a_picture_is_named(record: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = str(stored(tmp_path / "db", record))
    assert run(["data", "lmdb-show", database, "--save", str(tmp_path / "s")]) == 0
    assert "holds no picture" in capsys.readouterr().out
    assert run(["data", "mean", database, str(tmp_path / "m")]) == 2
    assert "holds no picture" in capsys.readouterr().err


def test_a_white_picture_without_a_message_is_no_endless_number() -> None:
    with pytest.raises(ValueError, match="not a protobuf message"):
        fields(b"\xff" * 200_000)
    with pytest.raises(ValueError, match="not a protobuf message"):
        fields(bytes(100))  # a black one
    assert decode(Datum(3, 4, 5, DARK, -1).encode()).label == -1  # ten bytes, the longest


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_floats_that_are_no_numbers_are_named(value: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    floats = np.full(60, 0.5, "<f4")
    floats[7] = value
    database = str(stored(tmp_path / "db", Datum(3, 4, 5, b"", 1, floats=floats.tobytes()).encode()))
    assert run(["data", "check", database]) == 2
    assert "floats that are no numbers" in capsys.readouterr().out
    assert run(["data", "mean", database, str(tmp_path / "m")]) == 2
    assert "floats that are no numbers" in capsys.readouterr().err


def test_bytes_come_before_floats_as_in_caffe() -> None:
    both = Datum(3, 4, 5, DARK, 1, floats=np.full(60, 0.5, "<f4").tobytes())
    assert np.array_equal(planes(both), PIXELS)


def test_labels_below_0_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [Datum(3, 4, 5, DARK, -1).encode(), Datum(3, 4, 5, DARK[::-1], 0).encode()]
    database = str(stored(tmp_path / "db", *records))
    assert run(["data", "check", database]) == 0
    assert "1 labels are below 0, such as -1" in capsys.readouterr().out
    source = kit.write(tmp_path / "list.txt", *(f"{name} {-1}" for name in kit.jpegs(tmp_path, 2)))
    assert run(["data", "check", str(source)]) == 0
    assert "2 labels are below 0" in capsys.readouterr().out


def test_a_record_is_named_by_its_key_where_that_is_a_number_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = stored(tmp_path / "db", Datum(3, 4, 5, DARK, 1).encode(), Datum(1, 4, 5, DARK[:20], 1).encode())
    run(["data", "check", str(database)])
    assert "such as 00000001: Caffe stops" in capsys.readouterr().out


def test_a_file_in_place_of_a_database_is_told_by_its_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = stored(tmp_path / "db", Datum(3, 4, 5, DARK, 1).encode())
    (tmp_path / "one.mdb").write_bytes((database / "data.mdb").read_bytes())
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(3000))
    for name, said in (
        ("db/data.mdb", f"name its folder: {database}"), ("one.mdb", "mkdir DIR && mv"), ("x.h5", "it is HDF5"),
    ):  # fmt: skip
        assert run(["data", "lmdb-show", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err
    for name, said in (("one.mdb", "is the file of an LMDB"), ("x.h5", "is HDF5, not a list")):
        assert run(["data", "check", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 000.jpg", "the label stands before"), ("3\t1.0\t000.jpg", "the label stands before the picture"),
        ("000.jpg;0", "a semicolon stands where a blank"), ("000.jpg:0", "`:` stands where a blank"),
        ("000.jpg|0", r"`\|` stands where a blank"), ('{"000.jpg": 0}', "this is JSON"),
        ("('000.jpg', 0)", "this is JSON"),
        ("https://x/000.jpg 0", "this is an address"), ("file:///x/000.jpg 0", "this is an address"),
        ("~/000.jpg 0", "only a shell reads ~"), ("$HOME/000.jpg 0", "only a shell reads ~"),
    ],
)  # fmt: skip
def test_a_line_of_another_form_is_told_by_what_is_seen(line: str, said: str, tmp_path: Path) -> None:
    kit.jpegs(tmp_path, 1)
    with pytest.raises(UsageError, match=said):
        load(kit.write(tmp_path / "list.txt", line))


def test_odd_names_of_files_that_are_there_are_names(tmp_path: Path) -> None:
    names = ("~a.jpg", "{a}.jpg", "1 a.jpg", "a:b.jpg")
    for name in names:
        (tmp_path / name).write_bytes((tmp_path / kit.jpegs(tmp_path, 1)[0]).read_bytes())
    found = load(kit.write(tmp_path / "list.txt", *(f"{name} 3" for name in names)))
    assert [(entry.path, entry.label) for entry in found.entries] == [(name, 3) for name in names]


def test_a_picture_that_claims_too_much_is_told_by_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (name,) = kit.jpegs(tmp_path, 1)
    data = bytearray((tmp_path / name).read_bytes())
    start = data.find(b"\xff\xc0")  # the frame's head
    data[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    (tmp_path / name).write_bytes(data)
    assert run(["data", "check", str(kit.write(tmp_path / "list.txt", f"{name} 0"))]) == 2
    assert "is 65535 x 65535, more than" in capsys.readouterr().out
