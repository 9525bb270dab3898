"""Instance types: the ones that moto lacks, the GPUs of each, and what each costs on the spot market.

moto's tables are module-level lists; the types of `instance_types.yaml` are added to them in place, and taken out
again where the cloud shall be as AWS is since it retired them. Spot prices are a function of type, zone and time: a
share of the on-demand price, other for each zone, moving in steps of four hours, so that the same question has the
same answer; until a test moves one.
"""

import copy
import math
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from moto.ec2.models.instance_types import (
    INSTANCE_TYPE_OFFERINGS,
    INSTANCE_TYPES,
    InstanceType,
    InstanceTypeBackend,
)

STEP = timedelta(hours=4)
OVERRIDES: dict[tuple[str, str], list[tuple[datetime, float]]] = {}  # type and zone → spot prices set by hand, and when
PATTERN = "p3dn.24xlarge"  # the moto type whose other fields the added types share


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi tells of it; `memory` in MiB."""

    index: int
    name: str
    memory: int
    driver: str
    uuid: str

    def line(self) -> str:
        return f"{self.index}|{self.name}|{self.memory}|{self.driver}|{self.uuid}"


@cache
def table() -> dict[str, Any]:
    text = Path(__file__).with_name("instance_types.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def add_types() -> None:
    """Make moto describe and offer the types that it lacks."""
    for name, row in table()["types"].items():
        INSTANCE_TYPES[name] = _described(name, row)
    retire(False)


def retire(retired: bool) -> None:
    """Take the added types away, as AWS has, or (`retired` False) give them back. Instances that run, run on."""
    added, regions = table()["types"], table()["regions"]
    known = [kind for kind in InstanceTypeBackend.instance_types if kind["InstanceType"] not in added]
    InstanceTypeBackend.instance_types[:] = [*known, *(InstanceType(name) for name in added if not retired)]
    for region, zones in regions.items():
        for kind, places in _places(region, zones).items():
            offers = INSTANCE_TYPE_OFFERINGS[kind][region]
            rows = [_offer(name, place, kind) for name in added for place in places if not retired]
            offers[:] = [*(row for row in offers if row["InstanceType"] not in added), *rows]


def gpus_of(instance_type: str, instance_id: str) -> list[Gpu]:
    """The GPUs of an instance; none for a type without."""
    found = INSTANCE_TYPES.get(instance_type, {}).get("GpuInfo", {}).get("Gpus", [])
    kinds = [kind for kind in found if kind["Manufacturer"] == "NVIDIA" for _ in range(kind["Count"])]
    return [_gpu(index, kind, instance_id) for index, kind in enumerate(kinds)]


def zones_of(instance_type: str, region: str) -> list[str]:
    """The zones of `region` that offer the type."""
    offers = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
    return sorted(offer["Location"] for offer in offers if offer["InstanceType"] == instance_type)


def spot_price(instance_type: str, zone: str, at: datetime) -> float:
    """US dollars an hour at that moment."""
    moved = [price for when, price in OVERRIDES.get((instance_type, zone), []) if when <= at]
    if moved:
        return moved[-1]
    step = int(at.timestamp() // STEP.total_seconds())
    phase = zlib.crc32(f"{instance_type} {zone}".encode()) % 1000 / 1000
    share = 0.28 + 0.1 * phase + 0.03 * math.sin(2 * math.pi * (step / 18 + phase))
    return round(on_demand(instance_type) * share, 6)


def move_price(instance_type: str, zone: str, price: float | None) -> None:
    """Set a spot price from now on (US dollars an hour); None gives the market its own back, and forgets."""
    if price is None:
        OVERRIDES.pop((instance_type, zone), None)
    else:
        OVERRIDES.setdefault((instance_type, zone), []).append((datetime.now(timezone.utc), price))


def spot_steps(instance_type: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    """The moments at which the price changed in the period, newest first, and the one in force at its start."""
    seconds = STEP.total_seconds()
    first, last = int(start.timestamp() // seconds), int(end.timestamp() // seconds)
    steps = [datetime.fromtimestamp(step * seconds, timezone.utc) for step in range(min(first, last), last + 1)]
    steps += [when for when, _ in OVERRIDES.get((instance_type, zone), []) if when <= end]
    before = [step for step in steps if step <= start]
    return sorted({*(step for step in steps if step > start), max(before)}, reverse=True)


def vcpus(instance_type: str) -> int:
    return int(INSTANCE_TYPES.get(instance_type, {}).get("VCpuInfo", {}).get("DefaultVCpus", 1))


def xen(instance_type: str) -> bool:
    """Whether disks have Xen's names there; else they are NVMe disks."""
    return str(INSTANCE_TYPES.get(instance_type, {}).get("Hypervisor")) == "xen"


def on_demand(instance_type: str) -> float:
    """The listed price, or a guess from the size for a type that nobody trains on (US dollars an hour)."""
    guess = 0.05 * vcpus(instance_type) + 1.0 * len(gpus_of(instance_type, ""))
    return float(table()["prices"].get(instance_type, guess))


def _gpu(index: int, kind: dict[str, Any], instance_id: str) -> Gpu:
    size = kind["MemoryInfo"]["SizeInMiB"]
    known = table()["gpus"].get(kind["Name"])
    facts = known or {"name": f"NVIDIA {kind['Name']}", "driver": "550.163.01", "memory": size}
    digits = f"{zlib.crc32(f'{instance_id} {index}'.encode()):08x}"
    uuid = f"GPU-{digits}-0000-0000-0000-{index:012d}"
    return Gpu(index, facts["name"], facts["memory"], facts["driver"], uuid)


def _described(name: str, row: dict[str, Any]) -> dict[str, Any]:
    info: dict[str, Any] = copy.deepcopy(INSTANCE_TYPES[PATTERN])
    memory = {"SizeInMiB": row["gpu_memory"]}
    gpu = {"Name": row["gpu"], "Manufacturer": "NVIDIA", "Count": row["gpus"], "MemoryInfo": memory}
    cores = row["vcpus"] // 2
    info.update(
        InstanceType=name,
        CurrentGeneration=name.startswith("p3"),
        Hypervisor="xen",
        InstanceStorageSupported=False,
        MemoryInfo={"SizeInMiB": row["memory"]},
        VCpuInfo={"DefaultVCpus": row["vcpus"], "DefaultCores": cores, "DefaultThreadsPerCore": 2},
        GpuInfo={"Gpus": [gpu], "TotalGpuMemoryInMiB": row["gpus"] * row["gpu_memory"]},
    )
    info.pop("InstanceStorageInfo", None)
    info["EbsInfo"]["NvmeSupport"] = "unsupported"
    info["NetworkInfo"]["EfaSupported"] = False
    info["NetworkInfo"].pop("EfaInfo", None)
    return info


def _places(region: str, zones: list[str]) -> dict[str, list[str]]:
    """Where a type is offered, in the three ways that AWS names a place."""
    ids = {zone.name: zone.zone_id for zone in RegionsAndZonesBackend.zones[region]}
    return {
        "region": [region],
        "availability-zone": zones,
        "availability-zone-id": [ids[zone] for zone in zones],
    }


def _offer(name: str, location: str, kind: str) -> dict[str, str]:
    return {"InstanceType": name, "Location": location, "LocationType": kind}
