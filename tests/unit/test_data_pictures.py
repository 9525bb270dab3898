"""Pictures of any make: what goes into a record is what Caffe can read and what the user means, or a bad picture with
its name."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from infra.errors import UsageError
from provision.cli import run
from provision.data import heads, voc
from provision.data.convert import Order, convert
from provision.data.heads import BadPictureError, head
from provision.data.label_pictures import classes_of
from provision.data.labels import Rule
from provision.data.labels import convert as labels
from provision.data.pictures import Shape, image_record
from tests.unit import data_kit as kit

CLASSES = np.array([[0, 1, 1], [2, 20, 255]], np.uint8)


def gradient(bits: int = 8) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]":
    values = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) % 256
    return values * 257 if bits == 16 else values.astype(np.uint8)  # type: ignore[return-value]


def encoded(folder: Path, name: str) -> bytes:
    """What `lmdb --encoded` stores of one file."""
    source = kit.write(folder / "list.txt", f"{name} 0")
    convert(Order(source, folder / f"{name}.db", shape=Shape(encode="auto")))
    data = kit.read(folder / f"{name}.db")[0][1][4]
    assert isinstance(data, bytes)
    return data


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp", "a.jfif"])
def test_the_files_own_bytes_where_caffe_reads_them(tmp_path: Path, name: str) -> None:
    Image.fromarray(kit.cutting(1)).save(tmp_path / name, format="JPEG" if name.endswith("jfif") else None)
    assert encoded(tmp_path, name) == (tmp_path / name).read_bytes()


def test_16_bits_become_8(tmp_path: Path) -> None:
    Image.fromarray(gradient(16)).save(tmp_path / "a.png")
    colours = np.dstack([gradient(16)] * 3)
    cv2.imwrite(str(tmp_path / "b.png"), colours)
    for name in ("a.png", "b.png"):
        stored = cv2.imdecode(np.frombuffer(encoded(tmp_path, name), np.uint8), -1)
        assert stored.dtype == np.uint8
        assert (stored == cv2.imread(str(tmp_path / name))).all()


def test_a_gif_by_another_name_becomes_what_the_name_says(tmp_path: Path) -> None:
    Image.fromarray(gradient()).save(tmp_path / "a.jpg", format="GIF")
    if cv2.imread(str(tmp_path / "a.jpg")) is None:
        pytest.skip("this OpenCV reads no GIF")
    assert encoded(tmp_path, "a.jpg").startswith(b"\xff\xd8\xff")


def test_a_type_that_caffe_may_not_read_is_not_made(tmp_path: Path) -> None:
    Image.fromarray(gradient()).save(tmp_path / "a.gif")
    with pytest.raises(UsageError, match=r"a.gif, is of a type \(.gif\) that Caffe may not decode: --encode-type"):
        encoded(tmp_path, "a.gif")


def test_mean_and_check_name_what_caffe_cannot_decode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from provision.data.datum import Datum
    from tests.unit.test_data_show import database

    wide = cv2.imencode(".png", gradient(16))[1].tobytes()
    Image.fromarray(gradient()).save(tmp_path / "a.gif")
    film = (tmp_path / "a.gif").read_bytes()
    database(tmp_path / "db", [Datum(0, 0, 0, data, 0, True) for data in (wide, film)])
    assert run(["data", "check", str(tmp_path / "db")]) == 2
    said = capsys.readouterr().out
    assert "00000000_0.jpg holds an encoded picture of 16 bits, and Caffe reads 8 alone" in said
    assert "00000001_1.jpg holds a GIF, which Caffe's OpenCV may not decode" in said
    assert run(["data", "mean", str(tmp_path / "db"), str(tmp_path / "mean")]) == 2
    assert "of 16 bits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "form"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("1", "PNG"),
     ("LA", "PNG"), ("RGBA", "PNG"), ("RGB", "BMP"), ("L", "BMP")],
)  # fmt: skip
def test_channels_are_those_that_opencv_gives(tmp_path: Path, mode: str, form: str) -> None:
    Image.fromarray(kit.cutting(2)).convert(mode).save(tmp_path / "a", format=form)
    data = (tmp_path / "a").read_bytes()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), -1)
    found = head(data)
    assert found.channels == (1 if pixels.ndim == 2 else pixels.shape[2])
    assert (found.height, found.width, found.bits) == (*pixels.shape[:2], 8)


# pictures that claim any size


def claiming(width: int, height: int) -> bytes:
    """A PNG whose head says so, and that holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", ihdr), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.filterwarnings("error")
def test_a_very_large_picture_is_a_bad_one_with_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "large.png").write_bytes(claiming(60_000, 60_000))
    (tmp_path / "a.jpg").write_bytes(cv2.imencode(".jpg", kit.cutting(0))[1].tobytes())
    listed = kit.write(tmp_path / "list.txt", "a.jpg", "large.png")
    assert run(["data", "sizes", str(listed), str(tmp_path / "sizes")]) == 0
    assert "large 60000 60000" in (tmp_path / "sizes").read_text()
    assert run(["data", "check", str(listed)]) == 2  # no database would have it
    assert "large.png is 60000 x 60000, more than" in capsys.readouterr().out
    assert run(["data", "lmdb", str(listed), str(tmp_path / "db")]) == 0
    assert "large.png\tis 60000 x 60000, more than 268,435,456 pixels" in (tmp_path / "db/bad.txt").read_text()
    assert run(["data", "voc-labels", str(tmp_path / "large.png"), str(tmp_path / "out.png")]) == 2
    assert "large.png is 60000 x 60000" in capsys.readouterr().err
    pairs = kit.write(tmp_path / "pairs.txt", "a.jpg large.png")
    assert run(["data", "lmdb", str(pairs), str(tmp_path / "pairs")]) == 2
    assert "large.png is 60000 x 60000" in capsys.readouterr().err


def test_a_large_picture_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (300, 200), 3).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert classes_of(tmp_path / "a.png").shape == (200, 300)
    monkeypatch.setattr(heads, "LARGEST", 100)
    with pytest.raises(BadPictureError, match="is 300 x 200, more than 100 pixels"):
        classes_of(tmp_path / "a.png")


# label pictures in any dress


def dressed(path: Path, dress: str) -> Path:
    values = CLASSES
    if dress == "1":
        Image.fromarray(values == 1).save(path)
    elif dress == "I;16":
        cv2.imwrite(str(path), values.astype(np.uint16))
    elif dress == "LA":
        Image.fromarray(np.dstack([values, np.full_like(values, 255)]), "LA").save(path)
    elif dress == "R=G=B":
        cv2.imwrite(str(path), np.dstack([values] * 3))
    return path


@pytest.mark.parametrize("dress", ["1", "I;16", "LA", "R=G=B"])
def test_classes_in_another_dress_are_classes(tmp_path: Path, dress: str) -> None:
    path = dressed(tmp_path / "a.png", dress)
    wanted = (CLASSES == 1).astype(int) if dress == "1" else CLASSES
    assert classes_of(path).tolist() == wanted.tolist()
    for number, rule in enumerate((Rule(), Rule(unknown="background"))):
        labels(path, tmp_path / f"{number}.png", rule)
        assert np.asarray(Image.open(tmp_path / f"{number}.png")).tolist() == wanted.tolist()


def test_what_can_be_no_class_is_named_as_what_it_is(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((2, 2), 300, np.uint16))
    Image.fromarray(np.dstack([CLASSES, CLASSES]), "LA").save(tmp_path / "clear.png")
    Image.fromarray(np.dstack([CLASSES, CLASSES + 1, CLASSES])).save(tmp_path / "colours.png")
    Image.fromarray(np.dstack([CLASSES * 100] * 3)).save(tmp_path / "gray.png")
    for name, said in (
        ("wide.png", "has more than 8 bits, and values up to 300"),
        ("clear.png", "has transparent pixels"),
        ("colours.png", "is in colours"),
        ("gray.png", "is in colours"),
    ):
        with pytest.raises(BadPictureError, match=said):
            classes_of(tmp_path / name)


def test_vocs_gray_colours_are_colours(tmp_path: Path) -> None:
    """A bus is (128, 128, 128), and three equal channels too."""
    Image.new("RGB", (4, 4), voc.PALETTE[7]).save(tmp_path / "a.png")
    assert labels(tmp_path / "a.png", tmp_path / "b.png", Rule()).pixels == {7: 16}


def test_a_palette_in_another_order_is_no_list_of_classes(tmp_path: Path) -> None:
    colours = np.array(voc.PALETTE, np.uint8)[np.array([[0, 8, 15, 255]] * 4)]
    Image.fromarray(colours).quantize(8).save(tmp_path / "sorted.png")
    kit.label_picture(tmp_path / "own.png", [[0, 8, 15, 255]] * 4)
    with pytest.raises(BadPictureError, match=r"VOC's colours in another order .*voc-labels"):
        classes_of(tmp_path / "sorted.png")
    assert classes_of(tmp_path / "own.png").tolist() == [[0, 8, 15, 255]] * 4
    labels(tmp_path / "sorted.png", tmp_path / "out.png", Rule())
    assert classes_of(tmp_path / "out.png").tolist() == [[0, 8, 15, 255]] * 4


def test_other_palettes_are_numbers(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([0, 0, 0, 250, 250, 250, 10, 20, 30])
    picture.save(tmp_path / "a.png")
    assert classes_of(tmp_path / "a.png").tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("name", ["a.png", "b.PNG", "c.Png"])
def test_label_pictures_by_any_suffix(tmp_path: Path, name: str) -> None:
    for each in {"x.png", name}:
        Image.new("L", (4, 4), 3).save(tmp_path / each, format="PNG")
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / each).rename(tmp_path / "in" / each)
    assert labels(tmp_path / "in", tmp_path / "out", Rule()).pictures == 2
    assert (tmp_path / "out" / name).is_file()


def test_what_opencv_does_not_write_or_decodes_otherwise_makes_no_record(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.ppm"), kit.cutting(0))
    with pytest.raises(BadPictureError, match="cannot be written as ppm: --encode-type jpg or png"):
        image_record(tmp_path / "a.ppm", 0, Shape(resize=(9, 9), gray=True, encode="auto"))
    (tmp_path / "b.ppm").write_bytes(b"Pf\n4 3\n-1.0\n" + bytes(48))
    with pytest.raises(BadPictureError, match="other than 8-bit colours"):
        image_record(tmp_path / "b.ppm", 0, Shape())


def test_a_pipe_by_the_name_of_a_picture_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit.jpegs(tmp_path / "set", 1)
    os.mkfifo(tmp_path / "set" / "pipe.jpg")
    assert convert(Order(tmp_path / "set", tmp_path / "db")).bad == 1
    assert "pipe.jpg\tis no file, but a pipe or a device" in (tmp_path / "db" / "bad.txt").read_text()
    assert run(["data", "sizes", str(tmp_path / "set"), str(tmp_path / "sizes.txt")]) == 2
    assert "is no file, but a pipe" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["gif", "avif", "exr", "JPG", "../x", ""])
def test_what_caffe_may_not_read_is_not_written(kind: str, tmp_path: Path) -> None:
    kit.jpegs(tmp_path / "set", 1)
    order = Order(tmp_path / "set", tmp_path / "db", shape=Shape(encode=kind))
    if kind:
        with pytest.raises(UsageError, match="give --encode-type jpg or png"):
            convert(order)
    else:
        assert convert(order).records == 1
