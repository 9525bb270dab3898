"""The quick version of `tox -e corpus`: some drawn logs, the cause of each of which is known."""

import pytest

from tests.corpus.failures import draw, failure
from tests.unit.diagnose_lines import FATAL, OTHER

SEEDS = 300


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_the_cause_is_found_and_none_is_invented(first: int) -> None:
    assert list(filter(None, (failure(seed) for seed in range(first, first + 100)))) == []


def test_seeds_draw_sound_logs_and_most_causes() -> None:
    causes = {draw(seed).cause for seed in range(SEEDS)}
    assert "" in causes and len(causes) > len({*FATAL.values(), *OTHER.values()}) / 2
