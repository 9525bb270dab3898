"""The front door of logs: whatever they were kept in, and whatever stands before their lines."""

import gzip
import json
import os
import random
from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.logs import apart, reader
from provision.logs.caffe import Metric
from provision.logs.log import Log
from provision.logs.prefix import shape, source, sources
from provision.logs.text import whole_lines
from tests.corpus.wrappings import PREFIXES

PAIR = (
    "I0502 16:52:12.812652 13716 solver.cpp:312] Iteration 2110, loss = 3.5",
    "I0502 16:52:12.813344 13716 sgd_solver.cpp:215] Iteration 2110, lr = 4.6",
)
TOLD = [(2110, "loss", 3.5), (2110, "lr", 4.6)]


def told(data: bytes, size: int = 1 << 16) -> list[tuple[int, str, float]]:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return [(one.iteration, one.name, one.value) for one in reader.events(pieces) if isinstance(one, Metric)]


def text(*lines: str) -> str:
    return "".join(line + "\n" for line in lines)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_stands_before_a_line_is_cut_off(prefix: str) -> None:
    put = PREFIXES[prefix](random.Random(1))
    assert told(text(*map(put, PAIR)).encode()) == TOLD


@pytest.mark.parametrize(
    ("before", "behind"), [('1614592800123,"', '"'), ("b'", "\\n'"), ('    "', '",'), ('{"a": {"text": "', '"}}')]
)
def test_what_quotes_a_line_takes_no_number_away(before: str, behind: str) -> None:
    lines = [
        "I0301 10:00:00.000000     7 solver.cpp:218] Iteration 10, loss = 2.25",
        "I0301 10:00:00.000000     7 solver.cpp:237]     Train net output #0: accuracy = 0.5",
        "I0301 10:00:00.000000     7 solver.cpp:237]     Train net output #1: loss = nan (* 1 = nan loss)",
        "I0301 10:00:00.000000     7 sgd_solver.cpp:105] Iteration 10, lr = 1e-05",
    ]
    found = told(text(*(before + line + behind for line in lines)).encode())
    assert repr(found) == "[(10, 'loss', 2.25), (10, 'accuracy', 0.5), (10, 'loss', nan), (10, 'lr', 1e-05)]"


@pytest.mark.parametrize("key", ["log", "message", "MESSAGE", "textPayload", "msg"])
def test_objects_of_a_line_each_have_the_lines_under_some_key(key: str) -> None:
    lines = [json.dumps({"time": "x", key: line, "pid": 7}) for line in (PAIR[1], *PAIR)]
    assert b"".join(whole_lines([text(*lines).encode()])) == text(PAIR[1], *PAIR).encode()
    others = text('{"a": 1}', '{"message": {"x": 1}}', '{"log": 7}', '{"cut')
    assert b"".join(whole_lines([others.encode()])) == others.encode()


def test_what_is_quoted_keeps_its_own_indentation() -> None:
    lines = text(*(f"> {line}" for line in (*PAIR, "  what():  x", "    @     0x7f")))
    assert b"".join(whole_lines([lines.encode()])) == text(*PAIR, "  what():  x", "    @     0x7f").encode()


def test_a_progress_bar_on_a_line_is_no_source() -> None:
    bars = [
        f"{at:3}%|{'█' * (at // 10)}{' ' * (10 - at // 10)}| {at}/100 [00:{at:02}<00:10, {at / 7:.2f}it/s]"
        for at in range(50)
    ]
    lines = text(*(bar + PAIR[at % 2] for at, bar in enumerate(bars))).encode()
    assert sources(lines) == []
    assert b"".join(whole_lines([lines])) == text(*(PAIR[at % 2] for at in range(50))).encode()
    assert sources(text(*("." * (at % 7) + PAIR[0] for at in range(50))).encode()) == []


def test_a_file_of_dockers_that_was_turned_over_begins_within_a_line() -> None:
    whole = text(*map(PREFIXES["docker's file"](random.Random(1)), (PAIR[1], *PAIR)))
    assert told(whole[30:].encode()) == TOLD


@pytest.mark.parametrize("size", [7, 1 << 16])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_encodings(encoding: str, size: int) -> None:
    assert told(text("Größe 图像", *PAIR).encode(encoding), size) == TOLD


def test_powershell_appends_utf_16_to_any_file() -> None:
    first, more = text(PAIR[0]), text(PAIR[1])
    assert told(first.encode() + more.encode("utf-16-le")) == told(more.encode("utf-16") + first.encode())[::-1] == TOLD


def test_a_block_of_zeros_as_a_power_cut_leaves_it_is_no_other_encoding() -> None:
    assert told(text(PAIR[0]).encode() + bytes(5000) + b"\n" + text(PAIR[1]).encode()) == TOLD


def test_a_packed_file_is_known_by_its_first_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = gzip.compress(text(*PAIR).encode())
    (tmp_path / "train.log").write_bytes(data)
    (tmp_path / "plain.gz").write_text(text(*PAIR))
    for name in ("train.log", "plain.gz"):
        assert run(["logs", str(tmp_path / name), "--json"]) == 0
        assert [row["value"] for row in json.loads(capsys.readouterr().out)] == [3.5, 4.6]


def test_a_packed_file_without_its_end_is_read_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line.replace("2110", str(at)) for at in range(5000) for line in PAIR]
    data = gzip.compress(text(*lines).encode())
    (tmp_path / "a.log.gz").write_bytes(data[: len(data) // 2])
    assert run(["logs", str(tmp_path / "a.log.gz"), "--csv", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert said.count("the end of the packed file is missing") == 1


@pytest.mark.parametrize(
    ("data", "said"), [(b"PK\x03\x04aaaa", "a zip archive"), (b"\x28\xb5\x2f\xfdaaaa", "packed with zstd"),
                       (b"\x1f\x8bno gzip at all", "damaged")],
)  # fmt: skip
def test_what_cannot_be_unpacked_is_said(data: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        list(whole_lines([data]))


def test_a_log_in_utf_16_is_printed_as_text_and_raw_as_it_is(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    data = text(*PAIR).encode("utf-16")
    (tmp_path / "a.log").write_bytes(data)
    assert run(["logs", str(tmp_path / "a.log")]) == 0
    assert capfdbinary.readouterr().out == text(*PAIR).encode()
    assert run(["logs", str(tmp_path / "a.log"), "--raw"]) == 0
    assert capfdbinary.readouterr().out == data


def test_a_file_without_one_newline_is_read_in_time() -> None:
    assert sum(map(len, whole_lines([b"x" * (1 << 16)] * 500))) >= 500 << 16


def test_other_lines_lose_the_prefix_too_and_lines_keep_their_number() -> None:
    lines = [*PAIR, "max_iter: 900", "", "    indented: 1", "F0502 16:52:13.0 7 a.cpp:1] Check failed: x"]
    data = text(*(f"[5] {line}" for line in lines)).encode()
    assert b"".join(whole_lines([data])).decode() == text(*lines)


def test_a_fatal_line_behind_a_rank_is_diagnosed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fatal = "F0101 10:00:00.000000 7 math.cu:1] Check failed: error == cudaSuccess (700 vs. 0)"
    (tmp_path / "a.log").write_text(text(*(f"[3] {line}" for line in (*PAIR, fatal))))
    assert run(["diagnose", str(tmp_path / "a.log"), "--json"]) == 0
    (cause,) = json.loads(capsys.readouterr().out)["causes"]
    assert (cause["name"], cause["line"]) == ("illegal-memory-access", 3)


@pytest.mark.parametrize(
    ("prefix", "who"),
    [
        (b"[5] ", b"5"), (b"trainer_1  | ", b"trainer_1"), (b"2026-11-29T10:00:00.1Z ", b""),
        (b"[1,3]<stderr>:", b"1,3"), (b"Nov  9 10:00:00 ", b""),
        (b"10.0.0.5: ", b"10.0.0.5"), (b"2026-11-29T10:00:00.1Z stderr F ", b""),
    ],
)  # fmt: skip
def test_who_wrote_a_line(prefix: bytes, who: bytes) -> None:
    assert source(prefix) == who


def test_the_shape_of_a_prefix_leaves_its_numbers_open() -> None:
    assert shape(b"Nov  9 10:00:00 gpu ") == shape(b"Dec 10 23:59:59 gpu ")
    assert shape(b"a ") != shape(b"b ")


@pytest.mark.parametrize(
    ("ranks", "found"),
    [("0101", [b"0", b"1"]), ("0011", []), ("1234", []), ("0000", []), ("201012", [b"0", b"1", b"2"])],
)
def test_sources_are_those_that_write_at_the_same_time(ranks: str, found: list[bytes]) -> None:
    assert sources(text(*(f"{rank}: {PAIR[0]}" for rank in ranks)).encode()) == found


def test_each_rank_is_a_log_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"[{rank}] {line.replace('= 3.5', f'= {rank}.5')}" for _ in (1, 2) for rank in (0, 1) for line in PAIR]
    (tmp_path / "mpi.log").write_text(text(*lines, "mpirun: rank 1 exited"))
    assert run(["logs", str(tmp_path / "mpi.log"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["log"], row["value"]) for row in rows if row["name"] == "loss"} == {
        ("mpi.rank0", 0.5), ("mpi.rank1", 1.5)
    }  # fmt: skip
    one, _ = apart.by_source(Log("mpi", tmp_path / "mpi.log"))
    seen = b"".join(one.pieces()).decode().split("\n")
    assert (seen[1], seen[2], seen[-2]) == (PAIR[1], "", "mpirun: rank 1 exited")


@pytest.mark.parametrize("command", [["logs", "--csv", "-", "{}"], ["logs", "{}", "--json"], ["diagnose", "{}"]])
def test_a_log_may_come_through_a_pipe_of_the_shell(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"".join(
        b"I0306 10:27:5%d.000000 7 solver.cpp:218] Iteration %d, loss = 2.5\n" % (at, at) for at in range(3)
    ))  # fmt: skip
    os.close(writing)
    try:
        assert run([word.format(f"/dev/fd/{reading}") for word in command]) == 0
    finally:
        os.close(reading)
    assert "2" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["logs", "diagnose"])
@pytest.mark.parametrize(("word", "said"), [
    ("nowhere.log", "there is no file nowhere.log"), ("a/nowhere", "there is no file a/nowhere"),
    ("./", "the folder ./ has no log.txt"), (".", "the folder . has no log.txt"),
])  # fmt: skip
def test_a_file_that_is_not_there_is_no_question_to_a_cloud(
    command: str, word: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run([command, word]) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_text_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.bin").write_bytes(random.Random(7).randbytes(3000).replace(b"\0", b"\1"))
    assert run(["diagnose", str(tmp_path / "a.bin")]) == 13
    assert "this is no text" in capsys.readouterr().err
    for text, code in (("Trainingslauf für Löwen, größer\n", "latin-1"), ("\u8bad\u7ec3\u5f00\u59cb\n", "gbk")):
        (tmp_path / "b.log").write_bytes(text.encode(code) * 20)
        assert run(["diagnose", str(tmp_path / "b.log")]) == 13
        assert "this is no text" not in capsys.readouterr().err
