"""Stand-ins: types that do the work of another, and types by need. Out of `images.gpus`; nothing is asked of AWS.

A stand-in has as many GPUs, each with at least as much memory, of an architecture that is not older, and AWS still
rents it. Of each GPU it is the smallest type that does. What an image supports is decided elsewhere (`compatibility`).
"""

from collections.abc import Iterable, Mapping

from images import gpus
from images.gpus import AwsType
from images.versions import key

_GB = 1e9 / 2**20  # AWS and NVIDIA speak of 24 GB where the table has 22888 MiB


def stand_ins(name: str) -> list[AwsType]:
    """Types for the one of that name, nearest architecture first; where none has so many GPUs, those with the most."""
    asked = gpus.aws_types().get(name)
    if asked is None:
        return []
    others = [kind for kind in _rented() if kind.name != name]
    enough = [kind for kind in others if kind.gpu_mib >= asked.gpu_mib and not _older(kind, asked)]
    count = _count(enough, asked.count)
    return _one_of_each(kind for kind in enough if kind.count == count and kind.gpu != asked.gpu)


def by_need(count: int, memory_gb: float) -> list[AwsType]:
    """Types with at least `count` GPUs of at least `memory_gb` (10^9 bytes) each, and no more GPUs than it takes."""
    enough = with_memory(memory_gb)
    fitting = min((kind.count for kind in enough if kind.count >= count), default=0)
    return _one_of_each(kind for kind in enough if kind.count == fitting)


def with_memory(gb: float) -> list[AwsType]:
    """Rented types whose GPUs have at least that memory each."""
    return [kind for kind in _rented() if kind.gpu_mib / _GB >= gb * 0.999]


def cheapest_first(types: Iterable[AwsType], prices: Mapping[str, float | None]) -> list[AwsType]:
    """By today's price; those without one last, in the order given."""
    return sorted(types, key=lambda kind: (prices.get(kind.name) is None, prices.get(kind.name) or 0.0))


def words(types: Iterable[AwsType], prices: Mapping[str, float | None], most: int = 3) -> str:
    """`g4dn.12xlarge (4 × T4 16 GiB, $1.174/h)`, for a mend: the cheapest `most`."""
    return ", ".join(_words(kind, prices.get(kind.name)) for kind in cheapest_first(types, prices)[:most])


def _words(kind: AwsType, price: float | None) -> str:
    cost = "" if price is None else f", ${price:.3f}/h"
    return f"{kind.name} ({kind.count} × {kind.gpu} {kind.gpu_mib / 1024:.0f} GiB{cost})"


def _rented() -> list[AwsType]:
    """With whole GPUs: a share of one needs another driver, and NCCL a whole GPU for each rank."""
    return [kind for kind in gpus.aws_types().values() if kind.listed and kind.share == 1]


def _older(kind: AwsType, asked: AwsType) -> bool:
    return key(gpus.gpu(kind.gpu).sm) < key(gpus.gpu(asked.gpu).sm)


def _count(types: list[AwsType], wanted: int) -> int:
    """As many GPUs as wanted or else the next more, or the most that there are."""
    counts = sorted({kind.count for kind in types})
    return next((count for count in counts if count >= wanted), counts[-1] if counts else 0)


def _one_of_each(types: Iterable[AwsType]) -> list[AwsType]:
    """The smallest of each GPU, oldest architecture first."""
    smallest: dict[str, AwsType] = {}
    for kind in sorted(types, key=lambda kind: (kind.vcpu, kind.ram_gib, kind.name)):
        smallest.setdefault(kind.gpu, kind)
    return sorted(smallest.values(), key=lambda kind: (key(gpus.gpu(kind.gpu).sm), kind.gpu_mib, kind.name))
