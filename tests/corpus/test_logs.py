"""Logs as they really come: no number is lost or invented, whatever the dialect, prefix and encoding.

`CORPUS` says how many are drawn (10,000), `CORPUS_FIRST` from which seed on.
"""

import os
from pathlib import Path

import pytest

from tests.corpus import others
from tests.corpus.check import failure, failure_of_ranks

DRAWS, FIRST = int(os.environ.get("CORPUS", "10000")), int(os.environ.get("CORPUS_FIRST", "0"))
BLOCK = 500


@pytest.mark.parametrize("first", range(FIRST, FIRST + DRAWS, BLOCK))
def test_no_number_is_lost_or_invented(first: int, tmp_path: Path) -> None:
    found = [failure(seed, tmp_path) for seed in range(first, min(first + BLOCK, FIRST + DRAWS))]
    assert not any(found), "\n".join(filter(None, found[:3]))


@pytest.mark.parametrize("first", range(FIRST, FIRST + DRAWS, BLOCK))
def test_no_number_of_another_program_is_lost_or_invented(first: int, tmp_path: Path) -> None:
    seeds = range(first, min(first + BLOCK, FIRST + DRAWS))
    found = [failure(seed, tmp_path, others.draw) for seed in seeds]
    assert not any(found), "\n".join(filter(None, found[:3]))


@pytest.mark.parametrize("first", range(FIRST, FIRST + DRAWS // 20, BLOCK))
def test_ranks_stay_apart(first: int, tmp_path: Path) -> None:
    found = [failure_of_ranks(seed, tmp_path) for seed in range(first, min(first + BLOCK, FIRST + DRAWS // 20))]
    assert not any(found), "\n".join(filter(None, found[:3]))
