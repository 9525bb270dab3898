"""The lock of a host, by its own script in a real shell: who has it, and when a client that is gone loses it."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from infra.errors import HostError, RunError
from infra.shell import LocalShell, OnLine, Result, Words
from infra.ssh import SshShell
from provision.hosts import turn as turns
from provision.hosts.turn import turn


class Client(LocalShell):
    """A client whose connection is a pipe to a process of this machine. `dies` closes it; `stalls` leaves it open, and
    sends nothing more."""

    where = "lab"

    def __init__(self) -> None:
        self.process: Any = None
        self.stalls = False

    def feed(self, words: Words, chunks: Iterable[bytes], *, check: bool, on_line: OnLine) -> Result:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(list(words), stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        threading.Thread(target=self._send, args=(chunks,), daemon=True).start()
        for line in self.process.stdout:
            on_line(line.decode().rstrip("\n"))
        return Result(self.process.wait(), "", self.process.stderr.read().decode())

    def _send(self, chunks: Iterable[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):  # the process has ended, or the client is dead
            for chunk in chunks:
                if self.stalls:
                    return
                self.process.stdin.write(chunk)
            self.process.stdin.close()

    def dies(self) -> None:
        self.process.stdin.close()


@pytest.fixture
def lock(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def taken(client: Client, lock: str, wait_s: int = 0) -> bool:
    """Whether the client gets the lock, within `wait_s` seconds."""
    try:
        with turn(cast(SshShell, client), wait_s, lock):
            return True
    except RunError as error:
        assert "another training is being started on lab" in error.what
        return False


def test_one_client_at_a_time(lock: str) -> None:
    with turn(cast(SshShell, Client()), 0, lock):
        assert not taken(Client(), lock)
    assert taken(Client(), lock)


def test_who_waits_gets_it_when_it_is_free(lock: str) -> None:
    got: list[bool] = []
    with turn(cast(SshShell, Client()), 0, lock):
        waiting = threading.Thread(target=lambda: got.append(taken(Client(), lock, 20)))
        waiting.start()
        time.sleep(0.3)
        assert got == []
    waiting.join(20)
    assert got == [True]


def test_it_is_held_for_as_long_as_the_client_lives_and_no_longer(lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_SILENT_S", 1)
    monkeypatch.setattr(turns, "_BEAT_S", 0.2)
    client = Client()
    with turn(cast(SshShell, client), 0, lock):
        time.sleep(2.5)  # longer than a silence may be
        assert not taken(Client(), lock)
        client.dies()
        assert taken(Client(), lock, 5)


def test_a_client_whose_line_is_cut_without_a_word_is_missed(lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_SILENT_S", 1)
    monkeypatch.setattr(turns, "_BEAT_S", 0.2)
    client = Client()
    with turn(cast(SshShell, client), 0, lock):
        client.stalls = True
        assert taken(Client(), lock, 10)


def test_a_lock_that_cannot_be_made_is_no_other_training(tmp_path: Path) -> None:
    with (
        pytest.raises(HostError, match="cannot be taken on lab"),
        turn(cast(SshShell, Client()), 0, str(tmp_path / "no" / "folder")),
    ):
        pass
