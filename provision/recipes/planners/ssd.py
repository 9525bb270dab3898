"""What the recipe `ssd-voc` computes: prior boxes, batches, learning rate's steps; and what cannot be is refused.

The boxes of `vgg` are those of the paper's SSD300 (Liu et al., ECCV 2016, as the fork's example has them): the
smallest at conv4_3 take a tenth of the image, the next from 20 % in even steps to 90 %.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.errors import UsageError
from provision.recipes.spec import Option, Plan

TEST_BATCH = 8
_SIZES = {"vgg": 300, "small": 192}
# blob, pixels between two boxes' centres, aspect ratios beside 1, what Normalize scales to
_VGG = (
    ("conv4_3", 8, (2,), 20), ("fc7", 16, (2, 3), 0), ("conv6_2", 32, (2, 3), 0), ("conv7_2", 64, (2, 3), 0),
    ("conv8_2", 100, (2,), 0), ("conv9_2", 300, (2,), 0),
)  # fmt: skip
_SMALL = (("conv4", 8, (2,), 0), ("conv5", 16, (2,), 0), ("conv6", 32, (2,), 0))
_WEIGHTS = {"vgg": "/weights/VGG_ILSVRC_16_layers_fc_reduced.caffemodel", "none": ""}
_VGG_SHARES = (0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05)  # of the image's side; each blob's boxes and up to the next's
_SMALL_SHARES = (0.12, 0.25, 0.45, 0.8)


def plan(options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    """UsageError for classes, size or batch that cannot be, or that differ from what the data holds."""
    names = _names(str(options["classes"]))
    facts = _facts(data)
    if facts.get("classes") not in (None, names):
        raise UsageError(
            f"the data was made with the classes {','.join(facts['classes'])}",
            "give the same: --set classes=" + ",".join(facts["classes"]),
        )
    images = int(facts.get("test", options["test_images"]))
    batch, each = int(options["batch"]), _each(int(options["batch"]), gpus, int(options["accumulate"]))
    test_batch = max(count for count in range(1, TEST_BATCH + 1) if images % count == 0)
    total, rate = int(options["iterations"]), float(options["learning_rate"])
    steps = sorted({max(1, round(total * share)) for share in (2 / 3, 5 / 6)})
    size = _size(options)
    values: dict[str, Any] = {
        "size": size, "names": names, "num_classes": len(names) + 1, "sources": _sources(str(options["body"]), size),
        "start_file": _WEIGHTS.get(str(options["start"]), str(options["start"])),
        "batch_each": each, "test_batch": test_batch, "test_iter": images // test_batch, "steps": steps,
    }  # fmt: skip
    shown = {
        "classes": len(names), "images an iteration": batch, "images a GPU, at once": each,
        "learning rate": f"{rate:g}, a tenth at {' and at '.join(map(str, steps))}",
        "test images": f"{images}, {test_batch} at once",
    }  # fmt: skip
    return Plan(values, {}, shown)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    twice = {name for name in names if names.count(name) > 1}
    if not names or twice or "background" in names:
        wrong = f"{min(twice)} is there twice" if twice else "background is label 0 by itself" if names else "none"
        raise UsageError(f"option classes: {wrong}", "name each class once: --set classes=cat,dog")
    if bad := next((name for name in names if set(name) & set('"\\\n')), None):
        raise UsageError(f"option classes: {bad!r} holds a character that a labelmap cannot", "use letters and digits")
    return names


def _facts(data: Path | None) -> dict[str, Any]:
    """What `provision data boxes` says about its folder; nothing where the data is elsewhere or another's."""
    try:
        found = json.loads((data / "data.json").read_text(encoding="utf-8")) if data else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("data") == "boxes" else {}


def _each(batch: int, gpus: int, parts: int) -> int:
    """Images that one GPU takes at once: Caffe's batch is that of each GPU."""
    share = max(gpus, 1) * parts
    if parts < 1 or batch < 1 or batch % share:
        raise UsageError(
            f"a batch of {batch} cannot be shared by {max(gpus, 1)} GPUs in {parts} parts",
            f"take a multiple: --set batch={max(1, math.ceil(batch / max(share, 1))) * max(share, 1)}",
        )
    return batch // share


def _size(options: Mapping[str, Option]) -> int:
    """Pixels that the net sees; what its body and start cannot be is refused."""
    body, size, start = str(options["body"]), int(options["size"]), str(options["start"])
    own = re.fullmatch(r"/(project|data)/[\w./+-]+", start) is not None
    if body not in _SIZES or not (own or start in _WEIGHTS):
        raise UsageError(
            f"there is no body {body} that starts from {start}",
            "body is vgg or small, start vgg, none, /project/FILE or /data/FILE",
        )
    if body == "small" and start == "vgg":
        raise UsageError("the small body has no weights to start from", "--set start=none")
    size = size or _SIZES[body]
    if body == "vgg" and size != _SIZES[body]:
        raise UsageError(f"the body vgg sees 300 pixels, not {size}", "--set size=300, or --set body=small")
    if body == "small" and (size % 32 or size < 64):
        raise UsageError(f"a size of {size} does not fit the small body", "take a multiple of 32 from 64 on")
    return size


def _sources(body: str, size: int) -> list[dict[str, Any]]:
    """What the templates need of each blob that boxes are predicted from."""
    layers, shares = (_VGG, _VGG_SHARES) if body == "vgg" else (_SMALL, _SMALL_SHARES)
    return [
        {
            "blob": blob, "step": step, "ratios": ratios, "norm": norm, "priors": 2 + 2 * len(ratios),
            "min": round(size * shares[at], 2), "max": round(size * shares[at + 1], 2),
        }
        for at, (blob, step, ratios, norm) in enumerate(layers)
    ]  # fmt: skip
