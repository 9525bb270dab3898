"""detectron_on_cpu.py SCRIPT ARGUMENTS ...: run a script of Detectron's with every GPU replaced by the CPU.

Detectron places all blobs and operators on GPUs by number. Here each such device is the CPU; names (gpu_0/...) stay.
`train_on_cpu` also stands in, with NumPy, for the operators with GPU code only that Faster and Mask R-CNN train with:
right and slow, for tests and for looking. Others (RetinaNet's, RoIPoolF) still fail. Python 2.7 and 3.
"""
# mypy: ignore-errors

import runpy
import sys

import cv2  # noqa: F401  (Detectron: before Caffe2)
import numpy
from caffe2.proto import caffe2_pb2
from caffe2.python import core, muji
from caffe2.python import utils as caffe2_utils


def use_cpu():
    """Make both of Caffe2's ways to name a GPU name the CPU."""
    named_device = core.DeviceOption

    def on_cpu(device_type, *args, **kwargs):
        if device_type == caffe2_pb2.CPU:
            return named_device(device_type, *args, **kwargs)
        return named_device(caffe2_pb2.CPU)

    core.DeviceOption = on_cpu
    muji.OnGPU = lambda _: named_device(caffe2_pb2.CPU)


def train_on_cpu():
    """use_cpu, and operators of NumPy for those that Caffe2 has for GPUs only."""
    use_cpu()
    ordinary = core.Net.__getattr__

    def with_ours(net, op_type):
        if op_type not in OPERATORS:
            return ordinary(net, op_type)
        return lambda blobs_in, blobs_out, **settings: _add(net, op_type, blobs_in, blobs_out, settings)

    core.Net.__getattr__ = with_ours
    caffe2_utils.GetGPUMemoryUsageStats = lambda: {"max_by_gpu": numpy.zeros(64)}  # Detectron logs it


def _add(net, op_type, blobs_in, blobs_out, settings):
    forward, backward = OPERATORS[op_type]
    run = {"f": lambda blobs, out: forward(blobs, out, **settings)}
    if backward:
        run["grad_f"] = lambda blobs, out: backward(blobs, out, **settings)
        run["grad_input_indices"] = [0]  # labels and weights have no gradient
    return net.Python(**run)(blobs_in, blobs_out)


def _put(blob, values):
    blob.reshape(list(values.shape))
    blob.data[...] = values


def _entropy_parts(blobs, scale, normalize):
    """Logits, labels (-1: ignored), which of them count, and what their sum is multiplied with."""
    logits = blobs[0].data
    labels = blobs[1].data.reshape(logits.shape)  # masks come as one row each
    counts = (labels > -1).astype(numpy.float32)
    return logits, labels, counts, scale / max(float(counts.sum()), 1e-5) if normalize else scale


def sigmoid_cross_entropy(blobs, out, scale=1.0, normalize=1):
    logits, labels, counts, factor = _entropy_parts(blobs, scale, normalize)
    losses = numpy.maximum(logits, 0) - logits * labels + numpy.log1p(numpy.exp(-numpy.abs(logits)))
    _put(out[0], numpy.array((losses * counts).sum() * factor, numpy.float32))


def sigmoid_cross_entropy_gradient(blobs, out, scale=1.0, normalize=1):
    logits, labels, counts, factor = _entropy_parts(blobs, scale, normalize)
    chances = 0.5 * (1 + numpy.tanh(0.5 * logits))
    _put(out[0], (chances - labels) * counts * factor * float(blobs[-1].data))


def _smooth_parts(blobs, scale):
    """Weighted differences, both weights, and what their sum is multiplied with."""
    found, wanted, inside, outside = (blob.data for blob in blobs[:4])
    return inside * (found - wanted), inside, outside, scale / max(len(wanted), 1)


def smooth_l1(blobs, out, scale=1.0, beta=1.0):
    apart, _, outside, factor = _smooth_parts(blobs, scale)
    far = numpy.abs(apart)
    losses = outside * numpy.where(far < beta, 0.5 * far * far / beta, far - 0.5 * beta)
    _put(out[0], numpy.array(losses.sum() * factor, numpy.float32))


def smooth_l1_gradient(blobs, out, scale=1.0, beta=1.0):
    apart, inside, outside, factor = _smooth_parts(blobs, scale)
    slope = numpy.clip(apart / beta, -1, 1)
    _put(out[0], inside * outside * slope * factor * float(blobs[-1].data))


def narrow_as(blobs, out):
    """The upper left part of a map that is as high and wide as another."""
    from detectron.utils.blob import py_op_copy_blob  # knows how a blob becomes one of whole numbers

    height, width = blobs[1].data.shape[2:]
    py_op_copy_blob(blobs[0].data[:, :, :height, :width], out[0])


def upsample(blobs, out, scale=2):
    _put(out[0], blobs[0].data.repeat(scale, axis=2).repeat(scale, axis=3))


def upsample_gradient(blobs, out, scale=2):
    count, channels, height, width = blobs[0].data.shape
    parts = blobs[-1].data.reshape(count, channels, height, scale, width, scale)
    _put(out[0], parts.sum(axis=(3, 5)))


OPERATORS = {  # forward; gradient of the first input, None: there is none
    "SigmoidCrossEntropyLoss": (sigmoid_cross_entropy, sigmoid_cross_entropy_gradient),
    "SmoothL1Loss": (smooth_l1, smooth_l1_gradient),
    "SpatialNarrowAs": (narrow_as, None),
    "UpsampleNearest": (upsample, upsample_gradient),
}

if __name__ == "__main__":
    use_cpu()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
