"""What a user meets first: help, wrong words, wrong settings."""

import sys
from pathlib import Path

import pytest

from provision.cli import _COMMANDS, _HEADINGS, cli, run


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name in _COMMANDS:
        assert f"  {name} " in out


def test_help_begins_with_the_daily_path(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    out = capsys.readouterr().out
    words = [line.split()[0] for line in out.partition("Every day:\n")[2].splitlines() if line.strip()]
    assert words[:8] == ["up", "ls", "ssh", "train", "runs", "logs", "fetch", "down"]
    places = [out.index(f"\n{heading}:\n") for heading in _HEADINGS]
    assert places == sorted(places)
    assert sum(map(len, _HEADINGS.values())) == len(_COMMANDS), "a command is under two headings"
    columns = {line.index(text) for line in out.splitlines() for _, text in _COMMANDS.values() if line.endswith(text)}
    assert len(columns) == 1


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert "Usage: provision" in capsys.readouterr().out


def test_a_mistyped_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trian"]) == 2
    assert "Did you mean 'train'?" in capsys.readouterr().err


def test_a_settings_typo_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "provision.yaml").write_text("regoin: eu-west-1\n")
    assert run(["ls"]) == 2
    err = capsys.readouterr().err
    assert "provision.yaml" in err
    assert "did you mean region" in err
    assert "Traceback" not in err


def test_a_number_where_text_is_meant_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "provision.yaml").write_text("ami: 9.10\n")
    assert run(["ls"]) == 2
    assert "put the value in quotes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["down"], "provision down NAME"),
        (["train", "digits"], "--on NAME"),
        (["train", "digits", "--on", "x", "--notify", "a@b.c"], "leave out --notify"),
        (["train", "digits", "--on", "x", "--no-keeper"], "leave out --no-keeper, or --on"),
        (
            ["train", "digits", "--instance", "p3.8xlarge", "--no-keeper", "--wait-for-capacity", "2"],
            "--no-keeper leaves the training to this laptop",
        ),
        (
            ["train", "digits", "--instance", "p3.8xlarge", "--no-keeper", "--detach"],
            "leave out --no-keeper, or --detach",
        ),
        (["resume", "digits-1", "--on", "x", "--detach", "--notify", "a@b.c"], "no keeper has x"),
        (["resume", "digits-1", "--no-keeper", "--notify", "a@b.c"], "leave out --notify"),
        (["train", "digits", "--on", "x", "--no-bake"], "leave out --no-bake"),
        (["train", "digitz", "--on", "x"], "digits"),
        (["train", "digits", "--on", "x", "--set", "iteration=5"], "iterations"),
        (["up", "--instance", "p3.8xlarge", "--cloud", "azure"], "known: aws, local"),
        (["up", "--instance", "p3.8xlarge", "--disk", "1"], "disk_gb"),
        (["train", "digits", "--on", "x", "--data", "/nowhere"], "--data /nowhere is not a folder"),
        (["train", "digits", "--on", "x", "--instance", "p3.8xlarge", "--dry-run"], "leave out one of them"),
        (["train", "digits", "--dry-run", "--set", "batch=many"], "'many' is not a whole number"),
        (["train", "digits", "--dry-run", "--project", "/nowhere"], "--project /nowhere is not a folder"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_touched(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_the_group_is_whole() -> None:
    assert set(cli.list_commands(None)) == set(_COMMANDS)  # type: ignore[arg-type]


def test_a_destructor_of_paramikos_that_was_interrupted_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C may hit the constructor of a file of a channel; other destructors' errors are still shown."""
    from paramiko.file import BufferedFile

    hook = sys.unraisablehook
    try:
        run(["--version"])
        half_made = BufferedFile.__new__(BufferedFile)
        half_made._closed = False
        half_made._flags = BufferedFile.FLAG_WRITE
        del half_made
        assert "Traceback" not in capsys.readouterr().err

        class Mine:
            def __del__(self) -> None:
                raise ValueError("mine")

        Mine()
        assert "ValueError: mine" in capsys.readouterr().err
    finally:
        sys.unraisablehook = hook
