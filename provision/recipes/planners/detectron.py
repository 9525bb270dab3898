"""The plan of a training with Detectron: a baseline's schedule for the GPUs at hand, its weights, what it will take.

The table detectron_configs.yaml says what each baseline was trained with; the linear rule is in the recipe's kit
(recipes/detectron/kit/schedule.py). The container applies it to the configuration file itself, and refuses to go on
if that gives something else than was shown here. A configuration of the user's own is read there only.
"""

import json
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from images import gpus as gpu_table
from infra.border import load_yaml, nearest
from infra.errors import UsageError
from provision.recipes.builtin.detectron.kit import schedule
from provision.recipes.spec import Option, Plan, Weights

PATH = Path(__file__).parent / "detectron_configs.yaml"
KIT = Path(__file__).parent.parent / "builtin" / "detectron" / "kit"
_ROOM = 0.95  # of a GPU's memory; CUDA itself takes some
_OURS = {  # keys that have an option of their own
    "NUM_GPUS": "--gpus",
    "OUTPUT_DIR": "nothing: it is the run's folder",
    "MODEL.NUM_CLASSES": "--set num_classes=…",
    "SOLVER.MAX_ITER": "--set iterations=…",
    "TRAIN.IMS_PER_BATCH": "--set ims_per_batch=…",
    "TRAIN.SNAPSHOT_ITERS": "--set snapshot_every=…",
    "TRAIN.DATASETS": "--set train_json=… and train_images=…",
    "TEST.DATASETS": "--set val_json=… and val_images=…",
    "TRAIN.WEIGHTS": "--set weights=…",
}


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A configuration of Detectron's as it was trained: `ims_per_batch` images on each GPU, `gpu_gb` GB of memory on
    each, `seconds` per iteration; `model` is the place of the trained net."""

    base_lr: float
    max_iter: int
    steps: tuple[int, ...]
    ims_per_batch: int
    body: str
    gpu_gb: float
    seconds: float
    model: str


class Licence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Under what the trained nets are published."""

    models: str
    url: str


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All baselines; `gpus` is how many each was trained on, `bodies` are nets trained on ImageNet."""

    source: str
    gpus: int
    bucket: str
    licence: Licence
    bodies: dict[str, str]
    baselines: dict[str, Baseline]


@cache
def table() -> Table:
    """The table of the baselines."""
    return load_yaml(PATH, Table)


def baseline(name: str) -> Baseline:
    """The baseline of that name; UsageError names the nearest."""
    found = table().baselines
    if name not in found:
        close = nearest(name, found)
        mend = f"did you mean {' or '.join(close)}?" if close else f"one is {next(iter(found))}; all: {PATH}"
        raise UsageError(f"Detectron has no baseline {name!r}", mend)
    return found[name]


def as_config(one: Baseline) -> dict[str, Any]:
    """The part of the baseline's configuration file that the rule needs."""
    solver = {
        "BASE_LR": one.base_lr,
        "MAX_ITER": one.max_iter,
        "STEPS": list(one.steps),
        "LR_POLICY": "steps_with_decay",
    }
    return {"NUM_GPUS": table().gpus, "SOLVER": solver, "TRAIN": {"IMS_PER_BATCH": one.ims_per_batch}}


def plan(options: Mapping[str, Option], gpus: int, data: Path | None) -> Plan:
    """The plan for these options. UsageError for what cannot be trained."""
    name = str(options["config"])
    _check(options, name)
    own = "/" in name or name.endswith((".yaml", ".yml"))
    words = [int(options[key]) for key in ("ims_per_batch", "iterations", "snapshot_every")]
    made = None if own else scaled(as_config(baseline(name)), gpus, *words)
    told = {
        "file": _file(name) if own else f"12_2017_baselines/{name}.yaml",
        "gpus": gpus,
        "schedule": made and made["keys"],
        "extra": _extra(str(options["extra"])),
        "weights": _weights(options, name, own),
        **_data(options),
        **{
            key: options[key]
            for key in ("ims_per_batch", "iterations", "snapshot_every", "num_classes", "scale", "skip_test")
        },
    }
    shown: dict[str, Any] = {"config": name}
    if made:
        shown |= _shown(baseline(name), made, options)
    else:
        shown["schedule"] = "scaled in the container, from what the file says"
    shown |= {"weights": _said(told["weights"]), **_classes(options, data)}
    shown |= {"then": options["extra"]} if options["extra"] else {}
    files = {"plan.json": json.dumps(told, indent=1, sort_keys=True) + "\n", **kit()}
    return Plan({}, files, shown, [msgspec.to_builtins(one) for one in weights(options)])


@cache
def kit() -> dict[str, str]:
    """The programs of the container, by their path in the run's folder."""
    return {f"kit/{path.name}": path.read_text(encoding="utf-8") for path in sorted(KIT.glob("*.py"))}


def weights(options: Mapping[str, Option]) -> tuple[Weights, ...]:
    """What has to be fetched for these options."""
    name, kind = str(options["config"]), options["pretrained"]
    if options["weights"] or name not in table().baselines or kind == "none":
        return ()
    one, known = table().baselines[name], table()
    file, url = f"{name}.pkl", model_url(name)
    if kind == "imagenet":
        file, url = f"{one.body}.pkl", f"{known.bucket}/{known.bodies[one.body]}"
    return (Weights(file=file, url=url, licence=known.licence.models, licence_url=known.licence.url),)


def model_url(name: str) -> str:
    """Where the trained net of a baseline is."""
    one = baseline(name)
    number, _, tail = one.model.partition("/")
    sets = "%3A".join(
        f"{'keypoints_' if 'keypoint' in name or 'person' in name else ''}coco_2014_{part}"
        for part in ("train", "valminusminival")
    )
    kind = "retinanet" if name.startswith("retinanet") else "rpn" if "rpn_R-50-C4" in name else "generalized_rcnn"
    return f"{table().bucket}/{number}/12_2017_baselines/{name}.yaml.{tail}/output/train/{sets}/{kind}/model_final.pkl"


def _check(options: Mapping[str, Option], name: str) -> None:
    if options["pretrained"] not in ("imagenet", "coco", "none"):
        raise UsageError(f"pretrained is {options['pretrained']!r}", "imagenet, coco or none")
    for key in ("ims_per_batch", "iterations", "num_classes", "scale"):
        if int(options[key]) < 0:
            raise UsageError(f"option {key} is {options[key]}", "0 stands for the configuration's own")
    if int(options["snapshot_every"]) < 1:
        raise UsageError("snapshot_every must be at least 1 iteration", "without checkpoints nothing can be resumed")
    if options.get("boxes_only") and ("mask" in name or "keypoint" in name):
        raise UsageError(
            f"{name} wants masks or keypoints, and this data has boxes", "take e2e_faster_rcnn_R-50-FPN_1x"
        )
    proposes = name.startswith(("e2e_", "rpn_", "retinanet_"))
    if name in table().baselines and not proposes and not options["train_proposals"]:
        close = [one for one in table().baselines if one == f"e2e_{name.replace('fast_', 'faster_')}"]
        raise UsageError(
            f"{name} trains on proposals of another net",
            f"take {(close or ['one that begins with e2e_'])[0]}, or train an rpn_… first and give train_proposals=…",
        )


def scaled(config: Mapping[str, Any], gpus: int, *words: int) -> dict[str, Any]:
    """schedule.scaled, with a type."""
    made: dict[str, Any] = schedule.scaled(config, gpus, *words)  # type: ignore[no-untyped-call]
    return made


def _file(name: str) -> str:
    """An own configuration: below /project, or the path of one in Detectron's folder configs."""
    if name.startswith("/"):
        return name
    return f"/project/{name}" if name.endswith((".yaml", ".yml")) else f"{name}.yaml"


def _extra(text: str) -> list[str]:
    """`KEY VALUE KEY VALUE` as words; UsageError where they are no pairs, or a key has an option of its own."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"extra: {error}", "write KEY VALUE KEY VALUE") from error
    if len(words) % 2:
        raise UsageError(f"extra has {len(words)} words", "write KEY VALUE KEY VALUE, as for tools/train_net.py")
    for key in words[::2]:
        if key in _OURS:
            raise UsageError(f"extra sets {key}", f"use {_OURS[key]}")
    return words


def _weights(options: Mapping[str, Option], name: str, own: bool) -> str | None:
    """The file of weights in the container, "" for none, None for what the configuration itself says."""
    if options["weights"]:
        return _below("/project", str(options["weights"]))
    if options["pretrained"] == "none":
        return ""
    if not own:
        return f"/weights/{weights(options)[0].file}"
    if options["pretrained"] == "coco":
        raise UsageError(f"there is no trained net for {name}", "give its file with --set weights=…, below --project")
    return None


def _said(place: str | None) -> str:
    return "as the configuration says" if place is None else place or "none: from nothing"


def _data(options: Mapping[str, Option]) -> dict[str, Any]:
    """The places of the data in the container."""

    def part(kind: str) -> dict[str, str]:
        return {key: _below("/data", str(options[f"{kind}_{key}"])) for key in ("json", "images")}

    proposals = [str(options[key]) for key in ("train_proposals", "val_proposals")]
    return {
        "train": part("train"),
        "val": part("val") if options["val_json"] else None,
        "proposals": [_below("/data", one) for one in proposals if one],
    }


def _below(folder: str, path: str) -> str:
    return str(PurePosixPath(folder) / path)


class _Categories(msgspec.Struct):
    categories: list[dict[str, Any]]


def _classes(options: Mapping[str, Option], data: Path | None) -> dict[str, Any]:
    """The number of classes, where the data is on this laptop. UsageError where an option does not fit to it."""
    if data is None:
        return {}
    for key in ("train_json", "train_images", "val_json", *(["val_images"] if options["val_json"] else [])):
        if not (data / str(options[key])).exists():
            mend = "; --set val_json= for no validation set" if key.startswith("val") else ""
            raise UsageError(f"{data} has no {options[key]}", f"give its path below --data: --set {key}=…{mend}")
    here = data / str(options["train_json"])
    try:
        count = len(msgspec.json.decode(here.read_bytes(), type=_Categories).categories) + 1
    except (msgspec.DecodeError, OSError, RecursionError) as error:
        raise UsageError(f"{here} is not in COCO's form: {error}", f"provision data coco-check {here}") from error
    if options["num_classes"] not in (0, count):
        raise UsageError(
            f"num_classes is {options['num_classes']}, but {here} has {count - 1} categories",
            f"it must be {count}, the background included: leave it out",
        )
    return {"num_classes": count}


def _shown(one: Baseline, made: dict[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """What is shown before the start: the baseline, and what becomes of it."""
    keys, ims = made["keys"], made["keys"]["TRAIN.IMS_PER_BATCH"]
    seconds = float(options["seconds"]) or one.seconds
    least = f"{one.gpu_gb:g} GB a GPU in the model zoo with {one.ims_per_batch} images on it"
    return {
        "baseline": f"{table().gpus} GPUs x {one.ims_per_batch} images",
        "baseline_BASE_LR": one.base_lr,
        "baseline_MAX_ITER": one.max_iter,
        "baseline_STEPS": list(one.steps),
        "images_per_step": made["images"],
        "factor": str(made["factor"]),
        "BASE_LR": keys["SOLVER.BASE_LR"],
        "MAX_ITER": keys["SOLVER.MAX_ITER"],
        "STEPS": keys.get("SOLVER.STEPS", []),
        "lr_at_iteration_0": round(made["first_rate"], 6),
        "snapshot_every": int(options["snapshot_every"]),
        "detectron_would_snapshot_every": schedule.SNAPSHOT_ITERS // keys["NUM_GPUS"],
        "SNAPSHOT_ITERS": keys["TRAIN.SNAPSHOT_ITERS"],
        "hours": round(keys["SOLVER.MAX_ITER"] * seconds / 3600, 1),
        "seconds_per_iteration": seconds,
        "gpu_memory": least,
        "too_small": _too_small(one.gpu_gb * (ims / one.ims_per_batch)),
    }


def _too_small(need: float) -> str:
    """The GPUs of AWS's that have less memory than `need` GB."""
    whole = [one for one in gpu_table.aws_types().values() if one.share == 1]
    small = {one.gpu: one.gpu_mib / 1024 for one in whole if one.gpu_mib / 1024 * _ROOM < need}
    return (
        ", ".join(f"{name} ({size:.0f} GB)" for name, size in sorted(small.items(), key=lambda one: one[1])) or "none"
    )
