"""Pictures with boxes that are known: scikit-learn's digits, pasted on its two photos, laid out as VOC's."""

from pathlib import Path

import cv2
import numpy
from sklearn.datasets import load_digits, load_sample_images

XML = """<annotation><filename>{name}.jpg</filename>
<size><width>{side}</width><height>{side}</height><depth>3</depth></size>
{objects}</annotation>
"""
OBJECT = (
    "<object><name>digit{kind}</name><difficult>0</difficult><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
    "<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>\n"
)
SIDE = 128


def make(folder: Path, train: int = 160, test: int = 40, seed: int = 1) -> Path:
    """JPEGImages, Annotations, trainval.txt and test.txt below `folder`; no digit is in both lists."""
    random, digits = numpy.random.RandomState(seed), load_digits()
    photos = load_sample_images().images
    halves = numpy.array_split(random.permutation(len(digits.images)), [1200])
    for sub in ("JPEGImages", "Annotations"):
        (folder / sub).mkdir(parents=True)
    for name, count, mine in (("trainval", train, halves[0]), ("test", test, halves[1])):
        lines = []
        for at in range(count):
            stem = f"{name}{at:04d}"
            picture, objects = _picture(random, photos, digits, mine)
            cv2.imwrite(str(folder / "JPEGImages" / f"{stem}.jpg"), picture)
            (folder / "Annotations" / f"{stem}.xml").write_text(XML.format(name=stem, side=SIDE, objects=objects))
            lines.append(f"JPEGImages/{stem}.jpg Annotations/{stem}.xml\n")
        (folder / f"{name}.txt").write_text("".join(lines))
    return folder


def _picture(random, photos, digits, mine):  # type: ignore[no-untyped-def]
    """A piece of a photo with one to three digits that do not touch, and their annotations."""
    photo = photos[random.randint(len(photos))]
    y, x = (random.randint(0, size - SIDE) for size in photo.shape[:2])
    picture = numpy.ascontiguousarray(photo[y : y + SIDE, x : x + SIDE, ::-1])
    taken, objects = numpy.zeros((SIDE, SIDE), bool), ""
    for _ in range(random.randint(1, 4)):
        side = random.randint(28, 49)
        top, left = random.randint(2, SIDE - side - 2, 2)
        if taken[top : top + side, left : left + side].any():
            continue
        taken[top : top + side, left : left + side] = True
        number = random.choice(mine)
        ink = cv2.resize(digits.images[number] * (255 / 16), (side, side), interpolation=cv2.INTER_LINEAR)
        picture[top : top + side, left : left + side] = ink[..., None]
        place = {"left": left + 1, "top": top + 1, "right": left + side, "bottom": top + side}
        objects += OBJECT.format(kind=digits.target[number], **place)
    return picture, objects
