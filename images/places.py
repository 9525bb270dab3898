"""Places: where what images are made of is kept (`places.yaml`), and others in their stead, by name.

The mirrors of packages are none of the file's: whoever asks hands in those that the machine knows (`infra.mirrors`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import msgspec

from images.render import macros
from infra import border
from infra.errors import UsageError

PATH = Path(__file__).parent / "places.yaml"
_BASES = "_bases.j2"  # NVIDIA's address is where the Dockerfiles have it


class SuitePlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A suite of a distribution: at which mirror (a name), and its parts. `suite` has a gap for the codename."""

    mirror: str
    suite: str
    components: tuple[str, ...]


class Places(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All places.

    `registry` is the host that answers for names without a host, `only` the part of such names that another registry
    has. `mirrors` are addresses by name, those that are known; `python` may be several, with blanks between. `archives`
    (by the mirror that each stands for) and `snapshots` are where a build looks when a release is past its end.
    """

    sources: dict[str, str]
    registry: str
    only: dict[str, str]
    mirrors: dict[str, str]
    suites: dict[str, tuple[SuitePlace, ...]]
    archives: dict[str, str] = {}
    snapshots: str = ""
    other_registry: str = ""

    @property
    def names(self) -> set[str]:
        """Of all mirrors that can be given."""
        return {*self.mirrors, "python", *(suite.mirror for suites in self.suites.values() for suite in suites)}

    def registry_for(self, repository: str) -> str:
        """The host to ask for a repository of Docker Hub."""
        other = self.other_registry
        return other if other and repository.startswith(self.only.get(other, "")) else self.registry

    def shown(self) -> dict[str, str]:
        """All that is asked, by name."""
        settings = {f"archive of {name}": url for name, url in self.archives.items()}
        settings |= {"snapshots": self.snapshots} if self.snapshots else {}
        return {"registry": self.other_registry or self.registry, **self.mirrors, **settings}

    def after(self, mirror: str, last: date) -> tuple[str, ...]:
        """The places where a build looks for a release that a mirror has dropped, as infra/apt.sh does: the archive,
        then the snapshot of the day after `last`, its last day of support."""
        found = [self.archives[mirror]] if mirror in self.archives else []
        if self.snapshots and mirror.startswith("debian"):
            found.append(f"{self.snapshots}/{mirror}/{last + timedelta(days=1):%Y%m%d}T000000Z")
        return tuple(found)


@dataclass(frozen=True)
class Suite:
    """A suite of packages. Without a name it is a flat folder, as NVIDIA's trees are.

    `root` is empty where no mirror of the `distribution` (debian) is known. `ended` is the day on which its release
    ended, empty while that lives; `after` are roots where a build looks then. `undated`: it is one of them, where a
    list of contents is good past its last day.
    """

    root: str
    name: str = ""
    components: tuple[str, ...] = ()
    distribution: str = ""
    ended: str = ""
    after: tuple[str, ...] = ()
    undated: bool = False

    @property
    def folder(self) -> str:
        return f"{self.root or self.distribution}/dists/{self.name}" if self.name else self.root

    @property
    def indexes(self) -> tuple[str, ...]:
        """Addresses of the lists of packages for amd64, without the ending of their compression."""
        if not self.name:
            return (f"{self.folder}/Packages",)
        return tuple(f"{self.folder}/{part}/binary-amd64/Packages" for part in self.components)


@cache
def read(path: Path = PATH) -> Places:
    return border.load_yaml(path, Places)


def chosen(
    registry: str | None = None, mirrors: Mapping[str, str] | None = None,
    archives: Mapping[str, str] | None = None, snapshots: str = "",
) -> Places:  # fmt: skip
    """The public places, with those given in their stead. UsageError names a wrong mirror, address or host."""
    places = read()
    places = msgspec.structs.replace(places, mirrors={**places.mirrors, "nvidia": str(macros(_BASES).nvidia)})
    others = dict(mirrors or {})
    for name, url in others.items():
        if name not in places.names:
            raise UsageError(f"there is no mirror {name!r}", border.did_you_mean(name, places.names))
        if not url.startswith(("http://", "https://")):
            raise UsageError(
                f"the address given for the mirror {name} is not a web address",
                f"write it as {name}=URL, where URL begins with https:// or http://",
            )
    if registry and ("://" in registry or "/" in registry):
        raise UsageError(f"{registry!r} is no host of a registry", "write the host alone, such as nvcr.io")
    found = places.mirrors | {name: url.rstrip("/") for name, url in others.items()}
    return msgspec.structs.replace(
        places, mirrors=found, archives=dict(archives or {}), snapshots=snapshots, other_registry=registry or ""
    )
