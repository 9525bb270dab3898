"""Keepers drawn from seeds keep every rule, and what is taken out of the definition is noticed."""

import pytest

from provision.engines import definition
from tests.simulate import keeper_mutations
from tests.simulate.asl import MOST_EVENTS
from tests.simulate.keeper_cloud import MISHAPS
from tests.simulate.keeper_seeds import KINDS, Played, play

SEEDS = 200
NOTICED_IN = 150


@pytest.fixture(scope="module")
def played() -> list[Played]:
    return [play(seed) for seed in range(SEEDS)]


def test_no_seed_breaks_a_rule(played: list[Played]) -> None:
    assert [one for one in played if one.broken] == []


def test_the_seeds_end_in_every_way_that_there_is(played: list[Played]) -> None:
    """Taken, NoCapacity and the like come; or the rules hold of nothing."""
    ends = {one.end for one in played}
    assert ends >= {"SUCCEEDED", "TrainingFailed", "EndedWithMachine", "Unready", "TimeOver", "Refused", "StillThere",
                    "ABORTED", "NoCapacity", "Barren"}  # fmt: skip
    assert sum(one.machines for one in played) > SEEDS


def test_all_that_can_befall_a_kept_run_befalls_the_seeds(played: list[Played]) -> None:
    """Notices, silent deaths, droughts, hung guards, boots that fail or take long, images and host files that are
    missing, keepers that are stopped or deleted, answers that are lost."""
    assert {one.kind for one in played} == set(KINDS)
    assert frozenset().union(*(one.mishaps for one in played)) >= set(MISHAPS)


def test_a_seed_gives_the_same_each_time() -> None:
    assert play(7) == play(7)


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_an_execution_is_far_from_its_last_event(kind: str) -> None:
    assert max(play(seed, None, kind).events for seed in range(4)) < MOST_EVENTS / 2


@pytest.mark.parametrize("name", keeper_mutations.ALL)
def test_what_is_taken_out_is_noticed(name: str) -> None:
    assert keeper_mutations.noticed(name, NOTICED_IN) is not None


def test_a_change_is_a_change() -> None:
    whole = definition.definition()
    assert all(keeper_mutations.changed(name) != whole for name in keeper_mutations.ALL)
