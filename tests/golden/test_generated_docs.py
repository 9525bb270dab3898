"""Tables in the docs that are made of the data: what stacks stand on for AWS types, patches, licences, exit codes, and
what `diagnose` knows.
`python -m tests.golden.test_generated_docs` writes them anew."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from images.choose import Cell, table
from images.gpus import aws_type
from images.patches import patches
from images.stacks import stacks
from infra.errors import ProvisionError, UsageError
from provision.clouds import Session
from provision.commands.options import wish_of
from provision.logs.rules import FILES, of_file
from provision.offers.compatibility import driver_of
from provision.offers.plan import plan
from provision.settings import Settings
from tests.unit.aws_region import region

ROOT = Path(__file__).parents[2]
INSTANCES = (
    "p2.xlarge", "p3.8xlarge", "p3dn.24xlarge", "g4dn.12xlarge", "g5.12xlarge", "g6.12xlarge", "g6e.12xlarge",
    "g7e.12xlarge", "p4d.24xlarge", "p5.48xlarge", "p6-b200.48xlarge", "p6-b300.48xlarge",
)  # fmt: skip


def cells() -> list[Cell]:
    """What each stack runs on, under the driver of the machine image that the type starts from."""
    return table(INSTANCES, lambda kind: driver_of(Settings(), kind))


def said(cell: Cell) -> str:
    return f"`{cell.target.partition(':')[2]}`" if cell.target else f"no: {cell.reason}"


def types_table() -> str:
    """A row for each type; stacks that answer the same everywhere share a column, or a line if they never can."""
    answers_of = {(cell.stack, cell.instance): said(cell) for cell in cells()}
    names = sorted({stack for stack, _ in answers_of})
    columns: dict[tuple[str, ...], list[str]] = {}
    for stack in names:
        columns.setdefault(tuple(answers_of[stack, one] for one in INSTANCES), []).append(stack)
    never = {answers: names for answers, names in columns.items() if len(set(answers)) == 1}
    columns = {answers: names for answers, names in columns.items() if answers not in never}
    heads = [", ".join(f"`{name}`" for name in names) for names in columns.values()]
    lines = [f"| type | GPUs | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    for number, one in enumerate(INSTANCES):
        kind = aws_type(one)
        lines.append(f"| {one} | {kind.count} × {kind.gpu} | {' | '.join(answers[number] for answers in columns)} |")
    lines += ["", *(f"`{name}`: {answers[0]}." for answers, names in never.items() for name in names)]
    return "\n".join(lines)


def patches_table() -> str:
    """Name, condition, and the first sentence of why."""
    lines = ["| patch | where | why |", "|---|---|---|"]
    for name, patch in patches().items():
        where = [f"{key} {value}" for key, value in patch.when.given.items()] or patch.stacks or ("all of Caffe",)
        why = " ".join(re.split(r"(?<=[.;]) ", patch.why)[0].split()).rstrip(".;")
        lines.append(f"| {f'[{name}]({patch.upstream})' if patch.upstream else name} | {', '.join(where)} | {why} |")
    return "\n".join(lines)


def licences_table() -> str:
    """A row for each stack that is made of other people's sources."""
    lines = ["| stack | source | revision | licence |", "|---|---|---|---|"]
    for name, stack in stacks().items():
        if stack.licence:
            lines.append(f"| `{name}` | {stack.source} | `{stack.revision[:12]}` | {stack.licence} |")
    return "\n".join(lines)


def kinds_of_errors() -> list[type[ProvisionError]]:
    """ProvisionError and every kind of it, below whatever kind it stands."""
    kinds = [ProvisionError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return kinds


def codes_table() -> str:
    """A row for each exit code: what infra/errors.py says of its kind."""
    rows = {
        0: ("", "Done; or who reads the output had enough, as `head` has."),
        1: ("", "A check of the demo failed, or a bug in provision, whose traceback is kept."),
        129: ("", "SIGHUP (the terminal was closed), which ends a command as Ctrl-C does."),
        130: ("", "Ctrl-C."),
        143: ("", "SIGTERM (`kill`, a cancelled job), which ends a command as Ctrl-C does."),
    }
    for kind in kinds_of_errors():
        if kind is not ProvisionError:
            assert kind.exit_code not in rows, f"{kind.__name__} shares its exit code {kind.exit_code}"
            rows[kind.exit_code] = (f"`{kind.__name__}`", " ".join(str(kind.__doc__).split()))
    return "\n".join(
        [
            "| code | kind | meaning |",
            "|---|---|---|",
            *(f"| {code} | {' | '.join(rows[code])} |" for code in sorted(rows)),
        ]
    )


def causes_table() -> str:
    """A table for each file of rules: the text that a line has, what that means, and what helps first."""
    lines: list[str] = []
    for file, heading in FILES.items():
        lines += [f"### {heading}", "", "| cause | a line has | what happened | what helps first |"]
        lines.append("|---|---|---|---|")
        for rule in of_file(file):
            shown = rule.find[0].strip().replace("`", "'")
            cells = (f"`{rule.name}`", f"`{shown}`", rule.what, rule.mends[0])
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines[:-1])


TABLES = (
    ("docs/diagnose.md", "causes", causes_table),
    ("docs/images.md", "types", types_table),
    ("docs/images.md", "patches", patches_table),
    ("docs/licences.md", "stacks", licences_table),
    ("docs/exit-codes.md", "codes", codes_table),
)


def filled(text: str, mark: str, table: str) -> str:
    """The document with the table between its marks."""
    assert f"<!-- {mark} -->" in text
    return re.sub(rf"(?s)(<!-- {mark} -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}{table}\n{found[2]}", text)


@pytest.mark.parametrize(("name", "mark", "make"), TABLES, ids=[mark for _, mark, _ in TABLES])
def test_a_table_is_what_the_data_says(name: str, mark: str, make: Callable[[], str]) -> None:
    text = (ROOT / name).read_text()
    assert filled(text, mark, make()) == text, "run: python -m tests.golden.test_generated_docs"


def test_every_cell_has_a_target_or_a_reason() -> None:
    found = cells()
    assert len(found) == 8 * len(INSTANCES)
    assert all(bool(cell.target) != bool(cell.reason) for cell in found)


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: f"{cell.stack}-{cell.instance}")
def test_up_takes_what_a_cell_says_and_refuses_what_it_refuses(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `up --instance TYPE --image TARGET --dry-run` plans it, with a region that offers the type."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    aws = region({cell.instance: ("a",)}, {cell.instance: 1.0})
    given: dict[str, Any] = dict.fromkeys(("gpus", "gpu_memory", "name"))
    given |= {"kind": cell.instance, "spot": True, "or_equivalent": False, "volumes": (), "regions": ()}
    wish, _ = wish_of({**given, "image": cell.target or cell.stack})
    if cell.target:
        [request] = plan(Session(aws.cloud, Settings(), lambda _: None), wish)
        assert request.offers[0].type.name == cell.instance
        return
    with pytest.raises(UsageError) as refused:
        plan(Session(aws.cloud, Settings(), lambda _: None), wish)
    assert cell.reason in refused.value.what


if __name__ == "__main__":
    for document, place, maker in TABLES:
        (ROOT / document).write_text(filled((ROOT / document).read_text(), place, maker()))
