"""A connection through a program: it carries what it is given, ends with the connection, and tells why it failed."""

import os
import sys
import time

import pytest

from infra.errors import AuthError, HostError
from infra.proxy import ProgramSocket


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_what_is_sent_comes_back_and_the_end_is_seen() -> None:
    with ProgramSocket(["cat"]) as there:
        there.settimeout(20)
        there.sendall(b"SSH-2.0-x\r\n" * 10_000)
        back = b""
        while len(back) < 110_000:
            back += there.recv(65536)
        assert back == b"SSH-2.0-x\r\n" * 10_000
    with ProgramSocket(["true"]) as gone:
        gone.settimeout(20)
        assert gone.recv(1) == b""
        assert gone.failure() is None


@pytest.mark.parametrize(("code", "kind"), [(3, AuthError), (9, HostError), (255, HostError)])
def test_the_reason_is_the_programs_own(code: int, kind: type[Exception]) -> None:
    text = f"import sys; print('no way in\\n  ask for one', file=sys.stderr); sys.exit({code})"
    with ProgramSocket(program(text)) as there:
        there.settimeout(20)
        assert there.recv(1) == b""
        error = there.failure()
    assert type(error) is kind
    assert (error.what, error.mend) == ("no way in", "ask for one")  # type: ignore[attr-defined]


def test_closing_ends_a_program_that_does_not_listen() -> None:
    deaf = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    there = ProgramSocket(program(f"{deaf}; os.write(1, b'%d.' % os.getpid()); time.sleep(60)"))
    there.settimeout(20)
    said = b""
    while not said.endswith(b"."):
        said += there.recv(16)
    begun = time.monotonic()
    there.close()
    assert time.monotonic() - begun < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int(said[:-1]), 0)
