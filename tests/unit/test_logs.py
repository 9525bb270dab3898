"""The log parser against real logs of Caffe (tests/data) and lines of its other dialects."""

import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provision.logs.caffe import (
    DebugInfo,
    Ended,
    Event,
    Failed,
    LayerTime,
    Metric,
    Parser,
    Planned,
    Resumed,
    Snapshot,
    parse,
)
from provision.logs.progress import Progress, fold, progress_of
from provision.logs.reader import events

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
    assert progress_of(events).first_after_resume == 680
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
    assert progress_of(parse(log("interrupted"))).first_after_resume is None


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


@pytest.mark.parametrize("several", [False, True])
def test_loss_weights_tell_which_outputs_are_losses(several: bool) -> None:
    lines = [
        "Iteration 40 (9 iter/s, 1s/10 iters), loss = 0.5",
        "    Train net output #0: aux = 0.25 (* 0.3 = 0.075 loss)",
        *["    Train net output #1: top-1 = 0.125"] * several,
        "Iteration 40, lr = 0.01",
    ]
    text = "".join(OLD + line + "\n" for line in lines).encode()
    found = {event.name: event.weight for event in events([text]) if isinstance(event, Metric)}
    assert found == {"loss": None, "aux": 0.3, "lr": None} | ({"top-1": None} if several else {})


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
        OLD + "    [Forward] Layer conv1, top blob conv1 data: ",
        OLD + "    [Backward] All net params (data, diff): L1 norm = (1, 2); L2 norm = (3, 4)",
        OLD + "Iteration: 1 forward-backward time: 12 ms.",
        OLD + "Average time per layer: ",
        'json_stats: {"iter": 40, "loss": "0.8',
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


# the two ways of reading: line by line, and in pieces


def singly(text: str) -> list[Event]:
    parser = Parser()
    return [event for line in text.split("\n") if (event := parser.feed(line)) is not None]


def in_pieces(text: str, size: int) -> list[Event]:
    data = text.encode()
    return list(events(data[at : at + size] for at in range(0, len(data), size)))


def same(one: list[Event], other: list[Event]) -> bool:
    return repr(one) == repr(other)  # nan is not equal to itself


@pytest.mark.parametrize("name", ["interrupted", "resumed", "diverged", "two-test-nets", "no-gpu", "no-data"])
@pytest.mark.parametrize("size", [97, 4096, 1 << 20])
def test_real_logs_read_alike_in_lines_and_in_pieces(name: str, size: int) -> None:
    text = "".join(log(name))
    assert same(singly(text), in_pieces(text, size))


_NUMBER = st.sampled_from(["0.5", "nan", "-nan", "inf", "1e-13", "2.5 (* 1 = 2.5 loss)", "-", "", "x"])
_AT = st.integers(0, 20)
_MESSAGE = st.one_of(
    st.builds("Iteration {} (9 iter/s, 1s/10 iters), loss = {}".format, _AT, _NUMBER),
    st.builds("Iteration {}, loss = {}".format, _AT, _NUMBER),
    st.builds("Iteration {}, lr = {}".format, _AT, _NUMBER),
    st.builds("    T{} net output #{}: loss = {}".format, st.sampled_from(["rain", "est"]), _AT, _NUMBER),
    st.builds("Iteration {}, Testing net (#{})".format, _AT, _AT),
    st.builds("Test loss: {}".format, _NUMBER),
    st.builds("    [Update] Layer ip1, param 0 data: {}; diff: {}".format, _NUMBER, _NUMBER),
    st.sampled_from([
        "Initializing solver from parameters: ", "Solving net", "Optimization Done.", "Waiting for data",
        "Resuming from a_iter_5.solverstate", "Snapshotting solver state to binary proto file a_iter_5.solverstate",
    ]),
)  # fmt: skip
_GLOG = st.builds(
    "{}{} 23:59:{:02d}.{:06d} {:>5} solver.cpp:239] {}".format, st.sampled_from("IIIWF"),
    st.sampled_from(["1231", "0101", "20261231", "0230"]), st.integers(0, 59), st.integers(0, 999_999),
    st.sampled_from([1, 12345, 1234567]), _MESSAGE,
)  # fmt: skip
_ANY = st.one_of(
    _GLOG, _GLOG, _GLOG, st.just("max_iter: 9"), st.text(max_size=20).map(lambda text: text.replace("\n", ""))
)
_CUT = st.tuples(_ANY, st.integers(0, 60) | st.just(10_000)).map(
    lambda one: one[0][: one[1]]
)  # as by a machine's death


@given(st.lists(_ANY | _CUT, max_size=30), st.integers(1, 2000))
@example(
    [
        "I1231 23:59:00.000000     1 solver.cpp:239] Iteration 1 (9 it",
        "I1231 23:59:00.1 1 s.cpp:1] Iteration 2, loss = 1",
    ],
    9,
)
@example(
    [
        "I0230 23:59:00.000000     1 solver.cpp:239]     Train net output #0: loss = 0.5",  # there is no such day
        "I1231 23:59:00.000000     1 solver.cpp:239]     Train net output #0: loss = 0.5",
    ],
    160,
)
@example(
    [
        line
        for at, (loss, rate) in enumerate([("0.5", "0.1"), ("1,2", "nan"), ("-0", "1e400"), ("[", "007")])
        for line in (
            f"I1231 23:59:0{at}.000000     1 solver.cpp:239] Iteration {at} (9 iter/s, 1s/10 iters), loss = {loss}",
            f"I1231 23:59:0{at}.000000     1 solver.cpp:258]     Train net output #0: loss = -inf (* 1 = 0.5 loss)",
            f"I1231 23:59:0{at}.000000     1 sgd_solver.cpp:112] Iteration {at}, lr = {rate}",
        )
    ],
    2000,
)
def test_lines_and_pieces_agree(lines: list[str], size: int) -> None:
    text = "\n".join(lines)
    assert same(singly(text), in_pieces(text, size))


def test_numbers_of_a_display_have_its_time_and_clock_begins_with_solving() -> None:
    text = (
        "I1231 23:59:50.000000     1 solver.cpp:45] Initializing solver from parameters: \n"
        "I1231 23:59:58.000000     1 solver.cpp:273] Solving digits\n"
        "I1231 23:59:59.500000     1 solver.cpp:239] Iteration 0 (0 iter/s, 1s/10 iters), loss = 2.5\n"
        "I0101 00:00:00.750000     1 solver.cpp:258]     Train net output #0: loss1 = 2.5 (* 1 = 2.5 loss)\n"
        "I0101 00:00:00.760000     1 solver.cpp:258]     Train net output #1: loss2 = 1.5\n"
        "I0101 00:00:00.770000     1 sgd_solver.cpp:112] Iteration 0, lr = 0.01\n"
    )
    found = [event for event in events([text.encode()]) if isinstance(event, Metric)]
    assert [(event.name, event.value, event.seconds) for event in found] == [
        ("loss", 2.5, 1.5), ("loss1", 2.5, 1.5), ("loss2", 1.5, 1.5), ("lr", 0.01, 1.5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "step", "layer", "blob", "data", "diff"),
    [
        ("    [Forward] Layer conv1, top blob conv1 data: 0.5", "forward", "conv1", "conv1", 0.5, None),
        ("    [Forward] Layer conv1, param blob 0 data: nan", "forward", "conv1", "0", math.nan, None),
        ("    [Backward] Layer loss, bottom blob ip2 diff: 0.002", "backward", "loss", "ip2", None, 0.002),
        ("    [Update] Layer conv1, param 0 data: 0.01; diff: 1e-05", "update", "conv1", "0", 0.01, 1e-05),
        (
            "    [Update] Layer conv2, param blob w (owned by layer conv1, param w) diff: 1e-05", "update", "conv2",
            "w (owned by layer conv1, param w)", None, 1e-05,
        ),
    ],
)  # fmt: skip
def test_debug_info(message: str, step: str, layer: str, blob: str, data: float | None, diff: float | None) -> None:
    event = one(message)
    assert isinstance(event, DebugInfo)
    assert repr((event.step, event.layer, event.blob, event.data, event.diff)) == repr((step, layer, blob, data, diff))


def test_times_of_layers() -> None:
    lines = [
        "Average time per layer: ", "     conv1\tforward: 1.25 ms.", "     conv1\tbackward: 2 ms.",
        "Average Forward pass: 1.5 ms.", "Average Backward pass: 2.5 ms.", "Average Forward-Backward: 4 ms.",
        "Total Time: 200 ms.", "*** Benchmark ends ***",
    ]  # fmt: skip
    found = [event for event in parse(OLD + line for line in lines) if isinstance(event, LayerTime)]
    assert [(event.layer, event.direction, event.ms) for event in found] == [
        ("conv1", "forward", 1.25), ("conv1", "backward", 2), ("", "forward", 1.5), ("", "backward", 2.5),
        ("", "forward-backward", 4), ("", "total", 200),
    ]  # fmt: skip


# Detectron

_NEW = (
    'json_stats: {"accuracy_cls": "0.859375", "eta": "1 day, 0:00:22", "iter": 40, "loss": "0.802664", '
    '"loss_bbox": "0.308985", "lr": "0.000019", "mb_qsize": 64, "mem": 0, "time": "1.060848"}'
)
_OLD = 'json_stats: {"eta": "0:01:00", "iter": 60, "loss": NaN, "lr": 0.0025, "time": 2.0}'


def test_both_dialects_of_json_stats() -> None:
    found = [event for event in parse([_NEW, _OLD]) if isinstance(event, Metric)]
    by_name = {(event.iteration, event.phase, event.name): event.value for event in found}
    assert by_name[40, "solver", "loss"] == by_name[40, "train", "loss"] == 0.802664
    assert by_name[40, "train", "loss_bbox"] == 0.308985
    assert by_name[40, "train", "accuracy_cls"] == 0.859375
    assert by_name[40, "solver", "eta"] == 86422
    assert by_name[60, "solver", "lr"] == 0.0025
    assert math.isnan(by_name[60, "solver", "loss"])
    assert found[0].seconds == 1.060848 and found[-1].seconds == 1.060848 + 20 * 2.0
    assert progress_of(found).diverged


def test_detectron_trains_on_from_a_snapshot_and_is_scored() -> None:
    lines = [
        "INFO train.py: 144: Building model: generalized_rcnn",
        " 'MAX_ITER': 60,",
        _NEW,
        "INFO net.py: 141: Saving parameters and momentum to /work/train/coco_a/generalized_rcnn/model_iter39.pkl",
        "INFO train.py: 144: Building model: generalized_rcnn",
        "INFO train.py: 139: ========> Resuming from checkpoint /work/model_iter39.pkl at start iter 40",
        _NEW.replace('"iter": 40', '"iter": 59'),
        "INFO net.py: 141: Saving parameters and momentum to /work/train/coco_a/generalized_rcnn/model_final.pkl",
        "INFO task_evaluation.py: 180: copypaste: Dataset: coco_a",
        "INFO task_evaluation.py: 182: copypaste: Task: box",
        "INFO task_evaluation.py: 185: copypaste: AP,AP50",
        "INFO task_evaluation.py: 186: copypaste: 0.1210,0.3310",
    ]
    found = list(parse(lines))
    assert [event.iteration for event in found if isinstance(event, Snapshot)] == [39]
    assert [(event.attempt, event.iteration) for event in found if isinstance(event, Resumed)] == [(1, 40)]
    scores = [(event.name, event.value) for event in found if isinstance(event, Metric) and event.phase == "test"]
    assert scores == [("box AP", 0.121), ("box AP50", 0.331)]
    end = progress_of(found)
    assert (end.max_iter, end.iteration, end.attempt, end.loss, end.lr) == (60, 59, 1, 0.802664, 0.000019)
    assert end.ended is not None and not end.ended.early


def test_end_of_detectron_is_told_by_eta_where_no_config_is_printed() -> None:
    end = progress_of(parse([_OLD.replace("NaN", "0.5")]))
    assert (end.max_iter, end.eta) == (60 + 30, 60)
    assert "60 s left" in end.words()


@pytest.mark.parametrize(
    "line", ["CRITICAL train.py:  98: Loss is NaN", "AssertionError: Negative areas founds", "Exception: Loss is NaN"]
)
def test_detectron_fails(line: str) -> None:
    (event,) = parse([line])
    assert isinstance(event, Failed)
