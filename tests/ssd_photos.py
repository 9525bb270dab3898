"""Images with boxes: scikit-learn's hand-written digits laid on its two photos, where the boxes are exact; and three
photos of VOC2011 with boxes that people drew, out of the source package of labelme (fetched, not part of provision).
"""

import os
from pathlib import Path
from typing import Any

import numpy
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

from tests.labelme import example

NAMES = ("zero", "one", "four")
_DIGITS = (0, 1, 4)
_XML = (
    "<annotation><filename>{name}.jpg</filename><size><width>{side}</width><height>{side}</height><depth>3</depth></size>"
    "{objects}</annotation>"
)
_OBJECT = (
    "<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
    "<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
)


def voc() -> Path:
    """A folder with JPEGImages, Annotations and list.txt, three files each."""
    wanted = ("JPEGImages", "Annotations")
    made = example("bbox_detection/data_dataset_voc", lambda path: path.split("/")[0] in wanted)
    names = sorted(path.stem for path in (made / "Annotations").iterdir())
    part = made / f"list.{os.getpid()}"
    part.write_text("".join(f"JPEGImages/{n}.jpg Annotations/{n}.xml\n" for n in names))
    part.replace(made / "list.txt")
    return made


def photo(name: str) -> Any:
    """`china` or `flower`, 640 x 427, as Pillow's image."""
    return Image.fromarray(load_sample_image(f"{name}.jpg"))


def devkit(folder: Path, train: int, test: int, side: int = 128, seed: int = 1) -> Path:
    """JPEGs of `side` pixels with their XML, train.txt and test.txt; the digits of the two lists differ."""
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.RandomState(seed)
    digits = load_digits()
    chosen = numpy.flatnonzero(numpy.isin(digits.target, _DIGITS))
    held_out = set(chosen[::5].tolist())
    pools = {"train": [at for at in chosen if at not in held_out], "test": sorted(held_out)}
    for kind, count in (("train", train), ("test", test)):
        lines = []
        for number in range(count):
            name = f"{kind}_{number:04d}"
            _write(folder, name, _composed(random, digits, pools[kind], side), side)
            lines.append(f"{name}.jpg {name}.xml")
        (folder / f"{kind}.txt").write_text("\n".join(lines) + "\n")
    return folder


def _composed(random: Any, digits: Any, pool: list[int], side: int) -> tuple[Any, list[tuple[str, list[int]]]]:
    """A piece of a photo with one to three digits that do not touch."""
    source = photo(("china", "flower")[random.randint(2)])
    left, top = random.randint(640 - side), random.randint(427 - side)
    canvas = numpy.asarray(source.crop((left, top, left + side, top + side))).copy()
    objects: list[tuple[str, list[int]]] = []
    for _ in range(random.randint(1, 4)):
        size = int(random.randint(side // 4, side // 2))
        x, y = (int(one) for one in random.randint(0, side - size, 2))
        box = [x, y, x + size, y + size]
        if any(x < b[2] and b[0] < box[2] and y < b[3] and b[1] < box[3] for _, b in objects):
            continue
        at = pool[random.randint(len(pool))]
        pixels = Image.fromarray((digits.images[at] * (255 / 16)).astype(numpy.uint8)).resize(
            (size, size), Image.BILINEAR
        )
        ink = numpy.asarray(pixels)[:, :, None] / 255.0
        place = canvas[y : y + size, x : x + size]
        colour = numpy.array([255, 255, 255]) - random.randint(0, 60, 3)
        place[:] = (0.25 * place * (1 - ink) + colour * ink).astype(numpy.uint8)
        objects.append((NAMES[_DIGITS.index(int(digits.target[at]))], box))
    return canvas, objects


def _write(folder: Path, name: str, made: tuple[Any, list[tuple[str, list[int]]]], side: int) -> None:
    canvas, objects = made
    Image.fromarray(canvas).save(folder / f"{name}.jpg", quality=92)
    text = "".join(_OBJECT.format(name=one, box=box) for one, box in objects)
    (folder / f"{name}.xml").write_text(_XML.format(name=name, side=side, objects=text))
