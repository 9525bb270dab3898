"""Diagnose speaks of the last attempt, puts what ended it before what was merely seen, and says where it happened."""

from pathlib import Path

import pytest

from infra.errors import RunError
from provision.cli import run
from provision.logs.cause import Diagnosis, Facts
from provision.logs.diagnose import diagnose_pieces

DATA = Path(__file__).parent.parent / "data"
OOM = "syncedmem.cpp:56] Check failed: error == cudaSuccess (2 vs. 0)  out of memory"
MISSING = "io.cpp:36] Check failed: fd != -1 (-1 vs. -1) File not found: net.prototxt"
START = "solver.cpp:44] Initializing solver from parameters: "
DONE = "solver.cpp:326] Optimization Done."


def glog(message: str, severity: str = "I", at: str = "10:00:00") -> str:
    return f"{severity}0301 {at}.000000     7 {message}"


def display(iteration: int, loss: object = 2.3, at: str = "10:00:01") -> str:
    return glog(f"solver.cpp:218] Iteration {iteration}, loss = {loss}", at=at)


def diagnosed(*lines: str, facts: Facts | None = None) -> Diagnosis:
    return diagnose_pieces([("\n".join(lines) + "\n").encode()], facts or Facts())


def names(told: Diagnosis) -> list[str]:
    return [cause.name for cause in told.causes]


# attempts


def test_a_failed_start_before_a_good_one_is_told_in_a_line() -> None:
    told = diagnosed(glog(START), glog(OOM, "F"), glog(START, at="11:00:00"), display(0), display(20), glog(DONE))
    assert (told.causes, told.ending.word, told.attempts) == ([], "well", 2)
    assert told.ending.text == "it ended well at iteration 20: Optimization Done"
    (one,) = told.earlier
    assert (one.number, one.first, one.last, one.ending.word) == (1, 1, 2, "failed")
    assert one.cause is not None and (one.cause.name, one.cause.line) == ("gpu-out-of-memory", 2)


def test_the_cause_of_the_last_attempt_is_the_headline() -> None:
    told = diagnosed(glog(START), glog(MISSING, "F"), glog(START), display(0), glog(OOM, "F"))
    assert (names(told), told.causes[0].line, told.ending.word) == (["gpu-out-of-memory"], 5, "failed")
    assert [one.cause.name for one in told.earlier if one.cause] == ["file-not-found"]


def test_several_words_of_one_start_are_one_attempt() -> None:
    told = diagnosed("Log file created at: 2016/01/01", glog("caffe.cpp:204] Using GPUs 0"), glog(START), display(0))
    assert told.attempts == 1
    told = diagnosed(*2 * (glog("caffe.cpp:197] Use CPU."), glog(START), display(0), display(20)))
    assert (told.attempts, told.earlier[0].last) == (2, 4)
    assert told.earlier[0].ending.text == "its log just stops at iteration 20, without a word of an end"


def test_an_attempt_that_fails_before_it_says_that_it_starts() -> None:
    stack = "*** Check failure stack trace: ***"
    told = diagnosed(glog(START), display(0), glog(OOM, "F"), stack, glog(MISSING, "F", "11:00:00"), stack)
    assert (names(told), told.attempts) == (["file-not-found"], 2)
    together = diagnosed(glog(START), glog(OOM, "F"), glog(MISSING, "F", "10:00:01"))  # two threads of one attempt
    assert (names(together), together.attempts) == (["gpu-out-of-memory", "file-not-found"], 1)


def test_starts_of_detectron_are_attempts() -> None:
    start = ["INFO train_net.py: 86: Called with args:", "INFO train.py: 131: Building model: generalized_rcnn"]
    stats = 'json_stats: {"iter": 20, "loss": 1.5, "lr": 0.01, "time": 0.1}'
    told = diagnosed(*start, stats, "CRITICAL train.py: 98: Loss is NaN", *start, stats)
    assert (told.causes, told.attempts) == ([], 2)
    assert told.earlier[0].cause is not None and told.earlier[0].cause.name == "detectron-nan"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["max_iter: 40", display(20), glog("a.cpp:1] Snapshotting solver state to binary proto file s_iter_40"
          ".solverstate")], "it ended well at iteration 20: the snapshot of iteration 40 was written"),
        ([display(20), glog("solver.cpp:311] Optimization stopped early."), glog(DONE)],
         "it ended well at iteration 20: it was told to stop, and stopped"),
        ([glog("caffe.cpp:281] Running for 50 iterations."), glog("caffe.cpp:313] Loss: 0.31")],
         "it ended well: Loss: 0.31"),
        ([glog("caffe.cpp:400] *** Benchmark ends ***")], "it ended well: Benchmark ends"),
        ([display(0), "done solving"], "it ended well at iteration 0: done solving"),
        ([display(0), "Mean AP = 0.6987"], "it ended well at iteration 0: Mean AP = 0.6987"),
        ([display(0), glog("caffe.cpp:300] Optimization Done in 3m 2s")],
         "it ended well at iteration 0: Optimization Done"),
        (['json_stats: {"iter": 20, "loss": 1.5, "lr": 0.01, "time": 0.1}',
          "INFO net.py: 143: Saving parameters and momentum to /x/model_final.pkl"],
         "it ended well at iteration 20: model_final.pkl was written"),
    ],
)  # fmt: skip
def test_what_a_good_end_is(lines: list[str], said: str) -> None:
    told = diagnosed(*lines)
    assert (told.causes, told.ending.word, told.ending.text) == ([], "well", said)


def test_a_run_that_finished_ended_well_and_the_last_word_is_the_states() -> None:
    assert diagnosed(display(0), facts=Facts("finished")).ending.word == "well"
    assert diagnosed(display(0)).ending.word == "open"
    told = diagnosed("max_iter: 40", display(20), facts=Facts("running"))
    assert told.ending.text == "it runs, and its last word is iteration 20 of 40"


# what ended it, and what was merely seen

SKIPPED = glog("io.cpp:80] Could not open or find file a.jpg", "E")


def test_what_ended_it_goes_before_what_was_seen() -> None:
    told = diagnosed(glog(START), SKIPPED, display(0), glog(OOM, "F"))
    assert names(told) == ["gpu-out-of-memory"] and [one.name for one in told.seen] == ["file-not-found"]
    assert names(diagnosed(SKIPPED, glog(OOM, "F"))) == ["gpu-out-of-memory", "file-not-found"]


def test_what_was_seen_on_the_way_to_a_good_end_is_no_cause() -> None:
    told = diagnosed(glog(START), SKIPPED, display(0), glog(DONE))
    assert (told.causes, [one.name for one in told.seen]) == ([], ["file-not-found"])
    assert names(diagnosed(glog(START), SKIPPED)) == ["file-not-found"]  # nothing came after it


def test_what_fails_behind_a_good_end_is_another_programs() -> None:
    done = [glog(START), display(0), glog(DONE)]
    for end in (["rm: cannot remove 'x': No such file or directory"], [TRACEBACK, "ImportError: No module named plots"],
                [TRACEBACK, "shop.errors.Odd: no"]):  # fmt: skip
        assert (diagnosed(*done, *end).causes, diagnosed(*done, *end).ending.word) == ([], "well")
        failed = diagnosed(*done, *end, facts=Facts("failed", 1))
        assert failed.causes and failed.ending.word == "failed"


def test_a_clue_explains_the_end_that_follows_it() -> None:
    many = glog("io.cpp:80] Too many open files", "E")
    told = diagnosed(SKIPPED, many, glog("image_data_layer.cpp:9] Check failed: cv_img.data Could not load a.jpg", "F"))
    assert told.causes[0].name == "too-many-open-files"
    told = diagnosed(many, display(0), glog(OOM, "F"))
    assert names(told) == ["gpu-out-of-memory"]


@pytest.mark.parametrize(
    ("end", "name"),
    [
        (["*** Aborted at 1454609418 (unix time) ***", "*** SIGSEGV (@0x7f29) received by PID 7 ***",
          "Segmentation fault (core dumped)"], "segmentation-fault"),
        (["Aborted (core dumped)"], "aborted"),
        (["Traceback (most recent call last):", '  File "a.py", line 3, in <module>', "ValueError: odd"], "exception"),
    ],
)  # fmt: skip
def test_an_end_in_the_first_test_is_no_waiting(end: list[str], name: str) -> None:
    told = diagnosed(glog(START), glog("solver.cpp:337] Iteration 0, Testing net (#0)"), *end)
    assert names(told) == [name] and told.ending.word == "failed"


def test_crash_and_abort_are_not_told_beside_what_explains_them() -> None:
    told = diagnosed(glog(OOM, "F"), "*** Check failure stack trace: ***", "*** SIGABRT ***", "Aborted (core dumped)")
    assert names(told) == ["gpu-out-of-memory"] and told.seen == []


def test_a_rate_that_is_no_number_explains_the_loss() -> None:
    rate = glog("sgd_solver.cpp:106] Iteration 0, lr = -nan")
    assert names(diagnosed(glog(START), display(0), rate, display(20, "nan"))) == ["rate-not-a-number"]


def test_detectrons_divergence_has_detectrons_advice() -> None:
    lines = ["INFO train.py: 131: Building model: generalized_rcnn"]
    lines += [f'json_stats: {{"iter": {at}, "loss": {loss}, "lr": 0.01}}' for at, loss in ((0, 2.5), (20, "NaN"))]
    told = diagnosed(*lines, "CRITICAL train.py: 98: Loss is NaN")
    assert names(told) == ["detectron-nan"]
    alone = diagnosed(*lines)
    assert names(alone) == ["diverged"] and "WARM_UP_ITERS" in " ".join(alone.causes[0].mends)


@pytest.mark.parametrize("word", ["blocking_queue.cpp:50] Waiting for data",
                                  "base_data_layer.cpp:115] Data layer prefetch queue empty"])  # fmt: skip
def test_data_that_do_not_come(word: str) -> None:
    told = diagnosed(glog(START), display(0), glog(word))
    assert names(told) == ["stuck-data"] and told.causes[0].line == 3
    assert names(diagnosed(glog(START), glog(word), display(0))) == []


def test_snapshots_that_cannot_be_written_have_several_causes() -> None:
    told = diagnosed(glog("io.cpp:67] Check failed: proto.SerializeToOstream(&output) ", "F"))
    for word in ("not there or not writable", "disk is full", "too many files"):
        assert word in told.causes[0].why


def test_a_later_snapshot_that_cannot_be_written_means_the_disk() -> None:
    saved = glog("sgd_solver.cpp:273] Snapshotting solver state to binary proto file s_iter_10.solverstate")
    (cause,) = diagnosed(saved, glog("io.cpp:67] Check failed: proto.SerializeToOstream(&output) ", "F")).causes
    assert "most likely the disk is full" in cause.why and cause.mends[0].startswith("df -h")


@pytest.mark.parametrize(
    ("code", "name"),
    [(136, "division-by-zero"), (-8, "division-by-zero"), (139, "segmentation-fault"), (127, "program-missing"),
     (143, "interrupted"), (134, "aborted")],
)  # fmt: skip
def test_an_exit_code_tells_where_the_log_does_not(code: int, name: str) -> None:
    told = diagnosed(display(0), facts=Facts("failed", code))
    assert names(told) == [name] and str(code) in told.causes[0].what
    assert names(diagnosed(glog(OOM, "F"), facts=Facts("failed", code))) == ["gpu-out-of-memory"]
    assert diagnosed(display(0), facts=Facts("", 0)).causes == []


# where

SETUP = [
    glog("net.cpp:100] Creating Layer fc7"),
    glog("net.cpp:434] fc7 <- pool5"),
    glog("net.cpp:408] fc7 -> fc7"),
    glog("net.cpp:150] Setting up fc7"),
    glog("net.cpp:157] Top shape: 10 4096 (40960)"),
    glog("layer_factory.hpp:77] Creating layer fc8"),
    glog("net.cpp:100] Creating Layer fc8"),
    glog("net.cpp:434] fc8 <- fc7"),
    glog("net.cpp:434] fc8 <- label"),
    glog("net.cpp:408] fc8 -> fc8"),
]
ODD = "my_layer.cpp:64] Check failed: wheels == 4 (3 vs. 4) "


def test_a_fatal_line_that_no_rule_knows_tells_layer_shapes_and_source() -> None:
    (cause,) = diagnosed(glog(START), *SETUP, glog(ODD, "F")).causes
    assert cause.name == "unknown" and "in my_layer.cpp:64: Check failed: wheels == 4 (3 vs. 4)" in cause.what
    assert cause.place == "layer fc8, while the net is set up; it reads fc7 (10 4096), label (shape not told)"


def test_nvidias_caffe_and_digits_tell_the_layer_in_their_own_forms() -> None:
    nvidia = [
        glog("layer_factory.hpp:136] Creating layer 'conv1' of type 'Convolution'"),
        glog("net.cpp:528] conv1 -> conv1"),
        glog("net.cpp:245] TRAIN Top shape for layer 2 'conv1' 128 96 55 55 (37171200)"),
        glog("layer_factory.hpp:136] Creating layer 'fc' of type 'InnerProduct'"),
        glog("net.cpp:560] fc <- conv1"),
    ]
    assert "layer fc, " in diagnosed(*nvidia, glog(ODD, "F")).causes[0].place
    assert "conv1 (128 96 55 55)" in diagnosed(*nvidia, glog(ODD, "F")).causes[0].place
    bare = [line.partition("] ")[2] for line in (*SETUP, glog(ODD))]
    (cause,) = diagnosed(*bare).causes
    assert cause.name == "unknown" and cause.place.startswith("layer fc8, ")
    assert cause.what == "the program ended itself: Check failed: wheels == 4 (3 vs. 4)"


def test_after_the_net_is_set_up_the_stack_names_the_layer() -> None:
    done = [*SETUP, glog("net.cpp:157] Top shape: 10 10 (100)"), glog("net.cpp:283] Network initialization done.")]
    stack = ["    @     0x7f5cd  google::LogMessage::Fail()", "    @     0x7f1  caffe::MyLayer<>::Forward_cpu()"]
    assert diagnosed(*done, glog(ODD, "F")).causes[0].place == ""
    assert diagnosed(*done, glog(ODD, "F"), *stack).causes[0].place == "MyLayer::Forward_cpu"
    crash = diagnosed(*done, "*** SIGSEGV (@0x7f29) received by PID 7 ***", *stack)
    assert (names(crash), crash.causes[0].place) == (["segmentation-fault"], "MyLayer::Forward_cpu")


def test_a_thread_that_reads_data_does_not_fail_in_the_layer_that_the_net_is_at() -> None:
    other = glog("annotated_data_layer.cpp:205] Check failed: odd == even (3 vs. 4) ", "F").replace(
        "     7 ", "     9 "
    )
    assert diagnosed(*SETUP, other).causes[0].place == ""
    stack = "    @     0x7f1  caffe::AnnotatedDataLayer<>::load_batch()"
    assert (
        diagnosed(*SETUP, other, stack).causes[0].place
        == "AnnotatedDataLayer::load_batch, in a thread beside the net's"
    )


TRACEBACK = """Traceback (most recent call last):
  File "/opt/tools/train.py", line 8, in <module>
    main()
  File "/home/me/layers.py", line 33, in forward
    top[0].data[...] = np.dot(a, b)
  File "/usr/lib/python2.7/dist-packages/numpy/core/numeric.py", line 482, in asarray
    return array(a)"""


def test_an_exception_that_no_rule_knows_is_told_with_the_users_own_frame() -> None:
    (cause,) = diagnosed(glog(START), TRACEBACK, "shop.errors.Odd: no such thing").causes
    assert (cause.name, cause.what) == ("exception", "Python code failed: shop.errors.Odd: no such thing")
    assert cause.place == "/home/me/layers.py, line 33 in forward"


def test_an_exception_that_a_rule_knows_has_its_frame_too() -> None:
    (cause,) = diagnosed(TRACEBACK, "TypeError: 'numpy.float64' object cannot be interpreted as an index").causes
    assert (cause.name, cause.place) == ("numpy-float-index", "/home/me/layers.py, line 33 in forward")


def test_an_exception_after_which_training_goes_on_stopped_nothing() -> None:
    told = diagnosed(TRACEBACK, "shop.errors.Odd: no such thing", display(0), display(20))
    assert told.causes == []
    told = diagnosed(display(0), TRACEBACK, "MemoryError", display(20), TRACEBACK, "MemoryError")
    assert [(one.name, one.line) for one in told.causes] == [("host-out-of-memory", 18)]


def test_a_frame_of_a_framework_is_told_where_there_is_no_other() -> None:
    inside = TRACEBACK.replace("/opt/tools", "/usr/lib/python3").replace("/home/me", "/x/site-packages/skimage")
    assert "numeric.py, line 482" in diagnosed(inside, "KeyError: 7").causes[0].place


# any size of pieces


@pytest.mark.parametrize("size", [97, 4096])
@pytest.mark.parametrize("name", ["caffe-debug-info", "caffe-labels", "digits-resumed", "caffe-full-disk"])
def test_pieces_of_any_size_tell_the_same(name: str, size: int) -> None:
    data = (DATA / f"{name}.log").read_bytes()
    twice = data + b"\n" + data
    pieces = [twice[at : at + size] for at in range(0, len(twice), size)]
    assert diagnose_pieces(pieces) == diagnose_pieces([twice])


# the command


def test_the_command_says_that_it_ended_well_and_what_came_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text("\n".join([glog(START), glog(OOM, "F"), glog(START), SKIPPED, display(0), glog(DONE)]) + "\n")
    assert run(["diagnose", str(log)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{log}: it ended well at iteration 0: Optimization Done",
        "seen on the way, line 4, file-not-found: a file that the net, the solver or the command names is not there",
        "attempt 1 of 2, lines 1 to 2: it failed: the GPU's memory is full, by line 2 (gpu-out-of-memory)",
    ]


def test_the_command_refuses_what_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, said in (("", "is empty"), ("some\nwords\n", "no metrics were found in 2 lines")):
        (tmp_path / "a.txt").write_text(text)
        for words in ([], ["--json"]):
            assert run(["diagnose", str(tmp_path / "a.txt"), *words]) == RunError.exit_code
            assert said in capsys.readouterr().err


def test_a_log_that_stops_while_the_net_is_set_up() -> None:
    told = diagnosed(glog(START), *SETUP)
    assert told.ending.text.startswith(
        "its log just stops in layer fc8, while the net is set up; it reads fc7 (10 4096)"
    )


def test_the_command_says_where_a_log_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "train.log"
    log.write_text("\n".join(["max_iter: 400", glog(START), display(0), display(40)]) + "\n")
    assert run(["diagnose", str(log)]) == 0
    assert "no known failure: its log just stops at iteration 40 of 400" in capsys.readouterr().out
