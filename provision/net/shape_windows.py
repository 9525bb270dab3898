"""Rules for what slides a window over its bottom: convolution, its inverse, pooling, im2col, pyramid pooling.

A convolution rounds down, a pooling up (and drops a window that would begin in the padding): Caffe's own difference.
"""

import math
from collections.abc import Sequence

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, Rule, Shape, axis_of, per_axis, size, sizes, wanted
from provision.net.text import Message

_HOLES = ("hole", "hole_h", "hole_w")


def convolution(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return _convolution(layer, bottoms, inverse=False)


def deconvolution(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return _convolution(layer, bottoms, inverse=True)


def _convolution(layer: Layer, bottoms: Sequence[Shape], inverse: bool) -> Made:
    param, first = _param(layer), bottoms[0]
    axis = axis_of(first, param.whole("axis", 1))
    channels, spatial = first[axis], first[axis + 1 :]
    outputs = wanted(param, "num_output")
    group = param.whole("group", channels if layer.type == "ConvolutionDepthwise" else 1)
    if group < 1 or channels % group or outputs % group:
        raise Odd(f"group {group} does not divide {channels} channels and num_output {outputs}")
    kernel = _kernel(param, len(spatial))
    window = _window(layer, kernel, len(spatial))
    slid = tuple((_widened if inverse else _slid)(at, *sliding) for at, sliding in zip(spatial, window, strict=True))
    inputs = bottoms[:1] if layer.type == "DeformableConvolution" else bottoms  # its second bottom is the offsets
    if (other := next((shape for shape in inputs if shape != first), None)) is not None:
        raise Odd(f"bottoms of one shape are wanted, not {sizes(first)} and {sizes(other)}")
    tops = tuple((*shape[:axis], outputs, *slid) for shape in inputs)
    weight = (channels, outputs // group, *kernel) if inverse else (outputs, channels // group, *kernel)
    params: tuple[Shape, ...] = (weight, (outputs,)) if param.flag("bias_term", True) else (weight,)
    places = [size(bottom[:axis]) * size(spatial if inverse else slid) for bottom in inputs]
    return Made(tops, params, sum(places) * size(weight))


def _kernel(param: Message, axes: int, paired: bool = False) -> list[int]:
    kernel = per_axis(param, "kernel", axes, 0, paired)
    if not all(kernel):
        given = any(param.all(name) for name in ("kernel_size", "kernel_h", "kernel_w"))
        raise Odd("a kernel of 0 covers nothing" if given else "kernel_size is not given")
    return kernel


def _param(layer: Layer) -> Message:
    return layer.param("deformable_convolution" if layer.type == "DeformableConvolution" else "convolution")


def _window(layer: Layer, kernel: list[int], axes: int) -> list[tuple[int, int, int]]:
    """Extent, pad and stride for each axis. DeepLab's `hole` is the later `dilation`."""
    param = _param(layer)
    pads, strides = per_axis(param, "pad", axes, 0), per_axis(param, "stride", axes, 1)
    dilations = per_axis(param, "hole" if any(map(param.ints, _HOLES)) else "dilation", axes, 1)
    if min(strides, default=1) < 1:
        raise Odd("a stride of 0 never moves on")
    extents = [step * (width - 1) + 1 for step, width in zip(dilations, kernel, strict=True)]
    return list(zip(extents, pads, strides, strict=True))


def _slid(at: int, extent: int, pad: int, stride: int) -> int:
    """C++ cuts a fraction off, also below 0: what a kernel is larger by than its bottom may be less than a stride."""
    found = int((at + 2 * pad - extent) / stride) + 1
    if found < 1:
        raise Odd(f"a kernel of {extent} does not fit into {at} (pad {pad})")
    return found


def _widened(at: int, extent: int, pad: int, stride: int) -> int:
    found = stride * (at - 1) + extent - 2 * pad
    if found < 1:
        raise Odd(f"a pad of {pad} leaves nothing of {found + 2 * pad}")
    return found


def pooling(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """A second top is the mask of a maximum. More spatial axes than two are a fork's that repeats kernel_size."""
    param, bottom = layer.param("pooling"), bottoms[0]
    axes = max(2, len(param.ints("kernel_size")), len(param.sub("kernel_shape").ints("dim")))
    if len(bottom) != axes + 2:
        raise Odd(f"pooling wants {axes + 2} axes, the bottom is {sizes(bottom)}")
    method = str(param.one("pool", "MAX"))
    if len(layer.tops) > 1 and method not in ("MAX", "0"):
        raise Odd("a second top, the mask, is of pool: MAX alone")
    if again := [name for name in ("kernel_size", "pad", "stride") if len(param.all(name)) > 1 and axes == 2]:
        raise Odd(f"{again[0]} is given {len(param.all(again[0]))} times, and a pooling takes it once")
    pads, strides = per_axis(param, "pad", axes, 0, paired=True), per_axis(param, "stride", axes, 1)
    if param.flag("global_pooling"):
        return _globally(layer, bottom, pads, strides)
    kernel = _kernel(param, axes)
    if any(pads) and method in ("STOCHASTIC", "2"):
        raise Odd("padding is of pool: MAX and AVE alone")
    down = str(param.one("round_mode")) in ("FLOOR", "1") or not param.flag("ceil_mode", True)
    spatial = [
        _pooled(at, width, pad, stride, any(pads), down)
        for at, width, pad, stride in zip(bottom[2:], kernel, pads, strides, strict=True)
    ]
    return Made(((*bottom[:2], *spatial),) * len(layer.tops))


def _globally(layer: Layer, bottom: Shape, pads: list[int], strides: list[int]) -> Made:
    given = [name for name in ("kernel_size", "kernel_h", "kernel_w") if layer.param("pooling").all(name)]
    if given or any(pads) or max(strides) > 1:
        raise Odd(f"global_pooling leaves no room for {given[0] if given else 'pad' if any(pads) else 'stride'}")
    return Made(((*bottom[:2], 1, 1),) * len(layer.tops))


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
    if not spatial:
        raise Odd(f"no axis is left behind axis {axis} of {sizes(bottom)}")
    kernel = _kernel(layer.param("convolution"), len(spatial))
    slid = tuple(_slid(at, *sliding) for at, sliding in zip(spatial, _window(layer, kernel, len(spatial)), strict=True))
    return Made(((*bottom[:axis], bottom[axis] * size(kernel), *slid),))


def pyramid(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """1 + 4 + 16 … windows of each channel; a pyramid of one level is a global pooling with all its axes."""
    bottom, height = bottoms[0], wanted(layer.param("spp"), "pyramid_height")
    if len(bottom) != 4:
        raise Odd(f"4 axes are wanted, the bottom is {sizes(bottom)}")
    if 2 ** (min(height, 31) - 1) > min(bottom[2:]):
        raise Odd(f"a pyramid of {height} levels does not fit into {sizes(bottom)}")
    stochastic = str(layer.param("spp").one("pool")) in ("STOCHASTIC", "2")
    for level in range(height):
        _bins(2**level, bottom[2:], stochastic)
    if height == 1:
        return Made(((*bottom[:2], 1, 1),))
    return Made(((bottom[0], bottom[1] * (4**height - 1) // 3),))


def _bins(bins: int, spatial: Shape, stochastic: bool) -> None:
    """Odd where a level's windows, one for each bin, need a padding that Caffe's pooling refuses."""
    kernels = [-(-at // bins) for at in spatial]
    pads = [(kernel * bins - at + 1) // 2 for kernel, at in zip(kernels, spatial, strict=True)]
    if any(pads) and stochastic:
        raise Odd(f"{sizes(spatial)} in {bins} x {bins} windows needs a padding, which is of pool: MAX and AVE alone")
    if any(pad >= kernel for pad, kernel in zip(pads, kernels, strict=True)) and any(pads):
        raise Odd(f"{sizes(spatial)} in {bins} x {bins} windows of {sizes(tuple(kernels))} needs as large a padding")


RULES: dict[str, Rule] = {
    "Convolution": convolution,
    "ConvolutionDepthwise": convolution,
    "DepthwiseConvolution": convolution,
    "DeformableConvolution": convolution,
    "Deconvolution": deconvolution,
    "NdConvolution": convolution,
    "NdPooling": pooling,
    "Pooling": pooling,
    "Im2col": im2col,
    "SPP": pyramid,
}
