"""Accuracy of a snapshot over the test database: all of it, once.

python3 score.py snapshots/net_iter_200.caffemodel --data=test_lmdb [--gpu=0]
"""

# ruff: noqa: PTH118, PTH123, UP031
# (runs in images with old Pythons)

import argparse
import json
import os
import re

os.environ.setdefault("GLOG_minloglevel", "2")

import numpy
from trained import Trained, data_layer, records, use_gpu

BATCH = 50


class Count:
    """What was right, over all and by class."""

    def __init__(self, classes):
        self.right, self.in_five, self.loss = numpy.zeros(classes), 0, 0.0
        self.seen = numpy.zeros(classes)

    def add(self, probabilities, labels):
        """[images, classes] and [images]."""
        order = numpy.argsort(-probabilities, axis=1)
        self.in_five += int((order[:, :5] == labels[:, None]).any(axis=1).sum())
        self.loss -= float(numpy.log(probabilities[numpy.arange(len(labels)), labels].clip(1e-30)).sum())
        numpy.add.at(self.seen, labels, 1)
        numpy.add.at(self.right, labels, order[:, 0] == labels)

    def metrics(self, names):
        total = float(self.seen.sum())
        found = {"accuracy": self.right.sum() / total, "loss": self.loss / total}
        if len(self.seen) > 5:
            found["accuracy_top5"] = self.in_five / total
        found["per_class"] = {
            names(at): (self.right[at] / seen if seen else None) for at, seen in enumerate(self.seen.tolist())
        }
        return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--data", default="test_lmdb")
    parser.add_argument("--gpu", default="")
    given = parser.parse_args()
    source = os.path.join("/data", given.data)
    total = records(source)
    if total is None:
        raise SystemExit("%s is no LMDB: name one in the data folder, --set test_data=NAME" % source)
    use_gpu(given.gpu)
    model = Trained(given.weights)
    net = model.net([data_layer(model, source, min(BATCH, total))], "/tmp/score.prototxt")
    classes = net.blobs["probability"].data.shape[1]
    count = Count(classes)
    for at in range(0, total, BATCH):
        net.forward()
        here = min(BATCH, total - at)
        labels = net.blobs["label"].data.reshape(-1)[:here].astype(int)
        if labels.min() < 0 or labels.max() >= classes:
            raise SystemExit("label %d is no class of %d" % (labels.max(), classes))
        count.add(net.blobs["probability"].data.reshape(-1, classes)[:here], labels)
    metrics = count.metrics(str)
    print("accuracy %.4f over %d images" % (metrics["accuracy"], total))
    iteration = re.search(r"_iter_(\d+)", given.weights)
    with open("/out/score.json", "w") as out:
        json.dump({"iteration": int(iteration.group(1)) if iteration else 0, "metrics": metrics}, out, indent=1)


if __name__ == "__main__":
    main()
