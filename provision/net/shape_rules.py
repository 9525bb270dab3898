"""The table of rules: what each type of layer makes of its bottoms. Facts from Caffe's layers at 9b89154 and, for the
kinds of batch norm, from NVIDIA/caffe 87a25543 and intel/caffe; the forks' own layers are in the modules beside this
one."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from provision.net import shape_detect, shape_forks, shape_losses, shape_sources, shape_windows
from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, PartRule, Rule, Shape, axis_of, size, sizes, wanted
from provision.net.text import Message

__all__ = ["LEARNING", "PART_RULES", "RULES", "Made", "Odd", "Shape", "python"]

python = shape_detect.python


def same(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made((bottoms[0],) * len(layer.tops))


def softmax(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    axis_of(bottoms[0], layer.param("softmax").whole("axis", 1))
    return Made((bottoms[0],) * len(layer.tops))


def local_response(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    width = layer.param("lrn").whole("local_size", 5)
    if width % 2 == 0:
        raise Odd(f"local_size {width} is not odd")
    if len(bottoms[0]) != 4:
        raise Odd(f"4 axes are wanted, the bottom is {sizes(bottoms[0])}")
    return Made((bottoms[0],) * len(layer.tops))


def scalar(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """A loss; a second top is as its first bottom (the probabilities)."""
    return Made(((), *bottoms[:1])[: len(layer.tops)])


def accuracy(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """The share of right answers, and with a second top that of each class."""
    if len(layer.tops) < 2:
        return Made(((),))
    score = bottoms[0] if bottoms else None
    classes = None if score is None else score[axis_of(score, layer.param("accuracy").whole("axis", 1))]
    return Made(((), None if classes is None else (classes,)))


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


def batch_norm(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Mean, variance and the factor of both: kept, not learned. NVIDIA's and Intel's learn scale and shift, too."""
    channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
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
    return Made((bottoms[0],), learned + ((shape,) if param.flag("bias_term") else ()), size(bottoms[0]))


def bias(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made((bottoms[0],), () if len(bottoms) > 1 else (_broadcast(layer.param("bias"), bottoms),))


def _broadcast(param: Message, bottoms: Sequence[Shape]) -> Shape:
    axis = axis_of(bottoms[0], param.whole("axis", 1))
    axes = param.whole("num_axes", 1)
    shape = bottoms[1] if len(bottoms) > 1 else bottoms[0][axis : len(bottoms[0]) if axes < 0 else axis + axes]
    if bottoms[0][axis : axis + len(shape)] != shape or (len(bottoms) == 1 and axis + axes > len(bottoms[0])):
        raise Odd(f"{sizes(shape)} cannot be spread over {sizes(bottoms[0])} from axis {axis}")
    return shape


def prelu(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made((bottoms[0],), ((),) if layer.param("prelu").flag("channel_shared") else ((bottoms[0][1],),))


def normalize(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    shared = layer.param("norm").flag("channel_shared", True)
    return Made((bottoms[0],), ((),) if shared else ((bottoms[0][1],),))


def concat(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Intel's may permute and flatten its bottoms first."""
    param, first = layer.param("concat"), bottoms[0]
    if param.flag("per_fla_fuse"):
        return Made(((first[0], sum(size(bottom[1:]) for bottom in bottoms)),))
    axis = axis_of(first, param.whole("concat_dim", param.whole("axis", 1)))
    for other in bottoms[1:]:
        if len(other) != len(first) or other[:axis] + other[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise Odd(f"{sizes(first)} and {sizes(other)} differ in more than axis {axis}")
    return Made(((*first[:axis], sum(bottom[axis] for bottom in bottoms), *first[axis + 1 :]),))


def slices(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("slice"), bottoms[0]
    axis, tops = axis_of(bottom, param.whole("slice_dim", param.whole("axis", 1))), len(layer.tops)
    points = param.ints("slice_point")
    if points:
        if len(points) != tops - 1:
            raise Odd(f"{len(points)} slice_points make {len(points) + 1} tops, not {tops}")
        ends = [0, *points, bottom[axis]]
        widths = [end - begin for begin, end in pairwise(ends)]
        if min(widths) < 1:
            raise Odd(f"slice_points {', '.join(map(str, points))} do not rise within {bottom[axis]}")
    elif bottom[axis] % tops:
        raise Odd(f"{bottom[axis]} cannot be cut into {tops} equal parts")
    else:
        widths = [bottom[axis] // tops] * tops
    return Made(tuple((*bottom[:axis], width, *bottom[axis + 1 :]) for width in widths))


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


def crop(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    first, second = bottoms
    axis = axis_of(first, layer.param("crop").whole("axis", 2))
    if len(first) != len(second) or any(a < b for a, b in zip(first[axis:], second[axis:], strict=True)):
        raise Odd(f"{sizes(first)} cannot be cropped to {sizes(second)}")
    offsets, cut = layer.param("crop").ints("offset"), len(first) - axis
    if len(offsets) > 1 and len(offsets) != cut:
        raise Odd(f"{len(offsets)} offsets for {cut} axes from axis {axis} on")
    offsets = (offsets or [0]) * (cut if len(offsets) < 2 else 1)
    for at, offset in enumerate(offsets, axis):
        if first[at] - offset < second[at]:
            raise Odd(f"offset {offset} of axis {at}: {second[at]} from there on do not fit into {first[at]}")
    return Made(((*first[:axis], *second[axis:]),))


def reshape(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("reshape"), bottoms[0]
    axis, axes = param.whole("axis"), param.whole("num_axes", -1)
    begin = axis if axis >= 0 else len(bottom) + axis + 1
    end = len(bottom) if axes < 0 else begin + axes
    given = param.sub("shape").ints("dim")
    if not given and not param.sub("shape").all("dim") and not axes == 0:
        raise Odd("no shape { dim: … } is given")
    if given.count(-1) > 1 or min(given, default=0) < -1:
        raise Odd(f"dims {', '.join(map(str, given))}: one may be -1, and none less")
    dims = [bottom[begin + at] if dim == 0 else dim for at, dim in enumerate(given)]
    rest, total = size([*bottom[:begin], *bottom[end:], *(dim for dim in dims if dim != -1)]), size(bottom)
    if not rest or total % rest or (-1 not in dims and rest != total):
        raise Odd(f"{total} numbers ({sizes(bottom)}) do not make up {', '.join(map(str, given))}")
    return Made(((*bottom[:begin], *(total // rest if dim == -1 else dim for dim in dims), *bottom[end:]),))


def flatten(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("flatten"), bottoms[0]
    begin, end = axis_of(bottom, param.whole("axis", 1)), axis_of(bottom, param.whole("end_axis", -1))
    if end < begin:
        raise Odd(f"end_axis {end} is before axis {begin}")
    return Made(((*bottom[:begin], size(bottom[begin : end + 1]), *bottom[end + 1 :]),))


def argmax(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("argmax"), bottoms[0]
    top, axis = param.whole("top_k", 1), axis_of(bottom, param.whole("axis", 1)) if param.ints("axis") else None
    places = size(bottom[1:]) if axis is None else bottom[axis]
    if not 1 <= top <= places:
        raise Odd(f"top_k {top} of {places} places")
    if axis is not None:
        return Made(((*bottom[:axis], top, *bottom[axis + 1 :]),))
    both = 2 if param.flag("out_max_val") else 1
    return Made(((bottom[0], both, top, *(1,) * (len(bottom) - 3)),))


def reduction(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    axis = layer.param("reduction").whole("axis")
    return Made((bottoms[0][: axis_of(bottoms[0], axis)] if bottoms[0] else (),))


def tile(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("tile"), bottoms[0]
    axis = axis_of(bottom, param.whole("axis", 1))
    return Made(((*bottom[:axis], bottom[axis] * wanted(param, "tiles"), *bottom[axis + 1 :]),))


def batch_reindex(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made(((size(bottoms[1]), *bottoms[0][1:]),))


def parameter(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    shape = tuple(layer.param("parameter").sub("shape").ints("dim"))
    return Made((shape,), (shape,))


def recurrent(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """RNN and LSTM: time x streams x inputs; hidden state and cells may be bottoms and tops as well."""
    outputs = wanted(layer.param("recurrent"), "num_output")
    time, streams = bottoms[0][:2]
    if bottoms[1] != (time, streams):
        raise Odd(f"{sizes(bottoms[0])} wants sequence marks of {time} x {streams}, not {sizes(bottoms[1])}")
    exposed = layer.param("recurrent").flag("expose_hidden")
    states = (2 if layer.type == "LSTM" else 1) if exposed else 0
    static = len(bottoms) - 2 - states > 0
    rows = outputs * (4 if layer.type == "LSTM" else 1)
    params: list[Shape] = [(rows, size(bottoms[0][2:])), (rows,)]
    params += [(rows, size(bottoms[2][1:]))] if static else []
    params += [(rows, outputs)] + ([(outputs, outputs), (outputs,)] if layer.type == "RNN" else [])
    matrices = sum(size(shape) for shape in params if len(shape) == 2)
    return Made(
        ((time, streams, outputs), *((1, streams, outputs),) * states), tuple(params), time * streams * matrices
    )


def meanfield(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    channels = bottoms[0][1]
    return Made((bottoms[0],), ((1, 1, channels, channels),) * 3)


_SAME = (
    "AbsVal", "AdaptiveBiasChannel", "BNLL", "BiasChannel", "Clip", "Dropout", "ELU", "Exp", "Log", "MVN",
    "MnActivation", "NegReLU", "Power", "RReLU", "ReLU", "ReLU6", "SeLu", "ShuffleChannel", "Sigmoid",
    "SpatialDropout", "SpatialProduct", "Split", "Swish", "TanH", "Threshold",
)  # fmt: skip
_LOSSES = (
    "ContrastiveLoss", "EuclideanLoss", "GaussianYolov3", "HingeLoss", "InfogainLoss", "L1Loss", "LpqLoss",
    "MultiBoxLoss", "MultinomialLogisticLoss", "RegionLoss", "SigmoidCrossEntropyLoss", "SmoothL1Loss",
    "SmoothL1LossOHEM", "SoftmaxWithLoss", "SoftmaxWithLossOHEM", "Yolov3",
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
    **shape_losses.PART_RULES, "Accuracy": accuracy,
}  # fmt: skip
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_SAME, same), **shape_windows.RULES, **shape_sources.RULES, **shape_detect.RULES,
    **shape_forks.RULES, **PART_RULES,
    "ArgMax": argmax, "BatchNorm": batch_norm, "BatchReindex": batch_reindex, "Bias": bias, "Concat": concat,
    "Crop": crop, "Eltwise": eltwise, "Embed": embed, "Flatten": flatten, "InnerProduct": inner_product,
    "LRN": local_response, "LSTM": recurrent, "MultiStageMeanfield": meanfield, "Normalize": normalize, "PReLU": prelu,
    "Parameter": parameter, "RNN": recurrent, "Reduction": reduction, "Reshape": reshape, "Scale": scale,
    "Slice": slices, "Softmax": softmax, "Tile": tile,
}  # fmt: skip
