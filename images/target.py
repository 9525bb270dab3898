"""Target: a stack on a row of the matrix, and the tag of its image."""

from dataclasses import dataclass

from images.matrix import Variant
from images.stacks import Stack


@dataclass(frozen=True)
class Target:
    """What can be rendered and built."""

    stack: Stack
    variant: Variant

    @property
    def name(self) -> str:
        """As typed: `caffe-debian:cpu-debian11`."""
        return f"{self.stack.name}:{self.variant.id}"

    @property
    def tag(self) -> str:
        """`provision/caffe-debian:cpu-debian11-<12 hex of the context>`: another Dockerfile is another tag."""
        from images.render import render  # it takes a Target itself

        return render(self).tag
