"""Every error that Caffe stops for, on the smallest net or solver that has it; the mended one has none."""

from pathlib import Path

import pytest

from provision.lint.finding import Finding
from provision.lint.net import lint
from tests.unit.lint_errors import NET, NETS, SOLVERS, Error


def errors(folder: Path, name: str, text: str | bytes) -> list[Finding]:
    (folder / "net.prototxt").write_text(NET)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return [one for one in lint(folder / name).findings if one.level == "error"]


@pytest.mark.parametrize(
    ("file", "error"),
    [("net.prototxt", one) for one in NETS.values()] + [("solver.prototxt", one) for one in SOLVERS.values()],
    ids=[*NETS, *(f"solver: {name}" for name in SOLVERS)],
)
def test_each_error_and_the_mended_text(file: str, error: Error, tmp_path: Path) -> None:
    said = errors(tmp_path, file, error.wrong)
    assert any(one.rule == error.rule and error.said in one.what for one in said), said
    assert errors(tmp_path, file, error.mended) == []
