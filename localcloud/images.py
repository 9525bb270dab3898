"""Which Docker image is behind each AMI.

The full image has Docker and stand-ins for NVIDIA's tools, as AWS's deep learning AMIs have the real ones. The bare one
has neither, as Ubuntu's; it is built when the first instance of it starts. Others are made of instances (`bake`).
"""

import logging
import threading

from localcloud import preload
from localcloud.emulator import BARE_ID
from localcloud.engine import Engine

log = logging.getLogger("localcloud")


class Images:
    """The Docker images of one cloud's AMIs; `full` is the tag of the first."""

    def __init__(self, engine: Engine, full: str) -> None:
        self.engine, self.full = engine, full
        self.baked: dict[str, str] = {}
        self._preloaded = ""
        self._building = threading.Lock()

    def tag(self, ami: str) -> str:
        """The Docker image behind the AMI, which is built first if need be."""
        if ami == BARE_ID:
            with self._building:
                return self.engine.bare(log.info)
        return self.baked.get(ami, self.full)

    def preload(self, tag: str) -> None:
        """Machines of the full image that start from now on have the image `tag`; with "" they have none again."""
        self._preloaded = tag and preload.prepare(self.engine.api, self.engine.labels, self.full, tag)

    def preloaded(self, ami: str) -> str:
        """The volume of which a disk of that AMI is a copy; empty where it begins empty."""
        if ami in self.baked:
            return self.engine.image_disk(ami)
        return self._preloaded if self.tag(ami) == self.full else ""

    def bake(self, ami: str, container: str) -> None:
        self.baked[ami] = self.engine.commit(container, ami)

    def drop(self, ami: str) -> None:
        """Forget an image that was made here; instances of it live on."""
        if tag := self.baked.pop(ami, None):
            self.engine.drop_image(ami, tag)
