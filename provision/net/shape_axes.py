"""Rules of shapes for layers that join, cut, move or choose along axes (Caffe's layers at 9b89154)."""

from collections.abc import Sequence
from itertools import pairwise

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, Rule, Shape, axis_of, size, sizes, wanted
from provision.net.text import Message


def _one_axis(param: Message, old: str, bottom: Shape) -> int:
    """The axis to join or cut at; `old` is the word of 2014 for it, which does not count from the end."""
    if param.all(old) and param.all("axis"):
        raise Odd(f"axis and {old} are both given")
    return axis_of(bottom, wanted(param, old) if param.whole(old) else 0 if param.all(old) else param.whole("axis", 1))


def concat(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Intel's may permute and flatten its bottoms first."""
    param, first = layer.param("concat"), bottoms[0]
    if param.flag("per_fla_fuse"):
        return Made(((first[0], sum(size(bottom[1:]) for bottom in bottoms)),))
    axis = _one_axis(param, "concat_dim", first)
    for other in bottoms[1:]:
        if len(other) != len(first) or other[:axis] + other[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise Odd(f"{sizes(first)} and {sizes(other)} differ in more than axis {axis}")
    return Made(((*first[:axis], sum(bottom[axis] for bottom in bottoms), *first[axis + 1 :]),))


def slices(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("slice"), bottoms[0]
    axis, tops = _one_axis(param, "slice_dim", bottom), len(layer.tops)
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


def crop(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    first, second = bottoms
    axis = axis_of(first, layer.param("crop").whole("axis", 2))
    if len(first) > len(second) or any(a < b for a, b in zip(first[axis:], second[axis:], strict=False)):
        raise Odd(f"{sizes(first)} cannot be cropped to {sizes(second)}")
    offsets, cut = layer.param("crop").ints("offset"), len(first) - axis
    if len(offsets) > 1 and len(offsets) != cut:
        raise Odd(f"{len(offsets)} offsets for {cut} axes from axis {axis} on")
    offsets = (offsets or [0]) * (cut if len(offsets) < 2 else 1)
    for at, offset in enumerate(offsets, axis):
        if first[at] - offset < second[at]:
            raise Odd(f"offset {offset} of axis {at}: {second[at]} from there on do not fit into {first[at]}")
    return Made(((*first[:axis], *second[axis : len(first)]),))


def reshape(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("reshape"), bottoms[0]
    begin, end = _replaced(param, bottom)
    given = param.sub("shape").ints("dim")
    if given.count(-1) > 1 or min(given, default=0) < -1:
        raise Odd(f"dims {', '.join(map(str, given))}: one may be -1, and none less")
    if copied := [at for at, dim in enumerate(given) if dim == 0 and begin + at >= len(bottom)]:
        raise Odd(f"dim {copied[0]} is 0, and {sizes(bottom)} has no axis {begin + copied[0]} to copy")
    dims = [bottom[begin + at] if dim == 0 else dim for at, dim in enumerate(given)]
    rest, total = size([*bottom[:begin], *bottom[end:], *(dim for dim in dims if dim != -1)]), size(bottom)
    if not rest or total % rest or (-1 not in dims and rest != total):
        told = f"do not make up {', '.join(map(str, given))}" if given else "are left: no shape { dim: … } is given"
        raise Odd(f"{total} numbers ({sizes(bottom)}) {told}")
    return Made(((*bottom[:begin], *(total // rest if dim == -1 else dim for dim in dims), *bottom[end:]),))


def _replaced(param: Message, bottom: Shape) -> tuple[int, int]:
    """The axes that a Reshape replaces: the first, and the one behind the last."""
    axis, axes = param.whole("axis"), param.whole("num_axes", -1)
    begin = axis if axis >= 0 else len(bottom) + axis + 1
    end = len(bottom) if axes == -1 else begin + axes
    if not 0 <= begin <= len(bottom):
        raise Odd(f"axis {axis} of a blob with {len(bottom)} axes ({sizes(bottom)})")
    if axes < -1 or end > len(bottom):
        raise Odd(f"num_axes {axes} from axis {begin} on of a blob with {len(bottom)} axes ({sizes(bottom)})")
    return begin, end


def flatten(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """An end one before the axis puts an axis of 1 between the two."""
    param, bottom = layer.param("flatten"), bottoms[0]
    begin, end = axis_of(bottom, param.whole("axis", 1)), axis_of(bottom, param.whole("end_axis", -1))
    if end + 1 < begin:
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
    return Made((bottoms[0][: axis_of(bottoms[0], layer.param("reduction").whole("axis"))],))


def tile(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param, bottom = layer.param("tile"), bottoms[0]
    axis = axis_of(bottom, param.whole("axis", 1))
    return Made(((*bottom[:axis], bottom[axis] * wanted(param, "tiles"), *bottom[axis + 1 :]),))


def batch_reindex(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    pictures, index = bottoms
    if len(index) != 1 or not pictures:
        raise Odd(f"an index of one axis is wanted, and pictures, not {sizes(index)} and {sizes(pictures)}")
    return Made(((index[0], *pictures[1:]),))


def chosen(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """Filter: of each bottom but the last those that the last one, 0 or 1 for each, lets through. Caffe sets it up as
    if all went through."""
    *blobs, selector = bottoms
    if len(layer.tops) != len(blobs):
        raise Odd(f"Filter makes a top of each bottom but the last, and has {len(blobs)} and {len(layer.tops)}")
    if not selector or size(selector[1:]) != 1:
        raise Odd(f"the last bottom is to hold one number for each, and is {sizes(selector)}")
    if (other := next((blob for blob in blobs if blob[:1] != selector[:1]), None)) is not None:
        raise Odd(f"{sizes(other)} and the last bottom, {sizes(selector)}, are not of as many")
    return Made(tuple(blobs), note=f"at most {selector[0]}: those that {layer.bottoms[-1]} lets through")


RULES: dict[str, Rule] = {
    "ArgMax": argmax, "BatchReindex": batch_reindex, "Concat": concat, "Crop": crop, "Filter": chosen,
    "Flatten": flatten, "Reduction": reduction, "Reshape": reshape, "Slice": slices, "Tile": tile,
}  # fmt: skip
