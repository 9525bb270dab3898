"""Rules of shapes for what brings data into a net: inputs, databases, lists of pictures.

Of a database the channels and sizes are not in the file; a crop, a resize or as many means may tell them.
"""

from collections.abc import Sequence

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, Rule, Shape, sizes


def inputs(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    shapes = [tuple(shape.ints("dim")) for shape in layer.param("input").messages("shape")]
    if bad := next((shape for shape in shapes if min(shape, default=1) < 0), None):
        raise Odd(f"{sizes(bad)} is no shape")
    if len(shapes) not in (0, 1, len(layer.tops)):
        raise Odd(f"{len(shapes)} shapes for {len(layer.tops)} tops: one for all, or one for each")
    return Made(_spread(shapes, len(layer.tops)))


def dummy_data(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """By `shape`, or by the four fields of 2014: each once for all tops, or once for each."""
    param, tops = layer.param("dummy_data"), len(layer.tops)
    shapes = [tuple(shape.ints("dim")) for shape in param.messages("shape")]
    columns = {name: param.ints(name) for name in ("num", "channels", "height", "width")}
    old = any(columns.values())
    if old and shapes:
        raise Odd("shape and num, channels, height and width are both given")
    given = columns if old else {"shape": shapes}
    for name, column in given.items():
        if len(column) not in (1, tops):
            raise Odd(f"{len(column) or 'no'} {name} for {tops} top{'s' if tops > 1 else ''}: one, or one for each")
    if (fillers := len(param.messages("data_filler"))) not in (0, 1, tops):
        raise Odd(f"{fillers} data_filler for {tops} top{'s' if tops > 1 else ''}: one, or one for each")
    if old:
        shapes = [tuple(column[min(at, len(column) - 1)] for column in columns.values()) for at in range(tops)]
    return Made(_spread(shapes, tops))


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
    if bool(param.whole("new_height")) != bool(param.whole("new_width")):
        raise Odd("new_height and new_width are given together, or not at all")
    batch, channels = param.whole("batch_size", 1), 3 if param.flag("is_color", True) else 1
    spatial = (param.whole("new_height"), param.whole("new_width"))
    if 0 < min(spatial) < crop_size:
        raise Odd(f"a crop of {crop_size} does not fit into {spatial[0]} x {spatial[1]}")
    spatial = (crop_size, crop_size) if crop_size else spatial
    return Made(((batch, channels, *spatial) if all(spatial) else None, (batch,))[: len(layer.tops)])


def memory_data(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    param = layer.param("memory_data")
    shape = tuple(param.whole(name) for name in ("batch_size", "channels", "height", "width"))
    if not all(shape):
        raise Odd("batch_size, channels, height and width are not all given")
    return Made((shape, (shape[0],), (shape[0], 1, 1, 2))[: len(layer.tops)])  # DeepLab's third: the sizes before


def window_data(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    batch = layer.param("window_data").whole("batch_size")
    side = layer.message.sub("transform_param").whole("crop_size", layer.param("window_data").whole("crop_size"))
    return Made(((batch, 3, side, side) if side else None, (batch,))[: len(layer.tops)])


def segmented(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """DeepLab's ImageSegData: pictures, label pictures of their size, and the size that each had before."""
    param, transform = layer.param("image_data"), layer.message.sub("transform_param")
    batch, side = param.whole("batch_size", 1), transform.whole("crop_size")
    spatial = (transform.whole("crop_height", side), transform.whole("crop_width", side))
    known = (batch, 3 if param.flag("is_color", True) else 1, *spatial) if all(spatial) else None
    label = (batch, 1, *spatial) if all(spatial) else None
    if param.text("label_type") == "NONE" and len(layer.tops) == 2:
        return Made((known, (batch, 1, 1, 2)))
    return Made((known, label, (batch, 1, 1, 2))[: len(layer.tops)])


def dense_images(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """SegNet's pictures with label pictures of their size."""
    param, transform = layer.param("dense_image_data"), layer.message.sub("transform_param")
    side = transform.whole("crop_size")
    spatial = (side, side) if side else (param.whole("new_height"), param.whole("new_width"))
    if not all(spatial):
        return Made((None,) * len(layer.tops))
    batch = param.whole("batch_size", 1)
    return Made(((batch, 3 if param.flag("is_color", True) else 1, *spatial), (batch, 1, *spatial))[: len(layer.tops)])


RULES: dict[str, Rule] = {
    "AnnotatedData": data, "Data": data, "DenseImageData": dense_images, "DummyData": dummy_data,
    "ImageData": image_data, "ImageSegData": segmented, "Input": inputs, "MemoryData": memory_data,
    "WindowData": window_data,
}  # fmt: skip
