"""Failures are named by their cause, with the line that shows it and the mend."""

import json
from pathlib import Path

import pytest

from provision.cli import run
from provision.logs.caffe import Metric
from provision.logs.cause import Cause, Facts
from provision.logs.diagnose import diagnose_pieces
from provision.logs.divergence import Divergence
from provision.recipes.loading import load
from provision.runs.log import Piece
from provision.runs.report import Follower

DATA = Path(__file__).parent.parent / "data"
CUDA = "Check failed: error == cudaSuccess"


def told(*lines: str, facts: Facts | None = None) -> list[Cause]:
    return diagnose_pieces([("\n".join(lines) + "\n").encode()], facts or Facts()).causes


def glog(message: str, severity: str = "I") -> str:
    return f"{severity}1120 23:36:21.594349     6 {message}"


def test_cause_comes_before_what_follows_from_it() -> None:
    found = told(
        glog("net.cpp:1] begin"),
        '[libprotobuf ERROR google/protobuf/text_format.cc:274] Error parsing text-format caffe.NetParameter: 3:9: '
        'Message type "caffe.LayerParameter" has no field named "foo".',
        glog("upgrade_proto.cpp:91] Check failed: ReadProtoFromTextFile(param_file, param) Failed to parse "
             "NetParameter file: net.prototxt", "F"),
    )  # fmt: skip
    assert (found[0].name, found[0].line) == ("wrong-fork-field", 2)


def test_recipes_own_failures_come_first() -> None:
    facts = Facts(failures=load("digits").failures)
    found = told(glog("db_lmdb.hpp:15] Check failed: mdb_status == 0 (2 vs. 0) No such file", "F"), facts=facts)
    assert [one.name for one in found] == ["recipe"]
    assert "provision data digits" in found[0].mends[0]


def test_facts_of_the_run() -> None:
    killed = told(glog("solver.cpp:239] Iteration 0, loss = 1"), facts=Facts("failed", 137, out_of_memory=True))
    assert killed[0].name == "host-out-of-memory" and "the container was killed for this reason" in killed[0].what
    assert [one.name for one in told("x", facts=Facts("failed", 137))] == ["host-out-of-memory"]
    assert [one.name for one in told("x", facts=Facts("failed", 139))] == ["segmentation-fault"]
    arch = told(glog(f"im2col.cu:61] {CUDA} (48 vs. 0)  no kernel image is available", "F"),
                facts=Facts("failed", 134, where="the image is caffe:cuda8.0, with 1 GPU(s) of a g5.xlarge"),
            )  # fmt: skip
    assert "g5.xlarge" in arch[0].why


# divergence

_HEAD = [glog("solver.cpp:45] Initializing solver"), glog("solver.cpp:273] Solving net")]


def display(at: int, loss: object, *debug: str) -> list[str]:
    return [
        *(glog(f"net.cpp:592]     {line}") for line in debug),
        glog(f"solver.cpp:239] Iteration {at}, loss = {loss}"),
    ]


def test_real_divergence_is_found_with_its_line() -> None:
    data = (DATA / "digits-diverged.log").read_bytes()
    (found,) = diagnose_pieces([data]).causes
    assert found.name == "diverged" and "iteration 10" in found.what
    assert data.decode().splitlines()[found.line - 1] == found.text
    assert "debug_info: true" in found.why


def test_divergence_by_the_data() -> None:
    lines = display(
        0, "nan", "[Forward] Layer data, top blob data data: nan", "[Forward] Layer ip1, top blob ip1 data: nan"
    )
    (found,) = told(*_HEAD, *lines)
    assert (found.name, found.line) == ("diverged", 3)
    assert "began in layer data (forward)" in found.what and "the data are bad" in found.why


def test_divergence_by_the_learning_rate() -> None:
    lines = [
        *display(0, 2.3, "[Forward] Layer data, top blob data data: 0.5", "[Backward] Layer ip2, param blob 0 diff: 3"),
        glog("net.cpp:620]     [Update] Layer ip2, param 0 data: 0.05; diff: 3e+09"),
        *display(
            1, "nan", "[Forward] Layer data, top blob data data: 0.5", "[Forward] Layer ip2, top blob ip2 data: inf"
        ),
    ]
    (found,) = told(*_HEAD, *lines)
    assert "began in layer ip2 (forward)" in found.what
    assert "weights 0.05, change 3e+09" in found.why and "learning rate is too high" in found.why
    assert "[Forward] Layer ip2, top blob ip2 data: inf" in found.text


def test_divergence_in_the_gradient() -> None:
    lines = display(
        0, 2.3, "[Forward] Layer ip2, top blob ip2 data: 1", "[Backward] Layer norm, bottom blob a diff: nan"
    )
    (found,) = told(*_HEAD, *lines, *display(1, "nan"))
    assert "began in layer norm (backward)" in found.what and "forward was sound" in found.why


def test_saturated_softmax() -> None:
    lines = [line for at in range(8) for line in display(at, 87.3365)]
    (found,) = told(*_HEAD, *lines)
    assert found.name == "saturated" and "87.3365" in found.what and found.line == 7


def metrics(*losses: float) -> list[Metric]:
    return [Metric(0, float(at), at, "solver", "loss", loss) for at, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([2.3] + [50.0] * 10, True),
        ([2.3] + [50.0] * 9 + [2.0], False),
        ([0.01] + [1.5] * 20, False),  # a start near 0 is no measure
        ([2e6] + [1e7] * 30, False),
        ([2.3, float("inf")], True),
        ([87.3365] * 4, False),
    ],
)
def test_what_counts_as_divergence(losses: list[float], diverged: bool) -> None:
    seen = Divergence()
    for event in metrics(*losses):
        seen.feed(event)
    assert (seen.seen is not None) == diverged


class Quiet:
    """A bar that shows nothing."""

    def show(self, iteration: int, total: int, words: str) -> None: ...


def _stops(*losses: float | str) -> list[str]:
    """What a follower calls that reads the displays in small pieces."""
    calls: list[str] = []
    follower = Follower(stop=lambda: calls.append("stop"))
    text = "\n".join([*_HEAD, *(line for at, loss in enumerate(losses) for line in display(at, loss)), ""]).encode()
    for at in range(0, len(text), 50):
        follower.take(Piece(str(at), 0, text[at : at + 50]), Quiet())  # type: ignore[arg-type]
    return calls


def test_diverged_training_is_stopped_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert _stops(2.3, *["nan"] * 20) == ["stop"]
    assert "the loss has been no number for 5 displays, up to iteration 5" in capsys.readouterr().err


@pytest.mark.parametrize("bad", ["nan", "inf", "-nan", 87.3365, 1e30])
def test_a_training_that_outlives_a_bad_display_is_not_stopped(bad: float | str) -> None:
    sound = [round(2.3 * 0.9**at, 4) for at in range(30)]
    assert _stops(*sound[:15], bad, *sound[15:]) == []


def test_follower_without_stop_follows_on() -> None:
    follower = Follower()
    text = "\n".join([*_HEAD, *display(0, "nan"), *display(7, "nan"), ""]).encode()
    follower.take(Piece("a", 0, text), Quiet())  # type: ignore[arg-type]
    assert follower.iteration == 7


# standing still

_TEST = glog("solver.cpp:347] Iteration 0, Testing net (#0)")


def test_first_test_that_takes_long() -> None:
    (found,) = told("test_iter: 500", *_HEAD, _TEST)
    assert (found.name, found.line) == ("stuck-first-test", 4)
    assert "500 batches" in found.what and "test_initialization: false" in found.mends[0]


def test_tests_without_displays_are_no_first_test_that_takes_long() -> None:
    tests = [line for at in (0, 500) for line in (
        glog(f"solver.cpp:347] Iteration {at}, Testing net (#0)"),
        glog("solver.cpp:414]     Test net output #0: loss = 2.3 (* 1 = 2.3 loss)"))]  # fmt: skip
    assert told(*_HEAD, *tests) == []
    (found,) = told(*_HEAD, *tests[:2], glog("solver.cpp:347] Iteration 0, Testing net (#1)"))
    assert found.name == "stuck-first-test"


def test_test_that_prints_millions_of_numbers() -> None:
    outputs = [glog(f"solver.cpp:414]     Test net output #{at}: pred = 0") for at in range(20_000)]
    found = told(*_HEAD, _TEST, *outputs)
    assert found[0].name == "test-prints-everything" and "20,000 lines" in found[0].what
    assert found[0].line == 3


def test_gpus_that_wait_for_each_other() -> None:
    (found,) = told(glog("caffe.cpp:204] Using GPUs 0, 1"), *_HEAD, glog("caffe.cpp:248] Starting Optimization"))
    assert found.name == "stuck-gpus" and "2 GPUs" in found.what


def test_waiting_for_data() -> None:
    (found,) = told(*_HEAD, _TEST, glog("blocking_queue.cpp:49] Waiting for data"))
    assert (found.name, found.line) == ("stuck-data", 4)


def test_what_has_ended_does_not_stand() -> None:
    assert told(*_HEAD, _TEST, facts=Facts("finished")) == []
    assert told(*_HEAD, glog("solver.cpp:327] Iteration 0, loss = 1"), glog("caffe.cpp:259] Optimization Done.")) == []


@pytest.mark.parametrize("name", ["interrupted", "resumed", "two-test-nets"])
def test_sound_logs_are_sound(name: str) -> None:
    assert diagnose_pieces([(DATA / f"digits-{name}.log").read_bytes()]).causes == []


# real logs of Debian's Caffe, as tests/engine/test_diagnose.py makes them


@pytest.mark.parametrize(
    ("log", "name", "said"),
    [
        ("fork-layer", "wrong-fork-layer", "MultiStageMeanfield"),
        ("fork-field", "wrong-fork-field", "spatial_filter_weights_str"),
        ("labels", "labels-not-predictions", "(2048 vs. 32)"),
        ("shape", "shape-mismatch", "layer 'ip2'"),
        ("full-disk", "snapshot-stream", "SerializeToOstream"),
        ("no-folder", "snapshot-prefix", "elsewhere/digits"),
        ("no-net", "file-not-found", "nets/net.prototxt"),
        ("label-range", "memory-corrupted", "invalid pointer"),
        ("debug-info", "diverged", "[Forward] Layer ip2, top blob ip2 data: inf"),
    ],
)
def test_real_failures(log: str, name: str, said: str) -> None:
    data = (DATA / f"caffe-{log}.log").read_bytes()
    cause = diagnose_pieces([data]).causes[0]
    assert cause.name == name and said in cause.text
    assert data.decode().splitlines()[cause.line - 1].startswith(cause.text.removesuffix(" …"))


def test_real_divergence_is_the_learning_rates() -> None:
    (found,) = diagnose_pieces([(DATA / "caffe-debug-info.log").read_bytes()]).causes
    assert "it began in layer ip2 (forward)" in found.what
    assert "the weights of layer" in found.why and "the learning rate is too high" in found.why


def test_real_log_of_a_killed_training_tells_by_the_exit_code() -> None:
    data = (DATA / "caffe-killed.log").read_bytes()
    (unsure,) = diagnose_pieces([data]).causes
    assert unsure.kind == "symptom" and "--exit-code 137" in unsure.mends[-1]
    assert diagnose_pieces([data], Facts("failed", 137)).causes[0].name == "host-out-of-memory"


# the command


def test_command_names_cause_line_and_mends(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", str(DATA / "digits-no-data.log")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("lmdb-missing: an LMDB cannot be opened\n  line 183: F1120")
    assert "  1. see that source" in out


def test_command_gives_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", str(DATA / "digits-no-gpu.log"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (found,) = told["causes"]
    assert (told["ended"], found["name"], found["line"], found["kind"]) == ("failed", "cpu-only", 2, "cause")
    assert run(["diagnose", str(DATA / "digits-resumed.log"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ended"], told["causes"], told["attempts"]) == ("well", [], 1)


def test_command_takes_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", str(DATA / "digits-resumed.log"), "--exit-code", "137"]) == 0
    assert "host-out-of-memory" in capsys.readouterr().out


def test_an_exit_code_behind_a_good_end_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["Initializing solver", "Iteration 0, loss = 2.5", "Iteration 5, loss = 1.5", "Optimization Done."]
    text = "".join(f"I0306 10:27:54.000000     7 solver.cpp:218] {line}\n" for line in lines)
    (tmp_path / "a.log").write_text(text)
    assert run(["diagnose", str(tmp_path / "a.log"), "--exit-code", "1"]) == 0
    assert "ended well at iteration 5, and what ran behind it failed" in capsys.readouterr().out
    assert run(["diagnose", str(tmp_path / "a.log"), "--exit-code", "0"]) == 0
    assert "what ran behind it" not in capsys.readouterr().out
