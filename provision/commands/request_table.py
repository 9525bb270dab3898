"""What `--dry-run` prints: the resolved requests, for people or programs."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from infra.aws import prices
from infra.aws.types import Offer, SpotRequest
from provision import console
from provision.machines import kept_bake
from provision.offers import budget


def show_request(requests: Sequence[SpotRequest], as_json: bool, *, kept: bool = False, bakes: bool = False) -> None:
    """Print a table for each region in the order in which they are tried, or all requests as a JSON list. `kept`: the
    machines are asked for, and ended, by a keeper, and nobody logs in to them; one may become a machine image, if that
    `bakes`."""
    if as_json:
        console.emit_json([_plain(request, kept and bakes) for request in requests])
        return
    for number, request in enumerate(requests):
        title = (
            f"would ask {request.cloud} {request.region} for"
            if number == 0
            else f"without capacity there: {request.region}"
        )
        console.table(title, ("what", "value"), _rows(request, kept, kept_bake.at_end(request, kept and bakes)))


def _plain(request: SpotRequest, bakes: bool) -> dict[str, Any]:
    image = kept_bake.at_end(request, bakes)
    more = {"bakes": {**dataclasses.asdict(image), "dollars_a_month": round(image.monthly, 2)}} if image else {}
    known = {"now": request.now, "dearest": request.dearest, "resource": request.launch}
    return {**dataclasses.asdict(request), **known, **more}


def _rows(request: SpotRequest, kept: bool, image: "kept_bake.AtEnd | None") -> list[tuple[str, str]]:
    return [
        ("name", request.name),
        *((f"offer {number}", _offer(offer, request)) for number, offer in enumerate(request.offers, 1)),
        ("market", _market(request)),
        ("price", budget.price_of(request, request.now)),
        ("machine image", request.image + _driver(request)),
        ("disk", f"{request.disk_gb} GB gp3, encrypted, deleted with the machine"),
        ("address", f"a public IPv4 address, ${prices.ADDRESS_HOURLY:g}/h"),
        *(("volume", _volume(volume.name, volume.gb, volume.keep)) for volume in request.volumes),
        ("ends", _end_kept(request) if kept else _end(request)),
        *([("afterwards", f"{image.words()}: --no-bake keeps it from that")] if image else []),
        ("SSH", _login(request, kept)),
    ]


def _login(request: SpotRequest, kept: bool) -> str:
    if kept:
        return "nobody logs in: AWS keeps the training without a laptop"
    return "through Session Manager, no inbound port" if request.via == "ssm" else f"from {request.address} alone"


def _offer(offer: Offer, request: SpotRequest) -> str:
    kind = offer.type
    gpus = f"{kind.gpus} × {kind.gpu} {kind.gpu_memory_mib / 1024:.0f} GiB" if kind.gpus else "no GPU"
    price = offer.spot if request.market == "spot" else offer.on_demand
    cost = "price unknown" if price is None else f"${price:.3f}/h"
    return f"{kind.name} in {offer.zone}: {cost} {request.market}; {gpus}, {kind.vcpus} vCPUs, {_gib(kind.memory_mib)}"


def _gib(mib: int) -> str:
    return f"{mib / 1024:.0f} GiB"


def _market(request: SpotRequest) -> str:
    limit = f", at most ${request.max_price:g}/h" if request.max_price is not None else ""
    return request.market + limit + (", on demand where there is no capacity" if request.fallback else "")


def _driver(request: SpotRequest) -> str:
    branch = request.tags.get("provision:driver")
    return f", NVIDIA's driver {branch} installed at its first boot" if branch else ""


def _volume(name: str, gb: int, keep: bool) -> str:
    return f"/volumes/{name}: {gb} GB gp3, {'kept by `down`' if keep else 'deleted with the machine'}"


def _end_kept(request: SpotRequest) -> str:
    """The end of a run that is kept: all its machines have one time, and one budget."""
    return ", or ".join(
        [f"with the training, or after {request.max_hours:g} hours, waiting included", *_spent(request)]
    )


def _end(request: SpotRequest) -> str:
    idle = [f"after {request.idle_minutes:g} idle minutes"] if request.idle_minutes else []
    return ", or ".join([f"by itself after {request.max_hours:g} hours", *idle, *_spent(request)])


def _spent(request: SpotRequest) -> Iterator[str]:
    """When the budget ends it, where there is one."""
    if request.budget is not None:
        hours = budget.hours_of(request.budget, budget.cost_per_hour(request))
        longer = "" if request.market != "spot" or request.max_price else "; --max-price makes that longer"
        yield f"after {hours:.1f} hours, as ${request.budget:g} may be spent then{longer}"
