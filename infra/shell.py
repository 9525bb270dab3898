"""Run words, put and get files: on this machine, or over SSH (`infra.ssh.SshShell`).

A command is a list of words, made apart from running it. It is quoted once, here at the edge. A `Secret` is a
word that hides itself wherever it could be printed.
"""

import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
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
    """What a command left: exit code and its text. `code` is negative for a signal, as in `subprocess`."""

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
        """Run and wait (`timeout` in seconds). With `check`, a non-zero exit raises HostError.

        `on_line` is called with each line of stdout and stderr as it appears.
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
        try:
            process = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **env} if env else None,
            )
        except FileNotFoundError as error:
            raise HostError(f"{words[0]} is not installed on this machine", f"install {words[0]}") from error
        return checked(_communicate(process, words, stdin, timeout, on_line), words, self.where, check)

    def put(self, source: Path, target: str) -> None:
        shutil.copyfile(source, target)

    def get(self, source: str, target: Path) -> None:
        shutil.copyfile(source, target)


def spawn(words: Words, *, log: Path, env: Mapping[str, str] | None = None) -> int:
    """Start a process that outlives this one, in a session of its own; its output goes to `log`. Its pid."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            list(words), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, **(env or {})},
        ).pid  # fmt: skip


def exec_words(words: Words) -> None:
    """Become another program (an interactive ssh); does not return."""
    os.execvp(words[0], list(words))


def checked(result: Result, words: Words, where: str, check: bool) -> Result:
    """`result`, or HostError naming the command and the end of what it said."""
    if check and not result.ok:
        said = (result.err.strip() or result.out.strip()).splitlines()[-12:]
        detail = "\n".join("    " + line for line in said)
        raise HostError(f"`{show(words)}` failed on {where} (exit code {result.code})\n{detail}".rstrip())
    return result


def _communicate(
    process: "subprocess.Popen[bytes]",
    words: Words,
    stdin: bytes | None,
    timeout: float | None,
    on_line: OnLine | None,
) -> Result:
    if on_line is None:
        try:
            out, err = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise HostError(f"`{show(words)}` did not end within {timeout:g} s") from error
        except BaseException:
            process.terminate()
            raise
        return Result(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    return _stream(process, stdin, on_line)


def _stream(process: "subprocess.Popen[bytes]", stdin: bytes | None, on_line: OnLine) -> Result:
    """Hand lines over as they come. Both pipes are drained at once, or a full one would block the other."""
    texts: tuple[list[str], list[str]] = ([], [])
    pipes = (process.stdout, process.stderr)
    readers = [
        threading.Thread(target=_drain, args=(pipe, lines, on_line), daemon=True)
        for pipe, lines in zip(pipes, texts, strict=True)
    ]
    for reader in readers:
        reader.start()
    try:
        if stdin is not None and process.stdin:
            process.stdin.write(stdin)
            process.stdin.close()
        process.wait()
    except BaseException:
        process.terminate()
        raise
    for reader in readers:
        reader.join()
    return Result(process.returncode, *("".join(lines) for lines in texts))


def _drain(pipe: IO[bytes] | None, lines: list[str], on_line: OnLine) -> None:
    for raw in pipe or ():
        line = raw.decode(errors="replace")
        lines.append(line)
        on_line(line.rstrip("\r\n"))


def have(program: str) -> bool:
    """Whether this machine has `program` in its path."""
    return shutil.which(program) is not None
