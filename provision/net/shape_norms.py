"""Rules of shapes for what norms and scales its bottom: Caffe's own at 9b89154, SSD's, and the kinds of batch norm of
NVIDIA/caffe 87a25543 and intel/caffe."""

from collections.abc import Sequence

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, Rule, Shape, axis_of, legacy, size, sizes, wanted
from provision.net.text import Message


def local_response(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    width = wanted(layer.param("lrn"), "local_size", 5)
    if width % 2 == 0:
        raise Odd(f"local_size {width} is not odd")
    if len(bottoms[0]) != 4:
        raise Odd(f"4 axes are wanted, the bottom is {sizes(bottoms[0])}")
    return Made((bottoms[0],) * len(layer.tops))


def mean_variance(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """MVN: what has fewer axes than 4 comes out with 4."""
    return Made((legacy(bottoms[0]),))


def batch_norm(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Mean, variance and the factor of both: kept, not learned. NVIDIA's and Intel's learn scale and shift, too."""
    if len(bottoms[0]) < 2:
        raise Odd(f"channels are wanted, the bottom is {sizes(bottoms[0])}")
    channels = bottoms[0][1]
    param, kept = layer.param("batch_norm"), ((channels,), (channels,), (1,))
    learned: tuple[Shape, ...] = ()
    if param.flag("scale_bias") or param.all("scale_filler") or (param.all("bias_filler") and not param.all("filler")):
        learned = ((channels,), (channels,))
    elif param.flag("use_weight_bias"):
        learned = ((channels,),) * (2 if param.flag("bias_term", True) else 1)
    return Made((bottoms[0],), kept + learned, kept=(0, 1, 2))


def scale(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param = layer.param("scale")
    shape = _broadcast(param, bottoms)
    learned = () if len(bottoms) > 1 else (shape,)
    if param.flag("bias_term"):
        axis_of(bottoms[0], param.whole("axis", 1))  # even where a scalar may stand at any axis
    return Made((bottoms[0],), learned + ((shape,) if param.flag("bias_term") else ()), size(bottoms[0]))


def bias(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    shape = _broadcast(layer.param("bias"), bottoms)
    return Made((bottoms[0],), () if len(bottoms) > 1 else (shape,))


def _broadcast(param: Message, bottoms: Sequence[Shape]) -> Shape:
    """What is spread over the first bottom: the second, or the shape of `num_axes` axes (-1: all that follow)."""
    bottom = bottoms[0]
    if bottoms[1:] == [()]:
        return ()
    axis, axes = axis_of(bottom, param.whole("axis", 1)), param.whole("num_axes", 1)
    if len(bottoms) > 1:
        shape = bottoms[1]
    elif axes < -1:
        raise Odd(f"num_axes is {axes}, and may be -1 for all axes, or a number from 0")
    else:
        shape = bottom[axis : len(bottom) if axes < 0 else axis + axes]
    if bottom[axis : axis + len(shape)] != shape or (len(bottoms) == 1 and axis + axes > len(bottom)):
        raise Odd(f"{sizes(shape)} cannot be spread over {sizes(bottom)} from axis {axis}")
    return shape


def prelu(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    if not 2 <= len(bottoms[0]) <= 4:
        raise Odd(f"2 to 4 axes are wanted, the bottom is {sizes(bottoms[0])}")
    return Made((bottoms[0],), ((),) if layer.param("prelu").flag("channel_shared") else ((bottoms[0][1],),))


def normalize(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    shared = layer.param("norm").flag("channel_shared", True)
    return Made((bottoms[0],), ((),) if shared else ((bottoms[0][1],),))


RULES: dict[str, Rule] = {
    "BatchNorm": batch_norm, "Bias": bias, "LRN": local_response, "MVN": mean_variance, "Normalize": normalize,
    "PReLU": prelu, "Scale": scale,
}  # fmt: skip
