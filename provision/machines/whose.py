"""Whose a machine is. People share an account: what one of them launched is not ended for another without a word.

All that a launch makes carries its owner (`infra.laptop`), as far as AWS lets it carry tags. What older versions made,
and what is only known by its launch's name while nothing else of that launch is left, is nobody's: anybody may end it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from infra import laptop, names
from infra.aws.resources import Holding
from infra.aws.types import Instance
from provision.settings import state_home

_LIVING = ("pending", "running", "stopping", "stopped")


def me() -> str:
    """This laptop's user, as the tag `provision:owner` has it."""
    return laptop.owner(state_home())


def others(owner: str) -> bool:
    """Whether that owner is somebody else, or uses another laptop. "" is nobody."""
    return bool(owner) and laptop.id_of(owner) != laptop.id_of(me())


def person(owner: str) -> str:
    """The owner for people: you, alice@thinkpad, or "" for nobody."""
    return laptop.person_of(owner) if others(owner) else "you" if owner else ""


def own(machines: Iterable[Instance]) -> Instance | None:
    """The newest of these machines that is not another's; None where all are."""
    mine = [machine for machine in machines if not others(machine.owner)]
    return mine[-1] if mine else None


def to_ask(machines: Sequence[Instance], name: str | None) -> list[Instance]:
    """Which of these machines nobody ends without a question: another's; all of them where several have the name."""
    living = [machine for machine in machines if machine.state in _LIVING]
    if name and len({machine.launch for machine in living}) > 1:
        return living
    return [machine for machine in living if others(machine.owner)]


def words(machine: Instance) -> str:
    """`lab (i-1, p3.8xlarge in us-east-1a) of alice@thinkpad`."""
    whose = person(machine.owner)
    return f"{machine.name} ({machine.id}, {machine.type} in {machine.zone})" + (f" of {whose}" if whose else "")


def free_name(name: str) -> str:
    """A name of this laptop's user's own for what was to be called `name`, such as lab-bob."""
    user = "".join(one if one.isalnum() and one.isascii() else "-" for one in laptop.person_of(me()).split("@")[0])
    wanted = f"{name[:30]}-{user}"[:40].rstrip("-")
    return wanted if names.MACHINE.fits(wanted) and wanted != name else f"{name[:37]}-2"


@dataclass(frozen=True)
class Choice:
    """Which of the things of a name are meant: of this `launch` alone ("": of any), and of another's launches those in
    `theirs` (None: all)."""

    launch: str = ""
    theirs: Collection[str] | None = ()

    def of(self, things: Sequence[Holding]) -> list[Holding]:
        """The things that are meant, and what is kept under that name, which is never ended."""
        if self.launch:
            mine = [thing for thing in things if thing.launch == self.launch or thing.kept]
            return [thing for thing in mine if not (thing.kept and others(thing.owner))]
        owner = owners(things)
        return [thing for thing in things if self._meant(thing, thing.owner or owner.get(thing.launch, ""))]

    def _meant(self, thing: Holding, owner: str) -> bool:
        return self.theirs is None or not others(owner) or thing.launch in self.theirs


def owners(things: Iterable[Holding]) -> dict[str, str]:
    """Launch → owner, as the tags of any of its things tell."""
    return {thing.launch: thing.owner for thing in things if thing.launch and thing.owner}


def left_of(things: Sequence[Holding], machine: str, sure: bool) -> list[Holding]:
    """What may be of a machine (its id) whose launch nobody knows: this laptop's own things without another machine.

    Nothing but the machine where not all could be seen (not `sure`), as a machine that was not may use the rest.
    """
    used = {thing.launch for thing in things if thing.kind == "instances" and thing.id != machine}
    mine = {launch for launch, owner in owners(things).items() if not others(owner)} - used
    return [thing for thing in things if thing.id == machine or (sure and thing.launch in mine)]
