"""The README's table of stacks and AWS types is what `image choose` answers. `python -m tests.golden.test_readme_table`
writes it anew."""

import re
from pathlib import Path

from images.choose import Cell, table
from images.gpus import aws_type

README = Path(__file__).parents[2] / "README.md"
INSTANCES = (
    "p2.xlarge", "p3.8xlarge", "p3dn.24xlarge", "g4dn.12xlarge", "g5.12xlarge", "g6.12xlarge", "p4d.24xlarge",
    "p5.48xlarge", "p6-b200.48xlarge",
)  # fmt: skip


def said(cell: Cell) -> str:
    return f"`{cell.target.partition(':')[2]}`" if cell.target else f"no: {cell.reason}"


def markdown() -> str:
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


def filled(text: str) -> str:
    return re.sub(r"(?s)(<!-- table -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}{markdown()}\n{found[2]}", text)


def test_the_readmes_table_is_what_choose_answers() -> None:
    text = README.read_text()
    assert "<!-- table -->" in text
    assert filled(text) == text, "run: python -m tests.golden.test_readme_table"


def test_every_cell_has_a_target_or_a_reason() -> None:
    cells = table(INSTANCES)
    assert len(cells) == 7 * len(INSTANCES)
    assert all(bool(cell.target) != bool(cell.reason) for cell in cells)


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
