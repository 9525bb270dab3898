"""What a shell is offered when a user presses Tab, by click's protocol; tests/engine/test_completion.py has shells."""

import sys
from pathlib import Path

import click
import pytest

from provision.cli import _COMMANDS, run
from provision.machines import note_folders


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):  # type: ignore[no-untyped-def]
    """Type a line and press Tab: what is offered, by bash's protocol."""
    monkeypatch.chdir(tmp_path)

    def pressed(line: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_PROVISION_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))  # other shells count, too
        with pytest.raises(SystemExit) as end:
            run([])
        shown = capsys.readouterr()
        assert (end.value.code, shown.err) == (0, "")
        return shown.out.split()

    return pressed


def test_commands_come_in_the_order_of_the_help(press) -> None:  # type: ignore[no-untyped-def]
    assert press("provision ") == [f"plain,{name}" for name in _COMMANDS]
    assert press("provision i") == ["plain,infer", "plain,image", "plain,iam-policy"]


def test_no_command_is_imported_to_name_it(press, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    for name in ("demo", "local", "doctor"):
        monkeypatch.delitem(sys.modules, f"provision.commands.{name}", raising=False)
    press("provision d")
    assert "provision.commands.doctor" not in sys.modules


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("provision net ", ["plain,lint", "plain,show", "plain,upgrade"]),
        ("provision data lm", ["plain,lmdb", "plain,lmdb-show"]),
        ("provision up --gpu", ["plain,--gpu-memory", "plain,--gpus"]),
        ("provision up --fallback ", ["plain,none", "plain,on-demand"]),
        ("provision up --fallback=on", ["plain,on-demand"]),
        ("provision up --instance p3.2", ["plain,p3.2xlarge"]),
        ("provision ls --cloud l", ["plain,local"]),
        ("provision train di", ["plain,digits"]),
        ("provision recipe show ssd", ["plain,ssd-voc"]),
        ("provision image choose --stack caffe-c", ["plain,caffe-crfrnn"]),
        ("provision completion ", ["plain,bash", "plain,zsh", "plain,fish"]),
        ("provision help au", ["plain,audit"]),
        ("provision help net ", ["plain,lint", "plain,show", "plain,upgrade"]),
        ("provision help nonsense ", []),
        ("provision net lint ne", ["file,ne"]),
        ("provision logs ./my", ["file,./my"]),
        ("provision time ./my.prototxt", ["file,./my.prototxt"]),
        ("provision train digits --on nobod", []),
        ("provision 'unfinished", []),
    ],
)
def test_a_word_is_made_whole(press, line: str, offered: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert press(line) == offered


def test_recipes_of_the_project_are_offered(press, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for folder in (tmp_path / "recipes/mine", tmp_path / "other/recipes/theirs"):
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").touch()
    assert press("provision train mi") == ["plain,mine"]
    assert press("provision recipe show --project other the") == ["plain,theirs"]


def test_machines_are_those_with_notes_here_of_that_cloud(press) -> None:  # type: ignore[no-untyped-def]
    for place in ("aws/111111111111/us-east-1/lab", "aws/222222222222/us-east-1/lab", "aws/111111111111/eu-west-1/lex",
                  "aws/us-east-1/last", "local-b/123456789012/x/lone"):  # fmt: skip
        (note_folders.of_cloud("x").parent / place).mkdir(parents=True)
    (note_folders.of_cloud("aws") / "111111111111" / "us-east-1" / "leer").touch()
    assert press("provision ssh l") == ["plain,lab", "plain,last", "plain,lex"]  # `last` of a version before accounts
    assert press("provision ssh --cloud local:b l") == ["plain,lone"]
    for words in ("down", "put", "extend", "forward", "cost", "train digits --on", "box exec --on", "score RUN --on"):
        assert press(f"provision {words} le") == ["plain,lex"], words


def test_wrong_settings_are_no_matter_of_the_shells(press, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "provision.yaml").write_text("regoin: eu-west-1\n")
    assert press("provision ssh l") == []


def test_other_shells_are_told_what_each_command_does(press) -> None:  # type: ignore[no-untyped-def]
    assert " ".join(press("provision do", "zsh")).startswith("plain down end machines, and prove")


def test_a_fault_of_ours_is_not_shown_in_the_users_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_PROVISION_COMPLETE", "bash_complete")
    monkeypatch.delenv("COMP_WORDS", raising=False)
    assert run([]) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_tells_where_to_put_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "--help"]) == 0
    helped = capsys.readouterr().out
    assert run(["completion", shell]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("# To use it, ")
    command = last.partition(": ")[2]
    assert f"provision completion {shell}" in command and command in helped


def test_every_name_of_a_machine_is_completed() -> None:
    """A command that gets a machine's name by `--on` or as NAME offers those of the journal."""
    from provision.cli import cli

    (note_folders.of_cloud("aws") / "111111111111" / "us-east-1" / "lab").mkdir(parents=True)
    root = click.Context(cli)
    found = 0
    for name in cli.list_commands(root):
        command = cli.get_command(root, name)
        assert command is not None
        for parameter in command.params:
            if "--on" in parameter.opts or (parameter.name == "name" and name in ("ssh", "put", "down", "cost")):
                found += 1
                offered = parameter.shell_complete(click.Context(command), "l")
                assert [item.value for item in offered] == ["lab"], (name, parameter.name)
    assert found >= 8
