"""Seeds break no rule; a seed gives the same each time; what is taken out is noticed. `tox -e simulate` plays more."""

import re
import subprocess
import sys
from pathlib import Path

from tests.simulate import names

ROOT = Path(__file__).parents[2]
SEEDS = 200


def played(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.simulate.run", *words], cwd=ROOT, capture_output=True, text=True
    )


def test_no_seed_breaks_a_rule() -> None:
    done = played("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_gives_the_same_each_time() -> None:
    first, again = (played("--seeds", "1", "--first", "6", "--show").stdout for _ in range(2))
    plain = [re.sub(r"\S*/simulate-\w+", "FOLDER", said) for said in (first, again)]
    without_cost = [[line for line in said.splitlines() if "CPU-s" not in line] for said in plain]
    assert without_cost[0] == without_cost[1]
    assert "provision down --all" in first


def test_each_mutation_has_its_name() -> None:
    table = (ROOT / "tests/simulate/mutations.py").read_text().partition("ALL: dict")[2]
    assert tuple(re.findall(r'^    "([a-z ]+)":', table, re.MULTILINE)) == names.MUTATIONS


def test_what_is_taken_out_is_noticed() -> None:
    chosen = ("--only", "roles stay", "--only", "no undo")
    done = played("--mutations", "--seeds", "200", *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "roles stay: noticed by seed" in done.stdout
