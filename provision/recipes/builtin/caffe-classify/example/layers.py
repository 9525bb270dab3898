"""A data layer in Python: batches out of one .npz file with `images` [N, C, H, W] and `labels` [N], in a new order each
time round. In a net:

    layer {
      name: "data" type: "Python" top: "data" top: "label"
      python_param { module: "layers" layer: "Arrays" param_str: '{"source": "/data/digits.npz", "batch": 32}' }
    }
"""

import json

import caffe
import numpy


class Arrays(caffe.Layer):
    """`param_str`: JSON with source, batch, and the seed of the order."""

    def setup(self, bottom, top):
        given = json.loads(self.param_str)
        with numpy.load(given["source"]) as arrays:
            self.images, self.labels = arrays["images"].astype(numpy.float32), arrays["labels"]
        self.batch, self.random = given["batch"], numpy.random.RandomState(given.get("seed", 1))
        self.order = []

    def reshape(self, bottom, top):
        top[0].reshape(self.batch, *self.images.shape[1:])
        top[1].reshape(self.batch)

    def forward(self, bottom, top):
        while len(self.order) < self.batch:
            self.order += self.random.permutation(len(self.labels)).tolist()
        chosen, self.order = self.order[: self.batch], self.order[self.batch :]
        top[0].data[...] = self.images[chosen]
        top[1].data[...] = self.labels[chosen]

    def backward(self, top, propagate_down, bottom):
        """Data has no gradient."""
