"""A training that is followed is stopped where it is lost for good, and nowhere else, in each dialect of Caffe's.

`CORPUS` says how many logs are drawn (a fifth of it: 2,000), `CORPUS_FIRST` from which seed on.
"""

import pytest

from tests.corpus.live import failure
from tests.corpus.test_logs import BLOCK, DRAWS, FIRST


@pytest.mark.parametrize("first", range(FIRST, FIRST + DRAWS // 5, BLOCK))
def test_what_lives_is_not_stopped_and_what_is_lost_is(first: int) -> None:
    found = [failure(seed) for seed in range(first, min(first + BLOCK, FIRST + DRAWS // 5))]
    assert not any(found), "\n".join(filter(None, found[:3]))
