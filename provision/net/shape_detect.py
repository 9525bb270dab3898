"""Rules of shapes for detectors: SSD's boxes, regions of (Fast|Faster) R-CNN and R-FCN, YOLO's cells, DetectNet's grid.

How many regions or boxes are found is not in the file. Regions are counted as py-faster-rcnn's settings have them
unless they are told, and a note says so; an output of found boxes is one row, as Caffe itself sets it up. Facts from
weiliu89/caffe 4817bf8b, rbgirshick/py-faster-rcnn 781a9170, daijifeng001/caffe-rfcn 543f8f6a, NVIDIA/caffe 87a25543
and eric612/MobileNet-YOLO 69b44415.
"""

import re
from collections.abc import Sequence

from provision.net.graph import Layer
from provision.net.shape_kit import Made, Odd, PartRule, Rule, Shape, places, size, sizes

_FOUND, _SAMPLED = 300, 128  # regions of a test after non-maximum suppression, and of a training's batch


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


def found_boxes(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """SSD's and YOLO's results: picture, label, score and four sides of each box."""
    return Made(((1, 1, 1, 7),), note="a row for each box that is found")


def evaluated(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """SSD's comparison with the true boxes: as many rows as there are classes and boxes."""
    return Made((None,), note="a row for each class and box")


def regions(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """ROIPooling and ROIAlign: a window of fixed size out of each region."""
    param = layer.param("roi_pooling" if layer.type == "ROIPooling" else "roi_align")
    bottom = bottoms[0]
    if len(bottom) != 4:
        raise Odd(f"regions are cut out of 4 axes, the bottom is {sizes(bottom)}")
    height, width = param.whole("pooled_h"), param.whole("pooled_w")
    if not height or not width:
        raise Odd("pooled_h and pooled_w are not given")
    return Made(((bottoms[1][0], bottom[1], height, width),))


def sensitive_regions(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """R-FCN's pooling: each cell of a region has channels of its own."""
    param = layer.param("deformable_psroi_pooling" if layer.type.startswith("Deformable") else "psroi_pooling")
    outputs, group = param.whole("output_dim"), param.whole("group_size")
    if not outputs or not group:
        raise Odd("output_dim and group_size are not given")
    if bottoms[0][1] != outputs * group * group:
        raise Odd(f"{bottoms[0][1]} channels are not output_dim {outputs} x group_size {group} x {group}")
    return Made(((bottoms[1][0], outputs, group, group),))


def proposals(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """A region is its picture and four sides."""
    top = layer.tops[0] if layer.tops else "rois"
    note = f"{_FOUND} regions, as py-faster-rcnn tests; else --shape {top}:N,5"
    return Made(((_FOUND, 5), (_FOUND, 1))[: len(layer.tops)], note=note)


def anchor_targets(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """What each anchor is to say: a label, four sides and their weights."""
    scores = bottoms[0] if bottoms else None
    if scores is None or len(scores) != 4:
        return Made((None,) * len(layer.tops))
    anchors, (height, width) = scores[1] // 2, scores[2:]
    sides = (1, anchors * 4, height, width)
    return Made(((1, 1, anchors * height, width), sides, sides, sides)[: len(layer.tops)])


def proposal_targets(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    classes = re.search(r"num_classes['\"]?\s*:\s*(\d+)", layer.param("python").text("param_str"))
    sides = (_SAMPLED, 4 * int(classes[1])) if classes else None
    top = layer.tops[0] if layer.tops else "rois"
    note = f"{_SAMPLED} regions, as py-faster-rcnn trains; else --shape {top}:N,5"
    return Made(((_SAMPLED, 5), (_SAMPLED,), sides, sides, sides)[: len(layer.tops)], note=note)


def region_data(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    """Fast and Faster R-CNN's pictures, of any size, with what belongs to them, which goes by the tops' names."""
    classes = re.search(r"num_classes['\"]?\s*:\s*(\d+)", layer.param("python").text("param_str"))
    sides = (_SAMPLED, 4 * int(classes[1])) if classes else None
    known: dict[str, Shape | None] = {
        "gt_boxes": (1, 5), "im_info": (1, 3), "rois": (_SAMPLED, 5), "labels": (_SAMPLED,), "bbox_targets": sides,
        "bbox_inside_weights": sides, "bbox_outside_weights": sides, "bbox_loss_weights": sides,
    }  # fmt: skip
    return Made(tuple(known.get(name) for name in layer.tops))


def hard_examples(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """R-FCN's choice of the worst regions: labels, and weights as the sides' targets have."""
    count, sides = bottoms[0][0], bottoms[3]
    return Made(((count, 1, *sides[2:]), sides)[: len(layer.tops)])


def reorganised(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """YOLO's passthrough: a square of pixels becomes channels, or the other way round."""
    param, bottom = layer.param("reorg"), bottoms[0]
    stride = param.whole("stride")
    if len(bottom) != 4 or stride < 1:
        raise Odd(f"a stride and 4 axes are wanted, the bottom is {sizes(bottom)}")
    count, channels, height, width = bottom
    if param.flag("reverse"):
        return Made(((count, channels // stride**2, height * stride, width * stride),))
    return Made(((count, channels * stride**2, height // stride, width // stride),))


def detect_grid(layer: Layer, bottoms: Sequence[Shape]) -> Made:
    """DetectNet's pictures and grid of labels: coverage, four sides, size and number of objects, and each class."""
    param, bottom = layer.param("detectnet_groundtruth"), bottoms[0]
    width, height, stride = (
        param.whole("image_size_x", 1248),
        param.whole("image_size_y", 384),
        param.whole("stride", 4),
    )
    classes = 1 + max((one.whole("dst") for one in param.messages("object_class")), default=0)
    grid = (bottom[0], classes + 8, height // max(stride, 1), width // max(stride, 1))
    return Made((places(bottom, height, width), grid)[: len(layer.tops)])


def _same(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    return Made((bottoms[0] if bottoms else None,) * len(layer.tops))


def _loss(layer: Layer, bottoms: Sequence[Shape | None]) -> Made:
    return Made(((1,),))


_PYTHON: dict[str, PartRule] = {
    "AnchorTargetLayer": anchor_targets, "ProposalLayer": proposals, "ProposalTargetLayer": proposal_targets,
    "RoIDataLayer": region_data, "SpatialDropoutLayer": _same,
}  # fmt: skip


def python(layer: Layer) -> PartRule | None:
    """The rule of a layer in Python: py-faster-rcnn's own, dropout of whole channels and losses. None for any other."""
    name = layer.param("python").text("layer")
    return _PYTHON.get(name) or (_loss if "Loss" in name and len(layer.tops) == 1 else None)


RULES: dict[str, Rule] = {
    "BoxAnnotatorOHEM": hard_examples, "DeformablePSROIPooling": sensitive_regions,
    "DetectNetTransformation": detect_grid, "PSROIAlign": sensitive_regions, "PSROIPooling": sensitive_regions,
    "Permute": permute, "PriorBox": prior_box, "ROIAlign": regions, "ROIPooling": regions, "Reorg": reorganised,
}  # fmt: skip
PART_RULES: dict[str, PartRule] = {
    "DetectionEvaluate": evaluated, "DetectionOutput": found_boxes, "Proposal": proposals,
    "YoloDetectionOutput": found_boxes, "Yolov3DetectionOutput": found_boxes,
}  # fmt: skip
