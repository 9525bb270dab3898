"""Find objects in images: pictures with boxes, and detections.json, in /out.

    python3 infer.py snapshots/ssd_iter_600.caffemodel [--threshold 0.5] [--gpu 0]

Caffe itself reads the images of /in: once as the net sees them, and once as they are, to draw on.
"""

# ruff: noqa: PTH102, PTH113, PTH118, PTH123, PTH211, UP031
# (runs in images with old Pythons)

import argparse
import json
import os
import re
import sys

os.environ.setdefault("GLOG_minloglevel", "2")

NAME = re.compile(r'name:\s*"([^"]*)"\s*label:\s*(\d+)')
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*", b"RIFF")  # what OpenCV reads
AS_IT_IS = """
layer {
  name: "image" type: "ImageData" top: "image" top: "number"
  image_data_param { source: "images.txt" batch_size: 1 }
}
layer { name: "no_number" type: "Silence" bottom: "number" }
"""


def is_image(path):
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as data:
        return data.read(8).startswith(BEGINNINGS)


def images_below(folder):
    """Paths of the images, relative to the folder; what is none is named and left out."""
    found = sorted(
        os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names
    )
    for path in found:
        if not is_image(os.path.join(folder, path)):
            print("left out: %s is no image" % path)
    return [path for path in found if is_image(os.path.join(folder, path))]


def listed(paths, folder):
    """A list as ImageData reads it. Links with plain names stand for the files: a name may hold a space."""
    os.mkdir("images")
    with open("images.txt", "w") as out:
        for number, path in enumerate(paths):
            link = "images/%06d" % number
            os.symlink(os.path.join(folder, path), link)
            out.write("%s 0\n" % link)


def objects(rows, names, width, height, threshold):
    """What DetectionOutput found, the most certain first; boxes in pixels [xmin, ymin, xmax, ymax]."""
    found = []
    for _, label, confidence, left, top, right, bottom in rows.tolist():
        if label <= 0 or confidence < threshold:  # -1: nothing at all was found
            continue
        box = [round(min(max(at, 0.0), 1.0) * full, 1) for at, full in
               ((left, width), (top, height), (right, width), (bottom, height))]  # fmt: skip
        name = names.get(int(label), str(int(label)))
        found.append({"class": name, "label": int(label), "score": round(confidence, 4), "box": box})
    return sorted(found, key=lambda one: -one["score"])


def drawn(image, found):
    """The image [1, 3, height, width] as Caffe reads it (blue first), with boxes; the most certain on top."""
    import numpy
    import picture

    canvas = numpy.ascontiguousarray(image[0].transpose(1, 2, 0)[:, :, ::-1].astype(numpy.uint8))
    for one in reversed(found):
        picture.draw(canvas, one["box"], one["label"], "%s %.2f" % (one["class"], one["score"]))
    return canvas


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--gpu", type=int)
    given = parser.parse_args()
    paths = images_below("/in")
    if not paths:
        sys.exit("there is no image among what was given")
    listed(paths, "/in")
    import caffe
    import picture

    if given.gpu is not None:
        caffe.set_device(given.gpu)
        caffe.set_mode_gpu()
    with open("as_it_is.prototxt", "w") as out:
        out.write(AS_IT_IS)
    net = caffe.Net("net.prototxt", caffe.TEST, stages=["infer"], weights=given.weights)
    view = caffe.Net("as_it_is.prototxt", caffe.TEST)
    with open("labelmap.prototxt") as text:
        names = {int(label): name for name, label in NAME.findall(text.read())}
    results = []
    for path in paths:
        rows = net.forward()["detections"].reshape(-1, 7).copy()
        view.forward()
        image = view.blobs["image"].data
        height, width = image.shape[2:]
        found = objects(rows, names, width, height, given.threshold)
        target = os.path.join("/out", path.replace(os.sep, "_") + ".png")
        picture.save(drawn(image, found), target)
        results.append({"image": path, "width": width, "height": height, "objects": found})
        print("%s: %s" % (path, ", ".join("%s %.2f" % (one["class"], one["score"]) for one in found) or "nothing"))
        sys.stdout.flush()
    with open("/out/detections.json", "w") as out:
        json.dump(results, out, indent=1)


if __name__ == "__main__":
    main()
