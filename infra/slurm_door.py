"""The laptop's side of the door on a login node (`infra.cluster.door`): one connection and one process there.

The process is fed to the login node's Python over its standard input, through a login shell, so that Slurm is in its
PATH as it is in the user's. What a profile prints comes before the door's first line and is skipped.
"""

import contextlib
import json
import threading
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from infra.errors import DamagedError, DiskError, HostError, ProvisionError
from infra.host import slim_python
from infra.shell import Result, Words, quote
from infra.ssh import SshShell
from infra.tunnel import BROKEN

_HELLO = b"provision-door 1\n"
_PROFILE = 1 << 16  # bytes that a profile may print
_MODULES = ("objects", "unpack", "door")
_BOOT = (
    "import sys,json,types;i=sys.stdin.buffer;"
    "p=types.ModuleType('cluster');p.__path__=[];sys.modules['cluster']=p\n"
    "for n,t in json.loads(i.read(int(i.readline())).decode()):\n"
    " m=types.ModuleType('cluster.'+n);m.__package__='cluster';sys.modules['cluster.'+n]=m;setattr(p,n,m)\n"
    " exec(compile(t,n,'exec'),m.__dict__)\n"
    "p.door.serve()"
)
_ANSWER_S = 600.0
_MOST = 512 << 20  # bytes of an answer
_PROGRAM_S = 60.0


class Door:
    """Questions to one login node, one at a time; `root` is the folder there below which it works."""

    def __init__(self, shell: SshShell, root: str) -> None:
        self.shell, self._root = shell, root
        self.root, self.there = root, False
        self._channel: Any = None
        self._answers: Any = None
        self._lock = threading.RLock()

    @property
    def where(self) -> str:
        return self.shell.where

    def close(self) -> None:
        with self._lock, contextlib.suppress(*BROKEN):
            if self._channel is not None:
                self._channel.close()
            self._channel = None
        self.shell.close()

    def ask(self, word: str, *given: object, data: bytes = b"", again: bool = True) -> tuple[Any, bytes]:
        """The answer's value, and its bytes. With `again`, where that does no harm, a broken line is tried once more.

        HostError where nobody answers, DiskError where there is no room, DamagedError where something there makes no
        sense.
        """
        with self._lock:
            try:
                return self._asked(word, given, data)
            except _BrokenLine as error:
                self.close()
                if not again:
                    raise _broke(self.where) from error
            try:
                return self._asked(word, given, data)
            except _BrokenLine as error:
                self.close()
                raise _broke(self.where) from error

    def run(self, words: Words, stdin: bytes = b"", seconds: float = _PROGRAM_S, *, again: bool = True) -> Result:
        """A program's exit code and output; 127 where it is not installed. With `again` it may run twice where the
        line breaks; without, whoever asks has to find out whether it ran."""
        value, _ = self.ask("run", list(words), seconds, data=stdin, again=again)
        return Result(*value)

    def _asked(self, word: str, given: tuple[object, ...], data: bytes) -> tuple[Any, bytes]:
        with self._whole_line():
            if self._channel is None:
                self._open()
            self._channel.sendall(json.dumps([word, given, len(data)]).encode() + b"\n" + data)
            kind, value, size = json.loads(self._line())
            if not 0 <= size <= _MOST:
                raise DamagedError(f"{self.where} answers with {size} bytes", "look at what answers there")
            body = self._answers.read(size) if size else b""
            if len(body) < size:
                raise _BrokenLine
        if kind != "ok":
            raise _refused(kind, str(value), self.where)
        return value, body

    @contextlib.contextmanager
    def _whole_line(self) -> Iterator[None]:
        try:
            yield
        except BROKEN as error:
            raise _BrokenLine from error

    def _open(self) -> None:
        texts = [[name, slim_python(_text(name))] for name in _MODULES]
        fed = json.dumps(texts).encode()
        line = "exec sh -lc " + quote([quote(["exec", "python3", "-u", "-c", _BOOT])])
        channel = self.shell.channel(line)
        channel.settimeout(_ANSWER_S)
        answers = channel.makefile("rb")
        channel.sendall(b"%d\n" % len(fed) + fed)
        skipped = b""
        while not skipped.endswith(_HELLO):
            piece = answers.readline()
            if not piece or len(skipped) > _PROFILE:
                raise self._no_door(channel, skipped)
            skipped += piece
        self._channel, self._answers = channel, answers
        (self.root, safe, self.there), _ = self._asked("open", (self._root,), b"")
        if not safe:
            self.close()
            raise HostError(
                f"{self.where}: others may write to {self.root}, or it is not yours",
                "make it yours alone (chmod go-w), or give another one: provision cluster add … --shared DIR",
            )

    def _line(self) -> bytes:
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise _BrokenLine
        return bytes(line)

    def _no_door(self, channel: Any, said: bytes) -> ProvisionError:
        error = channel.makefile_stderr("rb").read(4096).decode(errors="replace").strip()
        code = channel.recv_exit_status() if channel.exit_status_ready() else -1
        channel.close()
        if code in (126, 127) or "python3" in error:
            return HostError(
                f"{self.where} has no python3 that starts",
                "ask its administrators for Python 3.6 or later, in the PATH",
            )
        told = (error or said.decode(errors="replace").strip()).splitlines()
        return HostError(
            f"{self.where} does not let a program begin" + (f": {told[-1]}" if told else ""),
            f"make this work first: ssh {self.where} python3 -V",
        )


class _BrokenLine(Exception):
    """The connection ended before the answer did."""


def _broke(where: str) -> HostError:
    return HostError(f"the connection to {where} broke", "run the same command again")


def _text(name: str) -> str:
    return files("infra.cluster").joinpath(f"{name}.py").read_text(encoding="utf-8")


def _refused(kind: str, what: str, where: str) -> ProvisionError:
    if kind == "full":
        return DiskError(
            f"no room on {where}: {what}",
            "delete runs, images or data that you need no more there, or ask for more quota",
        )
    if kind == "refused":
        return HostError(
            f"{where} refuses: {what}", "give a folder that you may write: provision cluster add … --shared DIR"
        )
    if kind == "damaged":
        return DamagedError(f"{where}: {what}", "somebody changed a file there")
    return HostError(f"{where}: {what}", "run the same command again")
