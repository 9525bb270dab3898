"""Rules of shapes for layers that forks of Caffe added for segmentation, classification and optical flow.

Facts from alexgkendall/caffe-segnet 344c113b, TimoSaemann/caffe-enet 22d356c9, hszhao/PSPNet 798bdc9, yjxiong/caffe,
HyeonwooNoh/caffe d9e8494a (DeconvNet), hujie-frank/SENet 0262d43, yonghenglh6/DepthwiseConvolution,
farmingyard/ShuffleNet b962444, unsky/Deformable-ConvNets-caffe e0f7abd and lmb-freiburg/flownet2 b92e198.
"""

import math
from collections.abc import Sequence

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, Rule, Shape, per_axis, places, sizes

_PSPNET = ("slope_filler", "bias_filler", "frozen", "momentum", "eps", "engine")


def bn(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """The forks' batch norm with scale and shift: SegNet's keeps nothing, PSPNet's keeps mean and variance."""
    bottom = bottoms[0]
    if len(bottom) < 2:
        raise Odd(f"channels are wanted, the bottom is {sizes(bottom)}")
    param, channel = layer.param("bn"), (1, bottom[1], 1, 1)
    keeps = layer.type == "SyncBN" or any(param.all(name) for name in _PSPNET) or len(layer.message.all("param")) > 2
    tops = (bottom, channel, channel)[: max(1, len(layer.tops))]
    return Made(tops, (channel,) * (4 if keeps else 2), kept=(2, 3) if keeps else ())


def upsample(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """SegNet's, by the mask of a pooling; of a single bottom it is YOLO's, which repeats pixels."""
    param, bottom = layer.param("upsample"), bottoms[0]
    if len(bottom) < 2:
        raise Odd(f"pictures are wanted, the bottom is {sizes(bottom)}")
    if len(bottoms) == 1:
        scale = param.whole("scale", 1)
        return Made(((*bottom[:-2], bottom[-2] * scale, bottom[-1] * scale),))
    if bottoms[1] != bottom:
        raise Odd(f"{sizes(bottom)} and the mask, {sizes(bottoms[1])}, are not of one shape")
    if param.ints("upsample_h") and param.ints("upsample_w"):
        return Made((places(bottom, param.whole("upsample_h"), param.whole("upsample_w")),))
    scale = param.whole("scale", 2)
    height = bottom[2] * param.whole("scale_h", scale) - int(param.flag("pad_out_h"))
    return Made((places(bottom, height, bottom[3] * param.whole("scale_w", scale) - int(param.flag("pad_out_w"))),))


def unpooling(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """DeconvNet's: to a given size, or to the least one that a pooling would have begun from."""
    param, bottom = layer.param("unpooling"), bottoms[0]
    given = [param.whole(f"unpool_{side}", param.whole("unpool_size")) for side in "hw"]
    if all(given):
        return Made((places(bottom, *given),))
    kernel, pads, strides = (per_axis(param, name, 2, least) for name, least in
                             (("kernel", 0), ("pad", 0), ("stride", 1)))  # fmt: skip
    if not all(kernel):
        raise Odd("kernel_size is not given")
    spatial = [
        max((at - 1) * stride + width - 2 * pad, at * stride - pad + 1)
        for at, width, pad, stride in zip(bottom[2:], kernel, pads, strides, strict=True)
    ]
    return Made((places(bottom, *spatial),))


def interp(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """DeepLab's and PSPNet's bilinear resizing: by a factor that keeps the corners, to a size, or to a bottom's."""
    param, bottom = layer.param("interp"), bottoms[0]
    if len(bottom) != 4:
        raise Odd(f"4 axes are wanted, the bottom is {sizes(bottom)}")
    if len(bottoms) > 1:
        return Made((places(bottom, *bottoms[1][2:4]),))
    cut = param.whole("pad_beg") + param.whole("pad_end")
    spatial = [at + cut for at in bottom[2:]]
    shrinks, zooms = bool(param.ints("shrink_factor")), bool(param.ints("zoom_factor"))
    if shrinks == zooms and param.ints("height") and param.ints("width"):
        return Made((places(bottom, param.whole("height"), param.whole("width")),))
    if not shrinks and not zooms:
        raise Odd("neither a factor nor height and width are given")
    spatial = [(at - 1) // param.whole("shrink_factor", 1) + 1 for at in spatial]
    spatial = [at + (at - 1) * (param.whole("zoom_factor", 1) - 1) for at in spatial]
    return Made((places(bottom, *spatial),))


def axpy(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """SENet's a * x + y with one a for each channel; a multiply-add for each number."""
    factor, x, y = bottoms
    if x != y or factor[:2] != x[:2]:
        raise Odd(f"{sizes(factor)}, {sizes(x)} and {sizes(y)} do not fit")
    return Made((x,), (), math.prod(x))


def crelu(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """A bottom and its negative, one behind the other."""
    count, channels, *rest = bottoms[0]
    return Made(((count, channels * 2, *rest),))


def correlation(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """FlowNet's: a channel for each displacement of the second bottom against the first."""
    param, bottom = layer.param("correlation"), bottoms[0]
    if bottoms[1] != bottom or len(bottom) != 4:
        raise Odd(f"{sizes(bottom)} and {sizes(bottoms[1])} are not of one shape")
    reach, kernel = param.whole("max_displacement"), param.whole("kernel_size")
    step, border = param.whole("stride_1", 1), reach + (kernel - 1) // 2
    spatial = [math.ceil((at + 2 * param.whole("pad") - 2 * border) / step) for at in bottom[2:]]
    width = 2 * (reach // param.whole("stride_2", 1)) + 1
    return Made(
        ((bottom[0], width if layer.type == "Correlation1D" else width * width, *places(bottom, *spatial)[2:]),)
    )


def resized(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """FlowNet's Resample and Downsample: to the size of a second bottom, or to a given one."""
    if len(bottoms) > 1:
        return Made((places(bottoms[0], *bottoms[1][2:4]),))
    param = layer.param("resample") if layer.type == "Resample" else layer.param("downsample")
    top = "" if layer.type == "Resample" else "top_"
    return Made((places(bottoms[0], param.whole(f"{top}height"), param.whole(f"{top}width")),))


def channel_norm(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made(((bottoms[0][0], 1, *bottoms[0][2:]),))


def lstm_unit(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Cells and hidden numbers, each as the cells before."""
    return Made((bottoms[0], bottoms[0])[: len(layer.tops)])


def seg_accuracy(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """DeepLab's accuracy, recall and overlap."""
    return Made(((1, 1, 1, 3),))


RULES: dict[str, Rule] = {
    "Axpy": axpy, "BN": bn, "CReLU": crelu, "ChannelNorm": channel_norm, "Correlation": correlation,
    "Correlation1D": correlation, "Downsample": resized, "Interp": interp, "LSTMUnit": lstm_unit, "Resample": resized,
    "SegAccuracy": seg_accuracy, "SyncBN": bn, "Unpooling": unpooling, "Upsample": upsample,
}  # fmt: skip
