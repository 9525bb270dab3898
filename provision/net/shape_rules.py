"""The table of rules: what each type of layer makes of its bottoms. Facts from Caffe's layers at 9b89154, and for the
forks' own layers from torrvision/caffe fcd05e8b and weiliu89/caffe 4817bf8b."""

from collections.abc import Sequence
from itertools import pairwise

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, Rule, Shape, axis_of, size, sizes
from provision.net.shape_windows import RULES as WINDOWS
from provision.net.text import Message

__all__ = ["OWN_SHAPE", "RULES", "Made", "Odd", "Shape"]

# their tops' shapes do not depend on their bottoms'
OWN_SHAPE = frozenset(("Silence", "HDF5Output", "MultiBoxLoss", "Accuracy"))


def same(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made((bottoms[0],) * len(layer.tops))


def scalar(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """A loss; a second top is as its first bottom (the probabilities)."""
    return Made(((), *bottoms[:1])[: len(layer.tops)])


def accuracy(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """The share of right answers, and with a second top that of each class."""
    if len(layer.tops) < 2:
        return Made(((),))
    classes = bottoms[0][axis_of(bottoms[0], layer.param("accuracy").whole("axis", 1))] if bottoms else None
    return Made(((), None if classes is None else (classes,)))


def nothing(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made(())


def inner_product(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param = layer.param("inner_product")
    axis, outputs = axis_of(bottoms[0], param.whole("axis", 1)), param.whole("num_output")
    if outputs < 1:
        raise Odd("num_output is not given")
    inputs = size(bottoms[0][axis:])
    weight = (inputs, outputs) if param.flag("transpose") else (outputs, inputs)
    params: tuple[Shape, ...] = (weight, (outputs,)) if param.flag("bias_term", True) else (weight,)
    return Made(((*bottoms[0][:axis], outputs),), params, size(bottoms[0][:axis]) * inputs * outputs)


def embed(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param = layer.param("embed")
    outputs = param.whole("num_output")
    params: tuple[Shape, ...] = ((param.whole("input_dim"), outputs),)
    return Made(((*bottoms[0], outputs),), params + (((outputs,),) if param.flag("bias_term", True) else ()))


def batch_norm(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Mean, variance and the factor of both: kept, not learned."""
    channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
    return Made((bottoms[0],), ((channels,), (channels,), (1,)))


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
    if bottoms[0][axis : axis + len(shape)] != shape:
        raise Odd(f"{sizes(shape)} cannot be spread over {sizes(bottoms[0])} from axis {axis}")
    return shape


def prelu(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made((bottoms[0],), ((),) if layer.param("prelu").flag("channel_shared") else ((bottoms[0][1],),))


def normalize(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    shared = layer.param("norm").flag("channel_shared", True)
    return Made((bottoms[0],), ((),) if shared else ((bottoms[0][1],),))


def concat(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, first = layer.param("concat"), bottoms[0]
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
    return Made((bottoms[0],))


def crop(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    first, second = bottoms
    axis = axis_of(first, layer.param("crop").whole("axis", 2))
    if len(first) != len(second) or any(a < b for a, b in zip(first[axis:], second[axis:], strict=True)):
        raise Odd(f"{sizes(first)} cannot be cropped to {sizes(second)}")
    return Made(((*first[:axis], *second[axis:]),))


def reshape(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("reshape"), bottoms[0]
    axis, axes = param.whole("axis"), param.whole("num_axes", -1)
    begin = axis if axis >= 0 else len(bottom) + axis + 1
    end = len(bottom) if axes < 0 else begin + axes
    given = param.sub("shape").ints("dim")
    dims = [bottom[begin + at] if dim == 0 else dim for at, dim in enumerate(given)]
    rest, total = size([*bottom[:begin], *bottom[end:], *(dim for dim in dims if dim != -1)]), size(bottom)
    if total % rest or (-1 not in dims and rest != total):
        raise Odd(f"{total} numbers ({sizes(bottom)}) do not make up {', '.join(map(str, given))}")
    return Made(((*bottom[:begin], *(total // rest if dim == -1 else dim for dim in dims), *bottom[end:]),))


def flatten(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("flatten"), bottoms[0]
    begin, end = axis_of(bottom, param.whole("axis", 1)), axis_of(bottom, param.whole("end_axis", -1))
    return Made(((*bottom[:begin], size(bottom[begin : end + 1]), *bottom[end + 1 :]),))


def argmax(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("argmax"), bottoms[0]
    top = param.whole("top_k", 1)
    if param.ints("axis"):
        axis = axis_of(bottom, param.whole("axis"))
        return Made(((*bottom[:axis], top, *bottom[axis + 1 :]),))
    both = 2 if param.flag("out_max_val") else 1
    return Made(((bottom[0], both, top, *(1,) * (len(bottom) - 3)),))


def reduction(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    axis = layer.param("reduction").whole("axis")
    return Made((bottoms[0][: axis_of(bottoms[0], axis)] if bottoms[0] else (),))


def tile(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("tile"), bottoms[0]
    axis = axis_of(bottom, param.whole("axis", 1))
    return Made(((*bottom[:axis], bottom[axis] * param.whole("tiles", 1), *bottom[axis + 1 :]),))


def batch_reindex(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    return Made(((size(bottoms[1]), *bottoms[0][1:]),))


def parameter(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    shape = tuple(layer.param("parameter").sub("shape").ints("dim"))
    return Made((shape,), (shape,))


def inputs(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    shapes = [tuple(shape.ints("dim")) for shape in layer.param("input").messages("shape")]
    return Made(_spread(shapes, len(layer.tops)))


def dummy_data(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param = layer.param("dummy_data")
    shapes = [tuple(shape.ints("dim")) for shape in param.messages("shape")]
    if not shapes:
        columns = [param.ints(name) for name in ("num", "channels", "height", "width")]
        rows = max(map(len, columns), default=0)
        shapes = [tuple(column[min(at, len(column) - 1)] for column in columns) for at in range(rows)]
    return Made(_spread(shapes, len(layer.tops)))


def _spread(shapes: Sequence[Shape], tops: int) -> tuple[Shape | None, ...]:
    """One shape for all tops, or one for each."""
    if len(shapes) == 1:
        return (shapes[0],) * tops
    return (*shapes, *(None,) * tops)[:tops]


def data(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Of a database the channels are not known, unless as many means tell; of a crop or resize the size is."""
    batch = layer.param("data").whole("batch_size")
    transform = layer.message.sub("transform_param")
    crop_size, resize = transform.whole("crop_size"), transform.sub("resize_param")
    spatial = (crop_size, crop_size) if crop_size else (resize.whole("height"), resize.whole("width"))
    channels = 3 if layer.type == "AnnotatedData" else len(transform.all("mean_value"))
    known = (batch, channels, *spatial) if channels in (1, 3) and all(spatial) and batch else None
    if channels == 1 and layer.type == "Data":
        known = None  # one mean value may be meant for all channels
    label = (batch,) if layer.type == "Data" and batch else None
    return Made((known, label)[: len(layer.tops)])


def image_data(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, crop_size = layer.param("image_data"), layer.message.sub("transform_param").whole("crop_size")
    batch, channels = param.whole("batch_size", 1), 3 if param.flag("is_color", True) else 1
    spatial = (crop_size, crop_size) if crop_size else (param.whole("new_height"), param.whole("new_width"))
    return Made(((batch, channels, *spatial) if all(spatial) else None, (batch,))[: len(layer.tops)])


def memory_data(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param = layer.param("memory_data")
    shape = tuple(param.whole(name) for name in ("batch_size", "channels", "height", "width"))
    return Made((shape, (shape[0],))[: len(layer.tops)])


def window_data(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    batch = layer.param("window_data").whole("batch_size")
    side = layer.message.sub("transform_param").whole("crop_size", layer.param("window_data").whole("crop_size"))
    return Made(((batch, 3, side, side) if side else None, (batch,))[: len(layer.tops)])


def recurrent(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """RNN and LSTM: time x streams x inputs; hidden state and cells may be bottoms and tops as well."""
    outputs = layer.param("recurrent").whole("num_output")
    time, streams = bottoms[0][:2]
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


def permute(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    order = layer.param("permute").ints("order")
    order += [axis for axis in range(len(bottoms[0])) if axis not in order]
    return Made((tuple(bottoms[0][axis] for axis in order),))


def prior_box(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Boxes of each size in each aspect ratio, flipped ones too, and one between each least and largest size."""
    param = layer.param("prior_box")
    ratios = {1.0}
    for ratio in (float(str(value)) for value in param.all("aspect_ratio")):
        ratios |= {round(ratio, 6), round(1 / ratio, 6)} if param.flag("flip", True) else {round(ratio, 6)}
    boxes = len(ratios) * len(param.all("min_size")) + len(param.all("max_size"))
    return Made(((1, 2, size(bottoms[0][2:]) * boxes * 4),))


_SAME = (
    "AbsVal", "BNLL", "Clip", "Dropout", "ELU", "Exp", "Log", "LRN", "MVN", "Power", "ReLU", "Sigmoid", "Softmax",
    "Split", "Swish", "TanH", "Threshold",
)  # fmt: skip
_LOSSES = (
    "ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss", "MultiBoxLoss", "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss", "SmoothL1Loss", "SoftmaxWithLoss",
)  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, same), **dict.fromkeys(_LOSSES, scalar), **WINDOWS,
    "Accuracy": accuracy, "AnnotatedData": data, "ArgMax": argmax, "BatchNorm": batch_norm,
    "BatchReindex": batch_reindex, "Bias": bias, "Concat": concat, "Crop": crop, "Data": data,
    "DummyData": dummy_data, "Eltwise": eltwise, "Embed": embed, "Flatten": flatten, "HDF5Output": nothing,
    "ImageData": image_data, "InnerProduct": inner_product, "Input": inputs, "LSTM": recurrent,
    "MemoryData": memory_data, "MultiStageMeanfield": meanfield, "Normalize": normalize, "PReLU": prelu,
    "Parameter": parameter, "Permute": permute, "PriorBox": prior_box, "RNN": recurrent, "Reduction": reduction,
    "Reshape": reshape, "Scale": scale, "Silence": nothing, "Slice": slices, "Tile": tile, "WindowData": window_data,
}  # fmt: skip
