"""The pages on the five write-ups, and the README: the command line takes each command, with options that are there.

Those of the write-ups are not run: their data sets are gigabytes, and what they train takes days. The recipes' tests
run them in small.
"""

import re
import shlex
from pathlib import Path

import click
import pytest

from provision.cli import cli
from provision.recipes.loading import load
from provision.recipes.rendering import fill, split_sets
from tests.documents import ROOT

PAGES = sorted((ROOT / "docs" / "write-ups").glob("*.md"))


def commands(text: str) -> list[list[str]]:
    """The words of each `$ provision` line, in blocks and in tables."""
    lines = re.findall(r"^\$ (provision .*)$", text, re.M) + re.findall(r"`(?:\$ )?(provision [^`]+)`", text)
    return [shlex.split(line.split("  #")[0])[1:] for line in lines if "…" not in line]


def parsed(words: list[str]) -> click.Context:
    """The context of the command that the words call, as click makes it before the command runs."""
    group, context = cli, click.Context(cli)
    while isinstance(group, click.Group) and words:
        _, command, words = group.resolve_command(context, words)
        assert command is not None
        if not isinstance(command, click.Group):
            return command.make_context(command.name, list(words), parent=context)
        group, context = command, click.Context(command, parent=context)
    return context


def test_there_is_a_page_for_each_write_up() -> None:
    assert [page.name[0] for page in PAGES] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_each_command_of_a_page_is_one(page: Path) -> None:
    found = commands(page.read_text())
    assert found, "a page without a command"
    for words in found:
        try:
            context = parsed(words)
        except click.UsageError as error:
            if re.search("does not exist|Missing", error.format_message()):  # a user's file; a command's name alone
                continue
            raise AssertionError(f"{' '.join(words)}: {error.format_message()}") from error
        if words[0] == "train" and not context.params["recipe"].startswith((".", "/", "my")):
            fill(load(context.params["recipe"]), split_sets(context.params["sets"]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_cannot_be_shown(page: Path) -> None:
    text = page.read_text()
    assert re.search(r"^\|.*\|.*\|", text, re.M), "no table of steps and commands"
    said = re.split(r"(?im)^## .*shown.*$", text)
    assert len(said) == 2, "no section on what is not shown"
    assert "GPU" in said[1]
