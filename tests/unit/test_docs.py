"""README and docs as texts; their commands are run by tests/cloud/long/test_docs.py."""

import re
from pathlib import Path

from tests.documents import DOCUMENTS, ROOT

# run by `make demo`'s own test, or by whoever runs these tests
ELSEWHERE = {"make demo", "make test"}


def test_other_blocks_hold_only_what_is_run_elsewhere() -> None:
    for name in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.S):
            found = {line.split("#")[0].strip() for line in block.splitlines() if line.strip()}
            assert found <= ELSEWHERE, f"{name} has commands that no test runs: {found - ELSEWHERE}"


def test_no_document_holds_a_gap() -> None:
    for name in DOCUMENTS:
        assert not re.findall(r"(?m)^[A-Z]{4,}$", (ROOT / name).read_text()), name


def test_the_readme_shows_what_the_demo_prints(tmp_path: Path) -> None:
    """Its steps in the README are those of the demo as it is."""
    from provision import story

    shown = (ROOT / "README.md").read_text()
    source = Path(story.__file__).read_text()
    for step in re.findall(r'story\.type\("([^"]+)"', source):
        assert re.search(rf"^{re.escape(step)}\s+\d", shown, re.M), f"the README's demo output has no step {step!r}"
    assert "NOT SO" not in shown


def test_every_exit_code_is_listed() -> None:
    from infra.errors import ProvisionError

    readme = (ROOT / "README.md").read_text()
    kinds = [ProvisionError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for kind in kinds:
        assert re.search(rf"\| {kind.exit_code} \|", readme), f"{kind.__name__} ({kind.exit_code}) is not in the README"


def test_every_command_is_in_the_docs() -> None:
    from provision.cli import _COMMANDS

    said = "".join((ROOT / name).read_text() for name in DOCUMENTS)
    for name in set(_COMMANDS) - {"demo"}:
        assert f"$ provision {name}" in said, name
