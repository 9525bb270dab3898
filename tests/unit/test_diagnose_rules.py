"""Every rule of `diagnose` is met by the shortest line that shows it, and by no line of a sound log."""

import re
from pathlib import Path

import pytest

from provision.cli import run
from provision.logs.diagnose import Diagnosis, diagnose_pieces
from provision.logs.rules import FILES, FOLDER, Known, benign, rules
from tests.unit.diagnose_lines import FATAL, OTHER

DATA = Path(__file__).parent.parent / "data"


def diagnosed(*lines: str) -> Diagnosis:
    return diagnose_pieces([("\n".join(lines) + "\n").encode()])


def glog(message: str, severity: str = "I") -> str:
    return f"{severity}1120 23:36:21.594349     6 {message}"


@pytest.mark.parametrize("message", FATAL)
def test_fatal_lines_of_caffe(message: str) -> None:
    told = diagnosed(
        glog("solver.cpp:45] Initializing solver"), glog(message, "F"), "*** Check failure stack trace: ***"
    )
    assert [(one.name, one.line) for one in told.causes] == [(FATAL[message], 2)]
    assert glog(message, "F").startswith(told.causes[0].text.removesuffix(" …"))
    assert told.causes[0].mends and told.ending.word == "failed"


@pytest.mark.parametrize("line", OTHER)
def test_other_lines(line: str) -> None:
    told = diagnosed("INFO train.py: 1: begin", line)
    assert [(one.name, one.line) for one in told.causes] == [(OTHER[line], 2 + line.count("\n"))]


def test_every_rule_has_its_line() -> None:
    assert {one.name for one in rules()} == {*FATAL.values(), *OTHER.values()} - {"unknown"}


def test_every_file_of_rules_is_read_and_names_are_used_once() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*FILES, "benign"}
    names = [rule.name for rule in rules()]
    assert len(names) == len(set(names))


_FORMS = (
    "{}", "F1120 23:36:21.594349     6 a.cpp:7] Check failed: {} (1 vs. 2) ", "F1120 23:36:21.594349     6 a.cpp:7] {}",
    "F1120 23:36:21.594349     6 a.cpp:7] Check failed: 1 == 2 (1 vs. 2) {}", "Error: {}", "KeyError: {}",
    "ValueError: {}", "IndexError: {}", "caffe: {}: cannot open shared object file", "{}: Permission denied",
    "[libprotobuf ERROR a.cc] Error parsing text-format: {}", "{} leveldb", "CUDA {}", "HDF5 {}", "ERROR: {}",
)  # fmt: skip


def _is(rule: Known, line: str) -> bool:
    return any(text in line for text in rule.find) and re.search(rule.match, line, re.MULTILINE) is not None


def test_no_text_of_a_rule_is_hidden_by_a_rule_before_it() -> None:
    asked = [rule for rule in rules() if not rule.after_end]
    hidden = []
    for rule in asked:
        for text in rule.find:
            lines = [line for form in _FORMS if _is(rule, line := form.format(text))]
            owners = {next(other.name for other in asked if _is(other, line)) for line in lines}
            if lines and rule.name not in owners:
                hidden.append((rule.name, text, owners))
    assert hidden == []


def test_commands_that_a_mend_names_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    words = {
        found[1]
        for rule in rules()
        for mend in (*rule.mends, rule.why)
        for found in re.finditer(r"provision ((?:data|net|image) [a-z-]+|(?!data |net |image )[a-z]+)", mend)
    }
    assert len(words) > 10
    for word in sorted(words):
        assert run([*word.split(), "--help"]) == 0, word


@pytest.mark.parametrize("line", [one.find for one in benign()])
def test_what_looks_bad_and_is_not(line: str) -> None:
    display = glog("solver.cpp:239] Iteration 0, loss = 1")
    assert diagnosed(glog(f"net.cpp:7] {line}"), line, display).causes == []


@pytest.mark.parametrize("name", ["interrupted", "resumed", "two-test-nets"])
def test_no_rule_is_met_by_a_sound_log(name: str) -> None:
    told = diagnose_pieces([(DATA / f"digits-{name}.log").read_bytes()])
    assert (told.causes, told.seen) == ([], [])
