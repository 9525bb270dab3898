"""`data voc-lists` on kits that lack something: what is said leads on."""

import shutil
from pathlib import Path

import pytest

from provision.cli import run
from tests.unit import data_kit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return data_kit.kit(tmp_path / "VOCdevkit")


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run(["data", "voc-lists", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_a_kit_without_its_images_is_told_as_that(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for year in ("2007", "2012"):
        shutil.rmtree(root / f"VOC{year}" / "JPEGImages")
    said = refused(capsys, root, tmp_path / "out", "--sets", "test")
    assert "none of the images of test is whole" in said and "VOC2007/JPEGImages/2007_000001.jpg" in said
    assert "unpack VOC's tars" in said and not (tmp_path / "out").exists()


def test_the_folder_of_a_year_leads_to_its_parent(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, root / "VOC2007", tmp_path / "out")
    assert f"name the folder that it is in, {root}" in said


@pytest.mark.parametrize(
    ("words", "mend"),
    [(["--sets", ""], "--sets trainval"), (["--years", ","], "--years 2012"),
     (["--sets", "test", "--years", "2012"], "--years 2007"), (["--sets", "train"], "--sets, --years")],
)  # fmt: skip
def test_words_that_would_list_nothing(
    words: list[str], mend: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mend in refused(capsys, root, tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_the_first_image_of_a_list_with_a_byte_order_mark_counts(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "VOC2007" / "ImageSets" / "Main" / "test.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert run(["data", "voc-lists", str(root), str(tmp_path / "out")]) == 0
    assert len((tmp_path / "out" / "test.txt").read_text().splitlines()) == 2
    assert not (tmp_path / "out" / "missing.txt").exists()
