"""A net as boxes and lines, laid out from top to bottom (Sugiyama's way, by grandalf); in no picture's format yet.

A box is a layer with those that work in its place (ReLU, batch norm, scale, dropout) folded into it.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.errors import MissingExtraError
from provision.net import counts
from provision.net.graph import Layer
from provision.net.shapes import Inferred, Row, words
from provision.net.text import Message

Point = tuple[float, float]

_LINE, _SIGN, _PAD = 14.0, 6.3, 9.0  # of a box's text: a line's height, a sign's width, the margin, in pixels
_GAP_X, _GAP_Y = 26.0, 30.0

_KINDS = {
    "data": "Data ImageData HDF5Data MemoryData WindowData DummyData Input AnnotatedData VideoData Parameter "
    "DenseImageData ImageSegData ImageLabelmapData CPMData",
    "convolution": "Convolution Deconvolution Im2col ConvolutionDepthwise DepthwiseConvolution DeformableConvolution "
    "NdConvolution",
    "dense": "InnerProduct Embed LSTM RNN Recurrent LSTMUnit",
    "pooling": "Pooling NdPooling SPP Reduction ROIPooling ROIAlign PSROIPooling PSROIAlign DeformablePSROIPooling "
    "Upsample Unpooling Interp Resample Downsample Reorg",
    "norm": "BatchNorm LRN MVN Normalize Scale Bias BN SyncBN ChannelNorm",
    "join": "Concat Slice Eltwise Crop Reshape Flatten Split Tile Permute BatchReindex Filter Axpy ShuffleChannel "
    "CReLU",
    "loss": "SoftmaxWithLoss EuclideanLoss HingeLoss InfogainLoss ContrastiveLoss MultinomialLogisticLoss "
    "SigmoidCrossEntropyLoss SmoothL1Loss MultiBoxLoss Accuracy Softmax ArgMax Silence DetectionOutput "
    "DetectionEvaluate HDF5Output SmoothL1LossOHEM SoftmaxWithLossOHEM L1Loss RegionLoss Yolov3 SegAccuracy "
    "YoloDetectionOutput Yolov3DetectionOutput",
    "own": "Python MultiStageMeanfield PriorBox DenseCRF Proposal BoxAnnotatorOHEM Correlation FlowWarp "
    "DetectNetTransformation",
}
KIND = {name: kind for kind, names in _KINDS.items() for name in names.split()}

# fill and border of a box by its kind; `other` is for activations that are not in place and all that is new
COLOURS: Mapping[str, tuple[str, str]] = {
    "data": ("#e3e6ea", "#7b8794"), "convolution": ("#d5e5f7", "#3b6ea5"), "dense": ("#e4dbf5", "#6d4ba0"),
    "pooling": ("#fbe0d3", "#b5602b"), "norm": ("#dcf0dc", "#3f8a48"), "join": ("#fdf2c8", "#a68516"),
    "loss": ("#f9d7dc", "#b03a50"), "own": ("#d8f0ee", "#2d8a84"), "other": ("#f2f2f2", "#777777"),
}  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A box by its middle and size, in pixels; `lines` of text, the first is the layer's name."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """All boxes, and the lines between them as points from box to box. The origin is at the top left."""

    title: str
    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[tuple[Point, ...], ...]


def fold(inferred: Inferred) -> tuple[list[list[Row]], list[tuple[int, int]]]:
    """Rows that share a box, and the pairs of boxes that a blob joins."""
    groups: list[list[Row]] = []
    maker: dict[str, int] = {}
    pairs: dict[tuple[int, int], None] = {}
    for row in inferred.rows:
        layer = row.layer
        sources = [maker[name] for name in layer.bottoms if name in maker]
        if layer.in_place and len(layer.tops) == 1 and len(set(layer.bottoms)) == 1 and sources:
            groups[sources[0]].append(row)
            continue
        pairs.update(((source, len(groups)), None) for source in sources)
        maker.update(dict.fromkeys(layer.tops, len(groups)))
        groups.append([row])
    return groups, list(pairs)


def lay_out(inferred: Inferred, title: str) -> Scene:
    """The scene of a net. MissingExtraError without grandalf."""
    groups, pairs = fold(inferred)
    texts = [_texts(group) for group in groups]
    sizes = [(max(map(len, lines)) * _SIGN + 2 * _PAD, len(lines) * _LINE + _PAD) for lines in texts]
    places, routes = _placed(sizes, pairs)
    left = min((x - width / 2 for (x, _), (width, _) in zip(places, sizes, strict=True)), default=0.0) - 20
    top = min((y - height / 2 for (_, y), (_, height) in zip(places, sizes, strict=True)), default=0.0) - 46
    left = min([left, *(x - 20 for route in routes for x, _ in route)])
    boxes = tuple(
        Box(x - left, y - top, *size, KIND.get(group[0].layer.type, "other"), lines)
        for (x, y), size, group, lines in zip(places, sizes, groups, texts, strict=True)
    )
    lines = tuple(tuple((x - left, y - top) for x, y in route) for route in routes)
    width = max([*(box.x + box.width / 2 for box in boxes), *(x for line in lines for x, _ in line)], default=0.0) + 20
    height = max((box.y + box.height / 2 for box in boxes), default=0.0) + 20
    return Scene(title, max(width, len(title) * 7.5 + 40), height, boxes, lines)


def _texts(group: Sequence[Row]) -> tuple[str, ...]:
    first = group[0]
    kinds = " + ".join([_kind(first.layer), *(row.layer.type for row in group[1:])])
    shapes = list(dict.fromkeys(words(shape) for shape in first.tops)) or ["no output"]
    return tuple(line for line in (first.layer.name, kinds, ", ".join(shapes), counts.of_rows(list(group))) if line)


def _kind(layer: Layer) -> str:
    """The type, and what tells one layer of it from another: 3x3, stride, groups, operation, the class in Python."""
    for name in ("convolution", "deformable_convolution", "pooling"):
        if layer.message.messages(f"{name}_param"):
            return " ".join([_pooling(layer) or layer.type, *_window(layer.param(name))])
    for name in ("roi_pooling", "roi_align"):
        if height := layer.param(name).whole("pooled_h"):
            return f"{layer.type} {height}x{layer.param(name).whole('pooled_w')}"
    told = layer.param("eltwise").text("operation") or layer.param("python").text("layer")
    return f"{layer.type} {told}" if told else layer.type


def _pooling(layer: Layer) -> str:
    param = layer.param("pooling")
    return f"{param.text('pool', 'MAX')} pooling" if layer.type == "Pooling" else ""


def _window(param: Message) -> list[str]:
    if param.flag("global_pooling"):
        return ["global"]
    sides = [param.whole("kernel_h"), param.whole("kernel_w")] if param.ints("kernel_h") else param.ints("kernel_size")
    sides = sides * 2 if len(sides) == 1 else sides
    more = [("stride", "/"), ("dilation", "dilated "), ("hole", "dilated "), ("group", "groups ")]
    return [
        "x".join(map(str, sides)),
        *(f"{sign}{param.whole(name)}" for name, sign in more if param.whole(name, 1) != 1),
    ]


def _placed(
    sizes: Sequence[tuple[float, float]], pairs: Sequence[tuple[int, int]]
) -> tuple[list[Point], list[list[Point]]]:
    """The boxes' middles, and the lines' points; parts that hang together stand side by side."""
    layouts, graphs = _grandalf("layouts"), _grandalf("graphs")
    vertices = [graphs.Vertex(at) for at in range(len(sizes))]
    edges = [graphs.Edge(vertices[a], vertices[b]) for a, b in pairs]
    for vertex, (width, height) in zip(vertices, sizes, strict=True):
        vertex.view = layouts.VertexViewer(w=width, h=height)
    begin = 0.0
    routes: dict[Any, list[Point]] = {}
    for core in graphs.Graph(vertices, edges).C:
        begin = _lay_core(layouts, core, begin, routes)
    places = [vertex.view.xy for vertex in vertices]
    ends = [_ends(places, sizes, pair) for pair in pairs]
    return places, [
        [start, *routes.get(edge, []), stop] for edge, (start, stop) in zip(edges, ends, strict=True)
    ]  # fmt: skip


def _lay_core(layouts: Any, core: Any, begin: float, routes: dict[Any, list[Point]]) -> float:
    """Place a part from x = `begin` on, note the bends of its lines; where the next part may begin."""
    layout = layouts.SugiyamaLayout(core)
    layout.xspace, layout.yspace, layout.dw, layout.dh = _GAP_X, _GAP_Y, 4.0, 4.0
    # a net has no circles: to look for some would recurse as deep as the net is
    layout.init_all(roots=[vertex for vertex in core.sV if not vertex.e_in()], inverted_edges=[])
    layout.draw(2)
    bends = {edge: [by_rank[rank].view for rank in sorted(by_rank)[1:-1]] for edge, by_rank in layout.ctrls.items()}
    views = [vertex.view for vertex in core.sV] + [view for some in bends.values() for view in some]
    shift = begin - min(view.xy[0] - view.w / 2 for view in views)
    for view in views:
        view.xy = (view.xy[0] + shift, view.xy[1])
    heights = {vertex: max(box.view.h for box in rank) / 2 for rank in layout.layers for vertex in rank}
    for edge, by_rank in layout.ctrls.items():  # upright past the boxes of each rank
        passed = [(by_rank[rank].view.xy, heights[by_rank[rank]]) for rank in sorted(by_rank)[1:-1]]
        routes[edge] = [(x, y + side) for (x, y), half in passed for side in (-half, half)]
    return float(max(view.xy[0] + view.w / 2 for view in views) + 2 * _GAP_X)


def _ends(places: Sequence[Point], sizes: Sequence[tuple[float, float]], pair: tuple[int, int]) -> tuple[Point, Point]:
    """From the lower edge of one box to the upper edge of the other."""
    (x, y), (to_x, to_y) = places[pair[0]], places[pair[1]]
    return (x, y + sizes[pair[0]][1] / 2), (to_x, to_y - sizes[pair[1]][1] / 2)


def _grandalf(module: str) -> Any:
    try:
        return importlib.import_module(f"grandalf.{module}")
    except ImportError as error:
        raise MissingExtraError("drawing a net needs grandalf", "pip install 'provision-spot[net]'") from error
