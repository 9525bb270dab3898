"""A trained net for use."""

import re

import boxes
import pictures

LEAST = 0.05  # confidence below which nothing is looked at


class Detector:
    """`find` gives the objects of an image that is size x size; boxes are shares of width and height."""

    def __init__(self, weights, classes, gpu=""):
        import caffe

        if gpu:
            caffe.set_device(int(gpu))
            caffe.set_mode_gpu()
        self.net = caffe.Net("net.prototxt", caffe.TEST, stages=["infer"], weights=weights)
        self.size = self.net.blobs["data"].data.shape[2]
        self.names = classes.split(",")

    def find(self, image, threshold=LEAST):
        """(class from 1, confidence, box), the surest first. `image`: bytes [3, size, size], blue first."""
        self.net.blobs["data"].data[0] = pictures.blob(image)
        self.net.forward()
        maps = [self.net.blobs[name].data[0] for name in ("probability", "margins")]
        found = boxes.detections(maps[0], maps[1], threshold, self.size)
        return [(kind, sure, box / self.size) for kind, sure, box in found]


def iteration(path):
    found = re.search(r"_iter_(\d+)", path)
    return int(found.group(1)) if found else 0
