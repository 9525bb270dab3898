"""What a command says and how it ends where its output goes through a real pipe, to a full disk, or nowhere."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROVISION = [sys.executable, "-m", "provision"]
ROOT = Path(__file__).parent.parent.parent
# as users have it: Python keeps what is printed to a pipe until there is more of it, or the end
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
# more than a pipe holds, said by what every command uses
_MUCH = "[console.say('x' * 100) for _ in range(5000)]"
_TABLE = "console.table('', ('one', 'two'), [('x' * 90, 'y')] * 5000)"
_ECHO = "[click.echo('x' * 100) for _ in range(5000)]"
_UNFLUSHED = "print('few')"  # is still in the buffer when the command is over
_ERRORS = "[console.line('x' * 100) for _ in range(5000)]"


def _program(body: str) -> list[str]:
    """`provision ls`, whose body is replaced: no machine has a list that long."""
    code = (
        "import sys, time, click\nfrom provision import cli, console\nfrom provision.commands import machines\n"
        f"def body(**_):\n    time.sleep(0.3)\n    {body}\n"
        "machines.ls.callback = body\nsys.argv = ['provision', 'ls']\ncli.main()"
    )
    return [sys.executable, "-c", code]


def _cut_off(words: list[str], env: dict[str, str] = BUFFERED, **streams: int) -> tuple[int, str]:
    """Exit code and standard error of a program whose reader is gone before it says a word."""
    read, write = os.pipe()
    os.close(read)
    try:
        given: dict[str, int] = {"stdout": write, "stderr": subprocess.PIPE, **streams}
        done = subprocess.run(words, cwd=ROOT, env=env, text=True, timeout=60, **given)  # type: ignore[call-overload]
    finally:
        os.close(write)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("body", [_MUCH, _TABLE, _ECHO, _UNFLUSHED])
def test_a_reader_that_had_enough_is_no_failure(body: str) -> None:
    assert _cut_off(_program(body)) == (0, "")
    assert _cut_off(_program(body), {**BUFFERED, "PYTHONUNBUFFERED": "1"}) == (0, "")


@pytest.mark.parametrize("words", [["--help"], ["help", "gpu"], ["recipe", "ls"], ["completion", "bash"]])
def test_nor_is_it_for_commands_as_they_are(words: list[str]) -> None:
    assert _cut_off([*PROVISION, *words]) == (0, "")


def test_head_gets_its_lines_and_the_command_ends_with_0() -> None:
    line = "set -o pipefail; " + '"$@" | head -n 2'
    done = subprocess.run(
        ["bash", "-c", line, "bash", *_program(_MUCH)],
        cwd=ROOT,
        env=BUFFERED,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("x" * 100 + "\n") * 2


def test_what_happens_meanwhile_may_be_unread_and_the_work_is_done(tmp_path: Path) -> None:
    """Who reads three lines of `provision up 2>&1 | head -3` leaves no machine half made."""
    body = f"{_ERRORS}; open({str(tmp_path / 'done')!r}, 'w').close()"
    assert _cut_off(_program(body), stderr=subprocess.STDOUT) == (0, "")
    assert (tmp_path / "done").exists()


def test_an_error_that_nobody_reads_keeps_its_exit_code() -> None:
    body = "from infra.errors import CapacityError; raise CapacityError('none is free', 'wait')"
    assert _cut_off(_program(body), stderr=subprocess.STDOUT)[0] == 5


def test_a_broken_line_to_somewhere_else_is_not_taken_for_a_reader() -> None:
    done = subprocess.run(
        _program(f"raise BrokenPipeError({errno.EPIPE}, 'Broken pipe')"),
        cwd=ROOT,
        env=BUFFERED,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "bug in provision: BrokenPipeError" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("body", [_MUCH, _TABLE, _UNFLUSHED])
def test_a_full_disk_is_one_message(body: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(_program(body), cwd=ROOT, env=BUFFERED, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 15
    assert "no room: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_output_that_is_closed_is_no_output() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" >&-', "bash", *_program(_TABLE)], cwd=ROOT, env=BUFFERED, stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
