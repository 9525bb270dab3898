"""SSD's arithmetic: what PriorBox, the convolutions and MultiBoxLoss or DetectionOutput say must be one thing.

For each map the convolution of places has 4 channels for each prior, that of classes num_classes for each; maps, places
and classes are joined in one order. Facts of Caffe are of weiliu89/caffe 4817bf8b.
"""

from collections.abc import Iterator

from provision.lint.case import Built, BuiltRule
from provision.lint.finding import Finding
from provision.lint.heads import Detector, Head, Join, detectors, numbers, priors_of
from provision.net.graph import Layer

_FAR = 0.25  # of the picture, between what the steps cover and the picture


def priors(built: Built) -> Iterator[Finding]:
    """Sizes and variances that PriorBox stops for, and steps that leave a part of the picture without priors."""
    for row in built.inferred.rows:
        if row.layer.type != "PriorBox":
            continue
        for what, mend in _sizes(row.layer):
            what = f"{row.layer.name}: {what}"
            yield built.case.finding("error", "ssd", row.layer.line, what, "Caffe stops at this layer", mend, fold=mend)
        shapes = [built.inferred.blobs.get(name) for name in row.layer.bottoms[:2]]
        if len(shapes) == 2 and all(shape is not None and len(shape) == 4 and min(shape) > 0 for shape in shapes):
            cells, picture = (shape[2:] for shape in shapes if shape)
            yield from _steps(built, row.layer, cells, picture)


def _sizes(box: Layer) -> Iterator[tuple[str, str]]:
    param = box.param("prior_box")
    least, most = numbers(param.all("min_size")), numbers(param.all("max_size"))
    if not least:
        yield "no min_size is given", "write min_size: PIXELS"
    elif most and len(most) != len(least):
        yield f"{len(least)} min_size and {len(most)} max_size", "write as many max_size as min_size, or none"
    elif wrong := [(low, high) for low, high in zip(least, most, strict=False) if high <= low]:
        yield f"max_size {wrong[0][1]:g} is not above min_size {wrong[0][0]:g}", "write a larger max_size"
    if min(least, default=1.0) <= 0:
        yield f"min_size is {min(least):g}", "sizes are pixels of the picture"
    if len(param.all("variance")) not in (0, 1, 4):
        yield f"{len(param.all('variance'))} variances", "write one variance, or four"
    if 0.0 in numbers(param.all("aspect_ratio")):
        yield "an aspect_ratio is 0", "write width / height"


def _steps(built: Built, box: Layer, cells: tuple[int, ...], picture: tuple[int, ...]) -> Iterator[Finding]:
    param = box.param("prior_box")
    for axis, at, name in ((0, "h", "height"), (1, "w", "width")):
        step = (numbers(param.all("step")) or numbers(param.all(f"step_{at}")) or [0.0])[-1]
        side = (numbers(param.all("img_size")) or numbers(param.all(f"img_{at}")) or [float(picture[axis])])[-1]
        covered = step * cells[axis]
        if step > 0 < side and not (1 - _FAR) * side < covered < (1 + _FAR) * side + step:
            what = f"{box.name}: step {step:g} x {cells[axis]} cells is {covered:g} pixels of a {name} of {side:g}"
            why = "the priors do not lie on what the cells see"
            mend = f"write step: {side / cells[axis]:.4g}, or leave it out: Caffe computes it"
            yield built.case.finding("warning", "ssd", box.line, what, why, mend, fold=f"step {name}")
            return


def heads(built: Built) -> Iterator[Finding]:
    """Priors x 4 and priors x classes against the convolutions, their number and order."""
    for detector in detectors(built.layers):
        yield from _of_detector(built, detector)


def _of_detector(built: Built, detector: Detector) -> Iterator[Finding]:
    layer = detector.layer
    if detector.classes < 1:
        what, why = f"{layer.name}: num_classes is not given", "Caffe stops: Must provide num_classes"
        yield built.case.finding("error", "ssd", layer.line, what, why, "write it, with the background")
        return
    joins = {"mbox_loc": detector.loc, "mbox_conf": detector.conf, "mbox_priorbox": detector.priors}
    counts = {_name(join, name): len(join.heads) for name, join in joins.items() if join is not None}
    if len(set(counts.values())) > 1:
        what = " and ".join(f"{name} joins {count} maps" for name, count in counts.items())
        why = "Caffe stops: Number of priors must match number of location predictions"
        yield built.case.finding("error", "ssd", layer.line, what, why, "join the same maps in each")
        return
    moved = list(_order(built, detector))
    classes = [] if moved else list(_classes(built, detector))
    yield from moved or (*_places(built, detector), *classes)
    yield from _channels_last(built, detector)
    if not any(one.line == layer.line for one in classes):
        yield from _reshaped(built, detector)


def _name(join: Join, otherwise: str) -> str:
    return join.concat.name if join.concat else otherwise


def _order(built: Built, detector: Detector) -> Iterator[Finding]:
    """The maps in another order than the priors': found where each reads the very map of its priors."""
    if detector.priors is None or detector.priors.concat is None:
        return
    wanted = [head.feature for head in detector.priors.heads]
    for join in (detector.loc, detector.conf):
        if join is None or join.concat is None:
            continue
        mine = [head.feature for head in join.heads]
        if mine != wanted and sorted(mine) == sorted(wanted) and len(set(wanted)) == len(wanted):
            at = next(at for at, pair in enumerate(zip(mine, wanted, strict=True)) if pair[0] != pair[1])
            what = (
                f"{join.concat.name} joins {mine[at]} in place {at + 1}, "
                f"and {detector.priors.concat.name} {wanted[at]}: maps and priors are out of order"
            )
            why = "boxes of one map are held against the priors of another: it trains nonsense, or Caffe stops"
            mend = f"join in one order: {', '.join(wanted)}"
            yield built.case.finding("error", "ssd", join.concat.line, what, why, mend)


def _places(built: Built, detector: Detector) -> Iterator[Finding]:
    if detector.loc is None or detector.priors is None:
        return
    each = detector.boxes_of_each
    for head, box in zip(detector.loc.heads, detector.priors.heads, strict=True):
        have, cell = _channels(head), priors_of(box.layer)
        want = cell * 4 * each
        if have and cell and have != want:
            classes = "" if each == 1 else f" x {each} classes"
            what = f"{head.layer.name}: num_output {have}, and {box.layer.name} has {_cell(cell)} x 4{classes} = {want}"
            why = "Caffe stops: Number of priors must match number of location predictions"
            yield built.case.finding("error", "ssd", head.layer.line, what, why, f"write num_output: {want}", "loc")


def _classes(built: Built, detector: Detector) -> Iterator[Finding]:
    """Channels of the classes: all for another number of classes, or single ones that are wrong."""
    if detector.conf is None or detector.priors is None:
        return
    pairs = [
        (head, box.layer, _channels(head), priors_of(box.layer))
        for head, box in zip(detector.conf.heads, detector.priors.heads, strict=True)
    ]
    pairs = [pair for pair in pairs if pair[2] and pair[3]]
    spoken = {have // cell if have % cell == 0 else 0 for _, _, have, cell in pairs}
    why = "Caffe stops: Number of priors must match number of confidence predictions"
    if len(spoken) == 1 and (said := spoken.pop()) and said != detector.classes:
        what = f"{detector.layer.name}: num_classes {detector.classes}, and the {len(pairs)} convolutions of classes"
        what += f" ({pairs[0][0].layer.name}: {pairs[0][2]} / {_cell(pairs[0][3])}) have {said}"
        mend = f"write num_classes: {said}, or {pairs[0][3]} x {detector.classes} channels there, and so on"
        yield built.case.finding("error", "ssd", detector.layer.line, what, why, mend)
        return
    for head, box, have, cell in pairs:
        want = cell * detector.classes
        if have != want:
            what = (
                f"{head.layer.name}: num_output {have}, and {box.name} has "
                f"{_cell(cell)} x {detector.classes} classes = {want}"
            )
            yield built.case.finding("error", "ssd", head.layer.line, what, why, f"write num_output: {want}", "conf")


def _cell(count: int) -> str:
    return f"{count} prior{'' if count == 1 else 's'} a cell"


def _channels(head: Head) -> int:
    return head.layer.param("convolution").whole("num_output")


def _channels_last(built: Built, detector: Detector) -> Iterator[Finding]:
    """A convolution's numbers are flattened with the channels last: a Permute of 0, 2, 3, 1 stands before."""
    for head in (head for join in (detector.loc, detector.conf) if join for head in join.heads):
        flat = any(layer.type in ("Flatten", "Reshape") for layer in head.between)
        orders = [layer.param("permute").ints("order") for layer in head.between if layer.type == "Permute"]
        if flat and orders != [[0, 2, 3, 1]]:
            told = f"in the order {', '.join(map(str, orders[0]))}" if orders else "without a Permute before"
            what = f"{head.layer.name} is flattened {told}"
            why = "numbers of one prior do not lie side by side: it trains nonsense, without a word"
            mend = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
            yield built.case.finding("error", "ssd", head.layer.line, what, why, mend)


def _reshaped(built: Built, detector: Detector) -> Iterator[Finding]:
    """The Reshape before the softmax, whose last dimension is the classes."""
    for layer in detector.conf.behind if detector.conf else ():
        dims = layer.param("reshape").sub("shape").ints("dim") if layer.type == "Reshape" else []
        if len(dims) == 3 and dims[2] > 0 and dims[2] != detector.classes:
            what = f"{layer.name} makes rows of {dims[2]}, and {detector.layer.name} has {detector.classes} classes"
            why = "the softmax goes over other numbers than one prior's classes"
            yield built.case.finding("error", "ssd", layer.line, what, why, f"write dim: {detector.classes}")


def evaluated(built: Built) -> Iterator[Finding]:
    """DetectionEvaluate's classes and background against DetectionOutput's."""
    outputs = [layer for layer in built.layers if layer.type == "DetectionOutput"]
    for layer in built.layers:
        if layer.type != "DetectionEvaluate" or len(outputs) != 1:
            continue
        output, param = outputs[0].param("detection_output"), layer.param("detection_evaluate")
        for name, default in (("num_classes", 0), ("background_label_id", 0)):
            mine, theirs = param.whole(name, default), output.whole(name, default)
            if mine != theirs:
                what = f"{layer.name}: {name} {mine}, and {outputs[0].name} has {theirs}"
                why = "scores are counted for other classes than are found"
                yield built.case.finding("error", "ssd", layer.line, what, why, f"write {name}: {theirs}", fold=name)


RULES: tuple[BuiltRule, ...] = (priors, heads, evaluated)
