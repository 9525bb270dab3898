"""Forked `provision` processes: each begins with all that a command imports, and with a clock that runs fast.

A process that has loaded everything forks in milliseconds, where a fresh Python needs a second. Fork before any thread
is made: this module starts none. The fast clock shortens what a command sleeps and how long it is patient, by the same
factor; what it waits for (the emulator, SSH) takes its real time.
"""

import contextlib
import importlib
import os
import pkgutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.shell import Result
from localcloud import operations

# imported where they are used
LATE = ("docker", "encodings.idna", "fabric", "rich.progress", "rich.table", "urllib.request")
WAIT_S = 90.0  # after that a client hangs


def warm() -> None:
    """Import what any command may import, and make ready what it makes of its own files."""
    import images
    import infra
    import provision

    for name in LATE:
        importlib.import_module(name)
    for package in (infra, images, provision):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not {"host", "cluster"} & set(module.name.split(".")[:2]) and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    from infra.host import script

    for path in Path(*infra.__path__, "host").iterdir():
        if path.suffix in (".py", ".sh") and path.stem != "__init__":
            script(path.name)


def warm_clients(cloud: Any, services: Iterable[str]) -> None:
    """Make the AWS clients that commands make: parsing the services' descriptions takes most of their time.

    `services` by the names that calls are signed with.
    """
    from infra.aws.session import client

    for service in services:
        for attempts in ({}, {"attempts": 1}):
            client(cloud, operations.NAMES.get(service, service), **attempts)


def once(ask: Callable[..., Result]) -> Callable[..., Result]:
    """`ask`, each question only once: the local cloud is there, and need not be started six hundred times."""
    known: dict[tuple[str, ...], Result] = {}

    def asked(*words: str, check: bool = True) -> Result:
        if words not in known:
            known[words] = ask(*words, check=check)
        return known[words]

    return asked


def run_fast(factor: float) -> None:
    """From now on a second of this process's patience is 1/`factor` s."""
    sleep, monotonic = time.sleep, time.monotonic
    time.sleep = lambda seconds: sleep(float(seconds) / factor)
    time.monotonic = lambda: monotonic() * factor


def leave_out(operation: str) -> None:
    """AWS never hears of `operation` from this process, which takes it for done. `plan` is what the guard of a
    training's host hears."""
    if operation == "plan":
        _leave_plan_out()
        return
    from botocore.client import BaseClient

    make = BaseClient._make_api_call

    def made(self: Any, name: str, parameters: Any) -> Any:
        return {} if name == operation else make(self, name, parameters)

    BaseClient._make_api_call = made


def _leave_plan_out() -> None:
    from infra.ssh import SshShell

    run = SshShell.run

    def ran(self: Any, words: Any, **given: Any) -> Result:
        return Result(0, "", "") if list(words[-2:-1]) == ["plan"] else run(self, words, **given)

    SshShell.run = ran  # type: ignore[method-assign]


def call_itself(name: str) -> None:
    """This process's AWS calls tell who makes them."""
    from botocore.httpsession import URLLib3Session

    send = URLLib3Session.send

    def sent(self: Any, request: Any) -> Any:
        request.headers["X-Client"] = name
        return send(self, request)

    URLLib3Session.send = sent


@dataclass
class Client:
    """One forked command."""

    pid: int
    log: Path
    code: int | None = None

    def ended(self) -> bool:
        """Whether it has; then `code` is its exit code, negative for a signal."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def wait(self, seconds: float = WAIT_S) -> int | None:
        """Its exit code; None where it hangs, and then it is ended."""
        until = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > until:
                self.kill()
                return None
            time.sleep(0.005)
        return self.code

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        if number == signal.SIGKILL:
            self.wait()

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def start(
    words: Iterable[str], log: Path, environment: dict[str, str], fast: float, without: str = "", named: str = ""
) -> Client:
    """Begin `provision WORDS` in a child of this process."""
    assert threading.active_count() == 1, "a process with threads cannot be forked safely"
    pid = os.fork()
    if pid:
        return Client(pid, log)
    code = 70
    try:
        code = _child(list(words), log, environment, fast, without, named)
    finally:
        os._exit(code)


def _child(words: list[str], log: Path, environment: dict[str, str], fast: float, without: str, named: str) -> int:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for number in (1, 2):
        os.dup2(out, number)
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    from provision import cli

    run_fast(fast)
    if without:
        leave_out(without)
    if named:
        call_itself(named)
    sys.argv = ["provision", *words]
    try:
        return cli.run(words)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 70
    finally:
        threading._shutdown()  # as at the end of any Python: threads are waited for
        sys.stdout.flush()
        sys.stderr.flush()
