"""Digits become LMDB databases that Caffe reads: held against an independent reading of the protobuf format."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import MissingExtraError, UsageError
from provision.commands.data import data as command
from provision.data import PREPARERS
from provision.data.digits import prepare
from provision.data.lmdb_writer import Datum, varint, write
from provision.files.folders import atomic_folder

lmdb = pytest.importorskip("lmdb")


def decode(message: bytes) -> dict[int, int | bytes]:
    """Fields of a protobuf message by number: varints and byte strings."""
    fields: dict[int, int | bytes] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 2:
            size = number()
            fields[tag >> 3] = message[at : at + size]
            at += size
        else:
            fields[tag >> 3] = number()
    return fields


def read(folder: Path) -> list[tuple[bytes, dict[int, int | bytes]]]:
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn:
        return [(key, decode(value)) for key, value in txn.cursor()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("data") / "digits")


def test_known_bytes_of_a_datum() -> None:
    assert Datum(1, 8, 300, b"ab", 0).encode() == bytes.fromhex("0801 1008 18ac02 2202 6162 2800")


@given(st.integers(0, 2**31 - 1), st.binary(max_size=300), st.integers(1, 10**6))
def test_datum_survives(label: int, pixels: bytes, width: int) -> None:
    fields = decode(Datum(3, 7, width, pixels, label).encode())
    assert fields == {1: 3, 2: 7, 3: width, 4: pixels, 5: label}


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        varint(-1)


def test_every_image_is_in_one_of_the_databases(prepared: Path) -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    want = sorted(
        (bytes(round(value * 255 / 16) for value in image.ravel()), int(label))
        for image, label in zip(source.images, source.target, strict=True)
    )
    train, test = read(prepared / "train_lmdb"), read(prepared / "test_lmdb")
    assert (len(train), len(test)) == (1438, 359)
    assert sorted((fields[4], fields[5]) for _, fields in train + test) == want
    assert {(fields[1], fields[2], fields[3]) for _, fields in train + test} == {(1, 8, 8)}
    assert [key for key, _ in train[:2]] == [b"00000000", b"00000001"]


def test_classes_are_held_out_alike_and_shuffled(prepared: Path) -> None:
    labels = [fields[5] for _, fields in read(prepared / "test_lmdb")]
    assert all(34 <= labels.count(label) <= 37 for label in range(10))
    assert labels != sorted(labels, key=int)


def test_data_json_tells_what_is_in_it(prepared: Path) -> None:
    told = json.loads((prepared / "data.json").read_text())
    assert (told["data"], told["train"], told["test"], told["seed"], told["classes"]) == ("digits", 1438, 359, 1, 10)
    assert len(told["sha256"]) == 64


def test_same_seed_same_bytes_and_small_files(prepared: Path, tmp_path: Path) -> None:
    again = prepare(tmp_path / "again")
    other = prepare(tmp_path / "other", seed=2)

    def digest(folder: Path) -> str:
        return hashlib.sha256((folder / "train_lmdb/data.mdb").read_bytes()).hexdigest()

    assert digest(again) == digest(prepared) != digest(other)
    size = sum(path.stat().st_size for path in prepared.rglob("*") if path.is_file())
    assert size < 400_000
    assert not list(prepared.rglob("lock.mdb"))  # another user's lock file stops a reader on a read-only folder


def test_prepared_once(prepared: Path) -> None:
    before = (prepared / "data.json").stat().st_mtime_ns
    assert prepare(prepared) == prepared
    assert (prepared / "data.json").stat().st_mtime_ns == before


def test_folder_of_something_else_is_left_alone(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not prepared data"):
        prepare(tmp_path)
    with pytest.raises(UsageError, match="seed 1, not 7"):
        prepare(prepared, seed=7)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    prepare(tmp_path / "empty")
    (tmp_path / "given").mkdir()
    assert (prepare(tmp_path / "given") / "data.json").exists()


def test_killed_preparation_leaves_nothing(tmp_path: Path) -> None:
    def killed() -> None:
        with atomic_folder(tmp_path / "set") as part:
            write(part / "train_lmdb", [Datum(1, 1, 1, b"a", 0)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_impossible_share(fraction: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        prepare(tmp_path / "a", test_fraction=fraction)


def test_missing_extra_names_its_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingExtraError, match="needs lmdb") as caught:
        PREPARERS["digits"](tmp_path / "a")
    assert caught.value.mend == "pip install 'provision-spot[data]'"
    assert list(tmp_path.iterdir()) == []


def test_command(tmp_path: Path) -> None:
    target = tmp_path / "digits"
    runner = CliRunner()
    assert "would make" in runner.invoke(command, ["digits", str(target), "--dry-run"]).output
    assert not target.exists()
    said = runner.invoke(command, ["digits", str(target)]).output
    assert "1438 images to train with, 359 held out" in said
    told = json.loads(runner.invoke(command, ["digits", str(target), "--json"]).stdout)
    assert told["test"] == 359
