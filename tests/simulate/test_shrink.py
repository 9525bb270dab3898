"""A failing list is made short without a simulation."""

from tests.simulate.shrink import shrunk


def test_only_what_is_needed_is_left() -> None:
    assert shrunk(range(40), lambda events: {3, 27} <= set(events)) == [3, 27]


def test_one_event_that_is_enough_is_left_alone() -> None:
    assert shrunk(range(9), lambda events: 5 in events) == [5]


def test_a_fault_without_any_event_is_an_empty_list() -> None:
    assert shrunk([1], lambda _: True) == []
