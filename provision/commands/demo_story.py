"""The demo's story: real commands, run as a user would type them, and checks that believe none of them.

What is checked is asked from the Docker engine and from the cloud's own API, not from what the commands print.
"""

import json
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from infra.aws import s3_bucket
from infra.errors import ProvisionError
from infra.shell import LocalShell, Result
from provision import clouds, console
from provision.machines import down
from provision.runs import store

NAME = "demo"
CLOUD = "local:demo"
STRIKE_AT = 0.3
NOTICE_S = 20
SETS = ("--set", "display=1", "--set", "batch=128")  # each iteration is in the log, and takes long enough to be cut
_WIDTH = 116


@dataclass
class Story:
    """What happened so far. `steps` are (what, seconds), `checks` are (what must be so, whether it is)."""

    out: Path
    steps: list[tuple[str, float]] = field(default_factory=list)
    checks: list[tuple[str, bool]] = field(default_factory=list)
    run: str = ""
    first: str = ""
    struck_at: int = 0

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.steps.append((what, time.monotonic() - begun))

    def check(self, what: str, so: bool) -> None:
        self.checks.append((what, so))
        console.say(f"  {'✓' if so else '✗ NOT SO:'} {what}")

    def type(self, what: str, *words: str, on_line: Callable[[str], None] | None = None) -> Result:
        """Run one command of ours as a user would, showing what it prints."""
        console.say(f"\n$ provision {shlex.join(words)}")

        def show(text: str) -> None:
            if not re.match(r"#\d+ \d+\.\d+ ", text):  # what commands print inside a build
                console.say(f"  {text[:_WIDTH]}{'…' * (len(text) > _WIDTH)}".rstrip())
            if on_line:
                on_line(text)

        with self.step(what):
            command = [sys.executable, "-m", "provision", *words]
            result = LocalShell().run(command, check=False, on_line=show, env={"COLUMNS": "118"})
        if not result.ok:
            raise ProvisionError(f"`provision {shlex.join(words)}` ended with exit code {result.code}")
        return result


def tell(out: Path) -> Story:
    """Tell the whole story; its files go to `out`. ProvisionError where a command fails."""
    story = Story(out)
    cloud_flag = ("--cloud", CLOUD)
    try:
        story.type("local cloud", "local", "start", "--name", NAME)
        story.type("image", "image", "build", "caffe-debian")
        story.type("first machine", "up", "--instance", "p3.8xlarge", "--name", NAME, "--max-hours", "2", *cloud_flag)
        story.first = _instances()[0]["id"]
        train(story)
        story.type("list", "runs", *cloud_flag)
        story.type("plot", "logs", story.run, "--plot", str(out / "training.png"), *cloud_flag)
        story.type("fetch", "fetch", story.run, str(out / "results"), *cloud_flag)
        check_training(story)
        story.type("down", "down", "--all", *cloud_flag)
        check_gone(story)
        check_kept(story)
    finally:
        with story.step("local cloud stopped"):
            clouds.local("stop", "--name", NAME, check=False)
    check_docker(story)
    return story


def _instances() -> list[dict[str, str]]:
    words = [sys.executable, "-m", "provision", "ls", "--json", "--cloud", CLOUD]
    found: list[dict[str, str]] = json.loads(LocalShell().run(words).out)
    return found


def train(story: Story) -> None:
    """Train on the machine; take it away in the middle; see the training come back on another."""

    def watch(text: str) -> None:
        if match := re.search(r"\brun (\S+-\d{8}-\d{6}-\w{4})$", text):
            story.run = match[1]
        if match := re.search(r"iteration (\d+)/(\d+)", text):
            at, total = int(match[1]), int(match[2])
            if not story.struck_at and at >= STRIKE_AT * total:
                story.struck_at = at
                threading.Thread(target=strike, args=(story,)).start()

    words = ("train", "digits", "--on", NAME, *SETS, "--cloud", CLOUD)
    story.type("training, through the interruption", *words, on_line=watch)
    check_taken(story)


def check_taken(story: Story) -> None:
    """Check that the first machine was left to AWS, by its bill."""
    from provision.machines import cost

    bills = {bill.id: bill for bill in cost.bills(clouds.session(cloud=CLOUD).cloud, NAME)}
    free = story.first in bills and bills[story.first].instance == 0
    story.check(
        "AWS itself took the first machine, in its first hour and so for nothing, and its volumes are gone",
        free and not _docker(story.first),
    )


def strike(story: Story) -> None:
    """Interrupt the spot machine. AWS gives two minutes' notice; here it is shorter."""
    words = ("local", "interrupt", story.first, "--notice", str(NOTICE_S), "--name", NAME)
    console.say(f"\n$ provision {shlex.join(words)}    (in another terminal, at iteration {story.struck_at})")
    LocalShell().run([sys.executable, "-m", "provision", *words])


def check_training(story: Story) -> None:
    """Check what the log and the run's folder say about the interruption."""
    from provision.runs import summary

    cloud = clouds.session(cloud=CLOUD).cloud
    run = store.find(cloud, story.run)
    attempts = run.attempts()
    seen = summary.of(run)
    story.check("the training ran on two machines", len({attempt.instance for attempt in attempts}) == 2)
    resumed = attempts[-1].resumed_from
    story.check(
        f"it resumed from the snapshot of iteration {resumed}, and lost nothing from before the notice",
        resumed >= story.struck_at > 0,
    )
    story.check(f"its first iteration then was {seen.first_after_resume}", seen.first_after_resume == resumed)
    before, after = seen.accuracy_before, seen.accuracy
    console.say(f"  accuracy before the interruption {before}, at the end {after}")
    story.check("accuracy on the held-out digits is at least 0.95", (after or 0) >= 0.95)
    nets = list((story.out / "results").rglob("*.caffemodel"))
    story.check("the trained net is home", bool(nets) and all(net.stat().st_size > 0 for net in nets))


def check_gone(story: Story) -> None:
    """Check by the cloud's own API that nothing is left."""
    cloud = clouds.session(cloud=CLOUD).cloud
    for kind, ids in down.everything(cloud, None).items():
        story.check(f"{kind} left: {len(ids)}", not ids)


def check_kept(story: Story) -> None:
    """Check that the run stays."""
    run = store.find(clouds.session(cloud=CLOUD).cloud, story.run)
    objects = run.store.objects(run.prefix)
    days = s3_bucket.expire_days(run.store)
    story.check(
        f"kept in S3: {run.id}, {len(objects)} objects, {console.size(sum(s3_object.size for s3_object in objects))}, "
        f"deleted by itself after {days} days",
        bool(objects) and days is not None,
    )


def check_docker(story: Story) -> None:
    """Check by the Docker engine that nothing is left."""
    story.check("no container, volume or network of the local cloud is left in Docker", not _docker())


def _docker(instance: str = "") -> list[str]:
    """Ids of containers, volumes and networks of this local cloud (of one instance) that the engine knows."""
    label = f"provision.instance={instance}" if instance else f"provision.local={NAME}"
    found: list[str] = []
    for words in (["ps", "-aq"], ["volume", "ls", "-q"], ["network", "ls", "-q"]):
        found += LocalShell().run(["docker", *words, "--filter", f"label={label}"]).out.split()
    return found
