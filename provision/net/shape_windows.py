"""Rules for what slides a window over its bottom: convolution, its inverse, pooling, im2col, pyramid pooling.

A convolution rounds down, a pooling up (and drops a window that would begin in the padding): Caffe's own difference.
"""

import math
from collections.abc import Sequence

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, Rule, Shape, axis_of, per_axis, size, sizes


def convolution(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return _convolution(layer, bottoms, inverse=False)


def deconvolution(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return _convolution(layer, bottoms, inverse=True)


def _convolution(layer: Layer, bottoms: Sequence[Shape], inverse: bool) -> Made:
    param, first = layer.param("convolution"), bottoms[0]
    axis = axis_of(first, param.whole("axis", 1))
    channels, spatial = first[axis], first[axis + 1 :]
    outputs, group = param.whole("num_output"), param.whole("group", 1)
    if outputs < 1:
        raise Odd("num_output is not given")
    if channels % group or outputs % group:
        raise Odd(f"group {group} does not divide {channels} channels and num_output {outputs}")
    kernel = per_axis(param, "kernel", len(spatial), 0)
    if not all(kernel):
        raise Odd("kernel_size is not given")
    window = _window(layer, kernel, len(spatial))
    slid = tuple((_widened if inverse else _slid)(at, *sliding) for at, sliding in zip(spatial, window, strict=True))
    tops = tuple((*shape[:axis], outputs, *slid) for shape in bottoms)
    weight = (channels, outputs // group, *kernel) if inverse else (outputs, channels // group, *kernel)
    params: tuple[Shape, ...] = (weight, (outputs,)) if param.flag("bias_term", True) else (weight,)
    places = [size(bottom[:axis]) * size(spatial if inverse else slid) for bottom in bottoms]
    return Made(tops, params, sum(places) * size(weight))


def _window(layer: Layer, kernel: list[int], axes: int) -> list[tuple[int, int, int]]:
    """Extent, pad and stride for each axis."""
    param = layer.param("convolution")
    pads, strides = per_axis(param, "pad", axes, 0), per_axis(param, "stride", axes, 1)
    dilations = per_axis(param, "dilation", axes, 1)
    extents = [step * (width - 1) + 1 for step, width in zip(dilations, kernel, strict=True)]
    return list(zip(extents, pads, strides, strict=True))


def _slid(at: int, extent: int, pad: int, stride: int) -> int:
    if at + 2 * pad < extent:
        raise Odd(f"a kernel of {extent} does not fit into {at} (pad {pad})")
    return (at + 2 * pad - extent) // stride + 1


def _widened(at: int, extent: int, pad: int, stride: int) -> int:
    return stride * (at - 1) + extent - 2 * pad


def pooling(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("pooling"), bottoms[0]
    if len(bottom) != 4:
        raise Odd(f"pooling wants 4 axes, the bottom is {sizes(bottom)}")
    if param.flag("global_pooling"):
        return Made(((*bottom[:2], 1, 1),) * len(layer.tops))
    kernel = per_axis(param, "kernel", 2, 0)
    if not all(kernel):
        raise Odd("kernel_size is not given")
    pads, strides = per_axis(param, "pad", 2, 0), per_axis(param, "stride", 2, 1)
    down = param.text("round_mode") == "FLOOR"
    spatial = [
        _pooled(at, width, pad, stride, any(pads), down)
        for at, width, pad, stride in zip(bottom[2:], kernel, pads, strides, strict=True)
    ]
    return Made(((*bottom[:2], *spatial),) * len(layer.tops))


def _pooled(at: int, kernel: int, pad: int, stride: int, padded: bool, down: bool) -> int:
    if pad >= kernel:
        raise Odd(f"pad {pad} is not less than the kernel, {kernel}")
    places = (at + 2 * pad - kernel) / stride
    found = (math.floor(places) if down else math.ceil(places)) + 1
    if padded and (found - 1) * stride >= at + pad:
        found -= 1
    if found < 1:
        raise Odd(f"a kernel of {kernel} does not fit into {at}")
    return found


def im2col(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    bottom = bottoms[0]
    axis = axis_of(bottom, layer.param("convolution").whole("axis", 1))
    spatial = bottom[axis + 1 :]
    kernel = per_axis(layer.param("convolution"), "kernel", len(spatial), 0)
    slid = tuple(_slid(at, *sliding) for at, sliding in zip(spatial, _window(layer, kernel, len(spatial)), strict=True))
    return Made(((*bottom[:axis], bottom[axis] * size(kernel), *slid),))


def pyramid(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """1 + 4 + 16 … windows of each channel; a pyramid of one level is a global pooling with all its axes."""
    bottom, height = bottoms[0], layer.param("spp").whole("pyramid_height")
    if height < 1:
        raise Odd("pyramid_height is not given")
    if height == 1:
        return Made(((*bottom[:2], 1, 1),))
    return Made(((bottom[0], bottom[1] * (4**height - 1) // 3),))


RULES: dict[str, Rule] = {
    "Convolution": convolution,
    "Deconvolution": deconvolution,
    "Pooling": pooling,
    "Im2col": im2col,
    "SPP": pyramid,
}
