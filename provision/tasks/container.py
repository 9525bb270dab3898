"""A task's container: thrown away afterwards, without network, as a user who owns the results.

It is `docker run` and not the engine's API, for its output comes line by line to who waits, and Ctrl-C goes in.
"""

import re
from collections.abc import Sequence

from infra import buildx
from infra.containers import ContainerSpec, cli_words
from infra.errors import ProvisionError, RunError
from infra.shell import OnLine, Result, Shell
from provision.logs.failures import explain
from provision.recipes.spec import Recipe

_GLOG = re.compile(r"[IW]\d{4}(?:\d{4})? \d\d:\d\d:\d\d\.\d+ ")  # what Caffe says all the time
_DOCKER_FAILED = (125,)  # docker's own exit code: nothing was started
_KILLED = 137


def words(spec: ContainerSpec) -> list[str]:
    """The command line that runs the container to its end and removes it."""
    return cli_words(spec, "--rm", "--network", "none")


def run(shell: Shell, spec: ContainerSpec, on_line: OnLine | None = None) -> Result:
    """Run the container to its end, and remove it however it ended."""
    try:
        return shell.run(words(spec), check=False, on_line=_without_glog(on_line) if on_line else None)
    finally:
        shell.run(["docker", "rm", "--force", "--volumes", spec.name], check=False)


def _without_glog(on_line: OnLine) -> OnLine:
    """What the task says itself: neither Caffe's own lines nor the nets that it prints when it makes them."""
    in_net = False

    def heard(line: str) -> None:
        nonlocal in_net
        glog = bool(_GLOG.match(line)) or line.startswith("WARNING: Logging before InitGoogleLogging")
        if glog:
            in_net = line.rstrip().endswith("from parameters:")
        elif line.strip() and not in_net:
            on_line(line)

    return heard


def failure(result: Result, recipe: Recipe | None, what: str) -> ProvisionError:
    """The error that says why the task failed: in docker's words, by a failure that the recipe knows, or by the last
    lines of the output."""
    if result.code in _DOCKER_FAILED:
        return buildx.failure(result, what)
    lines = f"{result.out}\n{result.err}".splitlines()
    if recipe is not None and (known := explain(recipe.failures, lines)):
        return RunError(f"{what}: {known.what}", known.mend)
    if result.code == _KILLED:
        return RunError(
            f"{what}: it was killed, probably because memory ran out", "give it more memory, or a smaller batch"
        )
    return RunError("\n".join([f"{what} (exit code {result.code})", *_end(lines)]))


def _end(lines: Sequence[str]) -> list[str]:
    """The last lines that say something; of a failed check in Caffe the line that tells which."""
    said = [line for line in lines if line.strip() and not line.lstrip().startswith("@ ")]
    checks = [line for line in said if re.match(r"F\d{4}", line)]
    return [f"    {line}" for line in (checks[:1] or said[-8:])]
