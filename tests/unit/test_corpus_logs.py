"""The quick version of `tox -e corpus`: some drawn logs, each number of which is known."""

from pathlib import Path

import pytest

from tests.corpus import live, others
from tests.corpus.check import failure, failure_of_ranks
from tests.corpus.dialects import DIALECTS
from tests.corpus.forms import FORMS
from tests.corpus.logs import ENDS, draw
from tests.corpus.wrappings import ENCODINGS, LINE_ENDS, PREFIXES

SEEDS = 200


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_no_number_is_lost_or_invented(first: int, tmp_path: Path) -> None:
    assert list(filter(None, (failure(seed, tmp_path) for seed in range(first, first + 50)))) == []


def test_ranks_stay_apart(tmp_path: Path) -> None:
    assert list(filter(None, (failure_of_ranks(seed, tmp_path) for seed in range(20)))) == []


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_what_lives_is_not_stopped_and_what_is_lost_is(first: int) -> None:
    assert list(filter(None, map(live.failure, range(first, first + 25)))) == []


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_no_number_of_another_program_is_lost_or_invented(first: int, tmp_path: Path) -> None:
    found = (failure(seed, tmp_path, others.draw) for seed in range(first, first + 50))
    assert list(filter(None, found)) == []


def test_few_seeds_draw_every_kind_of_another_program() -> None:
    kinds = {kind for seed in range(600) for kind in others.draw(seed).kinds}
    assert kinds >= {*FORMS, *others.ENDS, *LINE_ENDS, *others.ENCODED, *others.BEFORE}


def test_few_seeds_draw_every_kind() -> None:
    kinds = {kind for seed in range(SEEDS) for kind in draw(seed).kinds}
    assert kinds == {*DIALECTS, *PREFIXES, *LINE_ENDS, *ENCODINGS, *ENDS}
