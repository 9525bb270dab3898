"""detectron_on_cpu.py SCRIPT ARGUMENTS ...: run a script of Detectron's with every GPU replaced by the CPU.

Detectron places all blobs and operators on GPUs by number. Here each such device is the CPU; names (gpu_0/...) stay.
Operators that Caffe2 has for GPUs only still fail. Python 2.7 and 3.
"""
# mypy: ignore-errors

import runpy
import sys

import cv2  # noqa: F401  (Detectron: before Caffe2)
from caffe2.proto import caffe2_pb2
from caffe2.python import core, muji


def use_cpu():
    """Make both of Caffe2's ways to name a GPU name the CPU."""
    named_device = core.DeviceOption

    def on_cpu(device_type, *args, **kwargs):
        if device_type == caffe2_pb2.CPU:
            return named_device(device_type, *args, **kwargs)
        return named_device(caffe2_pb2.CPU)

    core.DeviceOption = on_cpu
    muji.OnGPU = lambda _: named_device(caffe2_pb2.CPU)


if __name__ == "__main__":
    use_cpu()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
