"""A local cloud's folder, and how other processes find and ask its daemon.

The daemon holds a lock on a file in the folder as long as it lives. The kernel lets go of it even after
`kill -9`, so that no stale file can be taken for a living daemon.
"""

import contextlib
import fcntl
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import CloudError, UsageError

PUBLIC = ("name", "endpoint", "checkip", "region", "access_key", "secret_key", "state_dir", "pid")


@dataclass(frozen=True)
class Home:
    """The folder of the cloud `name`."""

    name: str
    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / "cloud.json"

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    def read(self) -> dict[str, Any]:
        """What the daemon wrote when it became ready; empty before that."""
        try:
            found: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    def write(self, record: dict[str, Any]) -> None:
        """Write the cloud's record, for its owner's eyes only: it holds keys."""
        fresh = self.record.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(record), encoding="utf-8")
        fresh.replace(self.record)

    def alive(self) -> bool:
        """Whether a daemon holds this folder (ready or not). A folder that we may not read counts as held."""
        try:
            with (self.folder / "daemon.lock").open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    @contextlib.contextmanager
    def locked(self, file: str) -> Iterator[None]:
        """Hold one of the folder's locks: `start.lock` waits its turn, `daemon.lock` is the daemon's."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / file).open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def ask(self, path: str, payload: dict[str, Any] | None = None, timeout: float = 10.0) -> Any:
        """The daemon's answer as JSON; with a payload it is a POST. CloudError when there is no daemon."""
        record = self.read()
        if not record or not self.alive():
            raise CloudError(f"the local cloud {self.name} is not running", "start it with `provision local start`")
        request = urllib.request.Request(
            f"{record['endpoint']}/_local/{path}",
            data=None if payload is None else json.dumps(payload).encode(),
            headers={"X-Local-Secret": record["secret"], "Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a company proxy
        try:
            with opener.open(request, timeout=timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise CloudError(error.read().decode(errors="replace") or str(error)) from error
        except OSError as error:
            raise CloudError(f"the local cloud {self.name} does not answer: {error}", f"see {self.log}") from error


def home(name: str) -> Home:
    """The folder of that cloud. UsageError for a name that Docker could not take."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise UsageError(f"{name!r} cannot name a local cloud", "use small letters, digits and dashes")
    return Home(name, base() / name)


def base() -> Path:
    """Where all local clouds of this user have their folders."""
    if "PROVISION_LOCAL_HOME" in os.environ:
        return Path(os.environ["PROVISION_LOCAL_HOME"]).absolute()
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(state) / "provision/local"
