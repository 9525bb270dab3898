"""Numbers of a training out of any program's log: what lines tell, where the training is, which numbers count.

The forms are drawn by the hundred in `tests.corpus.others`; here stands what one of them cannot show.
"""

import json
import math
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.logs import absence, reader
from provision.logs.diagnose import diagnose_pieces
from provision.logs.events import Ended, Event, Metric, Planned, Resumed
from provision.logs.log import Log
from provision.logs.metrics.asked import AUTO, Asked, asked
from provision.logs.progress import progress_of
from provision.logs.rows import rows
from provision.runs.log import Piece
from provision.runs.report import Follower
from tests.corpus import others

Number = tuple[int, str, str, float]


def events(text: str, how: Asked = AUTO) -> list[Event]:
    return list(reader.events([text.encode()], how))


def numbers(text: str, how: Asked = AUTO) -> list[Number]:
    """Iteration, phase, name and value of each number but the solver's copy of the loss."""
    return [
        (one.iteration, one.phase, one.name, one.value)
        for one in events(text, how)
        if isinstance(one, Metric) and (one.phase, one.name) != ("solver", "loss")
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"step": 3, "train": {"loss": 0.5}, "eval": {"acc": "0.9"}}',
         [(3, "train", "loss", 0.5), (3, "test", "acc", 0.9)]),
        ('{"level": "info", "msg": "a step", "step": 3, "loss": 0.5, "pid": 47}', [(3, "train", "loss", 0.5)]),
        ('{"log": "step=3 loss=0.5\\n", "stream": "stdout", "time": "2026-11-30T12:00:00Z"}',
         [(3, "train", "loss", 0.5)]),
        ("Epoch 0/24\n----------\ntrain Loss: 0.6 Acc: 0.7\nval Loss: 0.3 Acc: 0.9\n",
         [(0, "train", "Loss", 0.6), (0, "train", "Acc", 0.7), (0, "test", "Loss", 0.3), (0, "test", "Acc", 0.9)]),
        (("Epoch 1\n------\nloss: 2.3  [   64/60000]\nloss: 2.2  [ 6464/60000]\n"
         "Test Error: \n Accuracy: 50.9%, Avg loss: 2.15\n\nEpoch 2\n------\nloss: 2.1  [   64/60000]\n"),
         [(64, "train", "loss", 2.3), (6464, "train", "loss", 2.2), (6464, "test", "Accuracy", 50.9),
          (6464, "test", "loss", 2.15), (60064, "train", "loss", 2.1)]),
        ("epoch 1 step 10 loss 0.5\nepoch 1 step 20 loss 0.4\nepoch 2 step 10 loss 0.3\n",
         [(10, "train", "loss", 0.5), (20, "train", "loss", 0.4), (30, "train", "loss", 0.3)]),
        ("{'loss': 0.5, 'epoch': 0.25}\n{'eval_loss': 0.4, 'epoch': 0.5}\n",
         [(250, "train", "loss", 0.5), (500, "test", "loss", 0.4)]),
        ("[10]\ttraining's l2: 0.3\tvalid_1's l2: 0.4", [(10, "train", "l2", 0.3), (10, "test", "l2", 0.4)]),
        ("Step 1,200: loss = 1,234.5", [(1200, "train", "loss", 1234.5)]),
        ("[Step 10] train_loss: nan | val_loss: inf | lr: 1e-05 | elapsed: 12.3s | pid: 4711",
         [(10, "train", "loss", math.nan), (10, "solver", "lr", 1e-5), (10, "test", "loss", math.inf)]),
        ("50it [00:10,  4.9it/s, loss=0.3]", [(50, "train", "loss", 0.3)]),
        ("epoch;loss;val_loss\n1;0.5;0.6\n2;0.4;\n",
         [(1, "train", "loss", 0.5), (1, "test", "loss", 0.6), (2, "train", "loss", 0.4)]),
        ("      epoch,      train/box_loss, metrics/mAP50(B)\n      1,   1.5,  0.25\n",
         [(1, "train", "box_loss", 1.5), (1, "test", "mAP50(B)", 0.25)]),
        ("NumIters,Seconds,LearningRate,loss\n10,1.5,0.01,2.5\n",
         [(10, "train", "loss", 2.5), (10, "solver", "lr", 0.01)]),
        # Lightning's bar of rich: the last state alone, cut at a terminal's width
        ("Epoch 2/2  ━━━━━━━━ 20/20 0:00:02 • 0:00:00 8.10it/s v_num: 0\n" + " " * 40 + "train_loss: 0.291\n"
         + " " * 40 + "val_acc: 0.978\n", [(60, "train", "loss", 0.291), (60, "test", "acc", 0.978)]),
        # Lightning's bar of tqdm: a new count beside old numbers, then beside the new ones; and the last validation's
        (("Epoch 0:  50%|█████     | 1/2 [00:00<00:00, 9.8it/s, v_num=0, train_loss=0.9]\r"
         "Epoch 0: 100%|██████████| 2/2 [00:00<00:00, 9.8it/s, v_num=0, train_loss=0.9]\r"
         "Epoch 0: 100%|██████████| 2/2 [00:00<00:00, 9.8it/s, v_num=0, train_loss=0.8, val_loss=0.7]\r"
         "Epoch 1:   0%|          | 0/2 [00:00<?, ?it/s, v_num=0, train_loss=0.8, val_loss=0.7]\r"
         "Epoch 1:  50%|█████     | 1/2 [00:00<00:00, 9.8it/s, v_num=0, train_loss=0.6, val_loss=0.7]\n"),
         [(1, "train", "loss", 0.9), (2, "train", "loss", 0.8), (2, "test", "loss", 0.7), (3, "train", "loss", 0.6)]),
    ],
)  # fmt: skip
def test_what_lines_tell(text: str, told: list[Number]) -> None:
    assert [repr(one) for one in numbers(text)] == [repr(one) for one in told]


@pytest.mark.parametrize(
    "line",
    [
        "Namespace(batch_size=64, epochs=10, lr=0.1, loss='ce', step_size=1)",
        "2026-11-30 12:00:01,123 INFO pid=4711 rank=0 mem=1234MB eta=12:30:11 step=3 time=0.5",
        "torch version: 1.13.1, cuda: 11.7, step: 3", "loss: 0.5", "max_iter: 300", "step: 100", "learning_rate: 0.1",
        "Loading weights of step 3, loss 0.5", "EarlyStopping at epoch 7: best val_loss 0.31 at epoch 3",
        "Epoch 5: val_loss did not improve from 0.31", "saved checkpoint at step 500 (best val_loss 0.3 at epoch 3)",
        "downloading: 45%|####      | 45.2M/100M [00:10<00:12, 4.52MB/s]",
        "Map: 100%|██████| 10/10 [00:00<00:00, 9it/s]",
        '{"step": 3, "message": "begun"}', '{"loss": 0.5', "{'loss': 0.5", "{'loss': __import__('os')}",
        "GPU 0: 45C, 300W / 700W, 1234MiB / 81559MiB", "name,age\n", "a, b, c\n1, 2, 3\n",
        "train.py:88 step=3 done", "3 errors in 4 steps, see https://example.com/step/3?loss=0.5",
    ],
)  # fmt: skip
def test_what_is_no_metric(line: str, tmp_path: Path) -> None:
    assert numbers(line + "\n") == []
    (tmp_path / "a.log").write_text(line + "\n")
    assert "no metrics were found" in str(absence.error(Log("a", tmp_path / "a.log")))


def test_steps_only_grow_within_an_attempt(tmp_path: Path) -> None:
    text = "".join(f"step={at} loss={at}.5\n" for at in (10, 20, 30, 40, 30, 40, 50))
    found = events(text)
    assert [one.iteration for one in found if isinstance(one, Resumed)] == [30]
    assert {one.attempt for one in found if isinstance(one, Metric) and one.iteration == 40} == {0, 1}
    (tmp_path / "a.log").write_text(text)
    kept = [(row.attempt, row.iteration) for row in rows(Log("a", tmp_path / "a.log")) if not row.lost]
    assert kept == [(0, 10), (0, 20), (1, 30), (1, 40), (1, 50)]


def test_who_begins_anew_takes_nothing_back(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("".join(f"step={at} loss={at}.5\n" for at in (10, 20, 10, 20)))
    assert [(row.attempt, row.lost) for row in rows(Log("a", tmp_path / "a.log"))] == [(0, False)] * 2 + [
        (1, False)
    ] * 2


def test_of_ranks_the_first_that_tells_counts() -> None:
    text = (
        "[rank1]: step=10 loss=1.5\n[rank0]: step=10 loss=0.5\n[rank0]: step=20 loss=0.25\n[rank1]: step=20 loss=1.25\n"
    )
    assert numbers(text) == [(10, "train", "loss", 1.5), (20, "train", "loss", 1.25)]
    assert len(numbers(text.replace("[rank1]:", "[1,1]<stderr>:").replace("[rank0]:", "[1,0]<stdout>:"))) == 2


def test_seconds_are_those_of_the_lines_clock() -> None:
    text = "2026-11-30 23:59:50,5 step=1 loss=1\n2026-12-01 00:00:10,5 step=2 loss=1\n"
    assert [one.seconds for one in events(text) if isinstance(one, Metric)][-1] == 20.0
    text = '{"step": 1, "loss": 1, "timestamp": 100.5}\n{"step": 2, "loss": 1, "timestamp": 103.5}\n'
    assert [one.seconds for one in events(text) if isinstance(one, Metric)][-1] == 3.0


def test_a_bar_and_a_logger_do_not_tell_the_same_twice() -> None:
    bar = "Epoch 1/2:  50%|█████     | 1/2 [00:00<00:00, 9.8it/s, loss=0.91]"
    assert numbers(f'{{"step": 1, "loss": 0.9}}\n{bar}\n{{"step": 2, "loss": 0.8}}\n') == [
        (1, "train", "loss", 0.9), (2, "train", "loss", 0.8),
    ]  # fmt: skip


# what a user asks for


def test_an_expression_names_the_numbers() -> None:
    how = asked(r"regex:at (?P<iteration>\d+): (?P<loss>\S+) \((?P<val_acc>\S+)%\)")
    text = "at 10: 0.5 (90.5%)\nat 20: nan (x%)\nnothing at all\n"
    assert [repr(one) for one in numbers(text, how)] == [
        repr(one) for one in [(10, "train", "loss", 0.5), (10, "test", "acc", 90.5), (20, "train", "loss", math.nan)]
    ]
    assert numbers("a loss=0.5\na loss=0.4\n", asked(r"regex:loss=(?P<loss>\S+)")) == [
        (1, "train", "loss", 0.5), (2, "train", "loss", 0.4),
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["regex:(", "regex:loss=(.*)", "jsonl", "", "regex:(?P<1>a)"])
def test_a_word_that_says_nothing_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        asked(word)


def test_a_form_that_is_asked_for_is_read_alone() -> None:
    text = '{"step": 1, "loss": 0.5}\nstep=1 val_loss=0.4\nIteration 10, loss = 2.5\n'
    assert numbers(text, asked("json")) == [(1, "train", "loss", 0.5)]
    assert numbers(text, asked("key-value")) == [(1, "test", "loss", 0.4), (10, "train", "loss", 2.5)]
    assert numbers(text, asked("caffe")) == []
    assert numbers("loss: 0.5\nloss: 0.4\n", asked("key-value")) == [
        (1, "train", "loss", 0.5),
        (2, "train", "loss", 0.4),
    ]
    assert numbers("# made by me\nepoch,loss\n1,0.5\n", asked("csv")) == [(1, "train", "loss", 0.5)]


def test_a_log_of_caffes_is_no_other_programs() -> None:
    """Not even where a script prints beside it, or its prefix is missing."""
    glog = "I1120 23:36:21.594349     6 solver.cpp:218] "
    caffe = f"{glog}Iteration 10, loss = 2.5\n{glog}    Train net output #0: loss = 2.5 (* 1 = 2.5 loss)\n"
    assert [one[2:] for one in numbers(f"{caffe}step=10 loss=7 val_acc=0.5\n")] == [("loss", 2.5)]
    assert numbers("Iteration 10, loss = 2.5\nTrain net output #0: loss = 2.5 (* 1 = 2.5 loss)\n") == []


# what it is for


def test_numbers_go_to_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"step={at} loss={1 / at:.3f} val_acc={1 - 1 / at:.3f} lr=0.1\n" for at in (10, 20)))
    assert run(["logs", str(log), "--csv"]) == 0
    assert capsys.readouterr().out == (
        "NumIters,Seconds,LearningRate,loss\n10,0.000000,0.1,0.1\n20,0.000000,0.1,0.05\n\n"
        "NumIters,Seconds,LearningRate,acc\n10,0.000000,0.1,0.9\n20,0.000000,0.1,0.95\n"
    )
    assert run(["logs", str(log), "--json", "--metrics", r"regex:step=(?P<step>\d+).*acc=(?P<score>\S+)"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["iteration"], one["name"], one["value"]) for one in told] == [(10, "score", 0.9), (20, "score", 0.95)]
    assert run(["logs", str(log), "--plot", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_asked_for_and_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.log").write_text("step=10 loss=0.5\n")
    assert run(["logs", str(tmp_path / "a.log"), "--json", "--metrics", "json"]) == 13
    assert "what --metrics names (json)" in capsys.readouterr().err
    assert run(["logs", str(tmp_path / "a.log"), "--json", "--metrics", "jsno"]) == 2
    assert "did you mean json" in capsys.readouterr().err


class Bar:
    """A bar that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int, str]] = []

    def show(self, iteration: int, total: int, words: str) -> None:
        self.shown.append((iteration, total, words))


def test_a_follower_shows_how_far_it_is() -> None:
    bar, follower = Bar(), Follower()
    text = "Epoch 1/3\n20/20 [====] - 5s - loss: 0.5 - val_accuracy: 0.9\nEpoch 2/3\n20/20 [====] - 5s - loss: 0.4\n"
    for number, line in enumerate(f"{text}Epoch 3/3\n".splitlines(keepends=True)):
        follower.take(Piece(str(number), 1, line.encode()), bar)  # type: ignore[arg-type]
    assert bar.shown[-1][:2] == (40, 60) and "loss 0.4" in bar.shown[-1][2] and "accuracy 0.9" in bar.shown[-1][2]


def test_a_follower_shows_a_program_without_a_loss() -> None:
    bar = Bar()
    Follower().take(Piece("1", 1, b"Iter [10/50] reward: 3.5\nIter [20/50] reward: 4.5\n"), bar)  # type: ignore[arg-type]
    assert [shown[0] for shown in bar.shown] == [10, 20]


def test_a_lost_training_is_stopped() -> None:
    calls: list[str] = []
    follower = Follower(stop=lambda: calls.append("stop"))
    text = "".join(f"step={at} loss={'nan' if at > 20 else 0.5}\n" for at in range(1, 40))
    follower.take(Piece("1", 1, text.encode()), Bar())  # type: ignore[arg-type]
    assert calls == ["stop"]


def test_planned_steps_and_the_end_are_known() -> None:
    found = events("Iter [10/20] loss: 0.5\nIter [20/20] loss: 0.4\n")
    assert [one.max_iter for one in found if isinstance(one, Planned)] == [20]
    assert isinstance(found[-1], Ended) and progress_of(found).max_iter == 20
    assert not any(isinstance(one, Ended) for one in events("Epoch 1:  100%|███| 2/2 [00:01<00:00, 2it/s, loss=0.5]\n"))
    fit = "Epoch 0:  100%|███| 2/2 [00:01<00:00, 2it/s, loss=0.5]\n`Trainer.fit` stopped: `max_epochs=1` reached.\n"
    assert any(isinstance(one, Ended) for one in events(fit))
    assert any(isinstance(one, Ended) for one in events(fit.replace("\n", "", 1)))  # behind the bar, on its line


# diagnose


def _told(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


SOUND = [f"step={at}/100 loss={1 / at:.3f}" for at in range(1, 30)]
TRACE = ["Traceback (most recent call last):", '  File "/project/train.py", line 7, in <module>']


def test_what_ended_it_is_told_with_the_users_own_line() -> None:
    told = diagnose_pieces(
        [_told(*SOUND, *TRACE, "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB").encode()]
    )
    assert (told.causes[0].name, told.causes[0].line) == ("gpu-out-of-memory", 32)
    assert told.causes[0].place == "/project/train.py, line 7" and told.ending.word == "failed"
    assert "iteration 29" in told.ending.text and told.heard


def test_an_error_that_the_training_outlived_is_only_seen() -> None:
    text = _told(*SOUND[:10], "NCCL WARN something", *TRACE, "RuntimeError: CUDA out of memory. x", *SOUND[10:])
    told = diagnose_pieces([text.encode()])
    assert told.causes == [] and {one.name for one in told.seen} >= {"gpu-out-of-memory"}


def test_a_training_that_ended_well_says_so() -> None:
    told = diagnose_pieces([_told(*SOUND, "step=100/100 loss=0.001").encode()])
    assert (told.ending.word, told.causes) == ("well", []) and "its last step was done" in told.ending.text


def test_a_loss_that_is_nan_is_a_divergence_with_its_line() -> None:
    told = diagnose_pieces([_told(*SOUND, *(f"step={at}/100 loss=nan" for at in range(30, 60))).encode()])
    assert (told.causes[0].name, told.causes[0].line) == ("diverged", 30)
    assert told.causes[0].text == "step=30/100 loss=nan"
    assert "solver" not in told.causes[0].why and "clip_grad_norm_" in told.causes[0].mends[0]


def test_a_traceback_alone_needs_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.log").write_text(_told(*TRACE, "ModuleNotFoundError: No module named 'timm'"))
    assert run(["diagnose", str(tmp_path / "a.log")]) == 0
    assert capsys.readouterr().out.startswith("python-module: ")


# one pass, bounded memory


def _long() -> Iterator[bytes]:
    for at in range(2000):
        yield b'{"step": %d, "loss": 0.5, "text": "' % at + b"x" * 1000 + b'"}\n' + b"some words\n" * 50
    yield b"step=9 loss=" + b"9" * (3 << 20) + b"\n" + b'{"step": 3000, "loss": 0.25}\n'


def test_it_streams() -> None:
    """3 MB in small lines, and 3 MB in one."""
    tracemalloc.start()
    count = sum(isinstance(one, Metric) for one in reader.events(_long()))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 2 * 2001 and most < 40e6


@pytest.mark.parametrize("size", [1, 7, 64])
def test_pieces_of_any_size_tell_the_same(size: int) -> None:
    text = (
        "  0%|          | 0/40 [00:00<?, ?it/s]\n 25%|██▌       | 9/40 [00:02<00:07, 4.1it/s]\n"
        "{'loss': 0.5, 'learning_rate': 1e-05, 'epoch': 0.25}\n 25%|██▌       | 10/40 [00:02<00:07, 4.1it/s]\n"
        "{'train_runtime': 1.5, 'train_loss': 0.7, 'epoch': 1.0}\n"
    ).encode()
    whole = list(reader.events([text]))
    assert list(reader.events(text[at : at + size] for at in range(0, len(text), size))) == whole
    assert [one.iteration for one in whole if isinstance(one, Metric)] == [10, 10, 10]
    assert isinstance(whole[-1], Ended)


_LONG_RUNS = (
    " ", "-", ":", "1", "_", "a-", "a: ", "[", "{", "{'a': ", '{"a": ', "1/", "1,", "step ", "epoch", "loss=", "5%|",
    "1it [", "\u2501", "saved ", "loss a ", "(", "a.b", "\t1", "=1 ", "train ", "test: ", "a: b", "1/1 ", "Epoch 1/1 ",
    "\b", "\r", "1/2 1G 1 2: 5%", "Class Images a b ", "all 1 1 ", "Epoch gpu_mem a b ",
)  # fmt: skip


@pytest.mark.parametrize("part", _LONG_RUNS)
def test_no_line_takes_long(part: str) -> None:
    """A training may write anything; no expression goes over a line again and again (the time-out would tell)."""
    text = "Epoch 1/2\n 1/20 [=>...] - loss: 0.5\nEpoch 2/2  ━━━━━ 20/20 0:00:02 • 0:00:00 8.1it/s v_num: 0\n"
    for before in ("", "step=1 ", " " * 30, "  5%|"):
        text += "".join(f"{before}{part * 5000}{after}\n" for after in ("", "x", "!"))
    for how in (AUTO, asked("key-value"), asked("csv")):
        events(text, how)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_spoilt_logs_are_read(first: int) -> None:
    """Bytes lost, doubled, changed; numbers that none can be."""
    odd = (b"1e999", b"nan", b"9" * 30, b"-1", b"0/0", b"{'", b'{"', b"%|", b"it [", b"\x08", b"\xff", b"[" * 200)
    for seed in range(first, first + 20):
        dice = random.Random(seed)
        data = bytearray(others.draw(seed).data)
        for _ in range(30):
            at = dice.randrange(len(data))
            data[at : at + dice.choice((0, 1, 20))] = dice.choice((*odd, b"", bytes(data[at : at + 50])))
        if not data.startswith((b"\x1f\x8b", b"\xfd7zXZ")):
            diagnose_pieces([bytes(data)])
