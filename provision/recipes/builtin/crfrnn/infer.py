#!/usr/bin/env python3
"""Segment pictures: infer.py WEIGHTS IN OUT [--gpu N]

For each picture of the folder IN (and of the folders in it) OUT gets NAME.png, the class index of each pixel in VOC's
colours, and NAME-overlay.png. They have the picture's size: one that is larger than the net's is segmented at the
net's. infer.json says what share of each picture each class has, index.html shows all, legend.svg names the colours.
"""

# ruff: noqa: B905, UP031
# (`strict` is of Python 3.10, f-strings of 3.6)

import argparse
import html
import json
import os
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
from pictures import Reader, enlarged, fitted, overlay, write_png

KINDS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


def main():
    parser = argparse.ArgumentParser(description="Segment pictures.")
    parser.add_argument("weights")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gpu", type=int)
    given = parser.parse_args()
    facts = json.loads(Path("net.json").read_text())
    found = pictures(given.folder)
    if not found:
        sys.exit("%s holds no picture (%s)" % (given.folder, " ".join(KINDS)))
    net = load("deploy.prototxt", given.weights, given.gpu)
    reader, results = Reader(), []
    for number, name in enumerate(found, start=1):
        picture = reader.read(given.folder / name)
        print("%d/%d %s%s" % (number, len(found), name, "" if picture is not None else ": no picture"), flush=True)
        if picture is not None:
            labels = segment(net, picture, facts)
            results.append(keep(given.out, name, picture, labels, facts["classes"]))
    reader.close()
    tell(given.out, facts["classes"], results, len(found) - len(results))


def pictures(folder):
    """Paths in the folder, by name."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in KINDS and path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found)


def load(model, weights, gpu, phase="TEST"):
    """The net with its weights, on that GPU or (None) on the CPU."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    import caffe

    if gpu is None:
        caffe.set_mode_cpu()
    else:
        caffe.set_device(gpu)
        caffe.set_mode_gpu()
    net = caffe.Net(model, getattr(caffe, phase))
    net.copy_from(weights)
    return net


def segment(net, picture, facts):
    """The class index of each pixel, [height, width]."""
    small = fitted(picture, facts["size"])
    height, width = small.shape[:2]
    image = np.zeros((facts["size"], facts["size"], 3), np.float32)
    image[:height, :width] = small - np.asarray(facts["mean_bgr"], np.float32)
    net.blobs["data"].data[0] = image.transpose(2, 0, 1)
    (scores,) = net.forward().values()
    labels = scores[0, :, :height, :width].argmax(axis=0).astype(np.uint8)
    return enlarged(labels, *picture.shape[:2])


def keep(out, name, picture, labels, classes):
    """Write both pictures; what is to be told of them."""
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    colours = [one["colour"] for one in classes]
    write_png(out / (name + ".png"), labels, colours)
    write_png(out / (name + "-overlay.png"), overlay(picture, labels, colours))
    share = np.bincount(labels.ravel(), minlength=len(classes)) / float(labels.size)
    there = {one["name"]: round(float(part), 4) for one, part in zip(classes, share) if part}
    return {"image": name, "width": labels.shape[1], "height": labels.shape[0], "classes": there}


def tell(out, classes, results, skipped):
    (out / "infer.json").write_text(json.dumps({"images": results, "skipped": skipped}, indent=1))
    (out / "legend.svg").write_text(legend(classes))
    (out / "index.html").write_text(page(classes, results))
    print("%d segmented, %d skipped" % (len(results), skipped))


def colour(one):
    return "#%02x%02x%02x" % tuple(one["colour"])


def legend(classes):
    rows = [
        '<rect x="4" y="%d" width="28" height="16" fill="%s"/><text x="40" y="%d">%d %s</text>'
        % (4 + 22 * at, colour(one), 17 + 22 * at, at, html.escape(one["name"]))
        for at, one in enumerate(classes)
    ]
    return '<svg xmlns="http://www.w3.org/2000/svg" width="220" height="%d" font-family="sans-serif">\n%s\n</svg>\n' % (
        22 * len(classes) + 8,
        "\n".join(rows),
    )


def page(classes, results):
    """All overlays, with the classes that each shows, largest first."""
    colours = {one["name"]: colour(one) for one in classes}
    parts = []
    for one in results:
        link, name = quote(one["image"]), html.escape(one["image"])
        shares = sorted(one["classes"].items(), key=lambda pair: -pair[1])
        rows = " ".join(
            '<span><i style="background:%s"></i>%s %.1f %%</span>' % (colours[of], html.escape(of), 100 * share)
            for of, share in shares
        )
        parts.append(
            '<figure><img src="%s-overlay.png"> <img src="%s.png"><figcaption>%s<br>%s</figcaption></figure>'
            % (link, link, name, rows)
        )
    style = "i{display:inline-block;width:1em;height:1em;margin:0 .3em 0 1em} img{max-width:48%}"
    return '<!doctype html><meta charset="utf-8"><title>segmented</title><style>%s</style>\n%s\n' % (
        style,
        "\n".join(parts),
    )


if __name__ == "__main__":
    main()
