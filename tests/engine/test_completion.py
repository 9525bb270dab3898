"""Completion in the real shells, as a user presses Tab: bash everywhere, zsh and fish where they are."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SHELLS = ["bash", "zsh", "fish"]


@pytest.fixture
def laptop(tmp_path: Path) -> dict[str, str]:
    """An environment whose PATH begins with our `provision`, in a folder with a recipe and notes on two machines."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "provision"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m provision "$@"\n')
    program.chmod(0o755)
    for name in ("lab", "long-run"):
        (tmp_path / "state/provision/instances/aws/us-east-1" / name).mkdir(parents=True)
    (tmp_path / "recipes/mine").mkdir(parents=True)
    (tmp_path / "recipes/mine/recipe.yaml").touch()
    (tmp_path / "net.prototxt").touch()
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb", "LC_ALL": "C.UTF-8",
        "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }  # fmt: skip


def need(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


# what the user's own file of settings holds, by `provision completion --help`
_START = {
    "bash": ["bash", "--noprofile", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
_SETTINGS = {
    "bash": "PS1='$ '; bind 'set enable-bracketed-paste off'; eval \"$(provision completion bash)\"",
    "zsh": "PS1='$ '; unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -D -u; "
    'eval "$(provision completion zsh)"',
}


def pressed(shell: str, line: str, laptop: dict[str, str], mark: str, tabs: int = 1) -> str:
    """What the terminal shows after the line and Tab were typed, until the mark is there."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(laptop["HOME"])
        os.execvpe(_START[shell][0], _START[shell], laptop)
    try:
        os.write(terminal, f"{_SETTINGS[shell]}; echo rea''dy\n".encode())
        _until(terminal, "ready\n", 30)
        for typed in (line, *["\t"] * tabs):
            os.write(terminal, typed.encode())
            time.sleep(0.2)
        return _until(terminal, mark, 10)
    finally:
        os.close(terminal)  # hangs up
        os.waitpid(child, 0)


def _until(terminal: int, mark: str, seconds: float) -> str:
    """What is shown until the mark is; nothing may come for so many seconds at most."""
    text = ""
    while mark not in (shown := re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x07\x08\r]", "", text)):
        ready, _, _ = select.select([terminal], [], [], seconds)
        assert ready, f"{mark!r} did not come, but {shown!r}"
        text += os.read(terminal, 65536).decode(errors="replace")
    return shown


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("provision tra", "provision train "),
        ("provision net li", "provision net lint "),
        ("provision train mi", "provision train mine "),
        ("provision up --fallb", "provision up --fallback "),
        ("provision up --fallback on", "provision up --fallback on-demand "),
        ("provision ssh la", "provision ssh lab "),
        ("provision net lint ne", "provision net lint net.prototxt"),
    ],
)
def test_tab_makes_the_word_whole(shell: str, typed: str, whole: str, laptop: dict[str, str]) -> None:
    need(shell)
    assert whole in pressed(shell, typed, laptop, whole)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_two_tabs_list_what_fits(shell: str, laptop: dict[str, str]) -> None:
    need(shell)
    shown = pressed(shell, "provision data l", laptop, "lmdb-show", tabs=3)
    assert "lmdb" in shown.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("provision tra", {"train"}),
        ("provision data lm", {"lmdb", "lmdb-show"}),
        ("provision train mi", {"mine"}),
        ("provision up --fallback ", {"none", "on-demand"}),
        ("provision down l", {"lab", "long-run"}),
    ],
)
def test_fish_is_offered_the_same(line: str, offered: set[str], laptop: dict[str, str]) -> None:
    need("fish")
    command = f"provision completion fish | source; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", command], env=laptop, cwd=laptop["HOME"], capture_output=True, text=True
    )
    assert {text.partition("\t")[0] for text in done.stdout.splitlines()} == offered, done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_that_the_shell_reads(shell: str, laptop: dict[str, str]) -> None:
    need(shell)
    script = subprocess.run(["provision", "completion", shell], env=laptop, capture_output=True, text=True, check=True)
    done = subprocess.run([shell, "-n"], input=script.stdout, env=laptop, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_gets_what_comes_after_a_colon(laptop: dict[str, str]) -> None:
    """Readline has words end at colons: it is told the rest of the word, not all of it."""
    driver = """
        provision() { echo plain,caffe:cpu-debian12; echo plain,caffe:cpu-debian13; }
        COMP_LINE="provision image build caffe:cpu-" COMP_POINT=${#COMP_LINE} COMP_WORDBREAKS=" :="
        _provision_completion provision cpu- :
        echo "${COMPREPLY[@]}"
    """
    script = subprocess.run(["provision", "completion", "bash"], env=laptop, capture_output=True, text=True, check=True)
    done = subprocess.run(["bash", "-c", script.stdout + driver], env=laptop, capture_output=True, text=True)
    assert done.stdout.split() == ["cpu-debian12", "cpu-debian13"], done.stderr


def test_a_press_of_tab_loads_no_heavy_library() -> None:
    """A fifth of a second is as long as a user waits gladly."""
    probe = (
        "import os, sys; os.environ.update(_PROVISION_COMPLETE='bash_complete', COMP_WORDS={line!r})\n"
        "from provision.cli import run\n"
        "try: run([])\nexcept SystemExit: pass\n"
        "print('heavy:', [name for name in ('boto3', 'botocore', 'docker', 'fabric', 'paramiko', 'rich', 'jinja2')"
        " if name in sys.modules])"
    )
    for line in ("provision ", "provision train d", "provision up --instance p3", "provision ssh l", "provision net "):
        words = [sys.executable, "-c", probe.format(line=line)]
        done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stdout.rstrip().endswith("heavy: []"), line
