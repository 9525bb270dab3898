"""What `net lint` says of nets whose truth is known: nothing of sound ones, and each fault that was put in."""

import random
from collections import Counter
from pathlib import Path

import pytest

from provision.lint.finding import Finding
from provision.lint.net import NetReport, lint
from tests.corpus.detect_nets import detector
from tests.corpus.net_faults import FAULTS, Fault, Faulty, of_solvers
from tests.corpus.nets import Drawing, deploy, plain, residual, staged
from tests.corpus.pixel_nets import masked, pixels

KINDS = (plain, residual, staged, deploy, pixels, masked, detector)
DRAWS = 40  # of each kind


def drawn(seed: int) -> list[Drawing]:
    return [kind(random.Random(f"{kind.__name__} {seed}")) for kind in KINDS]


def checked(drawing: Drawing, folder: Path) -> NetReport:
    for name, text in drawing.files().items():
        (folder / name).write_text(text)
    return lint(folder / drawing.main, given={"data": drawing.pictures})


def found(faulty: Faulty, report: NetReport) -> list[Finding]:
    return [
        one for one in report.findings if one.rule in faulty.rule.split("|") and faulty.word.lower() in one.what.lower()
    ]


@pytest.mark.parametrize("seed", range(DRAWS))
def test_sound_nets_and_solvers_are_left_in_peace(seed: int, tmp_path: Path) -> None:
    for drawing in drawn(seed):
        said = checked(drawing, tmp_path).findings
        if drawing.kind == "masked":  # a Caffe that no stack has is named once
            assert [(one.rule, one.level) for one in said if one.rule == "type"] == [("type", "warning")], said
            said = tuple(one for one in said if one.rule != "type")
        if drawing.kind == "pixels":  # a Python program may train
            said = tuple(one for one in said if (one.level, one.what) != ("warning", "max_iter is not given"))
        assert said == (), (drawing.kind, drawing.files(), said)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_of_a_net_is_found(fault: Fault, tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(DRAWS // 2):
        for drawing in drawn(seed):
            faulty = fault(random.Random(seed), drawing)
            if faulty is not None:
                report = checked(faulty.drawing, tmp_path)
                assert found(faulty, report), (seed, drawing.kind, faulty, faulty.drawing.files(), report.findings)
                seen[drawing.kind] += 1
    assert sum(seen.values()) >= DRAWS // 8, f"{fault.__name__} was put into {seen}"


def test_each_fault_of_a_solver_is_found(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(DRAWS):
        for drawing in drawn(seed):
            for name, faulty in of_solvers(drawing):
                report = checked(faulty.drawing, tmp_path)
                assert found(faulty, report), (seed, name, faulty.drawing.solver, report.findings)
                seen[name] += 1
    assert len(seen) == 18 and min(seen.values()) >= 3, seen
