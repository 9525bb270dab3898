"""Pictures for tests of `provision data`: cuttings of scikit-learn's two photos, and a small VOC kit made of them."""

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from provision.data import voc
from provision.data.backends import reader
from tests.unit.test_data import decode

Fields = dict[int, int | bytes]


@cache
def photo(number: int) -> Any:
    """china.jpg or flower.jpg, [427, 640, 3], blue first."""
    from sklearn.datasets import load_sample_images

    return np.ascontiguousarray(load_sample_images().images[number % 2][..., ::-1])


def cutting(number: int, height: int = 60, width: int = 80) -> Any:
    """A piece of a photo, another one for each number."""
    top, left = number * 37 % (427 - height), number * 53 % (640 - width)
    return photo(number)[top : top + height, left : left + width]


def jpegs(folder: Path, count: int, height: int = 60, width: int = 80) -> list[str]:
    """Files of cuttings; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number:03d}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), cutting(number, height, width), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return names


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def label_picture(path: Path, values: Any, mode: str = "P") -> Path:
    """Classes as VOC's palette picture, as colours (RGB), or as gray values (L)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(values, np.uint8))
    if mode != "L":
        picture = Image.fromarray(np.asarray(values, np.uint8))
        picture.putpalette([channel for colour in voc.PALETTE for channel in colour])
    if mode == "RGB":
        picture = picture.convert("RGB")
    picture.save(path)
    return path


def read(folder: Path) -> list[tuple[str, Fields]]:
    """Keys and fields of a database, by a reading of protobuf that is not provision's."""
    base = reader(folder)
    try:
        return [(key.decode(), decode(value)) for key, value in base.items()]
    finally:
        base.close()


def kit(folder: Path) -> Path:
    """VOC2007 with trainval and test, VOC2012 with trainval: four images each, the person in every second."""
    for year, sets in (("2007", ("trainval", "test")), ("2012", ("trainval",))):
        root = folder / f"VOC{year}"
        names = [f"{year}_{number:06d}" for number in range(4)]
        for number, name in enumerate(names):
            (root / "JPEGImages").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), cutting(number, 30, 40))
            write(root / "Annotations" / f"{name}.xml", "<annotation/>")
            values = np.full((30, 40), voc.IGNORE)
            values[:, :20] = 15 if number % 2 else 0
            label_picture(root / "SegmentationClass" / f"{name}.png", values)
        for at, one in enumerate(sets):
            mine = names[at::2] if len(sets) > 1 else names
            for task in ("Main", "Segmentation"):
                write(root / "ImageSets" / task / f"{one}.txt", *mine)
            flags = [f"{name} {1 if names.index(name) % 2 else -1}" for name in mine]
            write(root / "ImageSets" / "Main" / f"person_{one}.txt", *flags)
    return folder
