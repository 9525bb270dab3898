"""An exception that no command foresaw is one message; tests/engine/test_output.py has pipes and full disks."""

import errno
import re
from pathlib import Path

import click
import pytest

from infra.errors import CapacityError
from provision import cli as program
from provision.cli import guarded, run


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Have `provision ls` end with this exception."""
    from provision.commands import machines

    def ending(error: BaseException) -> None:
        def body(**_: object) -> None:
            raise error

        monkeypatch.setattr(machines.ls, "callback", body)
        monkeypatch.delenv("PROVISION_TRACEBACK", raising=False)

    return ending


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), KeyError("x"), RecursionError(), OSError("o")]
)
def test_a_bug_is_one_message_and_its_traceback_is_kept(
    ends,
    error: Exception,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    ends(error)
    assert guarded(["ls"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"provision: this is a bug in provision: {type(error).__name__}")
    assert "Traceback" not in err and len(err.splitlines()) == 2
    kept = re.search(r"the traceback in (\S+\.log)", err)
    assert kept
    text = Path(kept[1]).read_text()
    assert "Traceback (most recent call last)" in text and type(error).__name__ in text
    assert text.startswith("provision 0") and "Python 3." in text


def test_the_traceback_is_printed_where_that_is_wished(
    ends,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    ends(ZeroDivisionError("x"))
    monkeypatch.setenv("PROVISION_TRACEBACK", "1")
    assert guarded(["ls"]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err and err.rstrip().endswith("the traceback above")


def test_without_a_place_for_it_the_traceback_is_printed(
    ends,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    ends(ZeroDivisionError("x"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert guarded(["ls"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/etc/shadow"), 2, "/etc/shadow cannot be read or written"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", b"/tmp"), 2, "/tmp cannot be read or written: Is a dir"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 15, "no room for /data/x: No space left"),
        (OSError(errno.ENOSPC, "No space left on device"), 15, "no room: No space left"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", Path("/data")), 15, "no room for /data: Disk quota exceeded"),
    ],
)
def test_a_file_is_named(
    ends,
    error: OSError,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    ends(error)
    assert guarded(["ls"]) == code
    err = capsys.readouterr().err
    assert said in err and "→" in err and "bug" not in err and "Traceback" not in err


def test_what_was_foreseen_stays_as_it_is(ends, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    ends(CapacityError("none is free", "wait"))
    assert guarded(["ls"]) == 5
    assert capsys.readouterr().err == "provision: none is free\n  → wait\n"
    for error in (KeyboardInterrupt(), click.Abort(), EOFError()):
        ends(error)
        assert guarded(["ls"]) == 130
        assert capsys.readouterr().err.strip() == "provision: interrupted"
    ends(click.exceptions.Exit(7))
    assert guarded(["ls"]) == 7
    assert guarded(["ls", "--nonsense"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_tests_see_what_nobody_foresaw(ends) -> None:  # type: ignore[no-untyped-def]
    """`run` lets it through; only the console script's `guarded` makes a message of it."""
    ends(ZeroDivisionError("x"))
    with pytest.raises(ZeroDivisionError):
        run(["ls"])


def test_the_console_script_is_guarded(
    ends,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    ends(ZeroDivisionError("x"))
    monkeypatch.setattr("sys.argv", ["provision", "ls"])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 1
    assert "bug in provision" in capsys.readouterr().err
