"""Each failure that `diagnose` knows is the headline of its log, whatever the dialect, prefix and encoding.

A sound log has none.

`CORPUS` says how many logs are drawn (10,000), `CORPUS_FIRST` from which seed on.
"""

from pathlib import Path

import pytest

from tests.corpus.failures import failure, failure_of_ranks
from tests.corpus.test_logs import BLOCK, DRAWS, FIRST


@pytest.mark.parametrize("first", range(FIRST, FIRST + DRAWS, BLOCK))
def test_the_cause_is_found_and_none_is_invented(first: int) -> None:
    found = [failure(seed) for seed in range(first, min(first + BLOCK, FIRST + DRAWS))]
    assert not any(found), "\n".join(filter(None, found[:3]))


@pytest.mark.parametrize("first", range(FIRST, FIRST + DRAWS // 20, BLOCK))
def test_the_rank_that_failed_is_named(first: int, tmp_path: Path) -> None:
    found = [failure_of_ranks(seed, tmp_path) for seed in range(first, min(first + BLOCK, FIRST + DRAWS // 20))]
    assert not any(found), "\n".join(filter(None, found[:3]))
