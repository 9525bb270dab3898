"""Run words, put and get files: on this machine, or over SSH (`infra.ssh.SshShell`).

A command is a list of words, made apart from running it. It is quoted once, here at the edge. A `Secret` is a
word that hides itself wherever it could be printed.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from infra.errors import HostError


class Secret(str):
    """A word that runs as it is and shows as dots."""

    def __repr__(self) -> str:
        return "'•••'"


Words = Sequence[str]
OnLine = Callable[[str], None]


def quote(words: Words) -> str:
    """The one place where words become a line for a POSIX shell."""
    return " ".join(shlex.quote(str(word)) for word in words)


def show(words: Words) -> str:
    """The same line for people: secrets are dots."""
    return " ".join("•••" if isinstance(word, Secret) else shlex.quote(word) for word in words)


@dataclass(frozen=True)
class Result:
    """A command's exit code and its output. `code` is negative where a signal ended it, as in `subprocess`."""

    code: int
    out: str = ""
    err: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0


class Shell(Protocol):
    """A machine that runs words."""

    @property
    def where(self) -> str:
        """How errors name this machine."""

    def run(
        self,
        words: Words,
        *,
        check: bool = True,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Result:
        """Run the words and wait for their end. With `check`, a non-zero exit raises HostError.

        After `timeout` seconds the program is ended with all that it started: HostError. `stdin` may be more than the
        program reads. `on_line` is called with each line of stdout and stderr as it appears.
        """

    def put(self, source: Path, target: str) -> None:
        """Copy one file of this machine to `target` there."""

    def get(self, source: str, target: Path) -> None:
        """Copy one file from there to this machine."""


class LocalShell:
    """This machine."""

    where = "this machine"

    def run(
        self,
        words: Words,
        *,
        check: bool = True,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Result:
        process = _started(words, stdin is not None, env, own_group=timeout is not None)
        try:
            if on_line is None:
                result = _communicate(process, stdin, timeout)
            else:
                result = _stream(process, stdin, timeout, on_line)
        except subprocess.TimeoutExpired as error:
            _end(process, signal.SIGKILL, group=True)
            raise ran_out(words, timeout or 0.0, self.where) from error
        except BaseException:
            _end(process, signal.SIGTERM, group=timeout is not None)
            raise
        return checked(result, words, self.where, check)

    def put(self, source: Path, target: str) -> None:
        shutil.copyfile(source, target)

    def get(self, source: str, target: Path) -> None:
        shutil.copyfile(source, target)


def spawn(words: Words, *, log: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a process that outlives this one, in a session of its own, and give its pid. Its output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            list(words), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, **(env or {})},
        ).pid  # fmt: skip


def has_ended(pid: int) -> bool:
    """Whether that process, which this one has started by `spawn`, is over."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:  # it was told before
        return True


def exec_words(words: Words) -> None:
    """Become another program (an interactive ssh); does not return."""
    os.execvp(words[0], list(words))


def checked(result: Result, words: Words, where: str, check: bool) -> Result:
    """The same result; with `check`, HostError where the command failed, with the end of its output."""
    if check and not result.ok:
        said = (result.err.strip() or result.out.strip()).splitlines()[-12:]
        detail = "\n".join("    " + line for line in said)
        raise HostError(f"`{show(words)}` failed on {where} (exit code {result.code})\n{detail}".rstrip())
    return result


def ran_out(words: Words, timeout: float, where: str) -> HostError:
    """The error for a command that took longer than `timeout` seconds and was ended."""
    return HostError(
        f"`{show(words)}` did not end within {timeout:g} s on {where}, so it was ended",
        "run the same command again; if it hangs again, run the one above by hand to see why",
    )


def _started(words: Words, fed: bool, env: Mapping[str, str] | None, *, own_group: bool) -> "subprocess.Popen[bytes]":
    """The process; HostError where the program cannot be started.

    In a process group of its own it can be ended with all that it started, but no longer asks at the terminal (sudo).
    """
    try:
        return subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env} if env else None,
            start_new_session=own_group,
        )
    except FileNotFoundError as error:
        raise HostError(f"{words[0]} is not installed on this machine", f"install {words[0]}") from error
    except OSError as error:
        raise HostError(f"{words[0]} cannot be started on this machine: {error.strerror}") from error


def _end(process: "subprocess.Popen[bytes]", number: int, *, group: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    if number == signal.SIGKILL:
        process.wait()


def _communicate(process: "subprocess.Popen[bytes]", stdin: bytes | None, timeout: float | None) -> Result:
    out, err = process.communicate(stdin, timeout)
    return Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


class Lines:
    """The lines of one stream of a program, handed on as they come.

    Where `on_line` raises, no more lines are handed on and `stop` is called; the error is kept, and `text` raises it.
    """

    def __init__(self, on_line: OnLine | None, stop: Callable[[], None]) -> None:
        self._on_line, self._stop = on_line, stop
        self._lines: list[str] = []
        self.failure: Exception | None = None

    def take(self, stream: Iterable[bytes]) -> None:
        """Read the stream to its end."""
        for raw in stream:
            line = raw.decode(errors="replace")
            self._lines.append(line)
            if self._on_line is None or self.failure:
                continue
            try:
                self._on_line(line.rstrip("\r\n"))
            except Exception as error:
                self.failure = error
                self._stop()

    @property
    def text(self) -> str:
        """All lines that came. Raises the error that `on_line` raised, if it did."""
        if self.failure:
            raise self.failure
        return "".join(self._lines)


def _stream(process: "subprocess.Popen[bytes]", stdin: bytes | None, timeout: float | None, on_line: OnLine) -> Result:
    """Hand lines over as they come. Both pipes are drained at the same time, as a full one would block the program."""
    until = None if timeout is None else time.monotonic() + timeout
    out, err = (Lines(on_line, process.terminate) for _ in range(2))
    readers = [
        threading.Thread(target=lines.take, args=(pipe,), daemon=True)
        for lines, pipe in ((out, process.stdout), (err, process.stderr))
    ]
    for reader in readers:
        reader.start()
    if stdin is not None:  # in a thread, for a program that does not read would hold us here beyond the time
        threading.Thread(target=_fill, args=(process.stdin, stdin), daemon=True).start()
    process.wait(timeout)
    for reader in readers:  # what the program started may hold its pipes
        reader.join(None if until is None else max(0.0, until - time.monotonic()))
        if reader.is_alive():
            raise subprocess.TimeoutExpired(process.args, timeout or 0.0)
    return Result(process.returncode, out.text, err.text)


def _fill(pipe: IO[bytes] | None, data: bytes) -> None:
    """Write the data to the pipe and close it. A program may end before it has read all: its exit code tells why."""
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):
            pipe.write(data)
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def have(program: str) -> bool:
    """Whether this machine has `program` in its path."""
    return shutil.which(program) is not None
