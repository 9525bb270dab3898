"""Baking by itself: whether a machine that AWS keeps for a training becomes a machine image at its end, and which one.

Only one that had to install its driver does: the others start from an image that has all of it. There is one image for
each line of the table of machine images (`offers.amis`), which is a driver and the families that have it; its name says
which, and AWS gives a name once in a region. None is made again before somebody has deleted it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from infra.aws.machine_images import BAKED, FROM
from infra.aws.prices import SNAPSHOT_GB_MONTH
from infra.aws.tags import DRIVER, NAME, OWNER, RUN
from infra.aws.types import SpotRequest
from provision.offers import amis

MINUTES = 10  # that AWS takes for a disk of this size, about; not tried
_LASTS = timedelta(minutes=25)  # that it may take at the longest: twenty of looking, and what the calls take
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class AtEnd:
    """The image that a machine becomes: the GPU's family, all families that have its driver, that driver's branch, the
    image that the machine itself started from, the size of its disk, and the image's name."""

    family: str
    families: tuple[str, ...]
    driver: str
    made_from: str
    gb: int
    label: str

    @property
    def monthly(self) -> float:
        """US dollars a month, at most."""
        return self.gb * SNAPSHOT_GB_MONTH

    def words(self) -> str:
        """What is told of it before it is paid for."""
        return (
            f"the first machine with {self.family} GPUs becomes a machine image at its end, so that later ones have "
            f"nothing to install (about {MINUTES} minutes more, and at most ${self.monthly:.2f} a month)"
        )


NOTHING: Mapping[str, object] = {"label": "", "about": "", "families": [], "driver": "", "tags": [],
                                "until": "1970-01-01T00:00:00Z"}  # fmt: skip


def at_end(request: SpotRequest, wanted: bool = True) -> AtEnd | None:
    """What the machines of a request become, if it is `wanted`; None where they have nothing to install."""
    driver, first = request.tags.get(DRIVER, ""), request.offers[0].type
    line = amis.table().get(amis.family_of(first.gpu, first.name))
    if not wanted or not driver or line is None or line.driver != driver:
        return None
    family = amis.family_of(first.gpu, first.name)
    return AtEnd(family, line.families, driver, request.image, request.disk_gb, f"provision {line.name}")


def given(what: AtEnd | None, request: SpotRequest, run: str, ends: datetime) -> Mapping[str, object]:
    """What the keeper is given of it (`engines.baking`): tags from the first call on, as `ami bake` gives them, and the
    time after which it begins no image. `ends`: of the run, in UTC."""
    if what is None:
        return NOTHING
    marks = {
        "Name": what.label, NAME: request.name, BAKED: what.family, FROM: what.made_from, DRIVER: what.driver,
        RUN: run, **({OWNER: request.owner} if request.owner else {}),
    }  # fmt: skip
    tags = [{"Key": key, "Value": value} for key, value in marks.items()]
    return {
        "label": what.label, "about": f"provision: a prepared host, baked from {request.name}",
        "families": list(what.families), "driver": what.driver, "until": f"{ends - _LASTS:{_STAMP}}",
        "tags": [{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")],
    }  # fmt: skip
