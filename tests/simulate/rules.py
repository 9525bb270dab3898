"""What must hold, whatever happens. Each rule is a name and words about one breach of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from infra.errors import NotFoundError, ProvisionError
from localcloud.emulator import ACCOUNT
from tests.simulate import trainings
from tests.simulate.baton import BATON
from tests.simulate.clients import Client
from tests.simulate.cloud import OURS, World, tags_of
from tests.simulate.plans import Event
from tests.simulate.trainings import Container

Breach = tuple[str, str]
SAVED_IN_S = 90.0
UNKNOWN = "the simulation knows no"
PASSING = {"lost", "cut", "broken", "throttled", "expired", "odd", "full"}  # what an attached training bears


def _below(kind: type[ProvisionError]) -> Iterator[int]:
    """The exit codes of a class of errors and of all below it."""
    yield kind.exit_code
    for one in kind.__subclasses__():
        yield from _below(one)


KNOWN_CODES = {129, 130, 143, 0, 2, *_below(ProvisionError)}


class Watch:
    """Looks at each call of a client, and at the end at all of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.breaches: list[Breach] = []
        self.owner: dict[str, Client] = {}  # instance → whose launch gave it
        self.terminated: set[str] = set()  # by a client
        self.begun: list[Container] = []
        self.noticed: list[tuple[Container, int]] = []  # trainings and their iterations when an end was announced
        self.kept: set[str] = set()  # volumes that were to be kept, at any time
        self.freed: set[str] = set()  # volumes that AWS was told to let outlive their machine
        self.disks: tuple[set[str], set[str]] = (set(), set())
        self.complete: dict[str, int] = {}  # run → the newest snapshot that was ever whole in S3

    def breach(self, rule: str, words: str) -> None:
        self.breaches.append((rule, f"{BATON.now:.0f} s: {words}"))

    def on_call(self, client: Client, service: str, action: str) -> None:
        """Before a call is done, and after it."""
        if action == "CreateFleet done":
            self._launched(client)
        if action == "CreateTags done":  # some may have lost their mark again; what is gone still counts
            kept = set(self.world.kept())
            self.kept = (self.kept - set(self.world.things().get("volumes", ()))) | kept
        if action == "ModifyInstanceAttribute":
            self.disks = self.world.disks()
        if action == "ModifyInstanceAttribute done":
            self._told()
        if action == "TerminateInstances":
            self.before = {one.id for one in self.world.living()}
        if action == "TerminateInstances done":
            self._ended(client, self.before - {one.id for one in self.world.living()})

    def _told(self) -> None:
        """AWS was told what becomes of a volume when its machine ends."""
        staying, going = self.world.disks()
        self.freed = (self.freed | (staying - self.disks[0])) - going

    def _launched(self, client: Client) -> None:
        new = [one for one in self.world.living() if one.id not in self.owner]
        for one in new:
            self.owner[one.id] = client
            client.made.append(one.id)
        mine = Counter(
            (self.owner[one.id].laptop.name, tags_of(one).get(OURS)) for one in self.world.living() if self._stays(one)
        )
        for (who, name), count in mine.items():
            if count > 1:
                self.breach("one machine", f"{who} has {count} machines of the name {name}")

    def objects(self) -> dict[str, bytes]:
        """What is in the bucket of runs."""
        from moto.s3.models import s3_backends

        buckets = s3_backends[ACCOUNT]["aws"].buckets.values()
        return {key.name: key.value for bucket in buckets for key in bucket.keys.values() if key.name.endswith(".json")}

    def runs(self) -> list[str]:
        """Ids of all runs."""
        return sorted({key.split("/")[1] for key in self.objects() if key.endswith("/manifest.json")})

    def on_begin(self, container: Container) -> None:
        """A training begins on a host."""
        self.begun.append(container)
        others = [one for one in self.begun if one.run == container.run and one.status == "running" and one.host.alive]
        staying = [one for one in others if not self._leaves(one.host.id)]
        if len(staying) > 1:
            self.breach("one training", f"{container.run} trains on {', '.join(one.host.id for one in staying)}")
        whole = trainings.complete(self.objects(), container.run)
        if whole and container.at < max(whole):
            self.breach("no snapshot lost", f"{container.run} goes on from {container.at}; in S3 there is {max(whole)}")
        lost = self.complete.get(container.run, 0)
        if lost > max(whole, default=0):
            self.breach("no snapshot lost", f"{container.run} had {lost} whole in S3, and now {max(whole, default=0)}")
        self.complete[container.run] = max(whole, default=0)

    def on_notice(self, instance: str, seconds: float) -> None:
        """AWS has announced the end of a machine, or it powers itself off: what trains there can be saved in time."""
        for one in self.begun:
            if one.host.id == instance and one.status == "running" and one.host.alive and seconds > SAVED_IN_S:
                self.noticed.append((one, one.at))

    def _leaves(self, instance: str) -> bool:
        machine = self.world.machines.by_id.get(instance)
        return machine is None or machine.interruption is not None or machine.state not in ("pending", "running")

    def _stays(self, instance: Any) -> bool:
        """Whether nobody is about to end it."""
        return self.world.machines.by_id[instance.id].interruption is None

    def _ended(self, client: Client, gone: set[str]) -> None:
        self.terminated |= gone
        for instance in gone:
            owner = self.owner.get(instance)
            asked = {"--all", "--force"} & set(client.words)
            if owner and owner.laptop is not client.laptop and not asked:
                self.breach("own machines", f"`{' '.join(client.words)}` of {client.laptop.name} ended {instance} of "
                            f"{owner.laptop.name}")  # fmt: skip


def of_client(watch: Watch, client: Client, events: Sequence[Event]) -> Iterator[Breach]:
    """When a command has ended."""
    verb, living = client.words[0], {one.id for one in watch.world.living()}
    left = [one for one in client.made if one in living]
    end = f"`{' '.join(client.words)}` ended with {client.code}"
    if client.code is None:
        yield "no hanging", f"`{' '.join(client.words)}` still runs\n{client.said[-1500:]}"
    elif (client.code not in KNOWN_CODES and not client.killed) or "Traceback" in client.said:
        yield "no traceback", f"{end}\n{client.said[-3000:]}"
    if UNKNOWN in client.said:
        yield "stand-ins", f"{end}\n{client.said[-1500:]}"
    own = verb == "train" and "--instance" in client.words
    if own and client.code and not events_of(client, events) and not client.met:
        yield "works", f"{end}, and nothing went wrong\n{client.said[-1500:]}"
    if (verb == "up" or own) and client.code and not client.killed and left and not _says_so(client):
        yield "undone", f"{end} and left {', '.join(left)}\n{client.said[-1500:]}"
    if own and not client.killed and client.code is not None and _bears(client, events):
        yield from _seen_through(watch, client, end)


def events_of(client: Client, events: Sequence[Event]) -> list[Event]:
    """What may make a command fail beside a fault at its calls: another's doing, and the weather."""
    return [event for event in events if event.kind == "end" or (event.kind != "fault" and event.label != client.label)]


def _bears(client: Client, events: Sequence[Event]) -> bool:
    """Whether all that went wrong passes, and nobody meddled."""
    others = [event for event in events if event.kind in ("sick", "end") or event.label not in ("", client.label)]
    return not others and all(one.split(" at ")[0] in PASSING for one in client.met)


def _seen_through(watch: Watch, client: Client, end: str) -> Iterator[Breach]:
    """A training that has begun goes on to its end."""
    mine = [one for one in watch.begun if one.host.id in client.made]
    at = max((one.at for one in mine), default=0)
    if mine and at < trainings.whole[0]:
        yield "seen through", f"{end} at iteration {at} of {trainings.whole[0]}\n{client.said[-1500:]}"


def at_end(watch: Watch) -> Iterator[Breach]:
    """What the whole has cost, and what was saved."""
    for machine in watch.world.machines.by_id.values():
        budget = tags_of(machine.instance).get("provision:budget")
        spent = watch.world.cost(machine.instance)
        if budget and spent > 1.01 * float(budget):
            yield "budget", f"{machine.instance.id} has cost ${spent:.2f} of ${float(budget):.2f}"
    kept = watch.world.kept()
    if gone := watch.kept - set(kept):
        yield "volumes stay", f"nobody asked to delete {', '.join(sorted(gone))}"
    if twice := [name for name, count in Counter(kept.values()).items() if count > 1]:
        yield "one volume", f"there are several kept volumes {', '.join(twice)}: {kept}"
    for container, at in watch.noticed:
        ended = watch.world.lives[container.host.id]
        whole = max(trainings.complete(watch.objects(), container.run), default=0)
        if whole < at and len(ended) > 1 and container.host.id not in watch.terminated:
            yield "saved at notice", f"{container.run} was at {at} when that was announced, and {whole} is in S3"


def _says_so(client: Client) -> bool:
    """Whether a machine was left knowingly."""
    return (
        "was NOT ended" in client.said
        or "kept, and billed, until" in client.said
        or "may be there twice" in client.said
    )


def after_deadlines(watch: Watch) -> Iterator[Breach]:
    """When nobody has done anything until all deadlines were over."""
    kept = {*watch.world.kept(), *watch.freed}
    billed = {"machines", "volumes", "addresses", "interfaces", "spot requests"}
    things = {kind: sorted({*names} - kept) for kind, names in watch.world.things().items() if kind in billed}
    left = {kind: names for kind, names in things.items() if names}
    if left:
        yield "ends by itself", f"after all deadlines there are {left}"


def after_down(watch: Watch, client: Client) -> Iterator[Breach]:
    """When a stranger has said `down --all --force` without a fault."""
    if client.code not in (0, NotFoundError.exit_code):
        yield "down works", f"`down --all --force` without a fault ended with {client.code}\n{client.said[-1500:]}"
    if left := watch.world.things():
        yield "nothing left", f"after `down --all --force` there are {left}"


def words(breaches: Sequence[Breach]) -> str:
    return "\n".join(f"{rule}: {text}" for rule, text in breaches)
