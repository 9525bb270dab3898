"""Find objects in the images of /in: pictures with boxes, and detections.json, in /out.

python3 infer.py snapshots/boxes_iter_1000.caffemodel --classes=object [--threshold=0.5] [--gpu=0]
"""

# ruff: noqa: B905, PTH118, PTH123, UP031
# (runs in images with old Pythons)

import argparse
import json
import os

os.environ.setdefault("GLOG_minloglevel", "2")

import numpy
import pictures
from detector import Detector

BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"P5", b"P6")  # what OpenCV reads


def images(folder):
    """Paths below the folder that are images; what is none is named and left out."""
    found = []
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            with open(path, "rb") as data:
                if data.read(8).startswith(BEGINNINGS):
                    found.append(path)
                else:
                    print("left out: %s is no image" % os.path.relpath(path, folder))
    return sorted(found)


def objects(detector, image, full, threshold):
    """What is in an image, with boxes in pixels of the full one [3, height, width]."""
    height, width = full.shape[1:]
    return [
        {"class": detector.names[kind - 1], "label": kind, "score": round(sure, 4),
         "box": [round(float(at), 1) for at in box * (width, height, width, height)]}
        for kind, sure, box in detector.find(image, threshold)
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--classes", default="object")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--gpu", default="")
    given = parser.parse_args()
    paths = images("/in")
    if not paths:
        raise SystemExit("there is no image among what was given")
    detector = Detector(given.weights, given.classes, given.gpu)
    results = []
    both = zip(pictures.read_images(paths, detector.size), pictures.read_images(paths))
    for path, (small, full) in zip(paths, both):
        found, name = objects(detector, small, full, given.threshold), os.path.relpath(path, "/in")
        canvas = numpy.ascontiguousarray(full.transpose(1, 2, 0)[:, :, ::-1])
        for one in reversed(found):
            pictures.draw(canvas, one["box"], one["label"])
        pictures.save(canvas, os.path.join("/out", name.replace(os.sep, "_") + ".png"))
        results.append({"image": name, "width": full.shape[2], "height": full.shape[1], "objects": found})
        print("%s: %s" % (name, ", ".join("%s %.2f" % (one["class"], one["score"]) for one in found) or "nothing"))
    with open("/out/detections.json", "w") as out:
        json.dump(results, out, indent=1)


if __name__ == "__main__":
    main()
