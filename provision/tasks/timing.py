"""What `caffe time` printed, as a table: milliseconds forward and backward, by layer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from infra.errors import RunError

# glog's own front, then the layer's name (padded to ten), a tab and the direction
_NUMBER = r"(?P<ms>[-+.\deE]+|-?nan|-?inf)"
_LAYER = re.compile(rf"^[^\]]*\] +(?P<layer>\S.*?)\s*\t(?P<way>forward|backward): {_NUMBER} ms\.")
_TOTAL = re.compile(
    rf"\] (?P<what>Average Forward pass|Average Backward pass|Average Forward-Backward): {_NUMBER} ms\."
)
_ITERATIONS = re.compile(r"\] Testing for (\d+) iterations\.")
ORDERS = ("net", "forward", "backward", "total", "name")


@dataclass(frozen=True)
class Layer:
    """One layer's times in milliseconds, averaged over the iterations."""

    name: str
    forward: float
    backward: float

    @property
    def total(self) -> float:
        return self.forward + self.backward


@dataclass(frozen=True)
class Timing:
    """A net's times. The passes are timed as a whole, and are a little more than the sum of the layers."""

    layers: tuple[Layer, ...]
    forward: float
    backward: float
    both: float
    iterations: int

    def rows(self, order: str) -> list[dict[str, Any]]:
        """The layers in the net's order, by name, or the slowest first; with their share of all in percent."""
        sort = {"net": lambda _: 0, "name": lambda layer: layer.name, "total": lambda layer: -layer.total,
                "forward": lambda layer: -layer.forward, "backward": lambda layer: -layer.backward}  # fmt: skip
        whole = sum(layer.total for layer in self.layers) or 1.0
        return [
            {"layer": layer.name, "forward_ms": layer.forward, "backward_ms": layer.backward,
             "total_ms": round(layer.total, 6), "share": round(100 * layer.total / whole, 1)}
            for layer in sorted(self.layers, key=sort[order])
        ]  # fmt: skip

    def totals(self) -> dict[str, Any]:
        return {
            "forward_ms": self.forward, "backward_ms": self.backward, "forward_backward_ms": self.both,
            "iterations": self.iterations,
        }  # fmt: skip


def parse(lines: Iterable[str]) -> Timing:
    """Read the times. RunError where the benchmark did not come to its end."""
    ways: dict[str, dict[str, float]] = {}
    totals: dict[str, float] = {}
    iterations = 0
    for line in lines:
        if found := _LAYER.search(line):
            ways.setdefault(found["layer"], {})[found["way"]] = float(found["ms"])
        elif found := _TOTAL.search(line):
            totals[found["what"]] = float(found["ms"])
        elif found := _ITERATIONS.search(line):
            iterations = int(found[1])
    if len(totals) < 3 or not ways:
        raise RunError("`caffe time` printed no times", "see what it said: its task must end with `caffe time`")
    layers = tuple(Layer(name, times.get("forward", 0.0), times.get("backward", 0.0)) for name, times in ways.items())
    return Timing(
        layers, totals["Average Forward pass"], totals["Average Backward pass"], totals["Average Forward-Backward"],
        iterations,
    )  # fmt: skip
