#!/usr/bin/env python3
"""Score a snapshot over the test images: score.py WEIGHTS DATA OUT [--gpu N] [--images N]

OUT/score.json gets the mean IoU, the IoU of each class and the pixel accuracy, as VOC counts them: over all pixels of
all images together, without those labelled 255. A class that is neither in the labels nor in what the net says has no
IoU, and does not count for the mean.
"""

# ruff: noqa: B905, UP031
# (`strict` is of Python 3.10, f-strings of 3.6)

import argparse
import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
from infer import load

IGNORE = 255
# of LMDB's pages 0 and 1: magic, version; how many records its one database has, its root; last page, transaction
_META = struct.Struct("<16xII16x48x32xQ8xQQ")
_MAGIC = 0xBEEFC0DE


def main():
    parser = argparse.ArgumentParser(description="Score a snapshot over the test images.")
    parser.add_argument("weights")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gpu", type=int)
    parser.add_argument("--images", type=int, help="the first of them alone")
    given = parser.parse_args()
    names = [one["name"] for one in json.loads(Path("net.json").read_text())["classes"]]
    count = records(given.data / "test" / "images_lmdb")
    count = min(given.images or count, count)
    net = load("net.prototxt", given.weights, given.gpu)
    scores = "pred" if "pred" in net.blobs else "coarse"
    pairs = np.zeros((len(names), len(names)), np.int64)
    for number in range(1, count + 1):
        net.forward()
        pairs += confusion(net.blobs["label"].data[0, 0], net.blobs[scores].data[0].argmax(axis=0), len(names))
        if number % 10 == 0 or number == count:
            print("%d/%d mean IoU %.4f" % (number, count, metrics(pairs, names)["mean_iou"]), flush=True)
    iteration = re.search(r"_iter_(\d+)", given.weights)
    said = {"iteration": int(iteration.group(1)) if iteration else 0, "images": count}
    (given.out / "score.json").write_text(json.dumps(dict(said, metrics=metrics(pairs, names)), indent=1))


def records(folder):
    """How many records an LMDB database has: its last transaction's word for it."""
    try:
        with (folder / "data.mdb").open("rb") as file:
            pages = [file.read(4096)[: _META.size] for _ in range(2)]
        metas = [_META.unpack(page) for page in pages]
    except (OSError, struct.error) as error:
        sys.exit("%s is no LMDB database: %s" % (folder, error))
    if any(meta[0] != _MAGIC for meta in metas):
        sys.exit("%s is no LMDB database" % folder)
    return max(metas, key=lambda meta: meta[-1])[2]


def confusion(truth, said, classes):
    """[classes, classes] pixels of each pair of label and answer."""
    truth = truth.astype(np.int64)
    counts = truth != IGNORE
    if counts.any() and truth[counts].max() >= classes:
        sys.exit("a label is %d, and the net has %d outputs" % (truth[counts].max(), classes))
    pairs = truth[counts] * classes + said[counts]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def metrics(pairs, names):
    right = np.diag(pairs).astype(float)
    union = pairs.sum(axis=0) + pairs.sum(axis=1) - right
    iou = {name: round(float(hit / all_), 5) for name, hit, all_ in zip(names, right, union) if all_}
    return {
        "mean_iou": round(sum(iou.values()) / max(len(iou), 1), 5),
        "pixel_accuracy": round(float(right.sum() / max(pairs.sum(), 1)), 5),
        "iou": iou,
    }


if __name__ == "__main__":
    main()
