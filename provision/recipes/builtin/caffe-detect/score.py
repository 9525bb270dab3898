"""Average precision of a snapshot over the test list.

python3 score.py snapshots/boxes_iter_1000.caffemodel --list=test.txt --classes=object [--gpu=0]
"""

# ruff: noqa: PTH118, PTH123, UP031
# (runs in images with old Pythons)

import argparse
import json
import os

os.environ.setdefault("GLOG_minloglevel", "2")

import boxes
import pictures
from detector import Detector, iteration


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--list", default="test.txt")
    parser.add_argument("--classes", default="object")
    parser.add_argument("--gpu", default="")
    given = parser.parse_args()
    detector = Detector(given.weights, given.classes, given.gpu)
    pairs = pictures.read_list(os.path.join("/data", given.list))
    found = {kind: [] for kind in range(1, len(detector.names) + 1)}
    truths = {kind: {} for kind in found}
    for number, image in enumerate(pictures.read_images([image for image, _ in pairs], detector.size)):
        for row in pictures.annotation(pairs[number][1], detector.names):
            truths[int(row[0])].setdefault(number, []).append((row[1:5], bool(row[5])))
        for kind, sure, box in detector.find(image):
            found[kind].append((number, sure, box))
    by_class = {name: boxes.average_precision(found[kind], truths[kind]) for kind, name in enumerate(detector.names, 1)}
    known = [one for one in by_class.values() if one is not None]
    if not known:
        raise SystemExit("detect: no object of the classes %s in %s" % (given.classes, given.list))
    metrics = {"AP50": sum(known) / len(known), "per_class": by_class}
    print("AP50 %.4f over %d images" % (metrics["AP50"], len(pairs)))
    with open("/out/score.json", "w") as out:
        json.dump({"iteration": iteration(given.weights), "metrics": metrics}, out, indent=1)


if __name__ == "__main__":
    main()
