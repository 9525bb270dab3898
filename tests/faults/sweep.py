"""The fault sweep: `python -m tests.faults.sweep`. It ends with the line `N faults tried, M leaks`.

It has four parts, each with clouds of its own, which are swept at the same time: `edge` (up, down, up again, extend, on
hosts that are SSH servers and no containers), `crowd` (several users at once, there), `machines` (up and down on fresh
system containers) and `training` (train and stop, on a system container with a Docker engine; see `trainer`).

Each step is a command of a user. It runs once without a fault, and the emulator's log tells which AWS calls it makes.
Then, for each of those calls and each kind of fault, it runs again, on a machine of a new name:

- denied, throttled: the call is refused from there on, however often it is made
- broken: this one call fails with AWS's own error, and so do botocore's retries of it
- full (calls that launch): AWS has no capacity; nowhere: it has none anywhere, which a fleet answers with a 200
- lost: the work is done and the answer is lost, once; cut: the answers to all tries of this call are lost
- killed before, killed after: the client gets SIGKILL when AWS has the call but has not done it, or has done it
- stopped before, stopped after: the same with SIGINT, which is Ctrl-C

What must hold, by the emulator's own state: at most one instance was launched; a command that says it is done, is; one
that failed or was stopped leaves nothing, unless AWS refused to the end and it says so with the command that mends it;
a machine that was there before stays; after one `down` without faults nothing is left of the name; and what a killed
client left is what `audit` lists, on a laptop that knows nothing of it.

But for the few on system containers, the sweep knows no calls of `provision`: one that is new is swept.
"""

import argparse
import ctypes
import gc
import itertools
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.faults import clients
from tests.faults.kinds import KINDS, STEPS, TRAININGS, Call, Tried, step_of
from tests.faults.oracle import World
from tests.faults.parts import PARTS, SLOWER, Part, Task, faults_of, filtered, taken_out

Say = Callable[[str], None]

# Workers by fork; tasks and results go through pipes that need no threads.


def end_with_parent() -> None:
    """Get SIGTERM when the process that made this one ends, whatever ends it: no cloud may stay behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, linux/prctl.h


def _work(part: Part, world: World, folder: Path, tasks: Any, results: Any) -> None:
    """A worker's life. A task is a step's name, to list its calls; what to try; or None, the end."""
    end_with_parent()
    worker = part.worker(world, folder, SLOWER)  # the first calls of a cloud are slow
    try:
        worker.open()
        worker.calls(part.steps[0])  # its AWS clients and caches are warm before it counts
        worker.fast = part.fast
        results.put(("ready", world.name))
        while (task := tasks.get()) is not None:
            if isinstance(task, str):
                results.put((task, worker.calls(step_of(task))))
            else:
                results.put(("tried", worker.attempt(task)))
    except BaseException as error:
        results.put(("broken", f"{error!r}"))
    finally:
        world.stop()


@dataclass(frozen=True)
class Plan:
    """What to sweep of one part; empty filters let all through. `take_out`: see `parts.taken_out`."""

    part: str
    steps: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    only: str = ""
    take_out: bool = False


def sweep(plan: Plan, say: Say) -> list[Tried]:
    """Try all faults of the plan. RuntimeError where even a step without a fault fails."""
    part = PARTS[plan.part]
    context = multiprocessing.get_context("fork")
    tasks, results = context.SimpleQueue(), context.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        os.environ["PROVISION_LOCAL_HOME"] = f"{folder}/clouds"
        worlds = [World(f"sweep{os.getpid()}-{number}", edge=part.edge) for number in range(part.workers)]
        made = [context.Process(target=_work, args=(part, world, Path(folder), tasks, results)) for world in worlds]
        for one in made:
            one.start()
        try:
            return _collect(plan, tasks, results, say)
        finally:
            for _ in made:
                tasks.put(None)
            for one in made:
                one.join(60)


def _collect(plan: Plan, tasks: Any, results: Any, say: Say) -> list[Tried]:
    part = PARTS[plan.part]
    for _ in range(part.workers):
        _expect(results, "ready")

    def calls_of(name: str) -> list[Call]:
        tasks.put(name)
        calls: list[Call] = _expect(results, name)
        say(f"{name}: {len(calls)} calls: {', '.join(str(call) for call in calls)}")
        return calls

    found = taken_out(plan.part, calls_of) if plan.take_out else faults_of(part, calls_of)
    wanted = filtered(found, plan.steps, plan.kinds, plan.only)
    return _try(plan.part, wanted, tasks, results, say)


def _try(part: str, wanted: Sequence[Task], tasks: Any, results: Any, say: Say) -> list[Tried]:
    """Each worker has one task at a time."""
    tried: list[Tried] = []
    waiting = iter(wanted)
    for task in itertools.islice(waiting, PARTS[part].workers):
        tasks.put(task)
    for _ in wanted:
        outcomes = [replace(one, part=part) for one in _expect(results, "tried")]
        for one in outcomes:
            say(str(one))
        tried += outcomes
        for another in itertools.islice(waiting, 1):
            tasks.put(another)
    return tried


def _expect(results: Any, what: str) -> Any:
    kind, found = results.get()
    if kind != what:
        raise RuntimeError(f"a worker broke: {found}")
    return found


def together(plans: Sequence[Plan], say: Say) -> list[Tried]:
    """Sweep all plans at the same time, each in a process of its own. RuntimeError where one cannot be swept."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    clients.warm()
    gc.freeze()  # what is loaded stays shared with the children
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    made = [context.Process(target=_one_of, args=(plan, results, say)) for plan in plans]
    for one in made:
        one.start()
    tried: list[Tried] = []
    try:
        for _ in made:
            name, found, seconds = results.get()
            if isinstance(found, str):
                raise RuntimeError(f"{name}: {found}")
            tried += found
            say(f"{name}: {', '.join(summary(found, seconds))}")
    finally:
        for one in made:
            one.terminate()
            one.join()
    return tried


def _one_of(plan: Plan, results: Any, say: Say) -> None:
    end_with_parent()
    begun = time.monotonic()
    try:
        found: list[Tried] | str = sweep(plan, lambda text: say(f"{plan.part}: {text}"))
    except BaseException as error:
        found = f"{error}"
    results.put((plan.part, found, time.monotonic() - begun))


def summary(tried: Sequence[Tried], seconds: float) -> list[str]:
    """How it went; the last line is the result."""
    met = [one for one in tried if one.reached or one.wrong]
    spent = sorted(one.seconds for one in met) or [0.0]
    leaks = sum(bool(one.wrong) for one in tried)
    speed = f"a fault took {1000 * spent[len(spent) // 2]:.0f} ms (median), {1000 * spent[-1]:.0f} ms (longest)"
    again = f"{len(tried) - len(met)} calls were not made again"
    return [f"{again}; {seconds:.0f} s in all; {speed}", f"{len(met)} faults tried, {leaks} leaks"]


def main() -> int:
    args = _parser().parse_args()
    if args.read:
        print("\n".join(json.loads(args.read.read_text(encoding="utf-8"))["summary"]))
        return 0
    about = {"steps": tuple(args.step), "kinds": tuple(args.kind), "only": args.only, "take_out": args.take_out}
    plans = [Plan(name, **about) for name in args.part or PARTS]
    begun = time.monotonic()
    try:
        tried = together(plans, lambda text: print(text, flush=True))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    lines = summary(tried, time.monotonic() - begun)
    if args.json:
        found = {"tried": [asdict(one) for one in tried], "summary": lines}
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print("\n".join(lines))
    return int(any(one.wrong for one in tried))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sweep", description=__doc__.split("\n")[0])
    parser.add_argument("--part", action="append", default=[], choices=list(PARTS), help="(default: all)")
    names = [step.name for step in (*STEPS, *TRAININGS)]
    parser.add_argument("--step", action="append", default=[], choices=names)
    parser.add_argument("--kind", action="append", default=[], choices=list(KINDS))
    parser.add_argument("--only", default="", metavar="PATTERN", help="calls that fit this, such as 'ec2 Run'")
    parser.add_argument("--take-out", action="store_true", help="leave out each clean-up in turn: all must be noticed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write each fault's outcome there")
    parser.add_argument(
        "--read", type=Path, metavar="FILE", help="do nothing but tell how the sweep of that file ended"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
