"""Rules of batch norm: use_global_stats by hand, a bias before it, no Scale behind it, what it keeps being learned.
Facts are of Caffe 9b89154."""

from collections.abc import Iterator
from itertools import zip_longest

from provision.lint.case import Built, BuiltRule
from provision.lint.finding import Finding
from provision.net.graph import Layer

_MEND = "leave use_global_stats out: Caffe takes the batch's numbers in TRAIN and the kept ones in TEST"


def stats(built: Built) -> Iterator[Finding]:
    """use_global_stats by hand, against the phase."""
    for layer in built.layers:
        given = layer.param("batch_norm").one("use_global_stats") if layer.type == "BatchNorm" else None
        if given is None:
            continue
        fixed = layer.param("batch_norm").flag("use_global_stats")
        if not fixed and built.phase == "TEST":
            what = f"{layer.name} takes the batch's own mean in TEST (use_global_stats: false)"
            why = "a test of few or alike pictures says nothing, and one picture alone becomes all zeros"
            yield built.case.finding("warning", "norm", layer.line, what, why, _MEND)
        elif fixed and built.trains:
            what = f"{layer.name} takes kept numbers in TRAIN (use_global_stats: true)"
            why = "without trained weights they are zeros, and they never change"
            yield built.case.finding("warning", "norm", layer.line, what, why, _MEND)


def partners(built: Built) -> Iterator[Finding]:
    """No Scale behind a norm, a bias before it: what a training wastes. A net for use stays as it was trained."""
    if not built.trains:
        return
    made: dict[str, Layer] = {}
    for layer, after in zip_longest(built.layers, built.layers[1:]):
        if layer.type == "BatchNorm":
            yield from _partners(built, layer, made.get("".join(layer.bottoms[:1])), after)
        made.update((name, layer) for name in layer.tops)


def _partners(built: Built, layer: Layer, before: Layer | None, after: Layer | None) -> Iterator[Finding]:
    top = "".join(layer.tops[:1])
    scales = layer.param("batch_norm").flag("scale_bias")  # NVCaffe's own scale and shift
    if not scales and (after is None or after.type != "Scale" or top not in after.bottoms):
        what = f"{layer.name} is not followed by a Scale"
        why = "Caffe's BatchNorm has no scale and shift of its own: the net can say less than it is meant to"
        yield built.case.finding("warning", "norm", layer.line, what, why, "add a Scale with bias_term: true")
    if before and before.type == "Convolution" and before.param("convolution").flag("bias_term", True):
        what = f"{before.name} has a bias, which {layer.name} takes out again"
        why = "it costs memory and learns nothing"
        yield built.case.finding("warning", "norm", before.line, what, why, "write bias_term: false")


def kept(built: Built) -> Iterator[Finding]:
    """What a batch norm keeps may not be learned; three `param` Caffe sets right itself (upgrade_proto.cpp)."""
    for layer in built.layers if built.case.speaks_bvlc else ():
        specs = layer.message.messages("param")
        if layer.type == "BatchNorm" and len(specs) in (1, 2) and any(spec.one("lr_mult", 1) != 0 for spec in specs):
            what = f"{layer.name} has {len(specs)} param, whose lr_mult is not 0"
            why = "Caffe stops: Cannot configure batch normalization statistics as layer parameters"
            yield built.case.finding("error", "norm", specs[0].line, what, why, "leave them out, or write lr_mult: 0")


RULES: tuple[BuiltRule, ...] = (stats, partners, kept)
