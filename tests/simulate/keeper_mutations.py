"""What is taken out of the keeper's definition, one thing at a time, so that the seeds' rules have to notice it.

python -m tests.simulate.keeper_mutations [SEEDS]
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from provision.engines import definition
from tests.simulate.keeper_seeds import play

States = dict[str, dict[str, Any]]


def _goes(state: str, then: str) -> Callable[[States], None]:
    """The state goes on with another one."""

    def change(states: States) -> None:
        if "Default" in states[state]:
            states[state] |= {"Choices": [{"Variable": "$", "IsPresent": False, "Next": then}], "Default": then}
        else:
            states[state]["Next"] = then

    return change


def _without(state: str, then: str) -> Callable[[States], None]:
    """A choice has no rule that leads to `then`."""

    def change(states: States) -> None:
        states[state]["Choices"] = [rule for rule in states[state]["Choices"] if rule["Next"] != then]

    return change


def _is(state: str, field: str, key: str, value: Any) -> Callable[[States], None]:
    """A field's value is another one; None takes it out."""

    def change(states: States) -> None:
        values = states[state][field]
        assert key in values
        values.pop(key)
        if value is not None:
            values[key] = value

    return change


def _is_rule(state: str, then: str, test: str, value: Any) -> Callable[[States], None]:
    """The rule that leads to `then` compares to another value."""

    def change(states: States) -> None:
        [rule] = [rule for rule in states[state]["Choices"] if rule["Next"] == then]
        assert test in rule
        rule[test] = value

    return change


def _deaf(states: States) -> None:
    states["Work"]["HeartbeatSeconds"] = 10**7


def _no_sweep(states: States) -> None:
    states["Left"]["ResultSelector"] = {"ids": []}


def _not_moved(states: States) -> None:
    states["Arm"]["Catch"][0]["Next"] = "Work"


# name → (the change, the kind of seed in which it shows itself)
ALL: Mapping[str, tuple[Callable[[States], None], str]] = {
    "no end": (_goes("Before", "Final?"), ""),
    "not looked until gone": (_goes("End", "Final?"), "long"),
    "the same token after a refusal": (_is("New token", "Parameters", "tries.$", "$.ask.tries"), ""),
    "another token after a lost answer": (
        _is("Same token", "Parameters", "tries.$", "States.MathAdd($.ask.tries, 1)"), "lost"),
    "no second end": (_goes("Note", "Work"), ""),
    "the second end stays with the first machine": (_not_moved, "long"),
    "no heartbeat": (_deaf, "long"),
    "an order before the machine is there": (_goes("Coming", "Work"), "slow"),
    "a boot has a quarter of an hour": (_is_rule("Comes?", "Never here", "NumericGreaterThanEquals", 4), "slow"),
    "a machine that ended early is waited for": (_without("Comes?", "Ended early"), "slow"),
    "a machine that never comes is waited for": (_without("Comes?", "Never here"), ""),
    "what a silent machine brought counts for nothing": (_without("Its?", "Credit"), "silent"),
    "host files that are missing are a person's end": (_without("Next?", "Mute"), "hosts"),
    "host files that are missing for ever": (_without("Same?", "Unready"), "hosts"),
    "no condition on the claim": (_is("Claim", "Parameters", "IfNoneMatch", None), "two"),
    "anybody's claim is ours": (_goes("Ours?", "First"), "two"),
    "no sweep": (_no_sweep, "lost"),
    "nothing is cleared": (_goes("Left?", "Tell?"), ""),
    "the role stays": (_goes("Group", "Tell?"), ""),
    "a failed training goes on": (_without("Next?", "TrainingFailed"), "fails"),
    "the free hour is paid for": (_without("Free?", "A free hour"), "long"),
    "no second end for what cannot be ended": (_goes("Stuck", "Unschedule"), "stuck"),
    "no last word of a silent machine": (_goes("Final?", "Ended"), "mute"),
    "unready for ever": (_without("Same?", "Unready"), "unready"),
    "asks when the time is over": (_without("May ask?", "TimeOver"), "dry"),
    "the same number again": (_is("Again", "Parameters", "nnn.$", "$.turn.nnn"), "long"),
    "waiting does not help": (_goes("Got?", "Refused"), "dry"),
    "an image of any machine that finished": (_goes("Bake?", "Baked already?"), "bake"),
    "an image that is there is made again": (_goes("Baked already?", "Bake"), "bake"),
    "a machine is ended before its image is made": (_goes("To the image", "Baked"), "bake"),
    "half an image stays": (_goes("Unbaked", "To the end of it"), "bake"),
    "its snapshots stay": (_goes("Half", "To the end of it"), "bake"),
    "an image is waited for that is made": (_without("Image?", "Baked"), "bake"),
    "a person's end is not seen": (_without("Next?", "EndedWithMachine"), "person"),
}  # fmt: skip


def changed(name: str) -> dict[str, Any]:
    """The definition with that change."""
    machine = json.loads(definition.text())
    ALL[name][0](machine["States"])
    return machine  # type: ignore[no-any-return]


def noticed(name: str, seeds: int) -> int | None:
    """The first seed whose rules notice the change; None where none does."""
    machine = changed(name)
    for seed in range(seeds):
        if play(seed, machine, ALL[name][1]).broken:
            return seed
    return None


def main(words: list[str]) -> int:
    """Say which seed notices each."""
    missed = 0
    for name in ALL:
        seed = noticed(name, int(words[0]) if words else 60)
        print(f"{name}: {'NOT NOTICED' if seed is None else f'noticed by seed {seed}'}")
        missed += seed is None
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
