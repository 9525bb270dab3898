"""The log parser against real logs of Caffe (tests/data) and lines of its other dialects."""

import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provision.logs import (
    Ended,
    Event,
    Failed,
    Metric,
    Parser,
    Planned,
    Progress,
    Resumed,
    Snapshot,
    first_iteration_after_resume,
    fold,
    parse,
    progress_of,
)

DATA = Path(__file__).parent.parent / "data"
OLD = "I0829 20:08:45.299190 12345 solver.cpp:236] "
YEAR = "I20261120 13:23:25.011793 25918 solver.cpp:239] "


def log(name: str) -> list[str]:
    return (DATA / f"digits-{name}.log").read_text().splitlines(keepends=True)


def one(message: str, prefix: str = OLD) -> Event | None:
    return Parser().feed(prefix + message + "\n")


def metric(message: str, prefix: str = OLD) -> Metric:
    event = one(message, prefix)
    assert isinstance(event, Metric)
    return event


def test_interrupted_run_says_where_it_stopped() -> None:
    events = list(parse(log("interrupted")))
    assert events[0] == Planned(0, 0.0, 1500)
    assert [event.iteration for event in events if isinstance(event, Snapshot)] == [300, 600, 680]
    assert [event.early for event in events if isinstance(event, Ended)] == [True]
    end = progress_of(events)
    assert (end.max_iter, end.snapshot, end.iteration) == (1500, 680, 680)
    assert end.speed == pytest.approx(50, abs=5)
    assert end.eta == pytest.approx(820 / 50, abs=3)


def test_resumed_run_goes_on_where_it_stopped() -> None:
    lines = log("interrupted") + log("resumed")
    events = list(parse(lines))
    assert [event.iteration for event in events if isinstance(event, Resumed)] == [680]
    assert first_iteration_after_resume(events) == 680
    assert {event.attempt for event in events} == {0, 1}
    assert all(event.seconds < 60 for event in events)  # counted from each start
    end = progress_of(events)
    assert (end.attempt, end.resumed_at, end.iteration) == (1, 680, 1500)
    assert end.accuracy is not None and end.accuracy >= 0.97
    assert end.ended is not None and not end.ended.early
    assert "accuracy 0.98" in end.words() and "loss" in end.words()


def test_attempts_read_apart_are_the_same_events() -> None:
    together = list(parse(log("interrupted") + log("resumed")))
    apart = [*parse(log("interrupted"), attempt=0), *parse(log("resumed"), attempt=1)]
    assert together == apart


def test_a_run_that_was_never_resumed_has_no_first_iteration() -> None:
    assert first_iteration_after_resume(parse(log("interrupted"))) is None


def test_two_test_nets_are_told_apart() -> None:
    found = [
        e for e in parse(log("two-test-nets")) if isinstance(e, Metric) and e.phase == "test" and e.iteration == 20
    ]
    assert [(event.net, event.name) for event in found] == [
        (net, name) for net in (0, 1) for name in ("test loss", "accuracy", "loss")
    ]


def test_accuracy_of_a_diverged_net_is_none() -> None:
    lines = log("diverged")
    assert any("accuracy = 1" in line for line in lines)  # what Caffe says of a net that gives nan
    end = progress_of(parse(lines))
    assert end.diverged and end.accuracy is None and "diverged" in end.words()


@pytest.mark.parametrize(("name", "text"), [("no-gpu", "CPU-only Caffe"), ("no-data", "mdb_status == 0")])
def test_fatal_lines(name: str, text: str) -> None:
    events = list(parse(log(name)))
    assert len([event for event in events if isinstance(event, Failed)]) == 1
    assert text in progress_of(events).failed


@pytest.mark.parametrize(
    ("message", "prefix"),
    [
        ("Iteration 100, loss = 1.5", OLD),
        ("Iteration 100 (12.3 iter/s, 1.6s/20 iters), loss = 1.5", OLD),
        ("Iteration 100 (-1.10041e+08 iter/s, 0.108s/10 iters), loss = 1.5", YEAR),
    ],
)
def test_both_dialects_of_the_iteration_line(message: str, prefix: str) -> None:
    event = metric(message, prefix)
    assert (event.iteration, event.phase, event.name, event.value) == (100, "solver", "loss", 1.5)


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "-inf", "1e-13", "1.15994e+06", "0"])
def test_numbers_of_cpp(text: str) -> None:
    value = metric(f"Iteration 7, loss = {text}").value
    assert math.isnan(value) if "nan" in text else value == float(text)


def test_outputs_belong_to_their_iteration_and_net() -> None:
    parser = Parser()
    lines = [
        "Iteration 40 (9 iter/s, 1s/10 iters), loss = 0.5",
        "    Train net output #1: aux = 0.25 (* 0.3 = 0.075 loss)",
        "Iteration 40, lr = 0.01",
        "Iteration 50, Testing net (#1)",
        "Test loss: 2.5",
        "    Test net output #0: accuracy = 0.75",
    ]
    found = [event for line in lines if isinstance(event := parser.feed(OLD + line), Metric)]
    assert [(e.iteration, e.phase, e.name, e.value, e.net, e.output) for e in found] == [
        (40, "solver", "loss", 0.5, 0, 0),
        (40, "train", "aux", 0.25, 0, 1),
        (40, "solver", "lr", 0.01, 0, 0),
        (50, "test", "test loss", 2.5, 1, 0),
        (50, "test", "accuracy", 0.75, 1, 0),
    ]


def test_resume_that_is_said_twice_is_one() -> None:
    lines = [
        OLD + "Resuming from /train/snap/crfrnn-_iter_2000.solverstate",
        OLD + "Restoring previous solver status from /train/snap/crfrnn-_iter_2000.solverstate",
    ]
    events = list(parse(lines))
    assert events == [Resumed(0, 0.0, "/train/snap/crfrnn-_iter_2000.solverstate", 2000)]


def test_snapshots_in_hdf5() -> None:
    event = one("Snapshotting solver state to HDF5 file snap/a_iter_9.solverstate.h5")
    assert event == Snapshot(0, 0.0, 9, "snap/a_iter_9.solverstate.h5")


def test_early_end_is_not_taken_back() -> None:
    lines = [OLD + "Optimization stopped early.", OLD + "Optimization Done."]
    assert [event.early for event in parse(lines) if isinstance(event, Ended)] == [True]


def test_clock_goes_over_new_year_with_and_without_year() -> None:
    short = [
        "I1231 23:59:59.000000 1 s.cpp:1] Iteration 1, loss = 1",
        "I0101 00:00:01.500000 1 s.cpp:1] Iteration 2, loss = 1",
    ]
    long = [
        "I20261231 23:59:59.000000 1 s.cpp:1] Iteration 1, loss = 1",
        "I20270101 00:00:01.5 1 s.cpp:1] Iteration 2, loss = 1",
    ]
    assert [event.seconds for event in parse(short)] == [0, 2.5]
    assert [event.seconds for event in parse(long)] == [0, 2.5]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Iteration 100, loss = 1.5",
        "Found no such thing] Check failed",
        "I1399 20:08:45.299190 1 solver.cpp:1] Iteration 5, loss = 1",
        OLD + "Iteration 140, lo",
        OLD + "Iteration 140, loss = ",
        OLD + "Iteration 140, loss = -",
        OLD + "[Forward] Layer conv1, top blob conv1 data: 0.5",
        OLD + "Iteration: 1 forward-backward time: 12 ms.",
        "max_iter: many",
        "snapshot: 500",
    ],
)
def test_lines_that_tell_nothing(line: str) -> None:
    assert Parser().feed(line) is None


@given(st.text() | st.builds("{}{}{}".format, st.sampled_from([OLD, YEAR, "F" + OLD[1:]]), st.text(), st.text()))
@example("max_iter: ²")
@example("I0230 20:08:45.299190 1 s.cpp:1] Iteration 5, loss = 1")
def test_no_line_breaks_the_parser(line: str) -> None:
    event = Parser().feed(line)
    assert fold(Progress(), event) is not None if event else True


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(allow_nan=False)), min_size=1, max_size=20))
def test_what_caffe_prints_is_what_comes_out(points: list[tuple[int, float]]) -> None:
    lines = [f"{OLD}Iteration {at} (1 iter/s, 1s/1 iters), loss = {value!r}" for at, value in points]
    assert [(event.iteration, event.value) for event in parse(lines) if isinstance(event, Metric)] == points


def test_progress_counts_the_speed_of_its_window_only() -> None:
    slow = [Metric(0, second * 10.0, second, "solver", "loss", 1.0) for second in range(10)]
    fast = [Metric(0, 90 + second / 10, 9 + second, "solver", "loss", 1.0) for second in range(1, 30)]
    end = progress_of([Planned(0, 0.0, 138), *slow, *fast])
    assert end.speed == pytest.approx(10)
    assert end.eta == pytest.approx(10)
