"""Give a machine a running Docker engine: this one (`make demo`, CI) or one behind SSH.

All knowledge is in `host/engine.sh`, which looks first and adds only what is missing; the same script prepares
instances. This module runs it, hands its steps on, and turns its exit code into an error with the mend.
`python3 -m infra.hostsetup --need mmdebstrap,openssh-client` runs before anything is installed: standard library only.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.errors import EngineError, ProvisionError
from infra.harmless import plain
from infra.shell import LocalShell, OnLine, Result, Shell

_SCRIPT = Path(__file__).parent / "host" / "engine.sh"
_STEP = "engine: "

# what engine.sh's exit codes mean, and what the user can do
_MENDS = {
    20: "run this once as root (sudo make demo), or install Docker: sudo apt-get install docker.io docker-buildx",
    21: "this is no Debian or Ubuntu: install Docker and buildx with this system's own package manager",
    22: "add yourself to the docker group: sudo usermod -aG docker $USER, then log in again",
    23: "look at /var/log/dockerd.log, or at: journalctl -u docker",
}


def ensure_engine(
    shell: Shell, *, buildx: bool = True, need: Sequence[str] = (), on_line: OnLine | None = None
) -> list[str]:
    """Make a Docker engine answer on `shell`'s machine. The steps that were done: none where one answered already.

    `need` names packages of the distribution to install along. `on_line` is called with each step as it begins.
    EngineError with the mend where the engine can't be had.
    """
    words = ["sh", "-s", "--", *([] if buildx else ["--no-buildx"]), *need]
    steps: list[str] = []

    def keep(line: str) -> None:
        if line.startswith(_STEP):
            steps.append(line.removeprefix(_STEP))
            if on_line:
                on_line(steps[-1])

    result = shell.run(words, check=False, stdin=_SCRIPT.read_bytes(), on_line=keep)
    if not result.ok:
        raise _error(result, shell.where)
    return steps


def _error(result: Result, where: str) -> EngineError:
    said = result.err.strip().splitlines()[-6:]
    what = "; ".join(line.removeprefix(_STEP) for line in said) or f"exit code {result.code}"
    mend = _MENDS.get(result.code, "fix that first (apt's own message is above), then run this again")
    return EngineError(f"no Docker engine can be had on {where}: {what}", mend)


def main(arguments: Sequence[str]) -> int:
    """What the Makefile calls before all else; the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m infra.hostsetup", description=__doc__)
    parser.add_argument("--need", default="", help="distribution packages to install too, joined by commas")
    parser.add_argument("--no-buildx", action="store_true")
    chosen = parser.parse_args(arguments)
    need = [name for name in chosen.need.split(",") if name]
    try:
        ensure_engine(
            LocalShell(), buildx=not chosen.no_buildx, need=need, on_line=lambda line: print(plain(line), flush=True)
        )
    except ProvisionError as error:
        print(plain(str(error)), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
