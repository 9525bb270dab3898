"""scikit-learn's 1,797 hand-written digits (8 x 8 pixels, UCI) as two LMDB databases that Caffe reads.

The folder holds train_lmdb/, test_lmdb/ and data.json, which tells what is in it. The split is fixed by a seed and
takes the same share of each class. Everything is deterministic: same seed, same bytes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from infra.errors import UsageError
from provision.data.extras import extra
from provision.data.lmdb_writer import Datum, write
from provision.data.made import lost
from provision.files.whole import atomic_folder

TEST_FRACTION = 0.2
SEED = 1
_FORMAT = 1  # of this folder; raise it when the same seed gives other bytes


def prepare(target: Path, *, test_fraction: float = TEST_FRACTION, seed: int = SEED) -> Path:
    """The folder `target` with both databases; found as it is when it was made before with the same parameters.

    `test_fraction` is the share of each class that is held out, between 0 and 1. UsageError where it is not, or
    where `target` holds something else; MissingExtraError without the extra `data`.
    """
    if not 0 < test_fraction < 1:
        raise UsageError(
            f"test fraction {test_fraction:g} is not between 0 and 1", "give 0.2 to hold out every fifth image"
        )
    asked = {"data": "digits", "format": _FORMAT, "seed": seed, "test_fraction": test_fraction}
    if already(target, asked):
        return target
    images, labels = load()
    train, test = split(labels, test_fraction, seed)
    facts = {
        "train": len(train),
        "test": len(test),
        "classes": 10,
        "height": 8,
        "width": 8,
        "sha256": source_digest(images, labels),
    }
    with atomic_folder(target) as part:
        write(part / "train_lmdb", records(images, labels, train))
        write(part / "test_lmdb", records(images, labels, test))
        (part / "data.json").write_text(json.dumps(asked | facts, indent=2) + "\n", encoding="utf-8")
    return target


def already(target: Path, asked: dict[str, Any]) -> bool:
    """Whether `target` is there as asked, and whole. UsageError where something else is there: nothing of it is
    touched."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    try:
        found = json.loads((target / "data.json").read_text(encoding="utf-8"))
        made = {key: found.get(key) for key in asked}
    except (OSError, ValueError, AttributeError, RecursionError):
        raise UsageError(f"{target} is there and is not prepared data", "name a new folder") from None
    if made != asked:
        changed = ", ".join(f"{key} {made[key]}, not {asked[key]}" for key in asked if made[key] != asked[key])
        raise UsageError(f"{target} was prepared otherwise: {changed}", "name a new folder, or remove this one")
    if gone := lost(target):
        raise UsageError(f"{target} is not whole any more: {gone}", "remove it, and give the same command again")
    return True


def load() -> tuple[Any, Any]:
    """Images as bytes 0..255, [1797, 8, 8], and labels 0..9, [1797]. The source's values are 0..16."""
    numpy, datasets = extra("numpy"), extra("sklearn.datasets")
    source = datasets.load_digits()
    return numpy.rint(source.images * (255 / 16)).astype(numpy.uint8), source.target.astype(int)


def split(labels: Any, test_fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices for training and for testing, each shuffled: Caffe reads records in the order of the file.

    numpy promises that RandomState gives the same numbers for ever, which its newer generators do not.
    """
    numpy = extra("numpy")
    random = numpy.random.RandomState(seed)
    train: list[int] = []
    test: list[int] = []
    for label in sorted(set(labels.tolist())):
        members = random.permutation(numpy.flatnonzero(labels == label)).tolist()
        count = max(1, min(len(members) - 1, round(len(members) * test_fraction)))
        test += members[:count]
        train += members[count:]
    return random.permutation(train).tolist(), random.permutation(test).tolist()


def records(images: Any, labels: Any, indices: list[int]) -> list[Datum]:
    """The chosen images as records, in order."""
    return [Datum(1, 8, 8, images[index].tobytes(), int(labels[index])) for index in indices]


def source_digest(images: Any, labels: Any) -> str:
    """sha256 (hex) of all images and labels as they came, one byte a value."""
    return hashlib.sha256(images.tobytes() + bytes(labels.tolist())).hexdigest()
