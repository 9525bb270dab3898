"""The plan of the recipe `crfrnn`: its net, its rates and what its data must be, before anything is rented.

Rates. The kit of the write-up and the paper (Zheng et al. 2015) train on the loss summed over an image's pixels, at
1e-13 with momentum 0.99. A mean over the pixels is size x size times smaller, and its rate that many times larger for
the same step. FCN's own solvers (shelhamer/fcn.berkeleyvision.org, voc-fcn32s) train new score layers at 1e-10. The
mean field's weights learn 10,000 times faster (1,000 times for its compatibilities) than trained layers, as upstream
has it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from infra.border import did_you_mean
from infra.errors import UsageError
from provision.data import voc
from provision.recipes.planners import crfrnn_net
from provision.recipes.planners.crfrnn_net import Names
from provision.recipes.spec import Option, Plan

# as `provision data lmdb` makes them of a list of pairs
DATABASES = ("train/images_lmdb", "train/labels_lmdb", "test/images_lmdb", "test/labels_lmdb")
WEIGHTS = {"fcn8s": "/weights/fcn-8s-pascal.caffemodel", "crfrnn": "/weights/TVG_CRFRNN_COCO_VOC.caffemodel"}
_MAKE = "make it: provision data crfrnn VOCdevkit DIR; of pictures of your own: docs/write-ups/1-crfasrnn.md"
_BLIND_TESTS = 100  # where the data is not on this laptop, and no number was given
_LEAST = {"size": 16, "iter_size": 1, "iterations": 1, "crf_iterations": 2, "crf_test_iterations": 2, "test_images": 0}
_REFERENCE = 500  # pixels: the size that the published rates are for


class Rates(NamedTuple):
    """`sum` is the rate for the loss summed over 500 x 500 pixels; the others are the factors of the CRF's weights."""

    sum: float
    momentum: float
    kernels: float
    compatibility: float


RATES = {
    "trained": Rates(1e-13, 0.99, 10000, 1000),
    "new scores": Rates(1e-10, 0.99, 10, 1),
    "small": Rates(0.001 / _REFERENCE**2, 0.9, 1, 0.1),
}


def plan(options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    """The Plan; UsageError for options that do not go together and for data that the net cannot take."""
    _check(options)
    names, size = _classes(str(options["classes"])), int(options["size"])
    body = str(options["body"])
    start = _start(str(options["start"]), body)
    outputs = len(names) + 1
    layer_names = _layer_names(names, start, body)
    layers = crfrnn_net.BODIES[body](outputs, layer_names)
    rates, loss = RATES[_kind(body, start, layer_names)], str(options["loss"])
    rate = float(options["learning_rate"]) or default_rate(rates, loss, size)
    found = look(data, size, names) if data is not None and data.is_dir() else None
    tests = int(options["test_images"]) or (found or _BLIND_TESTS)
    mean = _mean(str(options["mean_bgr"]))
    values = {
        "body_text": crfrnn_net.text(layers), "outputs": outputs, "rate": f"{rate:.6g}", "momentum": rates.momentum,
        "kernel_factor": rates.kernels, "compatibility_factor": rates.compatibility, "tests": tests,
        "normalization": {"sum": "BATCH_SIZE", "mean": "VALID"}[loss], "weights": start, "mean": mean,
        "crf_name": layer_names.of("inference1"), "spatial_weights": _diagonal(options["spatial_weight"], outputs),
        "bilateral_weights": _diagonal(options["bilateral_weight"], outputs),
    }  # fmt: skip
    files = {"net.json": json.dumps({"size": size, "mean_bgr": mean, "classes": legend(names)}, indent=1) + "\n"}
    count = crfrnn_net.weights(layers) + (3 * outputs**2 if options["crf"] else 0)
    return Plan(values, files, _shown(options, values, gpus, found, count))


def default_rate(rates: Rates, loss: str, size: int) -> float:
    """The recipe's own learning rate for that loss and an image of size x size pixels: the same step for any size."""
    mean = rates.sum * _REFERENCE**2
    return mean if loss == "mean" else mean / size**2


def legend(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Name and colour of each output. A subset of VOC's classes keeps its colours."""
    known = all(name in voc.CLASSES for name in names)
    at = [voc.CLASSES.index(name) if known else index for index, name in enumerate(names, start=1)]
    return [
        {"name": name, "colour": list(voc.PALETTE[index])}
        for name, index in zip(("background", *names), (0, *at), strict=True)
    ]


def look(data: Path, size: int, names: tuple[str, ...]) -> int:
    """How many test images the data holds. UsageError where it lacks a database, or the net cannot take it."""
    _check_classes(data, names)
    lost = [name for name in DATABASES if not (data / name / "data.mdb").is_file()]
    if lost:
        raise UsageError(f"{data} has no {', '.join(lost)}", _MAKE)
    counts = {}
    for name in DATABASES:
        counts[name], have = _first(data / name)
        want = (3 if "images" in name else 1, size, size)
        if any(have) and have != want:
            raise UsageError(
                f"{data / name}: a record is {_times(have)}, and the net takes {_times(want)}",
                f"prepare images and labels with --pad {size}, or train with --set size={max(have)}",
            )
    for phase in ("train", "test"):
        images, labels = counts[f"{phase}/images_lmdb"], counts[f"{phase}/labels_lmdb"]
        if images != labels or not images:
            raise UsageError(f"{data} has {images} images and {labels} labels to {phase} with", _MAKE)
    return counts["test/images_lmdb"]


def _check_classes(data: Path, names: tuple[str, ...]) -> None:
    """What `provision data crfrnn` noted against what is to be trained; other data says nothing of its classes."""
    try:
        made = json.loads((data / "data.json").read_text(encoding="utf-8")).get("classes")
    except (OSError, ValueError, AttributeError, RecursionError):
        return
    if isinstance(made, list) and tuple(made or voc.CLASSES[1:]) != names:
        said = f"--set classes={','.join(made)}" if made else "leave --set classes out: it has VOC's 20"
        raise UsageError(f"{data} was prepared for other classes than {','.join(names)}", said)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)


def _first(folder: Path) -> tuple[int, tuple[int, int, int]]:
    """How many records a database has, and the first one's channels, height and width (zeros where it is encoded)."""
    from provision.data import backends, datum

    database = backends.reader(folder)
    try:
        count, first = len(database), next(database.items(), None)
        one = datum.decode(first[1]) if first else datum.Datum(0, 0, 0, b"")
    except ValueError as error:
        raise UsageError(f"{folder}: its first record is no picture of Caffe's: {error}", _MAKE) from error
    finally:
        database.close()
    return count, (one.channels, one.height, one.width)


def _classes(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",")) if text else voc.CLASSES[1:]
    if "" in names or "background" in names or len(set(names)) != len(names):
        raise UsageError(f"option classes: {text!r}", "name each class once, without the background: aeroplane,car")
    if len(names) >= voc.IGNORE:
        raise UsageError(f"option classes: {len(names)} classes", "a label is a byte, and 255 means: ignore")
    return names


def _check(options: Mapping[str, Option]) -> None:
    for key, known in (("body", list(crfrnn_net.BODIES)), ("loss", ["sum", "mean"])):
        if options[key] not in known:
            raise UsageError(f"option {key}: there is no {options[key]!r}", did_you_mean(str(options[key]), known))
    for key, least in _LEAST.items():
        if int(options[key]) < least:
            raise UsageError(f"option {key} is {options[key]}", f"it must be {least} or more")


def _start(start: str, body: str) -> str:
    """The path of the weights to begin with, or ""."""
    if start in WEIGHTS and body != "fcn8s":
        raise UsageError(f"start={start} has weights of FCN-8s, not of body={body}", "--set start=none")
    if start.startswith("/"):
        return start
    if start not in (*WEIGHTS, "none"):
        near = did_you_mean(start, [*WEIGHTS, "none"])
        raise UsageError(f"option start: there is no {start!r}", f"{near} A file of yours is /project/mine.caffemodel")
    return WEIGHTS.get(start, "")


def _layer_names(names: tuple[str, ...], start: str, body: str) -> Names:
    """The published names only where published weights fit: for VOC's classes, in their order."""
    fits = body == "fcn8s" and names == voc.CLASSES[1:] and bool(start)
    return Names() if fits else Names(f"-{len(names) + 1}")


def _kind(body: str, start: str, names: Names) -> str:
    if body == "small":
        return "small"
    return "trained" if names.published or start.startswith("/project") else "new scores"


def _mean(text: str) -> list[float]:
    try:
        mean = [float(one) for one in text.split(",")]
    except ValueError:
        mean = []
    if len(mean) != 3:
        raise UsageError(f"option mean_bgr: {text!r} is not three numbers", "blue,green,red: 104.0,116.7,122.7")
    return mean


def _diagonal(value: Option, outputs: int) -> str:
    """The mean-field layer reads one number for each output, apart by one space."""
    return " ".join([f"{float(value):g}"] * outputs)


def _shown(
    options: Mapping[str, Option], values: Mapping[str, Any], gpus: int, found: int | None, count: int
) -> dict[str, Any]:
    tests = f"{values['tests']} of {found}" if found else f"{values['tests']} (the data is not on this laptop)"
    return {
        "begins with": values["weights"] or "random weights",
        "outputs": values["outputs"],
        "learning rate": f"{values['rate']}, loss {options['loss']} over pixels, momentum {values['momentum']}",
        "images per step": int(options["iter_size"]) * max(gpus, 1),
        "test images": tests,
        "parameters": f"{count:,}",
        "snapshot": f"{8 * count / 1e6:,.0f} MB",
    }
