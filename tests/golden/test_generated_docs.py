"""Tables in README and docs that are made of the data: what stacks stand on for AWS types, and the patches.
`python -m tests.golden.test_generated_docs` writes them anew."""

import re
from pathlib import Path

import pytest

from images.choose import Cell, table
from images.gpus import aws_type
from images.patches import patches

ROOT = Path(__file__).parents[2]
INSTANCES = (
    "p2.xlarge", "p3.8xlarge", "p3dn.24xlarge", "g4dn.12xlarge", "g5.12xlarge", "g6.12xlarge", "p4d.24xlarge",
    "p5.48xlarge", "p6-b200.48xlarge",
)  # fmt: skip


def said(cell: Cell) -> str:
    return f"`{cell.target.partition(':')[2]}`" if cell.target else f"no: {cell.reason}"


def types_table() -> str:
    """A row for each type; stacks that answer the same everywhere share a column, or a line if they never can."""
    cells = {(cell.stack, cell.instance): said(cell) for cell in table(INSTANCES)}
    stacks = sorted({stack for stack, _ in cells})
    columns: dict[tuple[str, ...], list[str]] = {}
    for stack in stacks:
        columns.setdefault(tuple(cells[stack, one] for one in INSTANCES), []).append(stack)
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


TABLES = {"README.md": ("types", types_table), "docs/images.md": ("patches", patches_table)}


def filled(name: str) -> str:
    """The document with its table as it should be."""
    mark, make = TABLES[name]
    text = (ROOT / name).read_text()
    assert f"<!-- {mark} -->" in text
    return re.sub(rf"(?s)(<!-- {mark} -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}{make()}\n{found[2]}", text)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_the_data_says(name: str) -> None:
    assert filled(name) == (ROOT / name).read_text(), "run: python -m tests.golden.test_generated_docs"


def test_every_cell_has_a_target_or_a_reason() -> None:
    cells = table(INSTANCES)
    assert len(cells) == 8 * len(INSTANCES)
    assert all(bool(cell.target) != bool(cell.reason) for cell in cells)


if __name__ == "__main__":
    for document in TABLES:
        (ROOT / document).write_text(filled(document))
