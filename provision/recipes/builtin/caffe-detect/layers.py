"""The net's Python layers: pictures with their boxes, what each cell shall say, and the loss of the boxes."""

import json

import boxes
import caffe
import numpy
import pictures

MOST = 64  # boxes of an image that are used


class Pictures(caffe.Layer):
    """Tops: images [batch, 3, size, size], and their boxes [batch, MOST, 5]: class (0: none) and box."""

    def setup(self, bottom, top):
        given = json.loads(self.param_str)
        self.size, self.batch, self.mirror = given["size"], given["batch"], given["mirror"]
        self.images, self.truths = pictures.pack(given["list"], self.size, given["classes"].split(","))
        self.random = numpy.random.RandomState(given["seed"])
        self.shuffle, self.order = given["shuffle"], []

    def reshape(self, bottom, top):
        top[0].reshape(self.batch, 3, self.size, self.size)
        top[1].reshape(self.batch, MOST, 5)

    def forward(self, bottom, top):
        top[1].data[...] = 0
        for place in range(self.batch):
            if not self.order:
                count = len(self.images)
                self.order = (self.random.permutation(count) if self.shuffle else numpy.arange(count)).tolist()
            at = self.order.pop(0)
            image, truth = self.images[at], self.truths[at][:MOST, :5].copy()
            if self.mirror and self.random.randint(2):
                image = image[:, :, ::-1]
                truth[:, [1, 3]] = self.size - truth[:, [3, 1]]
            top[0].data[place] = pictures.blob(image)
            top[1].data[place, : len(truth)] = truth

    def backward(self, top, propagate_down, bottom):
        """Data has no gradient."""


class Targets(caffe.Layer):
    """Bottom: boxes. Tops: labels [N, 1, cells, cells] and distances [N, 4, cells, cells]."""

    def setup(self, bottom, top):
        self.cells = json.loads(self.param_str)["size"] // boxes.STRIDE

    def reshape(self, bottom, top):
        count = bottom[0].data.shape[0]
        top[0].reshape(count, 1, self.cells, self.cells)
        top[1].reshape(count, 4, self.cells, self.cells)

    def forward(self, bottom, top):
        for at, rows in enumerate(bottom[0].data):
            found = boxes.targets(rows[rows[:, 0] > 0], self.cells, self.cells)
            top[0].data[at, 0], top[1].data[at] = found

    def backward(self, top, propagate_down, bottom):
        """What shall be is not learnt."""


class OverlapLoss(caffe.Layer):
    """-ln of the overlap (intersection over union) of each cell's box with the true one, the mean over the cells that
    have one: the loss of UnitBox (arXiv 1608.01471). The net gives logarithms of the distances in cells, so that
    they are above 0."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("OverlapLoss takes the net's distances and the true ones")

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        said, true = numpy.exp(bottom[0].data.clip(-6, 6)) * boxes.STRIDE, bottom[1].data
        self.cells = true.sum(axis=1) > 0
        self.count = max(1, int(self.cells.sum()))
        least = numpy.minimum(said, true)
        self.across, self.down = least[:, 0] + least[:, 2], least[:, 1] + least[:, 3]
        both = self.across * self.down
        area = [(one[:, 0] + one[:, 2]) * (one[:, 1] + one[:, 3]) for one in (said, true)]
        self.said, self.less = said, said < true
        self.both, self.union = both.clip(1e-6), (area[0] + area[1] - both).clip(1e-6)
        top[0].data[0] = -numpy.log(self.both / self.union)[self.cells].sum() / self.count

    def backward(self, top, propagate_down, bottom):
        """d(ln union - ln both); the sides of the intersection follow those that are the shorter ones."""
        if not propagate_down[0]:
            return
        wide, high = self.said[:, 0] + self.said[:, 2], self.said[:, 1] + self.said[:, 3]
        for side in range(4):
            grown = self.less[:, side] * (self.down if side in (0, 2) else self.across)  # of the intersection
            area = high if side in (0, 2) else wide
            slope = (area - grown) / self.union - grown / self.both
            bottom[0].diff[:, side] = slope * self.said[:, side] * self.cells
        bottom[0].diff[...] *= top[0].diff[0] / self.count
