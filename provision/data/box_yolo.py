"""Boxes out of YOLO's text files: `CLASS X Y WIDTH HEIGHT` on a line, the box's middle and size as shares of the
picture's; or `CLASS X Y X Y …`, a polygon.

A picture's file of labels is found as Ultralytics finds it, …/images/a.jpg → …/labels/a.txt, or beside the picture, as
darknet and labelImg write it. A picture without one has no object. Names are those of the data's YAML file, or of
classes.txt, obj.names or *.names nearby.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.border import read_yaml
from infra.disk import is_file
from infra.errors import UsageError
from provision.data import near, usertext
from provision.data.box_set import Box, Boxes, BoxSet, below, bounds, is_there, pictures

_NAMES = ("classes.txt", "obj.names", "_darknet.labels", "names.txt")
_BEYOND = 1.5  # shares that no polygon reaches; marks of keypoints are 0, 1, 2
_SPLITS = {"train": ("train",), "test": ("val", "valid", "validation", "test")}


def read(source: Path, root: Path, split: str = "train", names: Sequence[str] = ()) -> BoxSet:
    """The images of a data's YAML file (`split`: its train set, or the one to test with), of a list of pictures, or of
    a folder. UsageError names the file and line."""
    if source.suffix.lower() in (".yaml", ".yml"):
        paths, found = _data(source, split)
    else:
        paths, found = _pictures(source, root), []
    known = list(names) or found or _names_near(source, paths)
    labels = {path: label for path in paths if (label := labels_of(path)) is not None}
    if not labels:
        raise UsageError(
            f"none of the {len(paths)} pictures of {source} has a file of labels{near.said(paths[0])}",
            "put labels into `labels` beside `images`, or beside each picture: a.jpg, a.txt; for VOC, write an image "
            "and its XML file on each line",
        )
    images = [
        Boxes(below(root, path), _boxes(labels[path], known) if path in labels else (), shares=True) for path in paths
    ]
    return BoxSet("yolo", known, images)


# which pictures


def _data(source: Path, split: str) -> tuple[list[Path], list[str]]:
    """Pictures and names of a YAML file, as Ultralytics has it: path, train, val, names."""
    found = read_yaml(source)
    if not isinstance(found, dict):
        raise UsageError(f"{source} is no mapping", "write train, val and names")
    if found.get("kpt_shape"):
        what = f"{source} is of keypoints (kpt_shape), and its labels would be read as polygons"
        raise UsageError(what, "write boxes alone, CLASS X Y WIDTH HEIGHT, and take kpt_shape out")
    base = source.parent / str(found.get("path") or "")
    key = next((key for key in _SPLITS[split] if found.get(key)), None)
    if key is None:
        raise UsageError(f"{source} has no set to {split} with", f"write {' or '.join(_SPLITS[split])}: FOLDER")
    places = found[key] if isinstance(found[key], list) else [found[key]]
    paths = [path for place in places for path in _pictures(_place(base, source.parent, str(place)), base)]
    return paths, _named(source, found.get("names"))


def _place(base: Path, home: Path, text: str) -> Path:
    """Where a set is: below the base, or beside the YAML file; some exports write ../train/images and mean
    train/images."""
    for path in (base / text, home / text, base / text.removeprefix("../"), home / text.removeprefix("../")):
        if is_there(path):
            return path
    raise UsageError(f"{base / text} is not there", "mend `path`, `train` or `val` in the YAML file")


def _named(source: Path, given: Any) -> list[str]:
    if isinstance(given, dict):
        if set(given) != set(range(len(given))):
            raise UsageError(f"{source}: names are not numbered 0, 1, 2, …", "give each class its number")
        given = [given[number] for number in range(len(given))]
    if given is not None and not (isinstance(given, list) and all(isinstance(name, str) for name in given)):
        raise UsageError(f"{source}: names are no list of texts", "write names: [cat, '1', 'yes'], odd ones in quotes")
    return list(given or [])


def _pictures(source: Path, root: Path) -> list[Path]:
    """The pictures of a folder (of its `images`, where it has such) or of a list, whose paths start from the root or
    from the list's folder."""
    if source.is_dir():
        folder = source / "images" if (source / "images").is_dir() else source
        found = pictures(folder)
        if not found:
            raise UsageError(f"{folder} has no picture", "give the folder of the pictures")
        return found
    lines = [line for _, line in usertext.lines(source)]
    if not lines:
        raise UsageError(f"{source} is empty", "write one picture on each line")
    return [
        next((path for path in (root / line, source.parent / line) if is_file(path)), root / line) for line in lines
    ]


def labels_of(path: Path) -> Path | None:
    """The file of labels of a picture; None where it has none."""
    parts = path.parts
    at = max((place for place, part in enumerate(parts[:-1]) if part == "images"), default=None)
    there = [] if at is None else [Path(*parts[:at], "labels", *parts[at + 1 :]).with_suffix(".txt")]
    return next((label for label in (*there, path.with_suffix(".txt")) if is_file(label)), None)


def _names_near(source: Path, paths: Sequence[Path]) -> list[str]:
    """The classes' names in the file that lies next to the source or the pictures. UsageError where there is none."""
    first = paths[0].parent
    folders = (source if source.is_dir() else source.parent, first, first.parent, first.parent / "labels")
    for folder in dict.fromkeys(folders):
        for path in (*(folder / name for name in _NAMES), *sorted(folder.glob("*.names"))):
            if is_file(path):
                return [line for _, line in usertext.plain_lines(path, "a file of class names")]
    raise UsageError(
        f"nothing near {source} names the classes", "write classes.txt there, a name on each line; or give --classes"
    )


# what is in them


def _boxes(path: Path, names: Sequence[str]) -> tuple[Box, ...]:
    lines = usertext.plain_lines(path, "a file of YOLO's labels")
    return tuple(_box(f"{path}:{number}", line.split(), names) for number, line in lines)


def _box(place: str, words: Sequence[str], names: Sequence[str]) -> Box:
    try:
        number, numbers = float(words[0]), [float(word) for word in words[1:]]
        if not number.is_integer():
            raise ValueError("no class")
        number = int(number)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{place}: {' '.join(words)[:80]!r} is no object", "write CLASS X Y WIDTH HEIGHT") from error
    if not 0 <= number < len(names):
        raise UsageError(f"{place}: class {number}, and there are {len(names)} names", "give a name for each class")
    if any(not -1 <= value <= 2 for value in numbers):
        raise UsageError(f"{place}: {max(numbers, key=abs):g} is no share of a picture", "write shares from 0 to 1")
    if len(numbers) == 4:
        x, y, w, h = numbers
        return Box(names[number], (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    if len(numbers) >= 6 and len(numbers) % 2 == 0:
        if max(numbers) > _BEYOND:
            what = f"{place}: {max(numbers):g} is no share of a picture, but a keypoint's mark"
            raise UsageError(what, "write boxes alone, CLASS X Y WIDTH HEIGHT, or polygons")
        return Box(names[number], bounds(numbers), polygons=(tuple(numbers),))
    raise UsageError(f"{place}: {len(numbers)} numbers behind the class", "write X Y WIDTH HEIGHT, or X Y X Y X Y …")
