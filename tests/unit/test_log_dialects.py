"""Forms of Caffe's lines through the years, on other systems and in forks."""

import math

import pytest

from provision.logs.caffe import Event, Metric, Resumed, Snapshot
from provision.logs.numbers import number
from provision.logs.reader import events

G = "I0306 10:27:54.000000 7 solver.cpp:347] "


def read(*messages: str) -> list[Event]:
    return list(events(["".join(G + message + "\n" for message in messages).encode()]))


def numbers(*messages: str) -> list[tuple[str, int, str, float]]:
    return [(one.phase, one.iteration, one.name, one.value) for one in read(*messages) if isinstance(one, Metric)]


def test_rate_of_nvcaffe() -> None:
    told = numbers(
        "Iteration 50 (2 iter/s, 25s/50 iter), loss = 3.25",
        "Iteration 50, lr = 0.0001, m = 0.9, wd = 0.0004, gs = 1",
        "Iteration 60 (7.5/s), lr = 0.5",
    )
    assert told == [("solver", 50, "loss", 3.25), ("solver", 50, "lr", 0.0001), ("solver", 60, "lr", 0.5)]


def test_whole_displays_of_nvcaffe_stay_columns() -> None:
    told = numbers(
        "Iteration 50 (2 iter/s, 25s/50 iter), 0.1/9ep, loss = 3.25",
        "    Train net output #0: loss = 3.5 (* 1 = 3.5 loss)",
        "Iteration 50, lr = 0.0001, m = 0.9",
    )
    assert told == [("solver", 50, "loss", 3.25), ("train", 50, "loss", 3.5), ("solver", 50, "lr", 0.0001)]


def test_rate_behind_the_loss() -> None:
    assert numbers("Iteration 5, loss = 0.5, lr = 0.25") == [("solver", 5, "loss", 0.5), ("solver", 5, "lr", 0.25)]


def test_tests_of_2014_and_of_2013() -> None:
    told = numbers("Iteration 500, Testing net", "Test score #0: 0.91", "Test score #1: 0.3")
    assert told == [("test", 500, "score #0", 0.91), ("test", 500, "score #1", 0.3)]
    assert numbers("Iteration 20, lr = 1", "Testing net", "Test score #0: 0.5")[1:] == [("test", 20, "score #0", 0.5)]


def test_snapshots_of_2014_and_paths_with_blanks() -> None:
    told = read(
        "Snapshotting solver state to net_iter_10.solverstate",
        "Snapshotting solver state to binary proto file my net/a_iter_20.solverstate",
        "Resuming from my net/a_iter_20.solverstate",
    )
    assert [(one.iteration, one.path) for one in told if isinstance(one, Snapshot | Resumed)] == [
        (10, "net_iter_10.solverstate"), (20, "my net/a_iter_20.solverstate"), (20, "my net/a_iter_20.solverstate")
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["1.#QNAN", "-1.#IND", "1.#QNAN0", "-nan(ind)", "nan(snan)", "NaN", "-nan", "1.#R"])
def test_not_a_number_of_every_system(text: str) -> None:
    ((_, at, _, value),) = numbers(f"Iteration 10, loss = {text}")
    assert at == 10 and math.isnan(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.#INF", math.inf), ("-1.#INF", -math.inf), ("1.#J", math.inf), ("Infinity", math.inf), ("0,25", 0.25),
     ("1.234,5", 1234.5), ("1,234.5", 1234.5), ("-1,5e-05", -1.5e-05), ("0.1,", 0.1), ("0.1;", 0.1)],
)  # fmt: skip
def test_numbers_of_other_systems(text: str, value: float) -> None:
    assert number(text) == number(text.encode()) == value


@pytest.mark.parametrize("text", ["", "-", "x", "1.#", "1.2.3", "nan(", "0x", "1,2,3"])
def test_what_is_no_number(text: str) -> None:
    assert number(text) is None


def test_thousands_that_are_apart_are_one_iteration() -> None:
    assert numbers("Iteration 12,000, loss = 2.5", "Iteration 1.000.000 (1 iter/s), loss = 2,5") == [
        ("solver", 12000, "loss", 2.5), ("solver", 1000000, "loss", 2.5)
    ]  # fmt: skip
    assert numbers("Iteration 1,000, Testing net (#0)", "    Test net output #0: a = 1") == [("test", 1000, "a", 1)]


def test_names_of_outputs_with_blanks() -> None:
    told = numbers("Iteration 5, loss = 1", "    Train net output #0: my loss: a = 0.5 (* 1 = 0.5 loss)")
    assert told[1] == ("train", 5, "my loss: a", 0.5)


def test_a_windows_display_that_diverges_is_diverged() -> None:
    from provision.logs.diagnose import diagnose_pieces

    text = f"{G}Iteration 0, loss = 2.3\n{G}Iteration 10, loss = -nan(ind)\n"
    assert [cause.name for cause in diagnose_pieces([text.encode()]).causes] == ["diverged"]


def test_clock_begins_with_solving_although_the_net_has_no_name() -> None:
    lines = [
        "I0306 10:00:00.000000 7 solver.cpp:48] Initializing solver from parameters: ",
        "I0306 10:00:02.000000 7 solver.cpp:218] Solving",
        "I0306 10:00:02.500000 7 solver.cpp:237] Iteration 0, loss = 1",
    ]
    (loss,) = events(["\n".join(lines).encode()])
    assert loss.seconds == 0.5
