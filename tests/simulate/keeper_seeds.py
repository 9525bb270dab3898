"""Runs of one keeper, or of two, each drawn from a seed: what befalls them, and the rules that hold when all is over.

python -m tests.simulate.keeper_seeds [SEEDS [FIRST]]
"""

import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provision.engines import definition
from provision.machines import kept_bake
from tests.simulate.asl import Execution, told
from tests.simulate.keeper_cloud import HOUR, LIVING, MISHAPS, Cloud
from tests.simulate.keeper_drive import Keeper

LAUNCH, OTHER = "provision-lab-01234567", "provision-lab-89abcdef"
LABEL = "provision ubuntu-535"
ENDS = ("TrainingFailed", "EndedWithMachine", "Unready", "Barren", "TooManyMachines", "TimeOver", "NoCapacity",
        "Refused", "Taken", "Unclaimed", "StillThere")  # fmt: skip
DAY = 24 * HOUR
KINDS = (
    "usual",
    "usual",
    "usual",
    "stop",
    "two",
    "refused",
    "stuck",
    "long",
    "mute",
    "unready",
    "person",
    "dry",
    "lost",
    "deleted",
    "slow",
    "hosts",
    "silent",
    "deaf",
    "lossy",
    "bake",
    "bake",
)


@dataclass(frozen=True)
class Played:
    """What became of a seed: what befell it, how the first execution ended, which rules broke, and what it took."""

    seed: int
    kind: str
    mishaps: frozenset[str]
    end: str
    broken: tuple[str, ...]
    machines: int
    events: int


def given(launch: str, ends: float, hours: float = 12, fallback: bool = True, **more: Any) -> dict[str, Any]:
    """The input of an execution, as a laptop makes it. `ends`: the run's end in seconds, `hours`: of patience."""
    market = [_market(launch, "spot"), *([_market(launch, "on-demand")] if fallback else [])]
    words = {
        "run": "r", "bucket": "provision-1-us-east-1", "prefix": "runs/r/", "launch": launch, "name": "lab",
        "token": "0b0e6f6e-0000-4000-8000-" + launch[-8:].ljust(12, "0"), "number": 1,
        "numbers": [f"{number:03d}" for number in range(1, definition.MOST_NUMBERS + 1)],
        "made_by": "alice@thinkpad 3f2a9c1d", "gpus": [0], "first": {"resumed_from": 0, "chosen": False},
        "seconds": int(ends) + 900, "until": told(ends - 900)[:19] + "Z",
        "schedule": {"name": launch, "group": "provision", "expression": "at(2026-11-21T12:00:00)", "role": "arn:role",
                     "target": "arn:target"},
        "hourly": 3.7, "budget": None, "markets": market, "waits": definition.waits(hours), "barren": 5, "notify": "",
        "bake": dict(kept_bake.NOTHING),
        "typed": {"again": "type events", "well": "type fetch", "ill": "type resume"},
    }  # fmt: skip
    return {**words, **more}


def _market(launch: str, market: str) -> dict[str, Any]:
    name = launch if market == "spot" else f"{launch}-on-demand"
    options = {"SpotOptions": {}} if market == "spot" else {"OnDemandOptions": {}}
    template = {"LaunchTemplateSpecification": {"LaunchTemplateName": name, "Version": "$Default"}, "Overrides": []}
    fleet = {
        "Type": "instant", "LaunchTemplateConfigs": [template], "TagSpecifications": [],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": market}, **options,
    }  # fmt: skip
    return {"market": market, "fleet": fleet}


def play(seed: int, machine: Mapping[str, Any] | None = None, kind: str = "") -> Played:
    """One seed, with the product's definition or another one. `kind` chooses what is drawn, "" draws that, too."""
    draw = random.Random(seed)
    ends = draw.uniform(6, 72) * HOUR
    kind = kind or draw.choice(KINDS)
    cloud = _cloud(seed, draw, ends, kind)
    asl = machine or definition.definition()
    hours = {"dry": 100, "lost": 0.02}.get(kind) or draw.choice((1, 12, 100))
    words = given(LAUNCH, ends, hours, draw.random() < 0.5, notify=draw.choice(("", "arn:topic")))
    if kind == "bake" or draw.random() < 0.3:
        words["bake"] = _bake(cloud, draw, ends)
    first = cloud.keep(Execution(asl, words, "r-1"))
    keepers = [first]
    if kind == "two":
        keepers.append(_later(cloud, draw, asl, ends))
    if kind in ("stop", "deleted"):
        cloud.alone = True
        cloud.time.at(draw.uniform(0, 0.7 * ends), first.stop if kind == "stop" else first.delete)
    cloud.time.run(ends + 10 * DAY, lambda: all(keeper.over for keeper in keepers))
    for keeper in keepers:
        _ended(cloud, keeper)
    cloud.time.run(ends + 11 * DAY)
    if not cloud.stuck and any(one.state in LIVING for one in cloud.machines.values()):
        cloud.say("a machine outlives both its ends")
    end = first.execution.error or first.execution.status
    mishaps = frozenset(one.mishap for one in cloud.machines.values())
    return Played(seed, kind, mishaps, end, tuple(cloud.broken), len(cloud.machines), first.execution.events)


def _bake(cloud: Cloud, draw: random.Random, ends: float) -> dict[str, Any]:
    """The order to make an image of the machine that finishes; another run may make it, before or meanwhile."""
    cloud.bakes = LABEL
    if draw.random() < 0.4:
        at = draw.choice((0.0, draw.uniform(0, ends)))
        cloud.time.at(at, lambda: cloud.images or cloud.image("another run", None))
    tags = [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": LABEL}]} for kind in ("image", "snapshot")]
    return {"label": LABEL, "about": "", "families": ["Volta"], "driver": "535", "tags": tags,
            "until": told(max(0.0, ends - 1500))[:19] + "Z"}  # fmt: skip


def _later(cloud: Cloud, draw: random.Random, asl: Mapping[str, Any], ends: float) -> Keeper:
    """Another laptop resumes the run at the same moment: the same number, another launch."""
    return cloud.keep(Execution(asl, given(OTHER, ends), "r-2", now=0.0))


# kind → the mishaps of its machines
_MISHAPS: Mapping[str, tuple[str, ...]] = {
    "long": ("notice", "notice", "taken", "hung", ""), "mute": ("mute",), "unready": ("unready",),
    "person": ("person", "notice"), "bake": ("", "", "notice", "taken after"), "fails": ("fails", "fails", ""),
    "slow": ("slow boot", "slow boot", "notice", "early end", ""),
    "hosts": ("no host",), "silent": ("hung", "taken", "hung", "early end"),
}  # fmt: skip


_LOSSY = dict.fromkeys(("putObject", "headObject", "getObject", "describeInstances", "terminateInstances",
                        "createSchedule", "updateSchedule"), 0.12)  # fmt: skip


def _cloud(seed: int, draw: random.Random, ends: float, kind: str) -> Cloud:
    droughts: dict[str, list[tuple[float, float]]] = {"spot": [], "on-demand": []}
    for market, often in (("spot", 6), ("on-demand", 2)):
        for _ in range(draw.randrange(often)):
            start = draw.uniform(0, ends)
            droughts[market].append((start, start + draw.uniform(0.1, 12) * HOUR))
    if kind in ("refused", "dry"):
        droughts = {market: [(0, ends)] for market in droughts}
    cloud = Cloud(seed, ends, int(draw.uniform(0.5, 20) * HOUR), droughts, faults=draw.choice((0.0, 0.02, 0.05)))
    cloud.often = {"createFleet": 0.48} if kind == "lost" else _LOSSY if kind == "lossy" else {}
    cloud.deaf = 0.3 if kind == "deaf" else 0.0
    cloud.refused = "UnauthorizedOperation" if kind == "refused" else draw.choice(
        ("InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow"))  # fmt: skip
    cloud.stuck = kind == "stuck"
    cloud.slow_images = draw.random() < 0.2
    cloud.mishaps = _MISHAPS.get(kind, (*MISHAPS, "", "", "notice"))
    return cloud


def _ended(cloud: Cloud, keeper: Keeper) -> None:
    """The rules at the end of an execution."""
    execution = keeper.execution
    if keeper.stopped:
        return
    launch = execution.given["launch"]
    if not keeper.over:
        cloud.say(f"{execution.name} does not end: {execution.entered[-1]}")
    if execution.status == "FAILED" and execution.error not in ENDS:
        cloud.say(f"{execution.name} fails with {execution.error}: {execution.cause}")
    if (execution.error == "StillThere") != cloud.stuck and not (cloud.stuck or cloud.unlucky):
        cloud.say(f"{execution.name} could not end what can be ended")
    if execution.error == "StillThere":
        if launch not in cloud.schedules and cloud.time.now < cloud.ends:
            cloud.say("the second end of what could not be ended is gone")
        return
    if execution.error == "Taken" and launch == LAUNCH and len(cloud.keepers) == 1:
        cloud.say("it takes itself for somebody else")
    _left(cloud, launch)
    if any(one.run == "r" and one.state != "available" for one in cloud.images.values()) and not cloud.unlucky:
        cloud.say("half an image is left")
    if any(one.run == "r" and one.id not in cloud.images for one in cloud.pieces.values()) and not cloud.unlucky:
        cloud.say("a snapshot of no image is left")
    _right(cloud, execution)


def _left(cloud: Cloud, launch: str) -> None:
    """Nothing of the launch is left, but what a call did not take away that failed again and again."""
    if any(one.state in LIVING and one.launch == launch for one in cloud.machines.values()):
        cloud.say("a machine is left")
    things = [thing for thing in cloud.things if thing[1].startswith(launch)]
    if (things or cloud.policies.get(launch) or launch in cloud.schedules) and not cloud.unlucky:
        cloud.say(f"left: {things} {cloud.policies.get(launch)} {launch in cloud.schedules}")


_WORDS = {"TrainingFailed": ("failed",), "": ("finished", "stopped")}


def _right(cloud: Cloud, execution: Execution) -> None:
    """It ended as it should."""
    launch = execution.given["launch"]
    said = {one.word for one in cloud.machines.values() if one.launch == launch}
    if execution.error in _WORDS and not said & set(_WORDS[execution.error]):
        cloud.say(f"it ended with {execution.error or 'success'}, and no machine said so")
    if execution.error == "EndedWithMachine" and list(cloud.machines.values())[-1].mishap == "no host":
        cloud.say("host files that are missing are taken for a person who ends the machine")
    if execution.error == "Barren" and _fruitful(cloud, launch):
        cloud.say("it gave up as barren, and one of its last machines brought a newer snapshot")
    if execution.error == "Refused" and cloud.refused != "UnauthorizedOperation":
        cloud.say("it gave up for a reason that passes")
    if not execution.error and execution.output["word"] == "finished" and max(cloud.snapshots) != cloud.total:
        cloud.say("it is finished, and its last snapshot is not there")


def _fruitful(cloud: Cloud, launch: str) -> bool:
    """Whether one of the launch's last five machines, whose state can be read, brought a newer snapshot."""
    last = [one for one in cloud.machines.values() if one.launch == launch][-5:]
    return not cloud.unlucky and any(one.brought > one.base and not one.unread for one in last if one.training)


def main(words: list[str]) -> int:
    """Play seeds, say what broke and how they ended."""
    count, first = int(words[0]) if words else 200, int(words[1]) if len(words) > 1 else 0
    begun = time.process_time()
    played = [play(seed) for seed in range(first, first + count)]
    for one in played:
        if one.broken:
            print(one)
    print(Counter(one.end for one in played), sum(one.machines for one in played), "machines,",
          max(one.events for one in played), "events at most,", f"{time.process_time() - begun:.1f} CPU-s")  # fmt: skip
    return 1 if any(one.broken for one in played) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
