"""A net for use out of a snapshot alone: a caffemodel holds the layers that were trained, with all their parameters.

What judges (loss, accuracy) and what gives data is taken off; the score that the loss was made of stays.
"""

# ruff: noqa: PTH110, PTH118, PTH119, PTH123, UP031
# (runs in images with old Pythons)

import os
import struct

from caffe.proto import caffe_pb2
from google.protobuf import text_format


class Trained:
    """`layers` from the blob `data` to the blob `score`; `source` is the data layer that it was trained with."""

    def __init__(self, path):
        self.path = path
        net = caffe_pb2.NetParameter()
        with open(path, "rb") as data:
            net.ParseFromString(data.read())
        judges = [one for one in net.layer if one.type.endswith("Loss") and len(one.bottom) > 1]
        if not judges:
            raise SystemExit("%s has no loss over a score and labels: it does not classify" % path)
        self.score, self.layers, inputs = judges[-1].bottom[0], [], []
        wanted = {self.score}
        for layer in reversed(net.layer):
            if not wanted & set(layer.top):
                continue
            if not layer.bottom:
                inputs.append(layer)
                continue
            wanted |= set(layer.bottom)
            self.layers.insert(0, _bare(layer))
        if len(inputs) != 1:
            raise SystemExit("%s has %d data layers before its score, not one" % (path, len(inputs)))
        self.source, self.data = inputs[0], inputs[0].top[0]

    def transform(self):
        """As in the training, without the mirror; a mean file that is not here is looked for in /data."""
        param = caffe_pb2.TransformationParameter()
        param.CopyFrom(self.source.transform_param)
        param.ClearField("mirror")
        mean = os.path.join("/data", os.path.basename(param.mean_file))
        if param.mean_file and not os.path.exists(param.mean_file):
            if not os.path.exists(mean):
                raise SystemExit("the mean file %s is not here: put it into the data folder" % param.mean_file)
            param.mean_file = mean
        return param

    def net(self, first, name):
        """The layers behind those data layers, with the weights; classes that were scored become probabilities."""
        import caffe

        net = caffe_pb2.NetParameter()
        net.layer.extend(first)
        net.layer.extend(self.layers)
        net.layer.add(name="probability", type="Softmax", bottom=[self.score], top=["probability"])
        with open(name, "w") as out:
            out.write(text_format.MessageToString(net))
        return caffe.Net(name, caffe.TEST, weights=self.path)


def _bare(layer):
    """Without weights, and without the phase: batch norm and dropout must know that this is use."""
    bare = caffe_pb2.LayerParameter()
    bare.CopyFrom(layer)
    for field in ("blobs", "phase", "include", "exclude"):
        bare.ClearField(field)
    return bare


def data_layer(trained, source, batch):
    """A layer that reads the database `source` in the way in which was trained."""
    param = caffe_pb2.DataParameter()
    param.CopyFrom(trained.source.data_param)
    param.source, param.batch_size = source, batch
    param.ClearField("rand_skip")
    return caffe_pb2.LayerParameter(
        name="data", type="Data", top=[trained.data, "label"], transform_param=trained.transform(), data_param=param
    )


def records(folder):
    """How many records an LMDB holds, out of the newer of its two meta pages (lmdb.h: MDB_meta); None for others."""
    path = os.path.join(folder, "data.mdb")
    if not os.path.exists(path):
        return None
    found = []
    with open(path, "rb") as data:
        for at in (0, 4096):
            data.seek(at + 16)
            page = data.read(136)
            if len(page) == 136 and struct.unpack_from("<I", page)[0] == 0xBEEFC0DE:
                entries = struct.unpack_from("<Q", page, 24 + 48 + 32)[0]
                found.append((struct.unpack_from("<Q", page, 128)[0], entries))
    return max(found)[1] if found else None


def use_gpu(gpu):
    import caffe

    if gpu:
        caffe.set_device(int(gpu))
        caffe.set_mode_gpu()
