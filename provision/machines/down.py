"""Ending: of one machine with all that belongs to it, or of all; and the proof that it is gone.

Nothing is believed that the cloud does not say. What a launch began is found by its tags and its name, so that it makes
no difference who began it, or where that stopped. A round looks and ends what it finds; a round that finds nothing is
the proof. The instances' end is asked for before all else, as they are what costs; the schedule that would end them
stays until they have ended. A step that fails keeps no other from being tried.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from infra.aws.cleanup import Removal
from infra.aws.ec2 import Ec2, instance_of
from infra.aws.resources import KINDS, Holding, Holdings, ended_at
from infra.aws.session import Cloud
from infra.concurrency import together
from infra.errors import LeftoverError, NotFoundError, ProvisionError, UsageError
from provision.console import Say
from provision.machines import cost, journal, late, note_texts, whose
from provision.machines.cost import Bill
from provision.machines.whose import Choice

Look = Callable[[], tuple[list[Holding], list[ProvisionError]]]
_AT_ONCE = ("launch templates", "key pairs", "spot requests")
_AFTER = (
    "volumes", "network interfaces", "security groups", "elastic IPs", "schedules", "roles", "instance profiles",
)  # fmt: skip
_SERVING = ("schedules", "roles", "instance profiles")
_SAME = {"instance profiles": "roles"}  # they go together
_PATIENCE_S = 420.0  # for the whole end, with AWS's own of the instances
_ROUNDS = 2  # how many in a row may fail
LATE_S = 20.0  # for a launch whose answer nobody got; what shows up later is ended by the next command (`late`)
_PROMISE = "run the same command again; what is left of a machine ends by itself at its deadline"


@dataclass(frozen=True)
class Ended:
    """What is gone, what was kept on purpose, and what it cost.

    `unseen`: launches that were cut off, and of which AWS has shown no machine.
    """

    region: str
    ended: dict[str, list[str]]
    kept: tuple[Holding, ...] = ()
    cost: tuple[Bill, ...] = ()
    unseen: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """For people: what it cost, what is kept, and the proof."""
        lines = [_cost_words(bill) for bill in self.cost]
        lines += [kept_words(thing, self.region) for thing in self.kept]
        lines += [late.words(launch) for launch in self.unseen]
        return [*lines, "0 billable resources left" + (" besides what is kept" if self.kept else "")]

    def as_json(self) -> dict[str, Any]:
        """The end for programs; `billable` is what is left, as proven."""
        return {
            "region": self.region,
            "ended": self.ended,
            "kept": [kept_row(thing, self.region) for thing in self.kept],
            "cost": [bill.as_json() for bill in self.cost],
            "unseen": list(self.unseen),
            "billable": 0,
        }


def down(
    cloud: Cloud,
    name: str | None,
    say: Say,
    patience: float = _PATIENCE_S,
    with_volumes: bool = False,
    launch: str = "",
    theirs: Collection[str] | None = (),
    settle: float = 0.0,
) -> Ended:
    """End `name` (None: all of ours in this region) with all that belongs to it, and prove it gone.

    `with_volumes`: also the data volumes that were to be kept. `launch`: what belongs to this launch, and nothing else
    of that name. `theirs`: the launches of others that may be ended as well (None: all); else theirs stays. `settle`:
    for so many seconds nothing may show up any more, as a keeper that was stopped may just have asked for a machine.

    NotFoundError where there is nothing of it, UsageError where all of it is another's; LeftoverError that lists what
    is left after `patience` s, with the reasons; AuthError or CloudError where AWS does not show what there is, so that
    nothing can be proven.
    """
    look = partial(_look, cloud, name, with_volumes, Choice(launch, theirs))
    found, errors = look()
    noted, unread = _notes(cloud, name, launch, found)
    if name and not noted and not any(not thing.kept for thing in found):
        for error in (*errors, *unread):
            raise error
        _refuse(cloud, name, launch)
    say("ending " + (", ".join(thing.id for thing in found if thing.kind == "instances") or "what is left"))
    asked = datetime.now(timezone.utc)
    unseen = note_texts.unanswered(noted) - _seen(found)
    if unseen and any(note_texts.fresh(place) for place in noted):
        say(f"a launch was cut off before AWS showed its machine: looking for it for {LATE_S:g} s")
        settle = max(settle, LATE_S)
    gone = _until_gone(Removal(cloud, patience), look, (found, [*errors, *unread]), settle)
    unseen -= _seen(gone)
    for place in noted:
        late.keep(place, unseen)
        note_texts.forget(place)
    kept = tuple(thing for thing in found if thing.kept)
    return Ended(cloud.region, listed(gone), kept, tuple(_bills(cloud, gone, asked)), tuple(sorted(unseen)))


def _look(
    cloud: Cloud, name: str | None, with_volumes: bool, choice: Choice
) -> tuple[list[Holding], list[ProvisionError]]:
    found, errors = Holdings(cloud).look(name)
    if with_volumes:
        found = [replace(thing, kept=False) if thing.kind == "volumes" else thing for thing in found]
    return choice.of(found), errors


def _notes(
    cloud: Cloud, name: str | None, launch: str, found: Sequence[Holding]
) -> tuple[list[Path], list[ProvisionError]]:
    """This laptop's notes on it. Where AWS does not say whose they are they stay, and keep nothing from being ended."""
    try:
        for thing in found:
            journal.adopt(cloud, thing.name, thing.id, thing.launch)
        noted = journal.notes(cloud, name)
        ids = {thing.id for thing in found if thing.kind == "instances"}
        return [place for place in noted if not launch or _is_about(cloud, place, {launch, *ids})], []
    except ProvisionError as error:
        return [], [error]


def _is_about(cloud: Cloud, place: Path, ending: Collection[str]) -> bool:
    """Whether these notes are on what is ended, or on a machine that has ended already."""
    about = note_texts.about(place)
    if about in ending or not about.startswith("i-"):
        return about in ending
    there = Ec2(cloud).by_id(about)
    return there is None or not there.alive


def _seen(things: Iterable[Holding]) -> set[str]:
    """The launches whose machine is among these things: each has one machine at most."""
    return {thing.launch for thing in things if thing.kind == "instances"}


def _refuse(cloud: Cloud, name: str, launch: str) -> None:
    """NotFoundError that names the other machines, or UsageError where that name is another's."""
    if launch:
        raise NotFoundError(f"nothing of the launch {launch} is there", cloud.hint("ls"))
    there = Ec2(cloud).instance(name)
    if whose.others(there.owner):
        forced = cloud.hint(f"down {name} --force")
        raise UsageError(f"{whose.words(there)} is not yours", f"to end it all the same: {forced}")


def end_old(
    cloud: Cloud, name: str, instance_id: str, say: Say, launch: str = "", patience: float = _PATIENCE_S
) -> None:
    """End one machine with what belongs to its launch; whatever else has that name stays untouched, and somebody else's
    machine stays theirs to end.

    `launch` is what is known of it, for when EC2 does not know the machine any more. LeftoverError that lists what is
    left after `patience` s; AuthError or CloudError where AWS does not show it.
    """
    there = Ec2(cloud).by_id(instance_id)
    if there is not None and whose.others(there.owner):
        if there.alive:
            say(f"{whose.words(there)} is left to its owner")
        return
    launch = (there.launch if there else "") or launch

    def look() -> tuple[list[Holding], list[ProvisionError]]:
        found, errors = Holdings(cloud).look(name)
        return Choice(launch).of(found) if launch else whose.left_of(found, instance_id, sure=not errors), errors

    first = look()
    if any(first):
        say(f"ending what is left of {instance_id}")
    _until_gone(Removal(cloud, patience), look, first)


def everything(cloud: Cloud, name: str | None, with_volumes: bool = False) -> dict[str, list[str]]:
    """What exists of `name` (None: of all), whosever it is, that `down` would end, by kind.

    AuthError or CloudError where a kind cannot be listed.
    """
    found, errors = _look(cloud, name, with_volumes, Choice(theirs=None))
    if errors:
        raise errors[0]
    return listed(thing for thing in found if not thing.kept)


def listed(things: Iterable[Holding]) -> dict[str, list[str]]:
    """By kind, what a person knows each by; each once."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for thing in things:
        if thing.label not in found[thing.kind]:
            found[thing.kind].append(thing.label)
    return found


def end(removal: Removal, things: Sequence[Holding], sure: bool = True) -> list[ProvisionError]:
    """End these, in the order of safety; why something could not be ended.

    Not `sure`: not all could be seen, and an instance that was not may use the rest. That is not waited for.
    """
    ids = [thing.id for thing in things if thing.kind == "instances"]
    _, errors = together([partial(removal.terminate, ids)])

    def ended() -> bool:
        removal.wait_ended(ids)
        return True

    steps: list[Callable[[], Any]] = [] if errors else [ended]
    steps += [partial(removal.shut, thing) for thing in things if thing.kind == "security groups"]
    steps += [partial(removal.delete, thing) for thing in things if thing.kind in _AT_ONCE]
    done, more = together(steps)
    return [*errors, *more, *_rest(removal, things, gone=sure and True in done)]


def _rest(removal: Removal, things: Sequence[Holding], gone: bool) -> list[ProvisionError]:
    """What instances use. Where they are not gone it is tried once, but what still serves or ends them is left."""
    kinds = _AFTER if gone else tuple(kind for kind in _AFTER if kind not in _SERVING)
    hasty = removal if gone else Removal(removal.cloud, patience=0.0)
    once = {(_SAME.get(thing.kind, thing.kind), thing.id): thing for thing in reversed(things) if thing.kind in kinds}
    return together([partial(hasty.delete, thing) for thing in once.values()])[1]


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
        left, errors = [thing for thing in seen[0] if not thing.kept], seen[1]
        if left:
            gone.update({(thing.kind, thing.id): thing for thing in left})
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
    left, unseen = [thing for thing in seen[0] if not thing.kept], seen[1]
    if left:
        words = "; ".join(f"{kind}: {', '.join(ids)}" for kind, ids in listed(left).items() if ids)
        reasons = "".join(f"\n  because: {error.what}" for error in errors)
        raise LeftoverError(f"not everything is gone: {words}{reasons}", _PROMISE)
    if unseen:
        raise unseen[0]


def _bills(cloud: Cloud, gone: Sequence[Holding], asked: datetime) -> list[Bill]:
    rows = [thing.row for thing in gone if thing.kind == "instances"]
    return cost.of(cloud, [(instance_of(row), ended_at(row) or asked) for row in rows], asked)


def _cost_words(bill: Bill) -> str:
    price = cost.dollars(bill.total) if bill.total is not None else f"an unknown amount ({bill.note})"
    words = f"{bill.name} cost {price}: {bill.hours:.2f} h of {bill.type} {bill.market}, "
    words += f"disk {cost.dollars(bill.disk)}, address {cost.dollars(bill.address)}"
    return words if not bill.saved else f"{words}; {cost.dollars(bill.saved)} less than on demand"


def kept_row(thing: Holding, region: str) -> dict[str, Any]:
    """A kept thing for programs; its price in US dollars a month."""
    monthly = round(cost.kept_monthly(thing, region), 2)
    return {"kind": thing.kind, "id": thing.id, "name": thing.label, "gb": thing.gb, "dollars_a_month": monthly}


def kept_words(thing: Holding, region: str) -> str:
    """The same for people."""
    monthly = cost.kept_monthly(thing, region)
    facts = [thing.id] * (thing.id != thing.label) + [f"{thing.gb} GB"] * (thing.gb > 0)
    facts += [f"{cost.dollars(monthly)} a month"] * (monthly > 0)
    return f"kept: {thing.kind.removesuffix('s')} {thing.label}" + (f" ({', '.join(facts)})" if facts else "")
