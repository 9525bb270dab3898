"""The demo's story: real commands, run as a user would type them, and checks that believe none of them.

A training is begun and its client killed; AWS takes its machine, and its keeper goes on with another. Only when all is
over somebody looks again, from another laptop: another home, with nothing in it. What is checked (`demo_checks`) is
asked from the Docker engine and from the cloud's own API, not from what the commands print.
"""

import os
import re
import shlex
import signal
import tempfile
import time
from pathlib import Path

from infra.errors import ProvisionError
from infra.shell import LocalShell
from provision import clouds, console, settings
from provision.commands import demo_checks
from provision.commands.demo_told import CLOUD, NAME, PYTHON, Story, run, show
from provision.runs import follow, standing, store
from provision.training.attended import Teller

STRIKE_AT = 240  # of 800 iterations
NOTICE_S = 20
# each iteration is in the log, and takes long enough to be cut
SETS = ("--set", "iterations=800", "--set", "display=1", "--set", "batch=128")
TRAIN = ("train", "digits", "--instance", "p3.8xlarge", "--max-hours", "2", "--no-bake", *SETS, "--cloud", CLOUD)
_PATIENCE_S = 1200.0  # only a broken chain takes so long


def tell(out: Path) -> Story:
    """Tell the whole story; its files go to `out`. ProvisionError where a command fails."""
    story = Story(out)
    try:
        story.type("local cloud", "local", "start", "--name", NAME)
        story.type("image", "image", "build", "caffe-debian")
        begin(story)
        with story.step("training, through the interruption"):
            alone(story)
        demo_checks.gone(story)
        with tempfile.TemporaryDirectory(prefix="another-laptop-") as home:
            look_again(story, Path(home))
        demo_checks.training(story)
        demo_checks.kept(story)
    finally:
        with story.step("local cloud stopped"):
            clouds.local("stop", "--name", NAME, check=False)
    demo_checks.docker(story)
    return story


def begin(story: Story) -> None:
    """Begin the training, and kill its client with -9 as soon as it has said the run's id."""
    console.say(f"\n$ provision {shlex.join(TRAIN)}")
    pids: list[int] = []

    def watch(text: str) -> None:
        if not pids:
            pids.append(int(text))
            return
        show(text)
        if match := re.search(r"\brun (\S+-\d{8}-\d{6}-\w{4})$", text):
            story.run = match[1]
            os.kill(pids[0], signal.SIGKILL)

    with story.step("begun, and its client killed"):  # the shell says its number, and becomes the client
        story.client = run(["sh", "-c", 'echo $$; exec "$@"', "sh", *PYTHON, *TRAIN], watch).code
    if not story.run:
        raise ProvisionError(f"`provision {shlex.join(TRAIN)}` ended with exit code {story.client}")
    console.say("  (kill -9: this laptop is gone. What AWS does by itself, by its own word:)")


def alone(story: Story) -> None:
    """While nobody looks on: AWS takes the machine in the middle; the keeper goes on with another, and clears up."""
    cloud = clouds.session(cloud=CLOUD).cloud
    training = store.find(cloud, story.run)
    watch = follow.Watch(cloud, training, told=Teller(lambda text: console.say(f"  {text}")).look)
    for piece in follow.pieces(watch):
        at = max((int(found) for found in re.findall(rb"Iteration (\d+)", piece.data)), default=0)
        if not story.struck_at and at >= STRIKE_AT:
            story.struck_at = at
            strike(story, training.attempts()[-1].instance)
    until = time.monotonic() + _PATIENCE_S
    while (keeper := standing.keeper_of(cloud, training)) is not None and keeper.works:
        if time.monotonic() > until:
            raise ProvisionError(f"the keeper of {training.id} does not end")
        time.sleep(0.5)
    console.say(f"  the training is {watch.word}, and its keeper is over: {keeper.status if keeper else 'unknown'}")


def strike(story: Story, instance: str) -> None:
    """Interrupt the spot machine. AWS gives two minutes' notice; here it is shorter."""
    story.first = instance
    words = ("local", "interrupt", instance, "--notice", str(NOTICE_S), "--name", NAME)
    console.say(f"\n$ provision {shlex.join(words)}    # AWS takes the machine, at iteration {story.struck_at}")
    LocalShell().run([*PYTHON, *words])


def look_again(story: Story, home: Path) -> None:
    """Another laptop, which knows nothing but the account, sees what became of the training."""
    here = os.environ.get("PROVISION_LOCAL_HOME", str(settings.state_home() / "local"))  # where the cloud is found
    names = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "STATE", "CACHE")}
    env = {**names, "PROVISION_LOCAL_HOME": here}
    console.say("\n  (another laptop, with a home of its own)")
    flag = ("--cloud", CLOUD)
    story.type("list", "runs", *flag, env=env)
    story.type("time line", "events", story.run, *flag, env=env)
    story.type("plot", "logs", story.run, "--plot", str(story.out / "training.png"), *flag, env=env)
    story.type("fetch", "fetch", story.run, str(story.out / "results"), *flag, env=env)
