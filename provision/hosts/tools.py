"""Run commands of ours on a machine, where the data is, in the image `tools`, which holds this very program.

The container sees the machine's /data alone, as the login user. What it prints comes home as it is: results go to our
standard output, all else to standard error. The label that trainings have keeps the machine from being idle meanwhile.
"""

import secrets
from collections.abc import Sequence
from pathlib import PurePosixPath

from infra.containers import Bind, ContainerSpec, cli_words
from infra.docker_engine import open_local
from infra.errors import EngineError
from infra.ssh import SshShell
from provision import console
from provision.hosts import facts, image

STACK = "tools"
DATA = PurePosixPath("/data")
SETS = "/data/sets"
_DOCKERS_OWN = (125, 126, 127)  # docker's own exit codes
_RESULT = "\x01"  # a line of its own between what happened and the result

# what goes to standard error passes at once, in order; the result is kept until the end
_APART = r"""
out=$(mktemp); trap 'rm -f "$out"' EXIT
code=0; "$@" 2>&1 > "$out" || code=$?
printf '\001\n'; cat "$out"; exit $code
"""


def run(shell: SshShell, words: Sequence[str]) -> int:
    """Run `provision WORDS…` there; its exit code. EngineError where docker itself refuses."""
    there = facts.look(shell)
    tag = bring(shell)
    name = f"data-{secrets.token_hex(4)}"
    shell.run(["mkdir", "-p", SETS])
    try:
        result = shell.run(
            ["sh", "-c", _APART, "sh", *container_words(tag, name, (there.uid, there.gid), words)],
            check=False,
            on_line=_Apart(),
        )
    except KeyboardInterrupt:
        shell.run(["docker", "stop", "--time", "30", name], check=False)
        raise
    if result.code in _DOCKERS_OWN:
        raise EngineError(f"docker on {shell.where} did not start the command", "docker's own message is above")
    return result.code


def container_words(tag: str, name: str, user: tuple[int, int], words: Sequence[str]) -> list[str]:
    """The words for docker. Settings and the pins of downloads stay on the machine's data disk."""
    uid, gid = user
    spec = ContainerSpec(
        name, tag, ("provision", *words), f"{uid}:{gid}", (Bind(str(DATA), str(DATA)),), SETS,
        labels={"provision.run": name},
        environment={"XDG_CONFIG_HOME": f"{DATA}/.config", "XDG_CACHE_HOME": f"{DATA}/.cache"},
    )  # fmt: skip
    return cli_words(spec, "--rm")


class _Apart:
    """Lines before the mark are what happens, those behind it the result."""

    def __init__(self) -> None:
        self._result = False

    def __call__(self, line: str) -> None:
        if line == _RESULT:
            self._result = True
        elif self._result:
            console.say(line)
        else:
            console.line(line)


def bring(shell: SshShell) -> str:
    """The image's tag, once the machine's engine has it: found there, sent from this laptop, or built there."""
    from images.build import existing
    from images.choose import choose
    from images.lock import find
    from images.render import render

    target = choose(STACK)
    context = render(target, lock=find(target))
    if (found := existing(context, shell, any_base=True)) is not None:
        return found.tag
    try:
        open_local()  # raises where this laptop has no docker
    except EngineError:  # a laptop without docker
        return image.build(STACK, shell, on_host=True).tag
    made = image.obtain(STACK)
    image.deliver(shell, made.tag, made.digest, f"provision image build {STACK}")
    return made.tag
