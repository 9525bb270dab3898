"""A run's folder and what is beside it, with the image that works there as a user whom it does not know."""

import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.shell import LocalShell, Result
from provision.logs.caffe import Event, Metric, Parser
from provision.recipes.spec import Recipe, Rendered, complete_snapshots

SHELL = LocalShell()


def user() -> str:
    """Never root in the container, even where the tests are run by root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "12345:12345"


@dataclass
class Place:
    """`work` is /work; `beside` are more folders by where they are in the container, of which /out alone is written."""

    image: str
    work: Path
    beside: Mapping[str, Path] = field(default_factory=dict)

    def fill(self, made: Rendered) -> None:
        for name, text in made.files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        open_to_all(self.work)

    def run(self, command: Iterable[str], name: str = "", on_line: object = None) -> Result:
        """Run to the end, right or wrong."""
        words = ["docker", "run", "--rm", "--init", "--network", "none", "--user", user(), "-w", "/work"]
        words += ["--name", name or f"test-forks-{uuid.uuid4().hex[:8]}", "-v", f"{self.work}:/work"]
        for at, folder in self.beside.items():
            words += ["-v", f"{folder}:{at}" + ("" if at == "/out" else ":ro")]
        return SHELL.run([*words, self.image, *command], check=False, on_line=on_line)  # type: ignore[arg-type]

    def train(self, command: Iterable[str], stop_at: int | None = None) -> tuple[Result, list[Event]]:
        """Train to the end; SIGINT is sent once when the log shows iteration `stop_at`."""
        name, parser, events, told = f"test-forks-{uuid.uuid4().hex[:8]}", Parser(), list[Event](), []

        def on_line(line: str) -> None:
            event = parser.feed(line)
            if event is not None:
                events.append(event)
            if stop_at is not None and not told and isinstance(event, Metric) and event.iteration >= stop_at:
                told.append(event)
                SHELL.run(["docker", "kill", "-s", "INT", name])

        try:
            return self.run(command, name, on_line), events
        finally:
            SHELL.run(["docker", "rm", "-f", name], check=False)

    def snapshots(self, recipe: Recipe) -> dict[int, str]:
        files = [path.relative_to(self.work).as_posix() for path in self.work.rglob("*")]
        return {one.iteration: one.stem for one in complete_snapshots(recipe, files)}


def open_to_all(folder: Path) -> Path:
    """The container's user is another than who runs the tests."""
    for path in list(folder.parents)[:2]:
        path.chmod(0o755)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    return folder
