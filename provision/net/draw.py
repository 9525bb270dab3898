"""A scene as a picture: SVG by our own writing, PNG (and PDF) by matplotlib."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from infra.errors import MissingExtraError, UsageError
from provision.files.whole import atomic_file
from provision.net.scene import COLOURS, Box, Point, Scene

_INK, _WIRE = "#22262b", "#8a9099"
_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
_MOST = 60_000  # pixels of a side, of which matplotlib draws 65,536


def save(scene: Scene, target: Path) -> None:
    """Draw into `target`; its suffix (.svg, .png, .pdf) is the format.

    It appears whole or not at all. UsageError for another suffix, and where `target` cannot be written.
    """
    if target.suffix not in (".svg", ".png", ".pdf"):
        raise UsageError(f"{target}: a net cannot be drawn in this format", "name a .svg, .png or .pdf file")
    with atomic_file(target) as part:
        if target.suffix == ".svg":
            part.write_text(svg(scene), encoding="utf-8")
        else:
            _figure(scene).savefig(part, dpi=_dpi(scene), format=target.suffix[1:])


def svg(scene: Scene) -> str:
    """The scene as SVG: each box is a group with its text, so that it can be searched and copied."""
    return "".join(_svg(scene))


def _svg(scene: Scene) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{scene.width:.0f}" height="{scene.height:.0f}" '
        f'viewBox="0 0 {scene.width:.1f} {scene.height:.1f}" font-family="{_FONT}" font-size="11" fill="{_INK}">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0.5 L8 4 L0 7.5 z" fill="{_WIRE}"/></marker></defs>\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="20" y="28" font-size="14">{escape(scene.title)}</text>\n'
    )
    for line in scene.lines:
        yield f'<path d="{_path(line)}" fill="none" stroke="{_WIRE}" stroke-width="1.2" marker-end="url(#tip)"/>\n'
    for box in scene.boxes:
        yield from _svg_box(box)
    yield "</svg>\n"


def _svg_box(box: Box) -> Iterator[str]:
    fill, border = COLOURS[box.kind]
    left, top = box.x - box.width / 2, box.y - box.height / 2
    yield (
        f'<g><rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="5" '
        f'fill="{fill}" stroke="{border}"/>'
    )
    for number, text in enumerate(box.lines):
        weight = ' font-weight="bold"' if number == 0 else ""
        y = _text_y(box, number) + 4
        yield f'<text x="{box.x:.1f}" y="{y:.1f}" text-anchor="middle"{weight}>{escape(text)}</text>'
    yield "</g>\n"


def _text_y(box: Box, number: int) -> float:
    """The middle of a line of text."""
    return box.y + (number - (len(box.lines) - 1) / 2) * 14.0


def _path(line: tuple[Point, ...]) -> str:
    """A curve that leaves and enters every point upright."""
    words = [f"M{line[0][0]:.1f} {line[0][1]:.1f}"]
    for leaving, entering, point in _curves(line):
        words.append(
            f"C{leaving[0]:.1f} {leaving[1]:.1f} {entering[0]:.1f} {entering[1]:.1f} {point[0]:.1f} {point[1]:.1f}"
        )
    return " ".join(words)


def _curves(line: tuple[Point, ...]) -> Iterator[tuple[Point, Point, Point]]:
    """Two handles and the end of each part."""
    for (x, y), (to_x, to_y) in pairwise(line):
        middle = (y + to_y) / 2
        yield (x, middle), (to_x, middle), (to_x, to_y)


def _dpi(scene: Scene) -> float:
    """150 dots an inch, an inch being 100 pixels of the scene; less for a net too tall for that."""
    return min(150.0, _MOST * 100 / max(scene.width, scene.height))


def _figure(scene: Scene) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        mend = "pip install 'provision-spot[net]', or draw a .svg"
        raise MissingExtraError("a PNG needs matplotlib", mend) from error
    figure = Figure(figsize=(scene.width / 100, scene.height / 100))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    axes.set_axis_off()
    axes.text(20, 24, scene.title, fontsize=10, color=_INK, va="center")
    for line in scene.lines:
        axes.add_patch(_wire(line))
    for box in scene.boxes:
        _paint(axes, box)
    return figure


def _wire(line: tuple[Point, ...]) -> Any:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    points, codes = [line[0]], [Curve.MOVETO]
    for part in _curves(line):
        points += part
        codes += [Curve.CURVE4] * 3
    return FancyArrowPatch(
        path=Curve(points, codes), arrowstyle="-|>", mutation_scale=7, color=_WIRE, linewidth=0.9, shrinkA=0, shrinkB=0
    )


def _paint(axes: Any, box: Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    fill, border = COLOURS[box.kind]
    style = "round,pad=0,rounding_size=5"
    corner = (box.x - box.width / 2, box.y - box.height / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner, box.width, box.height, boxstyle=style, facecolor=fill, edgecolor=border, linewidth=0.8
        )
    )  # fmt: skip
    for number, text in enumerate(box.lines):
        axes.text(
            box.x, _text_y(box, number), text, fontsize=7.4, ha="center", va="center", color=_INK,
            fontweight="bold" if number == 0 else "normal",
        )  # fmt: skip
