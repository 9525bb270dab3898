"""What tests of runs on this laptop share: the command as a user runs it, with a home of its own and no way to AWS."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.shell import LocalShell

SHELL = LocalShell()


@dataclass(frozen=True)
class Laptop:
    """A home with settings, state and data of its own."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        own = {f"XDG_{name}_HOME": str(self.home / name.lower()) for name in ("CONFIG", "STATE", "CACHE")}
        nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_EC2_METADATA_DISABLED": "true", "COLUMNS": "160"}
        return {**os.environ, **own, **nothing}

    def run(self, *words: str, code: int = 0) -> str:
        """The command to its end: what it prints, or what it says where it fails."""
        done = SHELL.run([sys.executable, "-m", "provision", *words], check=False, env=self.env)
        assert done.code == code, done.err
        return done.out if code == 0 else done.err

    def client(self, *words: str) -> "subprocess.Popen[bytes]":
        """The command as a process that goes on."""
        return subprocess.Popen([sys.executable, "-m", "provision", *words], env=self.env, stdout=subprocess.DEVNULL)

    def rows(self) -> dict[str, dict[str, Any]]:
        """What `runs` tells, by run."""
        return {row["run"]: row for row in json.loads(self.run("runs", "--json"))}

    def folder(self, run: str) -> Path:
        """The run's folder."""
        return self.home / "state/provision/here/runs" / run

    @property
    def only(self) -> str:
        """The id of the only run."""
        [run] = sorted(path.name for path in (self.home / "state/provision/here/runs").iterdir())
        return run

    def runner(self, run: str) -> int:
        """The process that sees to that run (or sweep): its pid."""
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = place.read_bytes().split(b"\0")
                here = str(self.home).encode() in place.with_name("environ").read_bytes()
            except OSError:
                continue
            if here and b"provision.engines.here" in words and run.encode() in words[:5]:
                return int(place.parent.name)
        raise AssertionError(f"nobody sees to {run}")

    def containers(self) -> list[str]:
        """The containers of this home's runs, those that have ended, too."""
        names = SHELL.run(["docker", "ps", "-a", "--filter", "label=provision.run", "--format", "{{.Names}}"]).out
        runs = self.home / "state/provision/here/runs"
        mine = {f"provision-{path.name}-" for path in runs.iterdir()} if runs.is_dir() else set()
        return [name for name in names.split() if any(name.startswith(one) for one in mine)]

    def nothing_left(self) -> bool:
        """Whether neither container nor working folder is left of any run."""
        work = self.home / "state/provision/here.work"
        return not self.containers() and not [path for name in ("runs", "guard") for path in work.glob(f"{name}/*")]


def wait(what: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until it is so."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited for too long"
        time.sleep(0.2)


def kill(pid: int) -> None:
    """As a laptop's kernel does that has no memory left."""
    os.kill(pid, signal.SIGKILL)


@contextmanager
def laptop(folder: Path) -> Iterator[Laptop]:
    """A laptop of its own; whatever its runs started is ended with the block."""
    one = Laptop(folder)
    try:
        yield one
    finally:
        runs = one.home / "state/provision/here/runs"
        for path in runs.iterdir() if runs.is_dir() else ():
            SHELL.run([sys.executable, "-m", "provision", "stop", path.name], check=False, env=one.env)
        for name in one.containers():
            SHELL.run(["docker", "rm", "-f", "-v", name], check=False)
        shutil.rmtree(one.home / "state", ignore_errors=True)
