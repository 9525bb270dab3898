"""What training, inference and scoring share: plan.json, the configuration, our data sets in Detectron's catalogue.

plan.json stands in the run's folder (/work); `provision` wrote it. Detectron's modules are imported inside functions,
after the CPU was put in the GPUs' place where there are none. Python 2.7 and 3.
"""
# mypy: ignore-errors
# ruff: noqa: B904, B905, PTH100, PTH109, PTH118, PTH120
# ruff: noqa: RUF005, RUF046, UP020, UP024, UP031

import io
import json
import os
import sys

import dataset
import detectron
import schedule
import yaml

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(detectron.__file__)))
TRAIN, VAL = "coco_own_train", "coco_own_val"  # Detectron has no evaluator for names without coco_
WRONG = 2  # the exit code of what cannot be trained


class Wrong(Exception):
    """Something that the user can mend; one line."""


def say(text):
    line = "provision: " + text
    print(line if isinstance(line, str) else line.encode("utf-8"))  # Python 2 has two kinds of text
    sys.stdout.flush()


def refuse(text):
    """The end of a program, in one line that provision looks for."""
    say("cannot go on: " + text)
    sys.exit(WRONG)


def read_plan(path="plan.json"):
    with io.open(path, encoding="utf-8") as data:
        return json.load(data)


def read_config(plan):
    """The configuration file that the user named, as nested dicts. Wrong where it cannot be read."""
    path = os.path.join(SOURCE, "configs", plan["file"])  # which is absolute where it is the user's
    try:
        with io.open(path, encoding="utf-8") as data:
            found = yaml.safe_load(data)
    except (IOError, OSError) as error:
        raise Wrong("there is no configuration %s: %s" % (path, error.strerror))
    except yaml.YAMLError as error:
        raise Wrong("%s is not YAML: %s" % (path, " ".join(str(error).split())))
    if not isinstance(found, dict) or "MODEL" not in found:
        raise Wrong("%s is no configuration of Detectron's: it has no MODEL" % path)
    return found


def own_schedule(plan, config):
    """The scaled schedule's keys; Wrong where they are not what was shown before the start."""
    made = schedule.scaled(config, plan["gpus"], plan["ims_per_batch"], plan["iterations"], plan["snapshot_every"])
    if plan["schedule"] is not None and plan["schedule"] != made["keys"]:
        raise Wrong("this image's %s is not the baseline that provision knows: %s" % (plan["file"], made["keys"]))
    say(
        "%d images per step, %s of the configuration's own: BASE_LR %g, MAX_ITER %d, STEPS %s, rate at iteration 0 %g"
        % (
            made["images"], made["factor"], made["keys"]["SOLVER.BASE_LR"], made["keys"]["SOLVER.MAX_ITER"],
            made["keys"].get("SOLVER.STEPS", []), made["first_rate"],
        )
    )  # fmt: skip
    return made["keys"]


def settle(config, key, value):
    """Set SOLVER.MAX_ITER and the like in nested dicts."""
    parts = key.split(".")
    for part in parts[:-1]:
        config = config.setdefault(part, {})
    config[parts[-1]] = value


def lookup(config, key, default=None):
    for part in key.split("."):
        if not isinstance(config, dict) or part not in config:
            return default
        config = config[part]
    return config


def names(config):
    """Our data sets' names; Detectron's evaluator of keypoints wants names of its own."""
    before = "keypoints_" if lookup(config, "MODEL.KEYPOINTS_ON") else ""
    return before + TRAIN, before + VAL


def resized(plan, config):
    """Keys for images of another size than the configuration's: `scale` pixels on the shorter side."""
    if not plan["scale"]:
        return {}
    own = float(eval_tuple(lookup(config, "TRAIN.SCALES", (600,)))[0])
    most = int(round(lookup(config, "TRAIN.MAX_SIZE", 1000) * plan["scale"] / own))
    return {
        "TRAIN.SCALES": str((plan["scale"],)), "TRAIN.MAX_SIZE": most,
        "TEST.SCALE": plan["scale"], "TEST.MAX_SIZE": most,
    }  # fmt: skip


def eval_tuple(value):
    """Detectron's files hold tuples as texts."""
    import ast

    return ast.literal_eval(value) if hasattr(value, "encode") else value


def merged(plan, config, classes):
    """`config` with all that the plan says; what Detectron is to read."""
    keys = own_schedule(plan, config)
    keys.update(resized(plan, config))
    train, val = names(config)
    tested = [val] if plan["val"] else []
    if lookup(config, "MODEL.RPN_ONLY"):
        tested = [train] + tested  # the proposals for a training on them
    keys.update(
        {
            "MODEL.NUM_CLASSES": classes, "OUTPUT_DIR": os.getcwd(), "TRAIN.DATASETS": str((train,)),
            "TEST.DATASETS": str(tuple(tested)), "TEST.FORCE_JSON_DATASET_EVAL": True,
            "TRAIN.PROPOSAL_FILES": str(tuple(plan["proposals"][:1])),
            "TEST.PROPOSAL_FILES": str(tuple(plan["proposals"][1:])),
        }
    )  # fmt: skip
    if plan["weights"] is not None:
        keys["TRAIN.WEIGHTS"] = plan["weights"]
    if plan["weights"] == "":
        keys["TRAIN.FREEZE_AT"] = 0  # or the first layers stay as they were drawn
    for key in sorted(keys):
        settle(config, key, keys[key])
    return config


def register(plan, config):
    """Our data sets in Detectron's catalogue, in this process."""
    from detectron.datasets import dataset_catalog as catalog

    for name, place in zip(names(config), (plan["train"], plan["val"])):
        if place:
            catalog._DATASETS[name] = {catalog._IM_DIR: place["images"], catalog._ANN_FN: place["json"]}


def config_of(weights):
    """The configuration that a checkpoint of ours was trained with; Detectron's global one is set to it."""
    import checkpoints
    from detectron.core.config import load_cfg, merge_cfg_from_cfg

    found = checkpoints.load(weights)
    if "classes" not in found or "cfg" not in found:
        raise Wrong("%s is no checkpoint of this recipe's" % weights)
    config = load_cfg(found["cfg"])
    merge_cfg_from_cfg(config)
    return config


def look_at(plan, config):
    """NUM_CLASSES and the names of the classes; Wrong, or dataset.WrongData, for data that cannot be trained on."""
    found = dataset.read(plan["train"]["json"])
    count = dataset.number_of_classes(found, plan["num_classes"])
    for place, data in ((plan["train"], found), (plan["val"], plan["val"] and dataset.read(plan["val"]["json"]))):
        if place:
            _look_at_one(plan, config, place, data, data is found)
            dataset.same_classes(found, data)
    return count, dataset.classes(found)


def _look_at_one(plan, config, place, data, trains):
    images = plan["ims_per_batch"] or lookup(config, "TRAIN.IMS_PER_BATCH", schedule.IMS_PER_BATCH)
    stops, dropped = dataset.problems(
        data, place["images"],
        masks=bool(lookup(config, "MODEL.MASK_ON")) and trains,
        keypoints=bool(lookup(config, "MODEL.KEYPOINTS_ON")),
        images_per_gpu=images if trains else 1,
        flipped=lookup(config, "TRAIN.USE_FLIPPED", True),
    )  # fmt: skip
    for line in dropped:
        say("%s: %s" % (place["json"], line))
    if stops:
        raise Wrong("%s: %s; see provision data coco-check" % (place["json"], "; ".join(stops)))


def gpus_here():
    """How many GPUs this container has."""
    import cv2  # noqa: F401  (Detectron: before Caffe2)
    from caffe2.python import workspace

    return workspace.NumCudaDevices()


def begin(gpus, training=False):
    """Caffe2 and Detectron's operators, on the GPUs or the CPU. Wrong where there are fewer GPUs than asked for."""
    import cv2  # noqa: F401  (Detectron: before Caffe2)
    from caffe2.python import workspace

    workspace.GlobalInit(["caffe2", "--caffe2_log_level=2", "--caffe2_gpu_memory_tracking=%d" % bool(gpus)])
    if gpus > workspace.NumCudaDevices():
        raise Wrong(
            "Caffe2 sees %d GPUs, not %d: is the host's driver new enough for this image?"
            % (workspace.NumCudaDevices(), gpus)
        )
    if not gpus:
        sys.path.append(os.path.join(SOURCE, "..", "share"))
        import detectron_on_cpu

        say("there is no GPU: this is slow, and for looking only")
        detectron_on_cpu.train_on_cpu() if training else detectron_on_cpu.use_cpu()
    import detectron.utils.c2
    from detectron.utils.logging import setup_logging

    setup_logging("detectron")
    detectron.utils.c2.import_detectron_ops()
    _allow_empty_results()


def _allow_empty_results():
    """pycocotools ends with an IndexError where nothing was detected; that is a score of 0."""
    from pycocotools.coco import COCO

    ordinary = COCO.loadRes

    def load(self, found):
        with io.open(found, encoding="utf-8") as data:
            if json.load(data):
                return ordinary(self, found)
        say("nothing was detected")
        empty = COCO()
        empty.dataset = dict(self.dataset, annotations=[])
        empty.createIndex()
        return empty

    COCO.loadRes = load
