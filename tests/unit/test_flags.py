"""A mend names no flag that the command lacks. Each text of provision/ and infra/ that names one is looked at: some
command that runs that module has the flag; and what renting may refuse is mended alike by all commands that rent."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from tests.unit.anything_kit import leaves
from tests.unit.test_hints import ROOT, texts

RENTS = ("up", "train", "resume")
# what decides, launches and prepares
RENTING = (
    "provision/offers/", "provision/machines/up.py", "provision/machines/rent.py", "infra/aws/errors.py",
    "infra/aws/launch.py", "infra/aws/fleet.py", "infra/aws/ec2.py", "infra/aws/volumes.py",
)  # fmt: skip
# flags of other programs, and of a command that the text names itself
OF_OTHERS = {
    "--rm": "docker", "--help": "each command",
    "--aws-service-name": "aws iam", "--registry-id": "aws ecr", "--repository-name": "aws ecr",
    "--filter": "docker", "--logdir": "tensorboard", "--no-block": "systemctl",
}  # fmt: skip
NOT_FOR_RESUME = {
    "--region": "its data is in the run's region, which --region names",
    "--image": "the run has its image", "--gpus": "the run has its number", "--name": "the run has its machine's name",
}  # fmt: skip
NOT_FOR_TRAIN = {"--name": "a machine for one training has a name of its own"}
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")


@cache
def flags() -> dict[str, set[str]]:
    return {
        words: {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
        for words, command in leaves()
    }


def named() -> dict[str, list[tuple[int, str, str]]]:
    """File → (line, flag, text) of the sentences that name a flag."""
    found: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for path in sorted([*(ROOT / "provision").rglob("*.py"), *(ROOT / "infra").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if "/builtin/" in name or name.startswith("infra/host/"):
            continue
        tree = ast.parse(path.read_text())
        for line, text in texts(tree) if name.startswith("provision/offers/") else mends(tree, texts(tree)):
            found[name] += [(line, flag, text) for flag in _FLAG.findall(text)]
    return found


def mends(tree: ast.AST, all_texts: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Texts that are handed to an error of ours."""
    lines = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error")
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tables = {  # of errors' codes, with their mends
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "_KINDS"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return (found for found in all_texts if found[0] in lines | tables)


def test_each_flag_that_an_error_names_is_one_of_some_command() -> None:
    known = set().union(*flags().values()) | set(OF_OTHERS)
    wrong = [
        f"{file}:{line}: {flag}: {text}" for file, some in named().items() for line, flag, text in some
        if flag not in known and not text.startswith("--")
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_each_flag_that_renting_names_is_one_of_all_commands_that_rent() -> None:
    wrong = []
    for file, some in named().items():
        for line, flag, text in some if file.startswith(RENTING) else ():
            if flag in OF_OTHERS:
                continue
            left = {"resume": NOT_FOR_RESUME, "train": NOT_FOR_TRAIN}
            lacking = [name for name in RENTS if flag not in flags()[name] and flag not in left.get(name, {})]
            wrong += [f"{file}:{line}: {flag} is no flag of {', '.join(lacking)}: {text}"] if lacking else []
    assert not wrong, "\n".join(wrong)


def test_the_commands_of_one_file_have_the_flags_that_its_errors_name() -> None:
    """A command's own module speaks of its own flags, but where the text names another command."""
    own: dict[str, set[str]] = defaultdict(set)
    for words, command in leaves():
        own[command.callback.__module__.replace(".", "/") + ".py"] |= flags()[words]
    wrong = [
        f"{file}:{line}: {flag}: {text}" for file, some in named().items() if file in own for line, flag, text in some
        if flag not in own[file] | set(OF_OTHERS) and not re.search(r"provision [a-z]|`[a-z]+|^[a-z]+ ", text)
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_the_flags_are_found() -> None:
    found = {flag for some in named().values() for _, flag, _ in some}
    assert {"--max-price", "--or-equivalent", "--budget", "--volume", "--gpu-memory"} <= found
    renting = {flag for file, some in named().items() if file.startswith(RENTING) for _, flag, _ in some}
    assert "--max-price" in renting
    assert all(flags()[name] >= {"--or-equivalent", "--fallback", "--budget", "--idle-minutes", "--via", "--volume"}
               for name in RENTS)  # fmt: skip
