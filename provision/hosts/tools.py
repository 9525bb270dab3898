"""Commands of ours on a machine, in the image `tools`: this very program, where the data is.

The container sees the machine's /data alone, as the login user. What it prints comes home as it is: results go to our
standard output, all else to standard error. The label that trainings have keeps the machine from being idle meanwhile.
"""

import secrets
from collections.abc import Sequence
from pathlib import PurePosixPath

from infra import buildx
from infra.engine import open_local
from infra.errors import EngineError
from infra.ssh import SshShell
from provision import console, facts, imagecache, runimage

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
        raise EngineError(f"docker on {shell.where} did not start the command", "what it said is above")
    return result.code


def container_words(tag: str, name: str, user: tuple[int, int], words: Sequence[str]) -> list[str]:
    """docker's words. Settings and what was learnt of downloads stay on the machine's data disk."""
    uid, gid = user
    return [
        "docker", "run", "--rm", "--init", "--name", name, "--label", f"provision.run={name}",
        "--user", f"{uid}:{gid}", "--volume", f"{DATA}:{DATA}", "--workdir", SETS,
        "--env", "HOME=/tmp", "--env", f"XDG_CONFIG_HOME={DATA}/.config", "--env", f"XDG_CACHE_HOME={DATA}/.cache",
        "--security-opt", "no-new-privileges", tag, "provision", *words,
    ]  # fmt: skip


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
    from images.render import render

    context = render(choose(STACK))
    if (found := existing(context, shell)) is not None:
        return found.tag
    try:
        here = open_local()
    except EngineError:  # a laptop without docker
        return runimage.build(STACK, shell, on_host=True).tag
    made = runimage.obtain(STACK)
    with console.step(f"image {made.tag} to {shell.where}"):
        sent = shell.feed(buildx.load_words(), imagecache.chunks(here, made.tag, made.digest), check=False)
    if not sent.ok:
        raise buildx.failure(sent, f"the image {made.tag} cannot be sent to {shell.where}")
    return made.tag
