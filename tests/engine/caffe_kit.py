"""What tests of compiled Caffe share: Debian's source of it, and the images made of that."""

from functools import cache

from images.build import Image, Order, Stage, build_context, existing
from images.choose import parse
from images.patches import ColumnBuffer
from images.render import render
from images.source import Source, resolve
from images.stacks import stacks
from infra.shell import LocalShell
from provision.settings import cache_home

SHELL = LocalShell()
TARGET = "caffe:cpu-debian12"


@cache
def source() -> Source:
    """Caffe as Debian packed it for its last release with Caffe: no network but the distribution's mirror."""
    return resolve(stacks()["caffe"], cache_home() / "sources", debian=True)


def image(stage: Stage = "runtime", column_buffer: ColumnBuffer = "ours") -> Image:
    """The image of that stage, built where it is not there yet."""
    context, order = render(parse(TARGET), column_buffer=column_buffer), Order(source(), stage)
    return existing(context, SHELL, order) or build_context(context, SHELL, print, order)
