"""The most probable classes of the images of /in: classes.json in /out, and a table.

    python3 classify.py snapshots/net_iter_200.caffemodel [--labels=labels.txt] [--top=5] [--size=0] [--gpu=0]

Caffe itself reads the images (ImageData), as it read them for the database.
"""

# ruff: noqa: PTH110, PTH118, PTH123, PTH211, UP031
# (runs in images with old Pythons)

import argparse
import json
import os
import tempfile

os.environ.setdefault("GLOG_minloglevel", "2")

from caffe.proto import caffe_pb2
from trained import Trained, data_layer, use_gpu

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
                elif not name.endswith(".txt"):
                    print("left out: %s is no image" % os.path.relpath(path, folder))
    return sorted(found)


def listed(paths):
    """A list as ImageData reads it. Links with plain names stand for the files: a name may hold a space."""
    folder = tempfile.mkdtemp()
    with open(os.path.join(folder, "list.txt"), "w") as out:
        for number, path in enumerate(paths):
            link = os.path.join(folder, "%06d" % number)
            os.symlink(path, link)
            out.write("%s 0\n" % link)
    return os.path.join(folder, "list.txt")


def shape(model, size):
    """Channels, height and width that the net sees: as asked, as it crops, or as the training's database holds."""
    import caffe

    weights = model.source.transform_param
    side = size or weights.crop_size
    source = model.source.data_param.source
    if os.path.exists(source):
        net = caffe_pb2.NetParameter()
        net.layer.extend([data_layer(model, source, 1)])
        with open("/tmp/shape.prototxt", "w") as out:
            out.write(str(net))
        channels, height, width = caffe.Net("/tmp/shape.prototxt", caffe.TEST).blobs[model.data].data.shape[1:]
        return channels, side or height, side or width
    if not side:
        raise SystemExit("how large the net's images are is not known: --set size=PIXELS, or --data DIR")
    first = next((one for one in model.layers if one.type == "Convolution"), None)
    channels = 1 if first is not None and len(weights.mean_value) == 1 and _gray(model, first.name) else 3
    return channels, side, side


def _gray(model, name):
    """Whether the first convolution takes one channel."""
    net = caffe_pb2.NetParameter()
    with open(model.path, "rb") as data:
        net.ParseFromString(data.read())
    layer = next(one for one in net.layer if one.name == name)
    return layer.blobs[0].shape.dim[1] * max(1, layer.convolution_param.group) == 1


def image_layer(model, source, view):
    """ImageData, resized to what the net sees; means and scale as in the training."""
    channels, height, width = view
    transform = model.transform()
    transform.ClearField("crop_size")
    return caffe_pb2.LayerParameter(
        name="data", type="ImageData", top=[model.data, "number"], transform_param=transform,
        image_data_param=caffe_pb2.ImageDataParameter(
            source=source, batch_size=1, new_height=height, new_width=width, is_color=channels == 3
        ),
    )  # fmt: skip


def names(file):
    for folder in ("/in", "/data"):
        path = os.path.join(folder, file)
        if file and os.path.exists(path):
            with open(path) as lines:
                return [line.strip() for line in lines if line.strip()]
    return []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("--labels", default="labels.txt")
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--gpu", default="")
    given = parser.parse_args()
    paths, labels = images("/in"), names(given.labels)
    if not paths:
        raise SystemExit("there is no image among what was given")
    use_gpu(given.gpu)
    model = Trained(given.weights)
    net = model.net([image_layer(model, listed(paths), shape(model, given.size))], "/tmp/classify.prototxt")
    results = []
    for path in paths:
        net.forward()
        row = net.blobs["probability"].data.reshape(-1)
        best = [int(at) for at in (-row).argsort()[: given.top]]
        found = [
            {"class": labels[at] if at < len(labels) else str(at), "label": at, "probability": round(float(row[at]), 5)}
            for at in best
        ]
        name = os.path.relpath(path, "/in")
        results.append({"image": name, "classes": found})
        print("%s: %s" % (name, ", ".join("%s %.3f" % (one["class"], one["probability"]) for one in found)))
    with open("/out/classes.json", "w") as out:
        json.dump(results, out, indent=1)


if __name__ == "__main__":
    main()
