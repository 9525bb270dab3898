"""The record of an instance in its tags: written at its launch, read by any laptop. It is the only state there is.

Tags can be changed by hand in AWS's console. A value that cannot be read counts as not set, so `ls` and `down` go on.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

NAME = "provision:name"
LAUNCH = "provision:resource"
OWNER = "provision:owner"
RUN = "provision:run"
DRIVER = "provision:driver"
_DEADLINE = "provision:deadline"
_WISH = re.compile(r"(?P<type>[\w.-]+) or-equivalent|gpus (?P<gpus>\d{1,4}) memory (?P<memory>\d{1,9}(?:\.\d{1,9})?)")
_VOLUME = re.compile(r"([^:,]+):(\d{1,9})(:delete)?")


@dataclass(frozen=True)
class DataVolume:
    """A separate disk, mounted at /volumes/NAME on the machine; `down` keeps it unless `keep` is False."""

    name: str
    gb: int
    keep: bool = True

    def __str__(self) -> str:
        """As `--volume` takes it: data:200, scratch:50:delete."""
        return f"{self.name}:{self.gb}" + ("" if self.keep else ":delete")


@dataclass(frozen=True)
class Wish:
    """What was asked for, where that was more than one type: a type `or_equivalent`, or GPUs by number and memory (10^9
    bytes each). Another machine in its place is asked for by the same."""

    type: str = ""
    or_equivalent: bool = False
    gpus: int = 0
    gpu_memory_gb: float = 0.0

    def __str__(self) -> str:
        """As the tag has it: `p3.8xlarge or-equivalent`, or `gpus 4 memory 16`; "" for exactly the machine's type."""
        if self.type:
            return f"{self.type} or-equivalent" if self.or_equivalent else ""
        return f"gpus {self.gpus} memory {self.gpu_memory_gb:g}" if self.gpus or self.gpu_memory_gb else ""


@dataclass(frozen=True)
class TagRecord:
    """An instance as its tags describe it. A field is None, "" or 0 where its tag is absent.

    `launch` is the name of the group, role, profile, template and schedule that belong to it. `disk_gb` is its root
    disk. `max_price` (dollars an hour) is the highest spot price that the user allowed, `price` the most that AWS may
    charge for an hour of the machine, `budget` (dollars) what all of it may cost. It ends after `idle_minutes` without
    work, 0 for never. `driver` is the branch of NVIDIA's driver; `fallback`: without spot capacity it may be taken on
    demand. `own_run`: it was rented for one training, and powers off after it. `wish`: what was asked for, where that
    was not just its type. `owner` says who launched it, and from which laptop (`infra.laptop`); older versions did not
    tell. `run`: the training that a keeper launches its machines for.
    """

    name: str = ""
    launch: str = ""
    deadline: datetime | None = None
    disk_gb: int = 0
    max_hours: float | None = None
    idle_minutes: float = 0.0
    via: str = "ssh"
    max_price: float | None = None
    budget: float | None = None
    price: float | None = None
    volumes: tuple[DataVolume, ...] = ()
    driver: str = ""
    fallback: bool = False
    owner: str = ""
    own_run: bool = False
    wish: Wish = Wish()
    keep_on_error_minutes: float | None = None
    run: str = ""

    @property
    def gigabytes(self) -> int:
        """The size of all its disks."""
        return self.disk_gb + sum(volume.gb for volume in self.volumes)

    def marks(self) -> dict[str, str]:
        """The tags by which what belongs to the machine is found, and whose it is."""
        return {NAME: self.name, LAUNCH: self.launch, **({OWNER: self.owner} if self.owner else {})}

    def to_tags(self) -> dict[str, str]:
        """All tags of the instance. A value that is not set gets no tag."""
        tags = {
            "Name": f"provision {self.name}",
            **self.marks(),
            **(moved(self.deadline) if self.deadline else {}),
            "provision:disk": str(self.disk_gb),
            "provision:hours": _text(self.max_hours),
            "provision:idle": _text(self.idle_minutes),
            "provision:via": self.via,
            "provision:max-price": _text(self.max_price),
            "provision:budget": _text(self.budget),
            "provision:price": _text(self.price),
            "provision:volumes": ",".join(str(volume) for volume in self.volumes),
            DRIVER: self.driver,
            "provision:fallback": "on-demand" if self.fallback else "",
            "provision:own-run": "yes" if self.own_run else "",
            "provision:wish": str(self.wish),
            "provision:keep-on-error": _text(self.keep_on_error_minutes),
            RUN: self.run,
        }
        return {key: value for key, value in tags.items() if value}

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "TagRecord":
        """The record of an instance, or of what belongs to one."""
        return cls(
            name=tags.get(NAME, ""),
            launch=tags.get(LAUNCH, ""),
            deadline=_moment(tags.get(_DEADLINE, "")),
            disk_gb=max(0, int(_number(tags, "disk") or 0)),
            max_hours=_number(tags, "hours"),
            idle_minutes=_number(tags, "idle") or 0.0,
            via=tags.get("provision:via") or "ssh",
            max_price=_number(tags, "max-price"),
            budget=_number(tags, "budget"),
            price=_number(tags, "price"),
            volumes=parse_volumes(tags.get("provision:volumes", "")),
            driver=tags.get("provision:driver", ""),
            fallback=tags.get("provision:fallback") == "on-demand",
            owner=tags.get(OWNER, ""),
            own_run=tags.get("provision:own-run") == "yes",
            wish=parse_wish(tags.get("provision:wish", "")),
            keep_on_error_minutes=_number(tags, "keep-on-error"),
            run=tags.get(RUN, ""),
        )


def moved(deadline: datetime) -> dict[str, str]:
    """The tag for a deadline, new or moved."""
    return {_DEADLINE: deadline.isoformat()}


def parse_volumes(text: str) -> tuple[DataVolume, ...]:
    """The volumes in a text such as data:200,scratch:50:delete; words that are not volumes are left out."""
    found = (_VOLUME.fullmatch(word) for word in text.split(","))
    return tuple(DataVolume(match[1], int(match[2]), keep=not match[3]) for match in found if match)


def parse_wish(text: str) -> Wish:
    """The wish of a tag; the empty one where it is none."""
    found = _WISH.fullmatch(text)
    if not found:
        return Wish()
    if found["type"]:
        return Wish(found["type"], or_equivalent=True)
    return Wish(gpus=int(found["gpus"]), gpu_memory_gb=float(found["memory"]))


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _number(tags: Mapping[str, str], what: str) -> float | None:
    try:
        value = float(tags.get(f"provision:{what}", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)
