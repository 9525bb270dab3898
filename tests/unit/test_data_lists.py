"""Lists of any hand and folders of any disk: read as they are meant, or refused with what is odd; nothing is lost."""

import os
import shutil
from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.data.classes import names
from provision.data.convert import Order, convert, plan
from provision.data.lists import load
from tests.unit import data_kit as kit


@pytest.fixture
def cats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """cat/000.jpg and cat/001.jpg, and where the test stands."""
    kit.jpegs(tmp_path / "cat", 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(data: bytes) -> Path:
    Path("list.txt").write_bytes(data)
    return Path("list.txt")


def entries(data: bytes, **options: object) -> list[tuple[int, str, int]]:
    found = load(listed(data), **options)  # type: ignore[arg-type]
    return [(entry.number, entry.path, entry.label) for entry in found.entries]


TWO = [(0, "cat/000.jpg", 0), (1, "cat/001.jpg", 1)]


@pytest.mark.parametrize(
    "data",
    [
        b"cat/000.jpg 0\ncat/001.jpg 1\n",
        b"\xef\xbb\xbfcat/000.jpg 0\ncat/001.jpg 1\n",
        "\ufeffcat/000.jpg 0\r\ncat/001.jpg 1\r\n".encode("utf-16-le"),
        "\ufeffcat/000.jpg 0\ncat/001.jpg 1\n".encode("utf-16-be"),
        b"cat/000.jpg\t0\ncat/001.jpg\t1\n",
        b"cat/000.jpg  0\n cat/001.jpg   1 \n",
        b"cat/000.jpg 0\rcat/001.jpg 1\r",
        b"cat/000.jpg 0\rcat/001.jpg 1\r\n",
        b"cat/000.jpg 0\r\r\ncat/001.jpg 1\r\r\n",
    ],
)
def test_the_same_list_by_any_hand(cats: Path, data: bytes) -> None:
    assert entries(data) == TWO


def test_a_marked_list_loses_no_picture(cats: Path) -> None:
    assert convert(Order(listed(b"\xef\xbb\xbfcat/000.jpg 0\ncat/001.jpg 1\n"), Path("db"))).records == 2
    assert [key for key, _ in kit.read(Path("db"))] == ["00000000_cat/000.jpg", "00000001_cat/001.jpg"]


def test_names_in_another_code_page_are_bytes(cats: Path) -> None:
    name = "狗.jpg".encode("gbk")
    shutil.copy(os.fsencode("cat/000.jpg"), name)
    assert run(["data", "lmdb", str(listed(name + b" 3\ncat/001.jpg 4\n")), "db"]) == 0
    from provision.data.backends import reader

    base = reader(Path("db"))
    assert [key for key, _ in base.items()] == [b"00000000_" + name, b"00000001_cat/001.jpg"]
    base.close()
    assert run(["data", "check", "list.txt"]) == 0


def test_a_list_in_another_code_page_than_the_files(cats: Path) -> None:
    shutil.copy("cat/000.jpg", "狗.jpg")
    with pytest.raises(UsageError, match="save the list as UTF-8"):
        convert(Order(listed("狗.jpg 0\n".encode("gbk")), Path("db")))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"cat/000.jpg,0\n", "a comma stands where a blank is expected"),
        (b'"cat/000.jpg" 0\n', "quotes are taken for a part of the name\n.*leave the quotes out"),
        (b"cat\\000.jpg 0\n", r"this is a path of Windows\n.*write / in place of \\"),
        (b"D:/set/000.jpg 0\n", "this is a path of Windows"),
        (b"cat/000.jpg 0.5\n", "labels are whole numbers, not 0.5\n.*HDF5"),
        (b"cat/000.jpg 1 0 1\n", "there are 3 labels\n.*one whole number"),
        (b"cat/000.jpg 1\ncat/001.jpg 0,1\n", "txt:2: 'cat/001.jpg 0,1': there are 2 labels"),
        (b"cat/000.jpg cat\n", "'cat' is no class's number\n.*--classes"),
        (b"cat/000.jpg 99999999999\n", "the label 99999999999 has more than 32 bits"),
        (
            b"cat/000.jpg\ncat/001.jpg 3\n",
            "txt:2: 'cat/001.jpg 3': 3 stands behind the picture, and the first line has",
        ),
        (b"file label\ncat/000.jpg 0\n", "txt:1: 'file label' is no picture: a head line"),
        (b"c\0a\0t\0\n\0", "looks like UTF-16 without its mark\n.*UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "is a PNG, not a list of pictures"),
        (b"PK\x03\x04....", "is a ZIP archive, not a list"),
        (b"\xff\xfec\0a", "UTF-16 is damaged"),
    ],
)
def test_other_forms_are_named(cats: Path, data: bytes, said: str) -> None:
    if data.startswith(b"\xff\xfe"):
        data += b"\x00\xd8"  # half of a pair
    with pytest.raises(UsageError, match=f"(?s){said}"):
        load(listed(data))


def test_labels_of_32_bits(cats: Path) -> None:
    assert entries(b"cat/000.jpg -2147483648\ncat/001.jpg 2147483647\n")[1][2] == 2**31 - 1


def test_odd_names_that_are_there_are_names(cats: Path) -> None:
    for name in ("a 1.jpg 2", "b,c.jpg", "'d'.jpg", "e\\f.jpg"):
        shutil.copy("cat/000.jpg", name)
    found = load(listed(b"a 1.jpg 2 0\nb,c.jpg 1\n'd'.jpg 2\ne\\f.jpg 3\n"))
    assert [entry.path for entry in found.entries] == ["a 1.jpg 2", "b,c.jpg", "'d'.jpg", "e\\f.jpg"]


def test_paths_that_begin_with_a_slash_start_from_root(cats: Path) -> None:
    kit.label_picture(Path("masks/000.png"), [[0, 1]] * 2)
    found = load(listed(b"/cat/000.jpg /masks/000.png\n"), root=cats)
    assert (found.at(found.entries[0].path), found.label_at(found.entries[0])) == (
        cats / "cat/000.jpg",
        cats / "masks/000.png",
    )
    convert(Order(listed(b"/cat/000.jpg 0\n"), Path("db"), root=cats))
    assert kit.read(Path("db"))[0][0] == "00000000_/cat/000.jpg"  # as convert_imageset names it
    with pytest.raises(UsageError, match=r"(?s)the path is absolute; with --root FOLDER"):
        convert(Order(listed(b"/cat/000.jpg 0\n"), Path("other")))


def test_a_root_that_does_not_hold_them_is_named(cats: Path) -> None:
    with pytest.raises(UsageError, match=r"paths start from --root cat: name the folder that holds cat/000.jpg"):
        convert(Order(listed(b"cat/000.jpg 0\n"), Path("db"), root=Path("cat")))


def test_boxes_are_no_label_pictures(cats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = listed(b"cat/000.jpg a.xml\n")
    for words in (["lmdb", str(source), "db"], ["check", str(source)], ["lmdb", str(source), "db", "--kind", "pairs"]):
        assert run(["data", *words]) == 2
        assert "provision data boxes OUT --train LIST" in capsys.readouterr().err
    assert run(["data", "sizes", str(source), "sizes.txt"]) == 0


def test_names_with_blanks_in_pairs(cats: Path) -> None:
    found = load(listed(b"my cat/a b.jpg masks/a b.png\n"), kind="pairs")
    assert (found.entries[0].path, found.entries[0].label_path) == ("my cat/a b.jpg", "masks/a b.png")


# where the pictures are


def test_other_pictures_under_the_same_names_are_another_order(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        kit.jpegs(tmp_path / name, 2, 20 + number, 20)
    source = kit.write(tmp_path / "list.txt", "000.jpg 0", "001.jpg 1")
    convert(Order(source, tmp_path / "db", root=tmp_path / "a"))
    with pytest.raises(UsageError, match="made from another list or folder"):
        convert(Order(source, tmp_path / "db", root=tmp_path / "b"))
    convert(Order(tmp_path / "a", tmp_path / "folder"))
    with pytest.raises(UsageError, match="made from another list or folder"):
        convert(Order(tmp_path / "b", tmp_path / "folder"))
    assert convert(Order(source, tmp_path / "db", root=tmp_path / "b" / ".." / "a")).found


def test_another_root_is_not_gone_on_with(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        kit.jpegs(tmp_path / name, 2, 20 + number, 20)
    (tmp_path / "a/001.jpg").write_bytes(b"")
    source = kit.write(tmp_path / "list.txt", "000.jpg 0", "001.jpg 1")
    with pytest.raises(UsageError, match=r"001.jpg is empty"):
        convert(Order(source, tmp_path / "db", root=tmp_path / "a", strict=True))
    with pytest.raises(UsageError, match="to resume had another list or folder"):
        convert(Order(source, tmp_path / "db", root=tmp_path / "b", strict=True, resume=True))
    kit.jpegs(tmp_path / "a", 2, 20, 20)
    assert convert(Order(source, tmp_path / "db", root=tmp_path / "a", strict=True, resume=True)).records == 2


# folders


def classes(folder: Path, **pictures: int) -> Path:
    for name, count in pictures.items():
        kit.jpegs(folder / name, count)
    return folder


def test_an_empty_folder_is_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(Order(classes(tmp_path / "train", bird=1, cat=1, dog=1), tmp_path / "dt"))
    convert(Order(classes(tmp_path / "val", bird=0, cat=1, dog=1), tmp_path / "dv"))
    assert (tmp_path / "dv/labels.txt").read_text() == (tmp_path / "dt/labels.txt").read_text() == "bird\ncat\ndog\n"
    assert [fields[5] for _, fields in kit.read(tmp_path / "dv")] == [1, 2]
    assert "class 0, bird, has no pictures" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["bird,cat,dog", "dt/labels.txt"])
def test_classes_by_name_have_the_same_numbers_everywhere(cats: Path, given: str) -> None:
    assert run(["data", "lmdb", str(classes(cats / "train", bird=1, cat=1, dog=1)), "dt"]) == 0
    words = ["data", "lmdb", str(classes(cats / "val", cat=1, dog=1)), "dv"]
    assert run([*words, "--classes", given]) == 0
    assert [fields[5] for _, fields in kit.read(Path("dv"))] == [1, 2]
    assert Path("dv/labels.txt").read_text() == "bird\ncat\ndog\n"


def test_folders_and_names_that_do_not_fit(tmp_path: Path) -> None:
    source = classes(tmp_path / "set", cat=1, dog=1)
    with pytest.raises(UsageError, match=r"dog is none of the classes given\n.*did you mean dogs"):
        load(source, classes=("cat", "dogs"))
    listed = kit.write(tmp_path / "list.txt", "cat/000.jpg")
    kit.write(tmp_path / "numbers.txt", "cat/000.jpg 1")
    with pytest.raises(UsageError, match=r"cat/000.jpg has the label 1, and --classes names 1"):
        plan(Order(tmp_path / "numbers.txt", tmp_path / "db", root=source, classes=("cat",)))
    with pytest.raises(UsageError, match="--classes names classes"):
        plan(Order(listed, tmp_path / "db", root=source, classes=("cat",)))


def test_names_at_the_ends_of_lines(cats: Path) -> None:
    assert entries(b"cat/000.jpg dog\ncat/001.jpg\tbig cat\n", classes=("dog", "big cat")) == TWO


def test_hidden_folders_are_no_classes_and_links_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = classes(tmp_path / "set", cat=1, **{".ipynb_checkpoints": 1, "__MACOSX": 1})
    classes(tmp_path / "elsewhere", dog=1)
    (source / "dog").symlink_to(tmp_path / "elsewhere/dog")
    (source / "dog/round").symlink_to(source)
    (source / "cat/._000.jpg").write_bytes(b"resource fork")
    (source / "cat/film.gif").write_bytes(b"GIF89a")
    found = load(source)
    assert (found.names, [entry.path for entry in found.entries]) == (["cat", "dog"], ["cat/000.jpg", "dog/000.jpg"])
    said = capsys.readouterr().err
    assert ".ipynb_checkpoints" in said and "cat/._000.jpg" in said and ".gif (1)" in said


def test_lists_that_were_joined_keep_no_marks(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"\xef\xbb\xbfa.jpg 0\r\n\xef\xbb\xbfb.jpg 1\r\n\x1a")
    assert [entry.path for entry in load(listed).entries] == ["a.jpg", "b.jpg"]


def test_a_name_in_a_file_may_hold_commas(tmp_path: Path) -> None:
    listed = kit.write(tmp_path / "names.txt", "tench, Tinca tinca", "goldfish,", "great white")
    assert names(str(listed)) == ["tench, Tinca tinca", "goldfish", "great white"]
    assert names(str(kit.write(tmp_path / "one.txt", "cat, dog"))) == ["cat", "dog"] == names("cat,dog,")


def test_a_database_within_the_folder_is_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An OUT in the source itself: the second command finds what the first one made."""
    for name in ("cat", "dog"):
        kit.jpegs(tmp_path / "set" / name, 2)
    order = Order(tmp_path / "set", tmp_path / "set" / "db")
    assert convert(order).records == 4
    assert convert(order).found
    made = convert(Order(tmp_path / "set", tmp_path / "set" / "other"))
    assert (made.records, (tmp_path / "set/other/labels.txt").read_text()) == (4, "cat\ndog\n")
    assert "left out, as hidden or made by a program: db" in capsys.readouterr().err


def test_a_picture_beside_the_folders_is_asked_about(tmp_path: Path) -> None:
    source = classes(tmp_path / "set", cat=1, dog=1)
    shutil.copy(source / "cat/000.jpg", source / "preview.jpg")
    with pytest.raises(UsageError, match=r"outside of them preview.jpg: of which class"):
        load(source)
    assert load(source, kind="images").kind == "images"
    assert run(["data", "sizes", str(source), str(tmp_path / "sizes.txt")]) == 0


def test_numbers_as_names_are_told_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(classes(tmp_path / "set", **{"1": 1, "2": 1, "10": 1}))
    assert "1 is 0, 10 is 1, 2 is 2; see --classes" in capsys.readouterr().err


def test_one_label_picture_is_not_that_of_two_images(tmp_path: Path) -> None:
    source = classes(tmp_path / "set", a=1, b=1)
    kit.label_picture(tmp_path / "masks/000.PNG", [[0, 1]] * 2)
    with pytest.raises(UsageError, match=r"a/000.jpg and b/000.jpg would both have the label picture .*000.PNG"):
        load(source, labels=tmp_path / "masks")
    with pytest.raises(UsageError, match="is no folder"):
        load(source, labels=tmp_path / "nowhere")


def test_the_list_is_not_written_over(cats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = listed(b"cat/000.jpg 0\n")
    assert run(["data", "sizes", str(source), "cat/../list.txt"]) == 2
    assert "is the list itself" in capsys.readouterr().err
    assert source.read_bytes() == b"cat/000.jpg 0\n"
