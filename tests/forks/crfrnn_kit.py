"""The tasks of the recipe `crfrnn`, run on a snapshot as `provision infer` and `provision score` run them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from provision.data import voc
from provision.recipes.loading import load
from tests.forks import voc_kit
from tests.forks.place import Place, open_to_all


def score(place: Place, folder: Path, stem: str) -> dict[str, Any]:
    """What the task says of a snapshot."""
    out = folder / f"score-{Path(stem).name}"
    out.mkdir()
    run(place, "score", stem, {"/out": open_to_all(out)})
    found: dict[str, Any] = json.loads((out / "score.json").read_text())
    return found


def infer(place: Place, folder: Path, stem: str) -> list[float]:
    """Segment the whole photos, of 500 pixels, and a file that is none: which share of each photo's pixels is right."""
    given, out = folder / "in", folder / "out"
    for one in (given, out):
        one.mkdir()
    photos = sorted((voc_kit.photos() / "JPEGImages").glob("*.jpg"))
    for photo in photos:
        (given / photo.name).write_bytes(photo.read_bytes())
    (given / "torn.jpg").write_bytes(b"\xff\xd8\xff no photo")
    said = run(place, "infer", stem, {"/in": open_to_all(given), "/out": open_to_all(out)})
    assert "torn.jpg: no picture" in said and "3 segmented, 1 skipped" in said
    names = {name for one in json.loads((out / "infer.json").read_text())["images"] for name in one["classes"]}
    assert names <= set(voc.CLASSES) and len(names) > 2
    return [right(out, photo.name) for photo in photos]


def run(place: Place, task: str, stem: str, beside: dict[str, Path]) -> str:
    words = [word.replace("{snapshot}", stem) for word in load("crfrnn").tasks[task].command]
    result = Place(place.image, place.work, {**place.beside, **beside}).run(words)
    assert result.code == 0, result.err
    return result.out


def right(out: Path, name: str) -> float:
    """The share of pixels that are their class, of those that have one. Both pictures keep the photo's size."""
    with Image.open(voc_kit.photos() / "SegmentationClass" / f"{Path(name).stem}.png") as truth:
        wanted = np.array(truth)
    with Image.open(out / f"{name}.png") as index, Image.open(out / f"{name}-overlay.png") as shown:
        assert index.mode == "P" and shown.size == index.size == wanted.shape[::-1]
        palette = index.getpalette()
        assert palette is not None and palette[:63] == [value for one in voc.PALETTE[:21] for value in one]
        counts = wanted != voc.IGNORE
        return float((np.array(index)[counts] == wanted[counts]).mean())
