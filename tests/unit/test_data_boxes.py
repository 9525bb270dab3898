"""Boxes of any annotation become what SSD's own tool makes of them, or are named."""

import struct
from pathlib import Path

import cv2
import pytest
from PIL import Image

from infra.errors import UsageError
from provision.cli import run
from provision.data.annotated import labelmap
from provision.data.backends import reader
from provision.data.boxes import prepare
from provision.data.datum import decode, fields
from provision.data.voc_xml import Classes, boxes_of
from tests.unit import data_kit as kit


def xml(corners: tuple[object, ...], size: tuple[int, int] | None = None, name: str = "cat") -> str:
    sized = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    keys = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{key}>{corner}</{key}>" for key, corner in zip(keys, corners, strict=True))
    return f"<annotation>{sized}<object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"


def picture(path: Path, width: int = 100, height: int = 60, orientation: int = 0, mode: str = "RGB") -> Path:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(kit.cutting(1, height, width)[..., ::-1]).convert(mode).save(path, exif=exif)
    return path


def shares(folder: Path) -> list[list[float]]:
    """xmin, ymin, xmax, ymax of each record's first box, as stored."""
    base, found = reader(folder), []
    for record in base.items():
        value = record[1]
        group = next(inner for number, inner in fields(value) if number == 3)
        annotation = dict(fields(group))[2]  # type: ignore[arg-type]
        box = dict(fields(dict(fields(annotation))[2]))  # type: ignore[arg-type]
        found.append([round(struct.unpack("<f", box[place])[0], 3) for place in (1, 2, 3, 4)])  # type: ignore[arg-type]
    base.close()
    return found


def made(folder: Path, text: str | bytes, **options: object) -> list[list[float]]:
    """The boxes of a.jpg with this annotation."""
    (folder / "a.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    listed = kit.write(folder / "list.txt", "a.jpg a.xml")
    prepare(folder / "out", listed, listed, folder, ["cat"], **options)  # type: ignore[arg-type]
    return shares(folder / "out/train_lmdb")


def test_boxes_are_shares_of_the_size_that_the_annotation_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.jpg")
    listed = kit.write(tmp_path / "list.txt", "a.jpg a.xml")
    kit.write(tmp_path / "a.xml", xml((60, 40, 100, 60), (200, 120)))
    words = ["--train", str(listed), "--test", str(listed), "--root", str(tmp_path), "--classes", "cat"]
    assert run(["data", "boxes", str(tmp_path / "out"), *words]) == 0
    assert shares(tmp_path / "out/train_lmdb") == [[0.3, 0.333, 0.5, 0.5]]
    assert "train: 1 annotations say another size than their picture has, such as a.jpg's" in capsys.readouterr().out


@pytest.mark.parametrize("size", [None, (0, 0), (100, 60)])
def test_no_size_is_the_pictures_own(tmp_path: Path, size: tuple[int, int] | None) -> None:
    picture(tmp_path / "a.jpg")
    assert made(tmp_path, xml((50, 30, 100, 60), size)) == [[0.5, 0.5, 1, 1]]


@pytest.mark.parametrize("size", [None, (60, 100)])
def test_a_turned_picture_has_the_size_that_is_shown(
    tmp_path: Path, size: tuple[int, int] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.jpg", orientation=6)
    assert cv2.imread(str(tmp_path / "a.jpg")).shape[:2] == (100, 60)
    assert made(tmp_path, xml((10, 10, 50, 40), size)) == [[0.167, 0.1, 0.833, 0.4]]
    base = reader(tmp_path / "out/train_lmdb")
    record = decode(next(base.items())[1])
    base.close()
    assert (record.height, record.width) == (100, 60)
    kit.write(tmp_path / "other.txt", "a.jpg a.xml")
    words = ["--train", f"{tmp_path}/other.txt", "--test", f"{tmp_path}/other.txt", "--root", str(tmp_path)]
    assert run(["data", "boxes", str(tmp_path / "again"), *words, "--classes", "cat"]) == 0
    assert "1 images are turned by EXIF, such as a.jpg" in capsys.readouterr().out


def test_boxes_on_a_picture_as_it_lies_are_beside_the_things(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", orientation=6)
    with pytest.raises(UsageError, match=r"a.xml is of a.jpg as it is stored, not as it is shown .*exiftool"):
        made(tmp_path, xml((10, 10, 50, 40), (100, 60)))


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + xml((50, 30, 100, 60)).encode(),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>' + xml((50, 30, 100, 60)) + "<!-- José -->").encode("latin-1"),
        ('<?xml version="1.0" encoding="GB2312"?>' + xml((50, 30, 100, 60)) + "<!-- 狗 -->").encode("gb2312"),
        ('<?xml version="1.0" encoding="utf-16"?>' + xml((50, 30, 100, 60))).encode("utf-16"),
        ('<?xml version="1.0"?>' + xml((50, 30, 100, 60)) + "<!-- José -->").encode("latin-1"),
        ('<?xml version="1.0" encoding="utf-8"?>' + xml((50, 30, 100, 60)) + "<!-- José -->").encode("latin-1"),
    ],
)
def test_annotations_in_any_encoding(tmp_path: Path, text: bytes) -> None:
    picture(tmp_path / "a.jpg")
    assert made(tmp_path, text) == [[0.5, 0.5, 1, 1]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (xml(("inf", 1, 5, 5)), "without the four corners"),
        (xml(("nan", 1, 5, 5)), "without the four corners"),
        (xml((0.1, 0.1, 0.6, 0.9)), "has corners between 0 and 1: write them in pixels"),
        (xml((1, 1, 5, 5), name="dog"), "has an object 'dog'"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "unknown encoding"),
        ("<annotation>", "is no XML"),
    ],
)
def test_annotations_of_no_use(tmp_path: Path, text: str, said: str) -> None:
    picture(tmp_path / "a.jpg")
    with pytest.raises(UsageError, match=said):
        made(tmp_path, text)
    assert not list(tmp_path.glob("*out*"))


def test_a_box_of_one_pixel_is_no_share() -> None:
    found = boxes_of(xml((0, 0, 1, 1)).encode(), Classes(["cat"]), (60, 100))
    assert found.boxes[0].corners == (0, 0, 1, 1)


def test_nothing_is_no_success(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    for text, others in (("<annotation/>", False), (xml((1, 1, 5, 5), name="dog"), True)):
        with pytest.raises(UsageError, match="train list has an object of the classes"):
            made(tmp_path, text, others=others)


def test_gray_and_16_bits_and_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy

    picture(tmp_path / "a.jpg", mode="L")
    Image.fromarray(numpy.zeros((60, 100), numpy.uint16)).save(tmp_path / "b.png")
    Image.new("L", (100, 60)).save(tmp_path / "c.jpg", format="GIF")
    kit.write(tmp_path / "a.xml", xml((1, 1, 50, 50)))
    listed = kit.write(tmp_path / "list.txt", *(f"{name} a.xml" for name in ("a.jpg", "b.png", "c.jpg")))
    words = ["--train", str(listed), "--test", str(listed), "--root", str(tmp_path), "--classes", "cat"]
    assert run(["data", "boxes", str(tmp_path / "out"), *words]) == 0
    said = capsys.readouterr().out
    assert "train: 1 images are gray, such as a.jpg: a net needs transform_param { force_color: true }" in said
    bad = (tmp_path / "out/bad.txt").read_text()
    assert "b.png has 16 bits" in bad and "c.jpg is a GIF, which Caffe may not decode" in bad


def test_ssd_voc_reads_gray_pictures() -> None:
    from provision.recipes.loading import load
    from provision.recipes.rendering import render

    net = render(load("ssd-voc")).files["net.prototxt"]
    assert net.count("force_color: true") == net.count('type: "AnnotatedData"') == 2


def test_lists_and_classes_come_through_the_front_door(tmp_path: Path) -> None:
    picture(tmp_path / "my cat.jpg")
    kit.write(tmp_path / "a.xml", xml((1, 1, 50, 50)))
    (tmp_path / "list.txt").write_bytes("\ufeffmy cat.jpg\ta.xml\r\n".encode("utf-16-le"))
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n")
    words = ["--train", f"{tmp_path}/list.txt", "--test", f"{tmp_path}/list.txt", "--root", str(tmp_path)]
    assert run(["data", "boxes", str(tmp_path / "out"), *words, "--classes", f"{tmp_path}/classes.txt"]) == 0
    assert 'item { name: "cat" label: 1' in (tmp_path / "out/labelmap.prototxt").read_text()


def test_a_label_map_is_no_list_of_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit.write(tmp_path / "labelmap.prototxt", labelmap(["cat"]))
    words = ["--train", "x", "--test", "x", "--classes", f"{tmp_path}/labelmap.prototxt"]
    assert run(["data", "boxes", str(tmp_path / "out"), *words]) == 2
    assert "is no list of names, but a label map" in capsys.readouterr().err


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = b"\xb9\xb7.jpg"
    picture(tmp_path / "a.jpg").rename(tmp_path / name.decode("utf-8", "surrogateescape"))
    kit.write(tmp_path / "a.xml", xml((1, 1, 50, 50)))
    (tmp_path / "list.txt").write_bytes(name + b" a.xml\n" + b"gone" + name + b" a.xml\n")
    made = prepare(tmp_path / "out", tmp_path / "list.txt", tmp_path / "list.txt", tmp_path, ["cat"])
    assert (made["train"], made["bad"]) == (1, 2)
    assert name in (tmp_path / "out/bad.txt").read_bytes()


def test_quotes_in_names_stay_in_the_label_map() -> None:
    assert 'name: "5\\" disk" label: 1' in labelmap(['5" disk'])


def test_the_map_is_as_large_as_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address space is limited on clusters (ulimit -v): a map of a terabyte is refused there."""
    from provision.data import lmdb_store

    lmdb = lmdb_store.extra("lmdb")
    asked: list[int] = []
    opened = lmdb.open

    def counted(folder: bytes, **more: int) -> object:
        asked.append(more.get("map_size", 0))
        return opened(folder, **more)

    monkeypatch.setattr(lmdb, "open", counted)
    picture(tmp_path / "a.jpg")
    made(tmp_path, xml((1, 1, 50, 50)))
    assert 0 < max(asked) <= 1 << 28


def test_show_counts_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "a.jpg")
    made(tmp_path, xml((1, 1, 50, 50)))
    assert run(["data", "lmdb-show", str(tmp_path / "out/train_lmdb")]) == 0
    assert "  labels: 1 (1)\n" in capsys.readouterr().out
