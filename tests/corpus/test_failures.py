"""Each failure that `diagnose` knows is the headline of its log, whatever the dialect, prefix and encoding.

A sound log has none.

`CORPUS` says how many logs are drawn (10,000), `CORPUS_FIRST` from which seed on.
"""

import pytest

from tests.corpus.failures import failure
from tests.corpus.test_logs import BLOCK, DRAWS, FIRST


@pytest.mark.parametrize("first", range(FIRST, FIRST + DRAWS, BLOCK))
def test_the_cause_is_found_and_none_is_invented(first: int) -> None:
    found = [failure(seed) for seed in range(first, min(first + BLOCK, FIRST + DRAWS))]
    assert not any(found), "\n".join(filter(None, found[:3]))
