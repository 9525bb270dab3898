"""What `--dry-run` prints: the resolved requests, for people or programs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from infra.aws.types import Offer, SpotRequest
from provision import console


def show_request(requests: Sequence[SpotRequest], as_json: bool) -> None:
    """One table for each region, in the order to try; or all as a list of JSON."""
    if as_json:
        console.emit_json([_plain(one) for one in requests])
        return
    for number, one in enumerate(requests):
        title = f"would ask {one.cloud} {one.region} for" if number == 0 else f"without capacity there: {one.region}"
        console.table(title, ("what", "value"), _rows(one))


def _plain(request: SpotRequest) -> dict[str, Any]:
    return {**dataclasses.asdict(request), "dearest": request.dearest, "resource": request.resource}


def _rows(one: SpotRequest) -> list[tuple[str, str]]:
    return [
        ("name", one.name),
        *((f"offer {number}", _offer(offer, one)) for number, offer in enumerate(one.offers, 1)),
        ("market", _market(one)),
        ("price", "unknown" if one.dearest is None else f"at most ${one.dearest:.3f}/h at today's prices"),
        ("machine image", one.image + _driver(one)),
        ("disk", f"{one.disk_gb} GB gp3, encrypted, deleted with the machine"),
        *(("volume", _volume(volume.name, volume.gb, volume.keep)) for volume in one.volumes),
        ("ends", _end(one)),
        ("SSH", "through Session Manager, no inbound port" if one.via == "ssm" else f"from {one.address} alone"),
    ]


def _offer(offer: Offer, request: SpotRequest) -> str:
    kind = offer.type
    gpus = f"{kind.gpus} × {kind.gpu} {kind.gpu_memory_mib / 1024:.0f} GiB" if kind.gpus else "no GPU"
    price = offer.spot if request.market == "spot" else offer.on_demand
    cost = "price unknown" if price is None else f"${price:.3f}/h"
    return f"{kind.name} in {offer.zone}: {cost} {request.market}; {gpus}, {kind.vcpus} vCPUs, {_gib(kind.memory_mib)}"


def _gib(mib: int) -> str:
    return f"{mib / 1024:.0f} GiB"


def _market(one: SpotRequest) -> str:
    limit = f", at most ${one.max_price:g}/h" if one.max_price is not None else ""
    return one.market + limit + (", on demand where there is no capacity" if one.fallback else "")


def _driver(one: SpotRequest) -> str:
    branch = one.tags.get("provision:driver")
    return f", NVIDIA's driver {branch} installed at its first boot" if branch else ""


def _volume(name: str, gb: int, keep: bool) -> str:
    return f"/volumes/{name}: {gb} GB gp3, {'kept by `down`' if keep else 'deleted with the machine'}"


def _end(one: SpotRequest) -> str:
    words = [f"by itself after {one.max_hours:g} hours"]
    if one.idle_minutes:
        words.append(f"after {one.idle_minutes:g} idle minutes")
    if one.budget is not None:
        words.append(f"when ${one.budget:g} are spent")
    return ", or ".join(words)
