"""Ending: of one machine with all that belongs to it, or of all; and the proof that it is gone.

Nothing is believed that the cloud does not say. What a launch began is found by its tags and its name, so that it makes
no difference who began it, or where that stopped. A round looks and ends what it finds; a round that finds nothing is
the proof. The instances' end is asked for before all else, as they are what costs; the schedule that would end them
stays until they have ended. A step that fails keeps no other from being tried.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from infra.aws.ec2 import Ec2, instance_of
from infra.aws.holdings import KINDS, Holding, Holdings, ended_at
from infra.aws.removal import Removal
from infra.aws.session import Cloud
from infra.errors import LeftoverError, ProvisionError
from infra.together import together
from provision import cost, notes
from provision.cost import Bill

Say = Callable[[str], None]
Look = Callable[[], tuple[list[Holding], list[ProvisionError]]]
_AT_ONCE = ("launch templates", "key pairs", "spot requests")
_AFTER = (
    "volumes", "network interfaces", "security groups", "elastic IPs", "snapshots", "machine images", "schedules",
    "roles", "instance profiles",
)  # fmt: skip
_SERVING = ("schedules", "roles", "instance profiles")
_SAME = {"instance profiles": "roles"}  # they go together
_PATIENCE_S = 420.0
_ROUNDS = 2  # how many in a row may fail
_LATE_S = 6.0  # a launch whose answer was lost shows up within seconds
_FRESH_S = 120.0
_NOTES = ("intent.json", "known_hosts", "user-data")
_PROMISE = "run the same command again; what is left of a machine ends by itself at its deadline"


@dataclass(frozen=True)
class Ended:
    """What is gone, what was kept on purpose, and what it cost."""

    region: str
    ended: dict[str, list[str]]
    kept: tuple[Holding, ...] = ()
    cost: tuple[Bill, ...] = ()

    def words(self) -> list[str]:
        """For people: what it cost, what is kept, and the proof."""
        lines = [_cost_words(bill) for bill in self.cost]
        lines += [kept_words(one, self.region) for one in self.kept]
        return [*lines, "0 billable resources left" + (" besides what is kept" if self.kept else "")]

    def as_json(self) -> dict[str, Any]:
        return {
            "region": self.region,
            "ended": self.ended,
            "kept": [kept_row(one, self.region) for one in self.kept],
            "cost": [bill.as_json() for bill in self.cost],
            "billable": 0,
        }


def down(cloud: Cloud, name: str | None, say: Say, patience: float = _PATIENCE_S, with_volumes: bool = False) -> Ended:
    """End `name` (None: all of ours in this region) with all that belongs to it, and prove it gone.

    `with_volumes`: also the data volumes that were to be kept.

    NotFoundError where there is nothing of it; LeftoverError that lists what is left after `patience` s.
    """
    look = partial(_look, cloud, name, with_volumes)
    found, errors = look()
    noted = _noted(cloud, name)
    if name and not noted and not any(not one.kept for one in found):
        if errors:
            raise errors[0]
        Ec2(cloud).instance(name)  # raises the NotFoundError that names the others
    say("ending " + (", ".join(one.id for one in found if one.kind == "instances") or "what is left"))
    # a launch that was cut off may show up late: what was noted and not seen gets some more time
    late = any(_fresh(place) for place in noted)
    asked = datetime.now(timezone.utc)
    gone = _until_gone(Removal(cloud, patience), look, (found, errors), settle=_LATE_S if late else 0.0)
    for place in noted:
        _forget(place)
    kept = tuple(one for one in found if one.kept)
    return Ended(cloud.region, listed(gone), kept, tuple(_bills(cloud, gone, asked)))


def _look(cloud: Cloud, name: str | None, with_volumes: bool) -> tuple[list[Holding], list[ProvisionError]]:
    found, errors = Holdings(cloud).look(name)
    if with_volumes:
        found = [replace(one, kept=False) if one.kind == "volumes" else one for one in found]
    return found, errors


def end_old(cloud: Cloud, name: str, instance_id: str, say: Say, patience: float = _PATIENCE_S) -> None:
    """End one machine with what belongs to it; another of the same name that lives stays untouched."""

    def look() -> tuple[list[Holding], list[ProvisionError]]:
        found, errors = Holdings(cloud).look(name)
        others = {one.resource for one in found if one.kind == "instances" and one.id != instance_id}
        return [one for one in found if one.resource not in others], errors

    say(f"ending what is left of {name}")
    _until_gone(Removal(cloud, patience), look, look())


def everything(cloud: Cloud, name: str | None, with_volumes: bool = False) -> dict[str, list[str]]:
    """What exists of `name` (None: of all) that `down` would end, by kind."""
    found, errors = _look(cloud, name, with_volumes)
    if errors:
        raise errors[0]
    return listed(one for one in found if not one.kept)


def listed(things: Iterable[Holding]) -> dict[str, list[str]]:
    """By kind, what a person knows each by; each once."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for one in things:
        if one.label not in found[one.kind]:
            found[one.kind].append(one.label)
    return found


def end(removal: Removal, things: Sequence[Holding], sure: bool = True) -> list[ProvisionError]:
    """End these, in the order of safety; why something could not be ended.

    Not `sure`: not all could be seen, and an instance that was not may use the rest. That is not waited for.
    """
    ids = [one.id for one in things if one.kind == "instances"]
    _, errors = together([partial(removal.terminate, ids)])

    def ended() -> bool:
        removal.wait_ended(ids)
        return True

    steps: list[Callable[[], Any]] = [] if errors else [ended]
    steps += [partial(removal.shut, one) for one in things if one.kind == "security groups"]
    steps += [partial(removal.delete, one) for one in things if one.kind in _AT_ONCE]
    done, more = together(steps)
    return [*errors, *more, *_rest(removal, things, gone=sure and True in done)]


def _rest(removal: Removal, things: Sequence[Holding], gone: bool) -> list[ProvisionError]:
    """What instances use. Where they are not gone it is tried once, but what still serves or ends them is left."""
    kinds = _AFTER if gone else tuple(kind for kind in _AFTER if kind not in _SERVING)
    hasty = removal if gone else Removal(removal.cloud, patience=0.0)
    once = {(_SAME.get(one.kind, one.kind), one.id): one for one in reversed(things) if one.kind in kinds}
    return together([partial(hasty.delete, one) for one in once.values()])[1]


def _until_gone(
    removal: Removal, look: Look, seen: tuple[list[Holding], list[ProvisionError]], settle: float = 0.0
) -> list[Holding]:
    """End what `look` shows until it shows nothing for `settle` s. All that was ended.

    LeftoverError that lists what is left when our patience is over, or when rounds end in errors.
    """
    until = time.monotonic() + removal.patience
    gone: dict[tuple[str, str], Holding] = {}
    clean: float | None = None
    failed, pause = 0, 0.2
    while True:
        left, errors = [one for one in seen[0] if not one.kept], seen[1]
        if left:
            gone.update({(one.kind, one.id): one for one in left})
            errors = [*errors, *end(removal, left, sure=not errors or failed > 0)]
        failed = failed + 1 if errors else 0
        now = time.monotonic()
        clean = None if left or errors else clean or now
        if clean is not None and now - clean >= settle:
            return list(gone.values())
        if failed >= _ROUNDS or now > until:
            _give_up(look(), errors)
        elif not left or pause > 0.2:  # the first look after an end comes at once
            time.sleep(pause)
        pause = min(pause * 1.5, 2.0)
        seen = look()


def _give_up(seen: tuple[list[Holding], list[ProvisionError]], errors: Sequence[ProvisionError]) -> None:
    """LeftoverError, or the reason why nothing can be proven; neither where all went well in the end."""
    left, unseen = [one for one in seen[0] if not one.kept], seen[1]
    if left:
        words = "; ".join(f"{kind}: {', '.join(ids)}" for kind, ids in listed(left).items() if ids)
        reasons = "".join(f"\n  because: {error.what}" for error in errors)
        raise LeftoverError(f"not everything is gone: {words}{reasons}", _PROMISE)
    if unseen:
        raise unseen[0]


def _bills(cloud: Cloud, gone: Sequence[Holding], asked: datetime) -> list[Bill]:
    rows = [one.row for one in gone if one.kind == "instances"]
    return cost.of(cloud, [(instance_of(row), ended_at(row) or asked) for row in rows], asked)


def _cost_words(bill: Bill) -> str:
    price = cost.dollars(bill.total) if bill.total is not None else f"an unknown amount ({bill.note})"
    return f"{bill.name} cost {price}: {bill.hours:.2f} h of {bill.type} {bill.market}, disk {cost.dollars(bill.disk)}"


def kept_row(one: Holding, region: str) -> dict[str, Any]:
    """A kept thing for programs; its price in US dollars a month."""
    monthly = round(cost.kept_monthly(one, region), 2)
    return {"kind": one.kind, "id": one.id, "name": one.label, "gb": one.gb, "dollars_a_month": monthly}


def kept_words(one: Holding, region: str) -> str:
    """The same for people."""
    monthly = cost.kept_monthly(one, region)
    facts = [one.id] * (one.id != one.label) + [f"{one.gb} GB"] * (one.gb > 0)
    facts += [f"{cost.dollars(monthly)} a month"] * (monthly > 0)
    return f"kept: {one.kind.removesuffix('s')} {one.label}" + (f" ({', '.join(facts)})" if facts else "")


def _noted(cloud: Cloud, name: str | None) -> list[Path]:
    """This laptop's notes on launches of that name (None: of all) in this region."""
    base = notes.folder(cloud, name or "x")
    places = [base] if name else sorted(base.parent.iterdir()) if base.parent.is_dir() else []
    return [place for place in places if any((place / note).exists() for note in _NOTES)]


def _fresh(place: Path) -> bool:
    """Whether a launch was noted just now of which nothing may be seen yet."""
    intent = place / "intent.json"
    return intent.exists() and time.time() - intent.stat().st_mtime < _FRESH_S


def _forget(place: Path) -> None:
    """A log of a failed launch stays."""
    for note in _NOTES:
        (place / note).unlink(missing_ok=True)
    if not any(place.iterdir()):
        place.rmdir()
