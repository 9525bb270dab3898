"""The fault sweep: `python -m tests.faults.sweep`. It ends with the line `N faults tried, M leaks`.

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

The sweep knows no calls of `provision`. A call that is new is swept.
"""

import argparse
import ctypes
import gc
import itertools
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults import clients
from tests.faults.kinds import CLEANS, KINDS, STEPS, Call, Fault, Tried, kinds_for, steps
from tests.faults.oracle import World
from tests.faults.worker import Worker

FAST = 20.0  # how much faster the clients' clock runs
SLOWER = 4.0  # where hosts take seconds to boot
WORKERS = 3

# Workers by fork; tasks and results go through pipes that need no threads.


def end_with_parent() -> None:
    """Get SIGTERM when the process that made this one ends, whatever ends it: no cloud may stay behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, linux/prctl.h


def _work(world: World, folder: Path, fast: float, tasks: Any, results: Any) -> None:
    """A worker's life. A task is a step's name, to list its calls; a fault; or None, the end."""
    end_with_parent()
    worker = Worker(world, folder, fast)
    try:
        worker.open()
        worker.calls(STEPS[0])  # its AWS clients and caches are warm before it counts
        results.put(("ready", world.name))
        while (task := tasks.get()) is not None:
            if isinstance(task, str):
                results.put((task, worker.calls(next(one for one in STEPS if one.name == task))))
            else:
                results.put(("tried", worker.attempt(task)))
    except BaseException as error:
        results.put(("broken", f"{error!r}"))
    finally:
        world.stop()


@dataclass(frozen=True)
class Plan:
    """What to sweep: steps by name, kinds by name (empty: all), an AWS operation that clients leave out.

    `take_out`, in place of all that: a client is killed at the end of `up`, and for each AWS operation by which `down`
    cleans up, a `down` that leaves this one out has to mend it.
    """

    steps: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    only: str = ""
    without: str = ""
    workers: int = WORKERS
    fast: float = FAST
    containers: bool = False
    take_out: bool = False


def sweep(plan: Plan, say: Callable[[str], None]) -> list[Tried]:
    """Try all faults of the plan. RuntimeError where even a step without a fault fails."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    clients.warm()
    gc.freeze()  # what is loaded stays shared with the children
    context = multiprocessing.get_context("fork")
    tasks, results = context.SimpleQueue(), context.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        os.environ["PROVISION_LOCAL_HOME"] = f"{folder}/clouds"
        worlds = [World(f"sweep{os.getpid()}-{number}", edge=not plan.containers) for number in range(plan.workers)]
        made = [
            context.Process(target=_work, args=(world, Path(folder), plan.fast, tasks, results)) for world in worlds
        ]
        for one in made:
            one.start()
        try:
            return _collect(plan, tasks, results, say)
        finally:
            for _ in made:
                tasks.put(None)
            for one in made:
                one.join(60)


def _collect(plan: Plan, tasks: Any, results: Any, say: Callable[[str], None]) -> list[Tried]:
    for _ in range(plan.workers):
        _expect(results, "ready")
    faults = list(_faults(plan, tasks, results, say))
    tried: list[Tried] = []
    waiting = iter(faults)
    for fault in itertools.islice(waiting, plan.workers):
        tasks.put(fault)
    while len(tried) < len(faults):
        tried.append(_expect(results, "tried"))
        say(str(tried[-1]))
        for another in itertools.islice(waiting, 1):
            tasks.put(another)
    return tried


def _faults(plan: Plan, tasks: Any, results: Any, say: Callable[[str], None]) -> Iterator[Fault]:
    def calls_of(name: str) -> list[Call]:
        tasks.put(name)
        calls: list[Call] = _expect(results, name)
        say(f"{name}: {len(calls)} calls: {', '.join(str(call) for call in calls)}")
        return calls

    if plan.take_out:
        last = calls_of("up")[-1]
        for action in sorted({call.action for call in calls_of("down") if CLEANS.fullmatch(call.action)}):
            yield Fault("up", last, "killed after", action)
        return
    for step in steps():
        if plan.steps and step.name not in plan.steps:
            continue
        for call in calls_of(step.name):
            for kind in kinds_for(call):
                if (not plan.kinds or kind in plan.kinds) and re.search(plan.only, str(call)):
                    yield Fault(step.name, call, kind, plan.without)


def _expect(results: Any, what: str) -> Any:
    kind, found = results.get()
    if kind != what:
        raise RuntimeError(f"a worker broke: {found}")
    return found


def summary(tried: Sequence[Tried], seconds: float) -> list[str]:
    """How it went; the last line is the result."""
    met = [one for one in tried if one.reached or one.wrong]
    spent = sorted(one.seconds for one in met) or [0.0]
    leaks = sum(bool(one.wrong) for one in tried)
    speed = f"a fault took {1000 * spent[len(spent) // 2]:.0f} ms (median), {1000 * spent[-1]:.0f} ms (longest)"
    again = f"{len(tried) - len(met)} calls were not made again"
    return [f"{again}; {seconds:.0f} s in all; {speed}", f"{len(met)} faults tried, {leaks} leaks"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sweep", description=__doc__.split("\n")[0])
    parser.add_argument("--step", action="append", default=[], choices=[step.name for step in STEPS])
    parser.add_argument("--kind", action="append", default=[], choices=list(KINDS))
    parser.add_argument("--only", default="", metavar="PATTERN", help="calls that fit this, such as 'ec2 Run'")
    parser.add_argument("--without", default="", metavar="OPERATION", help="clients leave this AWS operation out")
    parser.add_argument("--take-out", action="store_true", help="leave out each clean-up in turn: all must be noticed")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--containers", action="store_true", help="hosts are system containers; slower, needs Docker")
    parser.add_argument("--fast", type=float, help="how much faster the clients' clock runs (20; with containers 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write each fault's outcome there")
    parser.add_argument(
        "--read", type=Path, metavar="FILE", help="do nothing but tell how the sweep of that file ended"
    )
    args = parser.parse_args()
    if args.read:
        print("\n".join(json.loads(args.read.read_text(encoding="utf-8"))["summary"]))
        return 0
    plan = Plan(
        steps=tuple(args.step),
        kinds=tuple(args.kind),
        only=args.only,
        without=args.without,
        workers=args.workers,
        fast=args.fast or (SLOWER if args.containers else FAST),
        containers=args.containers,
        take_out=args.take_out,
    )
    begun = time.monotonic()
    try:
        tried = sweep(plan, lambda text: print(text, flush=True))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2
    lines = summary(tried, time.monotonic() - begun)
    if args.json:
        found = {"tried": [asdict(one) for one in tried], "summary": lines}
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print("\n".join(lines))
    return int(any(one.wrong for one in tried))


if __name__ == "__main__":
    sys.exit(main())
