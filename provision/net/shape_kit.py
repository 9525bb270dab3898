"""What the rules of shapes share. A rule is a function of a layer and its bottoms' shapes; it gives `Made` or raises
`Odd` with what Caffe would stop for."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from provision.net.graph import Layer
from provision.net.text import Message

Shape = tuple[int, ...]


class Odd(Exception):
    """Shapes that do not fit: Caffe stops at this layer."""


@dataclass(frozen=True)
class Made:
    """The tops' shapes (None: unknown), the parameters' shapes and the multiply-adds of one forward pass. `kept` are
    the places of those parameters that are kept, not learned (a batch norm's running numbers); `note` says where a
    shape comes from that the file does not tell."""

    tops: tuple[Shape | None, ...]
    params: tuple[Shape, ...] = ()
    macs: int = 0
    kept: tuple[int, ...] = ()
    note: str = ""


Rule = Callable[[Layer, Sequence[Shape]], Made]
PartRule = Callable[[Layer, Sequence[Shape | None]], Made]  # a rule that copes with unknown bottoms


def axis_of(shape: Shape, axis: int) -> int:
    """The axis counted from 0; -1 is the last. Odd where there is none."""
    if not -len(shape) <= axis < len(shape):
        raise Odd(f"axis {axis} of a blob with {len(shape)} axes ({sizes(shape)})")
    return axis % len(shape)


def per_axis(param: Message, name: str, axes: int, default: int) -> list[int]:
    """A window's field for each spatial axis: `NAME_h`, `NAME_w`, or NAME (kernel_size for kernel) once or per axis.

    A fork for videos has `NAME_shape` with a dim for each.
    """
    if param.ints(f"{name}_h") or param.ints(f"{name}_w"):
        if axes != 2:
            raise Odd(f"{name}_h and {name}_w want 2 spatial axes, there are {axes}")
        return [param.whole(f"{name}_h", default), param.whole(f"{name}_w", default)]
    given = (
        param.ints("kernel_size" if name == "kernel" else name) or param.sub(f"{name}_shape").ints("dim") or [default]
    )
    if len(given) not in (1, axes):
        raise Odd(f"{name} is given {len(given)} times for {axes} spatial axes")
    return given * axes if len(given) == 1 else given


def places(bottom: Shape, height: int, width: int) -> Shape:
    """A blob of pictures with its last two axes changed. Odd where it has not 4 axes, or nothing would be left."""
    if len(bottom) != 4:
        raise Odd(f"4 axes are wanted, the bottom is {sizes(bottom)}")
    if min(height, width) < 1:
        raise Odd(f"nothing is left of {sizes(bottom)}")
    return (*bottom[:2], height, width)


def size(shape: Sequence[int]) -> int:
    return math.prod(shape)


def sizes(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "scalar"
