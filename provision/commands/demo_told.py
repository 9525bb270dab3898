"""What the demo has told so far: its steps, its checks, and its commands, typed as a user would."""

import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from infra.errors import ProvisionError
from infra.shell import LocalShell, Result
from provision import console

NAME = "demo"
CLOUD = "local:demo"
PYTHON = (sys.executable, "-m", "provision")
_WIDTH = 148


@dataclass
class Story:
    """What happened so far. `steps` are (what, seconds), `checks` are (what must be so, whether it is)."""

    out: Path
    steps: list[tuple[str, float]] = field(default_factory=list)
    checks: list[tuple[str, bool]] = field(default_factory=list)
    run: str = ""
    first: str = ""
    struck_at: int = 0
    client: int = 0  # the exit code of the one that began the training

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.steps.append((what, time.monotonic() - begun))

    def check(self, what: str, so: bool) -> None:
        self.checks.append((what, so))
        console.say(f"  {'✓' if so else '✗ NOT SO:'} {what}")

    def type(self, what: str, *words: str, env: Mapping[str, str] | None = None) -> Result:
        """Run one command of ours as a user would, showing what it prints."""
        console.say(f"\n$ provision {shlex.join(words)}")
        with self.step(what):
            result = run([*PYTHON, *words], show, env)
        if not result.ok:
            raise ProvisionError(f"`provision {shlex.join(words)}` ended with exit code {result.code}")
        return result


def show(text: str) -> None:
    """A line that a command printed."""
    if not re.match(r"#\d+ \d+\.\d+ ", text):  # what commands print inside a build
        console.say(f"  {text[:_WIDTH]}{'…' * (len(text) > _WIDTH)}".rstrip())


def run(command: list[str], on_line: Callable[[str], None], env: Mapping[str, str] | None = None) -> Result:
    """Run it, and hand over each line that it prints."""
    return LocalShell().run(command, check=False, on_line=on_line, env={"COLUMNS": "118", **(env or {})})
