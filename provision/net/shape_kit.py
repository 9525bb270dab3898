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


def per_axis(param: Message, name: str, axes: int, default: int, paired: bool = False) -> list[int]:
    """A window's field for each spatial axis: `NAME_h`, `NAME_w`, or NAME (kernel_size for kernel) once or per axis.

    `paired`: not one of `NAME_h` and `NAME_w` alone. A fork for videos has `NAME_shape` with a dim for each.
    """
    whole = "kernel_size" if name == "kernel" else name
    sides = [side for side in (f"{name}_h", f"{name}_w") if param.all(side)]
    if sides:
        if axes != 2:
            raise Odd(f"{name}_h and {name}_w want 2 spatial axes, there are {axes}")
        if param.all(whole):
            raise Odd(f"{whole} and {sides[0]} are both given")
        if len(sides) == 1 and (paired or name in ("kernel", "stride")):
            raise Odd(f"{sides[0]} is given without {name}_{'w' if sides[0].endswith('h') else 'h'}")
        return [wanted(param, f"{name}_{side}", default) for side in "hw"]
    given = [*map(int, _wholes(param, whole))] or param.sub(f"{name}_shape").ints("dim") or [default]
    if len(given) not in (1, axes):
        raise Odd(f"{whole} is given {len(given)} times for {axes} spatial axes")
    return given * axes if len(given) == 1 else given


def _wholes(param: Message, name: str) -> list[int]:
    for value in param.all(name):
        if not isinstance(value, int) or value < 0:
            told = "a message" if isinstance(value, Message) else repr(value) if isinstance(value, str) else value
            raise Odd(f"{name} is {told}, and a whole number from 0 is wanted")
    return param.ints(name)


def legacy(shape: Shape) -> Shape:
    """The shape as Caffe's older layers look at it: of 4 axes, with 1 for each that is not there (blob.hpp:
    LegacyShape). Odd where it has more."""
    if len(shape) > 4:
        raise Odd(f"at most 4 axes are wanted, the bottom is {sizes(shape)}")
    return shape + (1,) * (4 - len(shape))


def wanted(param: Message, name: str, default: int | None = None) -> int:
    """A field's whole number; Odd where it is none, or is not given and has no default, for which 0 stands as well."""
    found = _wholes(param, name)
    if default is None and not (found and found[-1]):
        raise Odd(f"{name} is 0" if found else f"{name} is not given")
    return found[-1] if found else default or 0


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
