"""A mend that names a command leads to the same cloud and region: it is written with `hint`.

The whole kind is found: each text of provision/ and infra/ in which a command stands that works in a cloud, as
`provision down`, and that no `hint` makes.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from infra.aws.session import Cloud
from tests.unit.anything_kit import leaves

ROOT = Path(__file__).parents[2]
ON_ONLY = ("box", "data", "image")  # these work in a cloud where they have --on alone; `data sync` always
# Where no cloud is meant: the machine that NAME will be is not known yet.
NO_CLOUD = {
    "provision/commands/data_boxes.py": "data that was made on this laptop, for any machine",
    "provision/commands/data_crfrnn.py": "data that was made on this laptop, for any machine",
    "provision/commands/data_digits.py": "data that was made on this laptop, for any machine",
    "provision/commands/recipe.py": "`train --dry-run` asks no cloud",
    "infra/aws/launch.py": "what a rule of a security group says of its origin",
    "infra/aws/errors.py": "the account's own rights and quotas, whatever the region",
    "provision/account/doctor.py": "what a program is for",
    "provision/logs/standing.py": "causes that a log shows; it may be a file's",
    "provision/logs/absence.py": "files' logs",
    "provision/logs/log.py": "files' logs",
    "provision/logs/plot.py": "it may be a file's log",
    "provision/recipes/faults.py": "what is wrong with a recipe, before a cloud is meant",
    "provision/runs/weights.py": "the machine has another name than NAME",
    "provision/tasks/job.py": "folders that were fetched: of which cloud nobody knows",
}


def verbs() -> tuple[set[str], set[str]]:
    """Commands that work in a cloud; those that do with --on alone."""
    always, on_only = set(), set()
    for words, command in leaves():
        if any("--cloud" in param.opts for param in command.params):
            (on_only if words.split()[0] in ON_ONLY and words != "data sync" else always).add(words)
    return always, on_only


ALWAYS, WITH_ON = verbs()


def names_a_command(text: str) -> bool:
    """Whether the text has a command of ours for which the cloud matters."""
    for found in re.finditer(r"provision ([a-z-]+)(?: ([a-z][a-z-]*))?([^;|]*)", text):
        one, two = found[1], f"{found[1]} {found[2]}"
        if "--help" in found[3]:
            continue
        if one in ALWAYS or two in ALWAYS or (two in WITH_ON and "--on" in found[3]):
            return True
    return False


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each text with its line; {} stands for what an f-string fills in. Neither docstrings nor an option's help."""
    left_out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            left_out.add(id(node.value))
        if isinstance(node, ast.keyword) and node.arg == "help":
            left_out.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            left_out |= {id(part) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)


def bare() -> dict[str, list[str]]:
    """File → its texts that name a command, with their lines."""
    found: dict[str, list[str]] = {}
    for path in sorted([*(ROOT / "provision").rglob("*.py"), *(ROOT / "infra").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if "/builtin/" in name or name in NO_CLOUD:
            continue
        for line, text in texts(ast.parse(path.read_text())):
            if names_a_command(text):
                found.setdefault(name, []).append(f"{name}:{line}: {text}")
    return found


def test_a_command_that_is_proposed_is_made_by_hint() -> None:
    found = bare()
    more = [text for some in found.values() for text in some]
    assert not more, "write these with hint (provision.clouds):\n" + "\n".join(more)


@pytest.mark.parametrize(
    ("text", "so"),
    [
        ("end it: provision down {}", True),
        ("`provision ami ls`", True),
        ("provision image build {}", False),
        ("provision image check x --on {}", True),
        ("provision data lmdb LIST DIR", False),
        ("provision data sync DIR", True),
        ("provision recipe check x", False),
        ("provisional down", False),
        ("see `provision up --help`", False),
    ],
)
def test_what_is_looked_for(text: str, so: bool) -> None:
    assert names_a_command(text) == so


def test_each_exception_is_needed() -> None:
    for name in NO_CLOUD:
        assert any(names_a_command(text) for _, text in texts(ast.parse((ROOT / name).read_text()))), name


def test_a_hint_of_a_cloud() -> None:
    cloud = Cloud("local", "eu-west-1", usual=("aws", "us-east-1"))
    assert cloud.hint("down lab") == "provision down lab --cloud local --region eu-west-1"
    assert Counter(cloud.hint("ls").split())["--cloud"] == 1


def test_commands_are_those_of_click() -> None:
    assert {"down", "train", "data sync", "ami bake"} <= ALWAYS
    assert {"image build", "box exec", "data lmdb"} <= WITH_ON
    assert all(isinstance(command, click.Command) for _, command in leaves())
