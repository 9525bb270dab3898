"""`data voc-lists` on kits that lack something: what is said leads on."""

import shutil
from pathlib import Path

import pytest

from provision.cli import run
from provision.data import devkit
from provision.data.lines import pair_of
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


@pytest.mark.parametrize(
    "written",
    ["{}", "{} 1", "{}  -1", "{}.jpg", "JPEGImages/{}.jpg", "VOC2012\\JPEGImages\\{}.jpg", "JPEGImages/{}"],
    ids=["name", "flag", "other flag", "file", "path", "windows", "folder"],
)
@pytest.mark.parametrize("stem", ["2012_000000", "my photo 1", "a.b"])
def test_a_kit_of_ones_own_may_name_its_images_otherwise(tmp_path: Path, stem: str, written: str) -> None:
    root = data_kit.kit(tmp_path) / "VOC2012"
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (root / folder / f"2012_000000.{suffix}").rename(root / folder / f"{stem}.{suffix}")
    (root / "ImageSets/Main/trainval.txt").write_bytes(f"{written.format(stem)}\r\n".encode("utf-16"))
    listed = devkit.read(devkit.Wanted(tmp_path, ("trainval",), ("2012",)))
    assert listed.missing == []
    assert [pair_of(line) for line in listed.sets["trainval"]] == [
        (f"VOC2012/JPEGImages/{stem}.jpg", f"VOC2012/Annotations/{stem}.xml")
    ]


def test_sizes_of_images_with_blanks_are_theirs(tmp_path: Path) -> None:
    root = data_kit.kit(tmp_path / "kit") / "VOC2007"
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (root / folder / f"2007_000001.{suffix}").rename(root / folder / f"my photo.{suffix}")
    (root / "ImageSets/Main/test.txt").write_text("my photo\n2007_000003\n")
    listed = devkit.read(devkit.Wanted(tmp_path / "kit", ("test",)))
    devkit.write(listed, tmp_path / "kit", tmp_path / "out")
    assert (tmp_path / "out/test_name_size.txt").read_text() == "my photo 30 40\n2007_000003 30 40\n"
