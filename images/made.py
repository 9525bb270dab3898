"""How an image came to be, as a value: the facts for both of its attestations.

What is listed as taken in is what the build was held to: the base images, the commit or the tree of the source, and
every file that may be installed by its SHA-256. Packages of the distribution are held by its signatures alone, and are
in the list of what is inside (`images.inventory`).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from images.build import Image, Order
from images.render import Context
from infra.basepin import Pin

_PINNED = re.compile(r"([\w.-]+)==(\S+?)((?: --hash=sha256:[0-9a-f]{64})+)")


@dataclass(frozen=True)
class Wheel:
    """A Python package that the build installs or unpacks, and the SHA-256 of the files that it takes for it."""

    name: str
    version: str
    sha256: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """An image, its own date of creation, and what it was made from; `bases` by name.

    `begun` and `ended` are the times of the build, if it was built just now.
    """

    image: Image
    created: datetime
    context: Context
    order: Order
    bases: Mapping[str, Pin]
    begun: datetime | None = None
    ended: datetime | None = None

    @property
    def name(self) -> str:
        return self.image.tag.partition(":")[0]

    @property
    def sha256(self) -> str:
        """The image's id without its `sha256:`."""
        return self.image.digest.removeprefix("sha256:")

    @property
    def is_compiled(self) -> bool:
        """Whether a source tree was fetched or handed in."""
        return "get_source.sh" in dict(self.context.files)

    @property
    def revision(self) -> str:
        """The commit of the source; a word such as "unknown" where the source is not a commit."""
        return self.order.source.revision or self.image.target.stack.revision

    @property
    def tree_sha256(self) -> str:
        """The SHA-256 of the source's tar, where one was handed in."""
        tar = self.order.source.tar
        return hashlib.sha256(tar.read_bytes()).hexdigest() if tar else ""

    @property
    def patches(self) -> tuple[str, ...]:
        """Names of the patches that were applied."""
        text = dict(self.context.files).get("patches.json")
        return tuple(patch["name"] for patch in json.loads(text)) if text else ()

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """All Python packages that the build may fetch, of the Dockerfile and its list, by name."""
        files = dict(self.context.files)
        found = {}
        for text in (files["Dockerfile"], files.get("requirements.txt", "")):
            for match in _PINNED.finditer(text):
                found[match[1]] = Wheel(match[1], match[2], tuple(re.findall("[0-9a-f]{64}", match[3])))
        return tuple(found[name] for name in sorted(found))

    @property
    def unpacked(self) -> tuple[Wheel, ...]:
        """Those of NVIDIA's wheels whose libraries are in the image, but no metadata: cuDNN and NCCL."""
        return tuple(wheel for wheel in self.wheels if wheel.name in self.image.target.variant.wheels)
