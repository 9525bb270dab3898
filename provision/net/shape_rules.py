"""The table of rules: what each type of layer makes of its bottoms. Facts from Caffe's layers at 9b89154; most rules
are in the modules beside this one, those of forks too."""

from collections.abc import Mapping, Sequence

from provision.net import (
    shape_axes,
    shape_detect,
    shape_forks,
    shape_losses,
    shape_norms,
    shape_recurrent,
    shape_sources,
    shape_windows,
)
from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, PartRule, Rule, Shape, axis_of, size, sizes, wanted

__all__ = ["LEARNING", "PART_RULES", "RULES", "Made", "Odd", "Shape", "python"]

python = shape_detect.python


def same(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made((bottoms[0],) * len(layer.tops))


def softmax(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    axis_of(bottoms[0], layer.param("softmax").whole("axis", 1))
    return Made((bottoms[0],) * len(layer.tops))


def scalar(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """A loss; a second top is as its first bottom (the probabilities)."""
    return Made(((), *bottoms[:1])[: len(layer.tops)])


def first(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """As its first bottom, whatever the others are."""
    return Made((bottoms[0] if bottoms else None,) * len(layer.tops))


def nothing(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    return Made(())


def inner_product(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param = layer.param("inner_product")
    axis, outputs = axis_of(bottoms[0], param.whole("axis", 1)), wanted(param, "num_output")
    inputs = size(bottoms[0][axis:])
    weight = (inputs, outputs) if param.flag("transpose") else (outputs, inputs)
    params: tuple[Shape, ...] = (weight, (outputs,)) if param.flag("bias_term", True) else (weight,)
    return Made(((*bottoms[0][:axis], outputs),), params, size(bottoms[0][:axis]) * inputs * outputs)


def embed(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param = layer.param("embed")
    outputs = wanted(param, "num_output")
    params: tuple[Shape, ...] = ((wanted(param, "input_dim"), outputs),)
    return Made(((*bottoms[0], outputs),), params + (((outputs,),) if param.flag("bias_term", True) else ()))


def eltwise(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    for other in bottoms[1:]:
        if other != bottoms[0]:
            raise Odd(f"{sizes(bottoms[0])} and {sizes(other)} are not of one shape")
    param = layer.param("eltwise")
    factors = len(param.all("coeff"))
    if factors and str(param.one("operation")) in ("PROD", "0"):
        raise Odd("coeff is of sums alone, not of operation: PROD")
    if factors not in (0, len(bottoms)):
        raise Odd(f"{factors} coeff for {len(bottoms)} bottoms")
    return Made((bottoms[0],))


def parameter(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    shape = tuple(layer.param("parameter").sub("shape").ints("dim"))
    return Made((shape,), (shape,))


def meanfield(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    channels = bottoms[0][1]
    return Made((bottoms[0],), ((1, 1, channels, channels),) * 3)


_SAME = (
    "AbsVal", "AdaptiveBiasChannel", "BNLL", "BiasChannel", "Clip", "Dropout", "ELU", "Exp", "Log",
    "MnActivation", "NegReLU", "Power", "RReLU", "ReLU", "ReLU6", "SeLu", "ShuffleChannel", "Sigmoid",
    "SpatialDropout", "SpatialProduct", "Split", "Swish", "TanH", "Threshold",
)  # fmt: skip
_LOSSES = (
    "GaussianYolov3", "L1Loss", "LpqLoss",
    "MultiBoxLoss", "RegionLoss", "SmoothL1Loss",
    "SmoothL1LossOHEM", "SoftmaxWithLossOHEM", "Yolov3",
)  # fmt: skip

# types that learn or keep numbers: how many is not known before their bottoms are
LEARNING = frozenset(
    ("BN", "BatchNorm", "Bias", "Convolution", "ConvolutionDepthwise", "Deconvolution", "DeformableConvolution",
     "DepthwiseConvolution", "Embed", "InnerProduct", "LSTM", "MultiStageMeanfield", "NdConvolution", "Normalize",
     "PReLU", "Parameter", "RNN", "Scale", "SyncBN")
)  # fmt: skip

# rules that cope with bottoms whose shapes are unknown
PART_RULES: Mapping[str, PartRule] = {
    **dict.fromkeys(_LOSSES, scalar), **dict.fromkeys(("HDF5Output", "MatWrite", "Silence"), nothing),
    **dict.fromkeys(("DenseCRF", "DomainTransform", "FlowWarp"), first), **shape_detect.PART_RULES,
    **shape_losses.PART_RULES,
}  # fmt: skip
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME, same), **shape_windows.RULES, **shape_sources.RULES, **shape_detect.RULES,
    **shape_forks.RULES, **shape_axes.RULES, **shape_norms.RULES, **shape_recurrent.RULES, **PART_RULES,
    "Eltwise": eltwise, "Embed": embed, "InnerProduct": inner_product, "MultiStageMeanfield": meanfield,
    "Parameter": parameter, "Softmax": softmax,
}  # fmt: skip
