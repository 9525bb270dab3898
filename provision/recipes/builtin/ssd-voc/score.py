"""Mean average precision of a snapshot over the test images, as VOC2007 counts it.

    python3 score.py snapshots/ssd_iter_600.caffemodel [--images N] [--gpu 0]

DetectionEvaluate tells for each detection whether it is right; the average is made here, over the classes that the
test images hold (the fork's own solver counts one that does not occur as 0). Objects marked difficult do not count.
"""

# ruff: noqa: PTH110, PTH118, PTH123, UP031
# (runs in images with old Pythons)

import argparse
import json
import os
import re
import sys

os.environ.setdefault("GLOG_minloglevel", "2")

NAME = re.compile(r'name:\s*"([^"]*)"\s*label:\s*(\d+)')


def average_precision(found, positives):
    """The mean of the best precision at recalls of 0, 0.1, ... 1. `found`: (confidence, whether it is right)."""
    right, curve = 0, []
    for number, (_, good) in enumerate(sorted(found, key=lambda one: -one[0]), 1):
        right += good
        curve.append((right / float(positives), right / float(number)))
    tenths = [max([p for recall, p in curve if recall >= tenth / 10.0 - 1e-9] or [0.0]) for tenth in range(11)]
    return sum(tenths) / 11.0


def gathered(batches):
    """Objects by class, and detections by class, out of DetectionEvaluate's rows [image, label, confidence, ...]."""
    positives, found = {}, {}
    for rows in batches:
        for image, label, confidence, right, wrong in rows:
            if image == -1:
                positives[int(label)] = positives.get(int(label), 0) + int(confidence)
            elif right or wrong:  # neither: it fits an object that is marked difficult
                found.setdefault(int(label), []).append((float(confidence), int(right)))
    return positives, found


def scores(positives, found, names):
    by_class = {
        names.get(label, str(label)): average_precision(found.get(label, []), count) if count else None
        for label, count in sorted(positives.items())
    }
    known = [one for one in by_class.values() if one is not None]
    return {"mAP": sum(known) / len(known) if known else None, "per_class": by_class}


def images_of(data, otherwise):
    """How many test images there are, as the data says, else as the recipe was told."""
    path = os.path.join(data, "data.json")
    if os.path.exists(path):
        with open(path) as text:
            return json.load(text).get("test", otherwise)
    return otherwise


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--gpu", type=int)
    given = parser.parse_args()
    import caffe

    if given.gpu is not None:
        caffe.set_device(given.gpu)
        caffe.set_mode_gpu()
    net = caffe.Net("net.prototxt", caffe.TEST, weights=given.weights)
    batch, images = net.blobs["data"].data.shape[0], images_of("/data", given.images)
    passes = -(-images // batch)
    if passes * batch != images:
        print("%d of %d images are counted twice: a pass takes %d" % (passes * batch - images, images, batch))
    batches = []
    for done in range(1, passes + 1):
        batches.append(net.forward()["mAP"].reshape(-1, 5).copy())
        if done * 10 // passes != (done - 1) * 10 // passes:
            print("%d of %d images" % (min(done * batch, images), images))
            sys.stdout.flush()
    with open("labelmap.prototxt") as text:
        names = {int(label): name for name, label in NAME.findall(text.read())}
    metrics = scores(*gathered(batches), names=names)
    with open("/out/score.json", "w") as out:
        iteration = re.search(r"_iter_(\d+)", given.weights)
        json.dump({"iteration": int(iteration.group(1)) if iteration else 0, "metrics": metrics}, out, indent=1)


if __name__ == "__main__":
    main()
