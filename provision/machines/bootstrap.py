"""Waiting for a machine that runs: for its host key, for SSH, then for its bootstrap, whose progress is shown.

A bootstrap that failed leaves its log here, on the laptop: the machine itself is ended. Of a machine that told no key,
or that SSH never reached, there is what it wrote to its console, where the bootstrap's lines are as well.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.aws.types import Instance
from infra.errors import HostError, HostKeyError, ProvisionError
from infra.keys import write_private
from infra.ssh import SshShell
from infra.tunnel import wait_for_port
from provision.console import Say

Sleep = Callable[[float], None]
_KEY_WAIT_S = 450.0  # from "running" to a host key: its boot, and the stub's five minutes for what it begins with
_SSH_WAIT_S = 300.0  # from there to a port that answers, or to an agent that Session Manager reaches
_READY_WAIT_S = 1200.0  # for all that the bootstrap installs: Docker, the driver, the toolkit
_LOGIN_WAIT_S = 90.0  # from a port that answers to the user, whom cloud-init makes after that
_LOOK_S = 10.0  # between two looks whether the machine still lives
_LOG = "/var/log/cloud-init-output.log"
_LINES = 15  # of a log or a console are shown


@dataclass(frozen=True)
class Way:
    """How a machine is reached: `known` tells whether its host key is known by now, `log_in` makes a new shell,
    `console` asks for what it wrote to its console."""

    known: Callable[[], bool]
    log_in: Callable[[], SshShell]
    console: Callable[[], str]


def wait_ready(instance: Instance, way: Way, log: Path, say: Say, sleep: Sleep) -> None:
    """Wait until the host says ready, showing its progress; HostError with its log's end if it failed, or with its
    console's where nobody got in. The whole of that is written to `log`.

    HostKeyError where another machine answers; what `sleep` raises ends the wait.
    """
    try:
        host = _reach(instance, way, say, sleep)
    except HostKeyError:
        raise
    except HostError as error:
        raise _unreached(error, way.console, log) from error
    with host:
        _follow(host, log, say, sleep)


def _reach(instance: Instance, way: Way, say: Say, sleep: Sleep) -> SshShell:
    if instance.via == "ssm":
        say("running; waiting for SSH through Session Manager")
        _wait_for_key(instance, way.known, sleep)
        return _first_login(way.log_in, sleep, _SSH_WAIT_S)
    say(f"running at {instance.address}; waiting for SSH")
    _wait_for_key(instance, way.known, sleep)
    _wait_for_port(instance, sleep)
    return _first_login(way.log_in, sleep)


def _wait_for_key(instance: Instance, known: Callable[[], bool], sleep: Sleep) -> None:
    until = time.monotonic() + _KEY_WAIT_S
    while not known():
        if time.monotonic() > until:
            raise HostError(
                f"{instance.name} has not told its host key within {_KEY_WAIT_S / 60:g} minutes",
                "it has to reach S3, and to be allowed to write there: a permissions boundary of an earlier version "
                "forbids that (`provision iam-policy --boundary` prints one of this version)",
            )
        sleep(0.5)


def _unreached(error: HostError, console: Callable[[], str], log: Path) -> HostError:
    """The same error with the end of the machine's console; the whole of that is brought home."""
    try:
        text = console()
    except ProvisionError:  # the first error tells more
        return error
    if not text:
        return error
    write_private(log, f"{error.what}\n\n{text}\n")
    lines = text.splitlines()
    # what a machine says while it powers off is longer than that
    ours = [line for line in lines[:-_LINES] if "provision: " in line][-3:]
    shown = "\n".join([*ours, *lines[-_LINES:]])
    return type(error)(f"{error.what}; its console's last lines:\n{shown}", f"{error.mend}; its whole console: {log}")


def watchful(sleep: Sleep, look: Callable[[], None]) -> Sleep:
    """`sleep` that calls `look` along, about each ten seconds: it raises where waiting has no sense any more."""
    looked = time.monotonic()

    def watching(seconds: float) -> None:
        nonlocal looked
        sleep(seconds)
        if time.monotonic() - looked >= _LOOK_S:
            look()
            looked = time.monotonic()

    return watching


def _wait_for_port(instance: Instance, sleep: Sleep) -> None:
    until = time.monotonic() + _SSH_WAIT_S
    while not wait_for_port(str(instance.address), 22, 1.0):
        if time.monotonic() > until:
            raise HostError(
                f"{instance.name} does not answer on port 22", "SSH is let in only from the address that called `up`"
            )
        sleep(0.0)


def _first_login(log_in: Callable[[], SshShell], sleep: Sleep, patience: float = _LOGIN_WAIT_S) -> SshShell:
    """The first shell that answers, within `patience` s.

    sshd may listen before the user is there, and restarts once while cloud-init works; Session Manager does not know a
    fresh machine. Only a wrong host key is final, and what AWS does not allow.
    """
    until = time.monotonic() + patience
    while True:
        host = log_in()
        try:
            host.run(["true"])
            return host
        except HostKeyError:
            raise
        except HostError:
            host.close()
            if time.monotonic() > until:
                raise
        sleep(1.0)


def _follow(host: SshShell, log: Path, say: Say, sleep: Sleep) -> None:
    shown = 0
    until = time.monotonic() + _READY_WAIT_S
    while time.monotonic() < until:
        lines = _progress(host)
        for text in lines[shown:]:
            say(f"  host: {text}")
        shown = max(shown, len(lines))
        if lines and lines[-1] == "ready":
            return
        if lines and lines[-1].startswith("failed"):
            raise _failure(host, lines, log)
        sleep(0.5)
    raise _failure(host, [f"not ready within {_READY_WAIT_S:g} s"], log)


def _failure(host: SshShell, lines: list[str], log: Path) -> HostError:
    """The error of a bootstrap that failed, with the end of its log; the whole log is brought home."""
    try:
        text = host.run(["sudo", "cat", _LOG], check=False).out
    except HostError as error:
        text = f"the log could not be read: {error}\n"
    write_private(log, "\n".join([*lines, "", text]))
    end = "\n".join(text.splitlines()[-_LINES:])
    return HostError(
        f"{host.where} could not be prepared ({lines[-1]})\n{end}".rstrip(),
        f"its whole log: {log}; to look at the machine itself: --keep-on-error 30m",
    )


def _progress(host: SshShell) -> list[str]:
    """The bootstrap's lines; none while sshd restarts."""
    try:
        return host.run(["cat", "/run/provision/progress"], check=False).out.splitlines()
    except HostKeyError:
        raise
    except HostError:
        return []
