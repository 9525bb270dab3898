"""Programs on this machine: each ends with its own exit code and words, and in time."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.errors import HostError
from infra.shell import LocalShell, OnLine

MUCH = b"x" * (4 << 20)  # more than any pipe holds
LISTENERS: tuple[OnLine | None, ...] = (None, lambda line: None)


def gone(pid: int) -> bool:
    """Whether no process has this id, or what is left of it is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def within(seconds: float, done: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not done() and time.monotonic() < until:
        time.sleep(0.02)
    return done()


@pytest.mark.parametrize("on_line", LISTENERS)
def test_a_program_that_ends_before_it_has_read_its_input_tells_its_own_story(on_line: OnLine | None) -> None:
    words = ["sh", "-c", "echo no engine here >&2; exit 7"]
    done = LocalShell().run(words, check=False, stdin=MUCH, on_line=on_line)
    assert (done.code, done.err) == (7, "no engine here\n")
    with pytest.raises(HostError, match=r"exit code 7[^$]*no engine here"):
        LocalShell().run(words, stdin=MUCH, on_line=on_line)


@pytest.mark.parametrize("on_line", LISTENERS)
def test_all_of_the_input_arrives_and_all_lines_come_back(on_line: OnLine | None) -> None:
    seen: list[str] = []
    listen = None if on_line is None else seen.append
    done = LocalShell().run(["cat"], stdin=b"one line\n" * 200_000, on_line=listen)
    assert done.out == "one line\n" * 200_000
    assert seen in ([], ["one line"] * 200_000)


@pytest.mark.parametrize("on_line", LISTENERS)
@pytest.mark.parametrize("stdin", [None, MUCH], ids=["unfed", "fed"])
def test_a_program_that_takes_too_long_is_ended_with_what_it_started(
    tmp_path: Path, on_line: OnLine | None, stdin: bytes | None
) -> None:
    child = tmp_path / "child"
    words = ["sh", "-c", f"sleep 600 & echo $! > {child}; echo begun; wait"]
    begun = time.monotonic()
    with pytest.raises(HostError, match=r"`sh -c .*` did not end within 0.5 s on this machine") as caught:
        LocalShell().run(words, check=False, timeout=0.5, stdin=stdin, on_line=on_line)
    assert time.monotonic() - begun < 10
    assert "by hand" in caught.value.mend
    assert within(5, lambda: gone(int(child.read_text())))


@pytest.mark.parametrize("on_line", LISTENERS)
def test_a_program_whose_child_holds_the_pipes_is_waited_for_no_longer_than_was_said(
    tmp_path: Path, on_line: OnLine | None
) -> None:
    child = tmp_path / "child"
    words = ["sh", "-c", f"sleep 600 & echo $! > {child}"]
    with pytest.raises(HostError, match="did not end within"):
        LocalShell().run(words, timeout=0.5, on_line=on_line)
    assert within(5, lambda: gone(int(child.read_text())))


@pytest.mark.parametrize("on_line", LISTENERS)
def test_time_enough_changes_nothing(on_line: OnLine | None) -> None:
    done = LocalShell().run(
        ["sh", "-c", "cat; echo said >&2; exit 3"], check=False, stdin=b"in", timeout=60, on_line=on_line
    )
    assert (done.code, done.out, done.err) == (3, "in", "said\n")


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no-such-program is not installed") as caught:
        LocalShell().run(["no-such-program"])
    assert caught.value.mend == "install no-such-program"
    plain = tmp_path / "plain"
    plain.write_text("no program")
    for words in ([str(plain)], ["true", "x" * (1 << 22)]):
        with pytest.raises(HostError, match=r"cannot be started on this machine: (Permission|Argument)"):
            LocalShell().run(words)


def test_an_interrupted_wait_ends_the_program(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def interrupted(_: str) -> None:
        raise AssertionError("never called")

    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        LocalShell().run(["sh", "-c", f"echo $$ > {note}; exec sleep 600"], timeout=60, on_line=interrupted)
    assert within(5, lambda: gone(int(note.read_text())))


def test_what_a_listener_raises_ends_the_program_and_is_raised() -> None:
    def closed(_: str) -> None:
        raise BrokenPipeError("nobody reads us")

    begun = time.monotonic()
    with pytest.raises(BrokenPipeError, match="nobody reads us"):
        LocalShell().run(["sh", "-c", "echo; exec sleep 600"], on_line=closed)
    assert time.monotonic() - begun < 10
