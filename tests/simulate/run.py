"""`python -m tests.simulate.run`: play many seeds, and make what fails short.

--seeds 2000     how many, from --first on
--first 1        the first one
--workers 2      processes
--without RULE   leave a rule out (several times)
--mutations      take something of the product out, one after the other: which seed, of as many as asked, notices it
--only NAME      of the mutations, this one (several times)
--show           print the plan and what every command said
"""

import argparse
import json
import os
import selectors
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    seeds: Sequence[int]
    workers: int
    mutations: tuple[str, ...]
    without: frozenset[str]
    show: bool


Said = dict[str, Any]


def main(words: Sequence[str]) -> int:
    """0 where no rule was broken; with mutations: where each was noticed."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order in sets of texts has to be the same each time
        environ = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulate.run", *words], environ)
    asked = _asked(words)
    from tests.simulate import simulation

    with tempfile.TemporaryDirectory(prefix="simulate-cloud-") as folder:
        world = simulation.prepare(Path(folder))
        tasks: Sequence[Any] = asked.mutations or asked.seeds
        failed = []
        for said in _all(tasks, asked.workers, lambda task: tried(world, asked, task)):
            if said["text"]:
                print(said["text"], flush=True)
            failed += [said["task"]] if said["failed"] else []
    what = "mutations, not noticed" if asked.mutations else "seeds, broke a rule"
    print(f"{len(tasks)} {what}: {failed or 'none'}", flush=True)
    return 1 if failed else 0


def _asked(words: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser(prog="python -m tests.simulate.run")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mutations", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--show", action="store_true")
    given = parser.parse_args(words)
    from tests.simulate import names

    chosen = given.only or (names.MUTATIONS if given.mutations else ())
    seeds = range(given.first, given.first + given.seeds)
    return Asked(seeds, given.workers, tuple(chosen), frozenset(given.without), given.show)


def _all(tasks: Sequence[Any], workers: int, act: Callable[[Any], Said]) -> Iterator[Said]:
    """What came of each task. Each worker is a fork that forks for each simulation; this process has no threads."""
    workers_of = dict(_worker(tasks[number::workers], act) for number in range(workers))
    ears = selectors.DefaultSelector()
    heard = dict.fromkeys(workers_of, b"")
    for pipe in workers_of:
        ears.register(pipe, selectors.EVENT_READ)
    done = 0
    while ears.get_map():
        for key, _ in ears.select():
            said = os.read(key.fd, 1 << 16)
            *lines, heard[key.fd] = (heard[key.fd] + said).split(b"\n")
            done += len(lines)
            yield from map(json.loads, lines)
            if not said:
                ears.unregister(key.fd)
                os.waitpid(workers_of[key.fd], 0)
    if done < len(tasks):
        raise RuntimeError(f"only {done} of {len(tasks)} were played")


def _worker(tasks: Sequence[Any], act: Callable[[Any], Said]) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return reading, pid
    code = 1
    try:
        os.close(reading)
        with os.fdopen(writing, "w") as out:
            for task in tasks:
                out.write(json.dumps({**act(task), "task": task}) + "\n")
                out.flush()
        code = 0
    finally:
        os._exit(code)


def tried(world: Any, asked: Asked, task: Any) -> Said:
    """Play a seed, or look for one that notices a mutation."""
    return _seed(world, asked, task) if isinstance(task, int) else _mutation(world, asked, task)


def _seed(world: Any, asked: Asked, seed: int) -> Said:
    """Where a rule is broken: the rule, the shortest list of events that breaks it, and what was said."""
    from tests.simulate import plans, rules, shrink, simulation

    plan = plans.plan(seed)

    def broken(events: Sequence[plans.Event]) -> list[rules.Breach]:
        found = simulation.simulate(world, plans.Plan(seed, tuple(events)))
        if asked.show:
            print(plan.text(), found.log, f"{found.cpu:.2f} CPU-s, {found.seconds:.0f} s", sep="\n", flush=True)
        return [breach for breach in found.breaches if breach[0] not in asked.without]

    first = broken(plan.events)
    if not first:
        return {"failed": False, "text": ""}
    rule = first[0][0]
    short = shrink.shrunk(plan.events, lambda events: any(name == rule for name, _ in broken(events)))
    last = [breach for breach in broken(short) if breach[0] == rule]
    trace = "\n".join(f"    {event}" for event in short)
    text = f"seed {seed} breaks a rule. The shortest list of events that does:\n{trace}\n{rules.words(last or first)}\n"
    return {"failed": True, "text": text}


def _mutation(world: Any, asked: Asked, name: str) -> Said:
    """The first seed that breaks a rule with it and not without."""
    from tests.simulate import mutations, plans, simulation

    for number, seed in enumerate(asked.seeds, 1):
        plan = plans.plan(seed)
        found = {rule for rule, _ in simulation.simulate(world, plan, mutations.ALL[name]).breaches}
        if found and (new := found - {rule for rule, _ in simulation.simulate(world, plan).breaches}):
            return {
                "failed": False,
                "text": f"{name}: noticed by seed {seed}, number {number} ({', '.join(sorted(new))})",
            }
    return {"failed": True, "text": f"{name}: NOT noticed by {len(asked.seeds)} seeds"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
