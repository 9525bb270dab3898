"""What Detectron needs of a COCO json, looked at before it is loaded: what is wrong is said in one line each.

Detectron itself ends with a KeyError or a broken broadcast for some of it, and trains on in silence for the rest (too
many classes, boxes without area). Python 2.7 and 3, no library but the standard one.
"""
# mypy: ignore-errors
# ruff: noqa: B904, PTH110, PTH118
# ruff: noqa: UP020, UP024, UP031

import io
import json
import os

KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")
SHOWN = 3


class WrongData(Exception):
    """The data cannot be trained on; the text says why and what to do."""


def read(path):
    """The json file. WrongData where it is not one of COCO's form."""
    try:
        with io.open(path, encoding="utf-8") as data:
            found = json.load(data)
    except (IOError, OSError, ValueError) as error:
        raise WrongData("%s cannot be read: %s" % (path, error))
    if not isinstance(found, dict):
        raise WrongData("%s is a list; COCO's form is an object with images, annotations and categories" % path)
    for key in ("images", "annotations", "categories"):
        if not found.get(key):
            raise WrongData("%s has no %s" % (path, key))
    return found


def classes(found):
    """Names by class number, the background first, in Detectron's order: that of the file."""
    return ["__background__"] + [one["name"] for one in found["categories"]]


def problems(found, images, masks=False, keypoints=False, images_per_gpu=1, flipped=True):
    """What stops a training on it, and what is only dropped: two lists of lines."""
    stops, dropped = list(_lost_files(found, images)), []
    wrong = {}
    known, named = {one["id"] for one in found["images"]}, {one["id"] for one in found["categories"]}
    for one in found["annotations"]:
        for fault in _faults(one, known, named, masks):
            wrong.setdefault(fault, []).append(one.get("id"))
    for (fatal, text), ids in sorted(wrong.items()):
        line = "%d of %d annotations %s (id %s)" % (len(ids), len(found["annotations"]), text, _few(ids))
        (stops if fatal else dropped).append(line)
    if keypoints and not any("keypoints" in one for one in found["categories"]):
        stops.append("no category has keypoints, which this configuration trains")
    if not _batches(found["images"], images_per_gpu, flipped):
        stops.append("too few images to fill a batch of %d per GPU: set ims_per_batch=1" % images_per_gpu)
    return stops, dropped


def _lost_files(found, images):
    bare = [one.get("id") for one in found["images"] if not {"file_name", "width", "height"} <= set(one)]
    if bare:
        yield "%d images have no file_name, width or height (id %s)" % (len(bare), _few(bare))
        return
    names = [one["file_name"] for one in found["images"]]
    lost = [name for name in names if not os.path.exists(os.path.join(images, name))]
    if lost:
        yield "%d of %d images are not in %s (%s)" % (len(lost), len(names), images, _few(lost))


def _faults(one, images, categories, masks):
    """(whether it stops the training, what is wrong) of one annotation."""
    missing = [key for key in KEYS if key not in one]
    if missing:
        yield True, "lack " + ", ".join(missing)
        return
    if one["image_id"] not in images:
        yield True, "belong to no image"
    if one["category_id"] not in categories:
        yield True, "have an unknown category_id"
    if one["area"] <= 0 or one["bbox"][2] <= 1 or one["bbox"][3] <= 1:
        yield False, "have no area and are left out"
    elif masks and isinstance(one["segmentation"], list) and not any(len(part) >= 6 for part in one["segmentation"]):
        yield True, "have no polygon, which this configuration needs: train a faster_rcnn"


def _batches(images, count, flipped):
    """How many batches there are: each is all upright or all wide (TRAIN.ASPECT_GROUPING)."""
    wide = sum(one.get("width", 0) >= one.get("height", 0) for one in images)
    times = 2 if flipped else 1
    return wide * times // count + (len(images) - wide) * times // count


def _few(names):
    text = ", ".join(str(name) for name in names[:SHOWN])
    return text + (", ..." if len(names) > SHOWN else "")


def same_classes(train, val):
    """WrongData where a validation set numbers its classes in another way: its scores would be nonsense."""
    if classes(train) != classes(val):
        raise WrongData("the categories of the validation json are others, or in another order, than the training's")


def number_of_classes(found, wanted):
    """MODEL.NUM_CLASSES: categories and the background. WrongData where `wanted` (0: as the json says) is another."""
    have = len(found["categories"]) + 1
    if wanted not in (0, have):
        raise WrongData(
            "num_classes is %d, but the json has %d categories: it must be %d, the background included "
            "(fewer ends Detectron with a broken broadcast, more trains on in silence)" % (wanted, have - 1, have)
        )
    return have
