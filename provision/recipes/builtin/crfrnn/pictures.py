#!/usr/bin/env python3
"""Pictures without an image library: the image has Caffe and numpy, and Caffe reads pictures by its layer ImageData.

Run as a program, this is the reader: a path comes in on standard input, the picture goes out. Caffe ends its process
where it cannot read one; so it is a process of its own, and only that picture is lost.
"""

# ruff: noqa: B905, SIM112
# (`strict` is of Python 3.10, the variable of glog)

import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

_HEAD = struct.Struct(">II")  # height, width
_NET = (
    'layer { name: "image" type: "ImageData" top: "image" top: "none" '
    'image_data_param { source: "%s" batch_size: 1 shuffle: false } }'
)


# in


class Reader:
    """Pictures by their paths; None for what Caffe cannot read."""

    def __init__(self):
        self._process = None

    def read(self, path):
        """[height, width, 3] bytes: blue, green, red."""
        if self._process is None:
            words = [sys.executable, str(Path(__file__).resolve())]
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process.stdin.write(os.fsencode(str(path)) + b"\n")
        self._process.stdin.flush()
        head = self._process.stdout.read(_HEAD.size)
        if len(head) < _HEAD.size:
            self.close()
            return None
        height, width = _HEAD.unpack(head)
        data = self._process.stdout.read(height * width * 3)
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def close(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
            self._process = None


def serve():
    """Read paths until there are no more."""
    os.environ["GLOG_minloglevel"] = "2"
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not come between
    for line in sys.stdin.buffer:
        picture = decode(line.rstrip(b"\n"))
        with os.fdopen(os.dup(out), "wb") as pipe:
            pipe.write(_HEAD.pack(*picture.shape[:2]) + picture.tobytes())


def decode(path):
    """The picture as Caffe's own tools see it; the process ends where there is none."""
    import caffe

    with tempfile.TemporaryDirectory() as folder:
        listed, text = Path(folder, "list"), Path(folder, "net.prototxt")
        listed.write_bytes(path + b" 0\n")
        text.write_text(_NET % listed)
        net = caffe.Net(str(text), caffe.TEST)
        image = net.forward()["image"][0]  # the net's own memory, which goes with it
    return np.ascontiguousarray(image.transpose(1, 2, 0).astype(np.uint8))


# size


def fitted(picture, size):
    """The picture, made smaller where it is larger than size x size; never larger."""
    height, width = picture.shape[:2]
    scale = size / float(max(height, width, size))
    if scale == 1:
        return picture.astype(np.float32)
    down, across = (_triangles(length, max(1, round(length * scale))) for length in (height, width))
    lower = np.tensordot(down, picture.astype(np.float32), (1, 0))
    return np.tensordot(lower, across, (1, 1)).transpose(0, 2, 1)


def _triangles(old, new):
    """[new, old]: the share that each old pixel has in each new one; bilinear, and as wide as the step between them."""
    step = old / float(new)
    centres = (np.arange(new) + 0.5) * step - 0.5
    shares = np.maximum(0, 1 - np.abs(np.arange(old)[None, :] - centres[:, None]) / max(step, 1))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def enlarged(labels, height, width):
    """Class indices at that size: each pixel takes the nearest."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for old, new in zip(labels.shape, (height, width))
    )
    return labels[rows[:, None], columns[None, :]]


# out


def overlay(picture, labels, colours):
    """[height, width, 3] red, green, blue: half picture, half the class's colour; the background stays as it is."""
    shown = picture[:, :, ::-1].astype(np.float32)
    there = labels > 0
    shown[there] = (shown[there] + np.asarray(colours, np.float32)[labels[there]]) / 2
    return shown.round().astype(np.uint8)


def write_png(path, pixels, colours=None):
    """[height, width] of indices with their colours, or [height, width, 3] red, green, blue, as a PNG file."""
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(pixels.shape[0], -1)
    lines = np.concatenate([np.zeros((len(rows), 1), np.uint8), rows], axis=1)  # 0: the line is not filtered
    palette = [] if colours is None else [(b"PLTE", np.asarray(colours, np.uint8).tobytes())]
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2 if colours is None else 3, 0, 0, 0)
    chunks = [(b"IHDR", head), *palette, (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


if __name__ == "__main__":
    serve()
