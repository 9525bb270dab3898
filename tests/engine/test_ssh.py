"""Commands, files and ports over SSH: what arrives, and what is told when the line breaks in the middle."""

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.errors import HostError, UsageError
from infra.ssh import SshShell
from infra.userssh import UserShell, address
from tests.engine.ssh_kit import Server, server
from tests.engine.test_shell import gone, within

MUCH = 8 << 20
AGAIN = "run the same command again"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture
def shell(host: Server) -> Iterator[SshShell]:
    host.cuts_logins = host.full = False
    with SshShell(host.address, "lab") as made:
        yield made


def breaks(doing: Callable[[], object]) -> HostError:
    """The error of what the line's break cuts off; it comes soon."""
    begun = time.monotonic()
    with pytest.raises(HostError, match="the connection to lab broke: ") as caught:
        doing()
    assert time.monotonic() - begun < 15
    assert caught.value.mend == AGAIN
    return caught.value


def pipe(path: Path, first: bytes, then: Callable[[], None]) -> Path:
    """A named pipe that gives `first`, then waits until `then` has run, and ends."""
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb") as out:
            out.write(first)
            out.flush()
            then()
            time.sleep(0.5)

    threading.Thread(target=write, daemon=True).start()
    return path


def test_a_command_leaves_its_code_and_both_its_texts(shell: SshShell) -> None:
    seen: list[str] = []
    done = shell.run(["sh", "-c", "cat; echo said >&2; exit 3"], check=False, stdin=b"in\n", on_line=seen.append)
    assert (done.code, done.out, done.err) == (3, "in\n", "said\n")
    assert sorted(seen) == ["in", "said"]
    assert shell.run(["sh", "-c", "kill -9 $PPID"], check=False).code == -1, "a signal leaves no code"
    assert shell.run(["true"]).ok


def test_files_go_there_and_back_whole(shell: SshShell, tmp_path: Path) -> None:
    data = os.urandom(MUCH + 1)
    here, there, back = tmp_path / "here", tmp_path / "there it is", tmp_path / "back"
    here.write_bytes(data)
    shell.put(here, str(there))
    shell.get(str(there), back)
    assert there.read_bytes() == back.read_bytes() == data


def test_a_file_that_cannot_be_had_is_named(shell: SshShell, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"`cat /no/such` failed on lab \(exit code 1\)\n.*No such file"):
        shell.get("/no/such", tmp_path / "x")
    with pytest.raises(UsageError, match="nowhere/x cannot be written: No such file"):
        shell.get("/etc/hostname", tmp_path / "nowhere" / "x")
    with pytest.raises(UsageError, match="nowhere cannot be read: No such file"):
        shell.put(tmp_path / "nowhere", "/tmp/x")
    with pytest.raises(HostError, match=r"failed on lab \(exit code 2\)"):
        shell.put(Path("/etc/hostname"), str(tmp_path / "nowhere" / "x"))
    assert shell.run(["true"]).ok, "the line is as it was"


def test_a_program_that_ends_before_it_has_read_its_input_tells_its_own_story(shell: SshShell) -> None:
    done = shell.run(["sh", "-c", "echo no engine here >&2; exit 7"], check=False, stdin=b"x" * MUCH)
    assert (done.code, done.err) == (7, "no engine here\n")


def test_a_line_that_breaks_under_a_command(host: Server, shell: SshShell) -> None:
    breaks(lambda: shell.run(["sh", "-c", "echo begun; sleep 60"], check=False, on_line=lambda _: host.cut()))
    assert shell.run(["true"]).ok, "the next command opens another line"


def test_a_line_that_breaks_under_a_commands_input(host: Server, shell: SshShell) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        host.cut()
        yield from [b"x" * (1 << 20)] * 8

    breaks(lambda: shell.feed(["sh", "-c", "cat >/dev/null"], chunks(), check=False))


def test_a_line_that_breaks_between_commands(host: Server, shell: SshShell) -> None:
    assert shell.run(["true"]).ok
    host.cut()
    breaks(lambda: [shell.run(["true"], check=False) for _ in range(2)])


def test_a_line_that_breaks_under_a_file(host: Server, shell: SshShell, tmp_path: Path) -> None:
    coming = pipe(tmp_path / "coming", b"x" * MUCH, host.cut)
    breaks(lambda: shell.get(str(coming), tmp_path / "here"))
    going = pipe(tmp_path / "going", b"x" * MUCH, host.cut)
    breaks(lambda: shell.put(going, str(tmp_path / "there")))
    shell.put(Path("/etc/hostname"), str(tmp_path / "whole"))


def test_a_line_that_breaks_while_one_logs_in(host: Server) -> None:
    host.cuts_logins = True
    with (
        SshShell(host.address, "lab") as shell,
        pytest.raises(HostError, match=r"cannot reach lab at 127\.0\.0\.1") as caught,
    ):
        shell.run(["true"])
    assert "provision ls" in caught.value.mend, "its key was not refused"


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-x\r\n", b"\0" * 400 + b"\r\n"], ids=["nothing", "hello", "rubbish"])
def test_a_host_that_hangs_up(host: Server, said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            near, _ = listener.accept()
            with near:
                near.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        address = dataclasses.replace(host.address, port=listener.getsockname()[1])
        known = f"[127.0.0.1]:{address.port} {host.host.get_name()} {host.host.get_base64()}\n"
        address.known_hosts.open("a").write(known)
        with SshShell(address, "lab") as shell, pytest.raises(HostError, match="cannot reach lab"):
            shell.run(["true"])
    assert not caplog.records, "paramiko would write them to standard error"


def test_keys_and_names_that_are_none(host: Server, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("i-1 ssh-ed25519 AAA\n")
    for bad in (
        {"known_hosts": tmp_path / "none"}, {"known_hosts": rubbish}, {"key": tmp_path / "none"}, {"key": rubbish},
        {"host": "a" * 70},
    ):  # fmt: skip
        address = dataclasses.replace(host.address, **bad)
        with SshShell(address, "lab") as shell, pytest.raises(HostError, match="cannot reach lab"):
            shell.run(["true"])


def test_a_host_that_opens_no_session_is_not_lost(host: Server, shell: SshShell) -> None:
    assert shell.run(["true"]).ok
    host.full = True
    with pytest.raises(HostError, match="lab opens no other session now"):
        shell.run(["true"])
    host.full = False
    assert shell.run(["true"]).ok
    assert len([line for line in host.lines if line.is_active()]) == 1


def test_a_command_that_takes_too_long_is_ended_there(shell: SshShell, tmp_path: Path) -> None:
    child = tmp_path / "child"
    words = ["sh", "-c", f"sleep 600 & echo $! > {child}; while :; do echo on; sleep 0.1; done"]
    begun = time.monotonic()
    with pytest.raises(HostError, match=r"`sh -c .*` did not end within 0.5 s on lab"):
        shell.run(words, check=False, timeout=0.5, on_line=lambda _: None)
    assert time.monotonic() - begun < 8
    assert within(5, lambda: gone(int(child.read_text())))
    assert shell.run(["sh", "-c", "exit 124"], check=False, timeout=60).code == 124


def test_what_a_listener_raises_is_not_taken_for_a_broken_line(shell: SshShell) -> None:
    def closed(_: str) -> None:
        raise BrokenPipeError("nobody reads us")

    with pytest.raises(BrokenPipeError, match="nobody reads us"):
        shell.run(["sh", "-c", "echo; sleep 0.2"], on_line=closed)
    assert shell.run(["true"]).ok


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that answers in capitals."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(near,), daemon=True).start()

        def answer(near: socket.socket) -> None:
            with near:
                while data := near.recv(100):
                    near.sendall(data.upper())

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def asked(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as near:
        near.sendall(b"hello")
        return near.recv(100)


def test_a_port_there_is_one_here(shell: SshShell, echo: int) -> None:
    here = free_port()
    with shell.forward(here, echo):
        assert [asked(here) for _ in range(3)] == [b"HELLO"] * 3
    with pytest.raises(ConnectionRefusedError):
        asked(here)


def test_a_port_where_nobody_listens_closes_the_connection_and_no_more(shell: SshShell) -> None:
    here = free_port()
    with shell.forward(here, free_port()):
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", here), timeout=20) as near:
                assert near.recv(1) == b""


def test_a_line_that_breaks_under_a_port(host: Server, shell: SshShell, echo: int) -> None:
    here = free_port()
    with shell.forward(here, echo) as wait:
        assert asked(here) == b"HELLO"
        host.cut()
        breaks(wait)


def test_a_port_that_is_taken_here(shell: SshShell, echo: int) -> None:
    for port, why in ((echo, "is in use"), (99999, "cannot be opened: ")):
        with pytest.raises(UsageError, match=f"port {port} of this laptop {why}") as caught, shell.forward(port, 1):
            pass
        assert "--local-port" in caught.value.mend


def test_a_users_own_host_is_refused_with_the_mend(host: Server, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{host.port} {host.host.get_name()} {host.host.get_base64()}\n")
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("127.0.0.1 ssh-ed25519 AAA\n")
    at = dataclasses.replace(host.address, known_hosts=known)
    with UserShell(at, "lab") as shell:
        assert shell.run(["echo", "hello"]).out == "hello\n"
    with UserShell(dataclasses.replace(at, known_hosts=rubbish), "lab") as shell, pytest.raises(HostError) as caught:
        shell.run(["true"])
    assert "rubbish has a line that is no host key: '127.0.0.1" in caught.value.what
    assert caught.value.mend == "delete that line"


@pytest.mark.parametrize("text", [b"Host lab\n  Port many\n", b"Host \xff\xfe\n", b"Match nothing\n", b"Port 22 22\n"])
def test_an_ssh_config_that_cannot_be_read_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_bytes(text)
    with pytest.raises(UsageError, match=r"\.ssh/config( cannot be read|: .* is no port)"):
        address("ssh://lab", tmp_path)
