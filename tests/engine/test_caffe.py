"""Caffe for real: compiled by the rendered Dockerfile, unchanged, on Debian 12, with all patches."""

import json
import re

import pytest

from images.check import check
from infra import buildx
from tests.engine.caffe_kit import SHELL, image
from tests.engine.security import overlooked

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

_BASE_LR = """
import caffe
solver = caffe.SGDSolver("/tmp/solver.prototxt")
def moved():
    before = solver.net.params["score"][0].data.copy()
    solver.step(1)
    return float(abs(solver.net.params["score"][0].data - before).max())
solver.base_lr = 0.0
still = moved()
solver.set_base_lr(0.25)
print("still", still, "moves", moved() > 0, "rate", solver.get_base_lr(), solver.base_lr)
"""
_LAZY = """
import sys, caffe
print("loaded", sorted({"skimage", "scipy", "matplotlib"} & set(sys.modules)))
try:
    caffe.io.load_image("/nowhere.png")
except ImportError as error:
    print("says", error)
"""


def test_every_check_passes_in_the_image() -> None:
    results = check(image(), SHELL)
    assert {"caffe-trains", "pycaffe", "column-buffer"} <= {one.name for one in results}
    assert all(one.ok for one in results), results


def test_nothing_in_it_is_behind_a_security_fix() -> None:
    assert overlooked(image) == []


def test_the_image_without_python_trains() -> None:
    results = check(image("runtime-nopython"), SHELL)
    assert "caffe-trains" in {one.name for one in results}
    assert all(one.ok for one in results), results
    words = buildx.run_words(image("runtime-nopython").tag, ["sh", "-c", "command -v python3 || echo none"])
    assert SHELL.run(words).out.strip() == "none"


def test_the_images_are_small() -> None:
    """The plain way, on the same release and with the same content, came to 1.63 GB."""
    assert image().size <= 750e6
    assert image("runtime-nopython").size <= 500e6


def test_the_image_says_what_it_is_made_of() -> None:
    found = buildx.inspect(SHELL, image().tag)
    assert found is not None
    assert found.labels["org.opencontainers.image.source"] == "https://github.com/BVLC/caffe"
    assert found.labels["org.opencontainers.image.revision"] == "99bd99795dcdf0b1d3086a8d67ab1782a8a08383"
    assert found.labels["provision.row"] == "cpu-debian12"
    assert {"column-buffer", "opencv4", "protobuf-limit"} <= set(found.labels["provision.patches"].split())


def test_the_learning_rate_can_be_read_and_set() -> None:
    from images.check import CHECKS

    script = f"cat > /tmp/solver.prototxt && python3 -c '{_BASE_LR}'"
    said = buildx.run_in(SHELL, image().tag, ["sh", "-c", script], stdin=CHECKS["pycaffe"].stdin).out
    assert "still 0.0 moves True rate 0.25 0.25" in said


def test_scikit_image_is_asked_for_only_where_it_is_used() -> None:
    said = SHELL.run(buildx.run_words(image().tag, ["python3", "-c", _LAZY])).out
    assert "loaded []" in said
    assert "says this needs scikit-image" in said


def test_pycaffes_own_tests_pass_but_for_the_drawing() -> None:
    """`caffe.draw` needs pydot and Graphviz, which the image leaves out: its test cannot be loaded. All others pass."""
    words = ["sh", "-c", "cd /tmp && python3 -m unittest discover -s /opt/caffe/python/caffe/test 2>&1 || true"]
    said = SHELL.run(buildx.run_words(image().tag, words)).out
    failed = re.findall(r"^(?:ERROR|FAIL): (\w+)", said, re.MULTILINE)
    assert failed == ["test_draw"], said[-3000:]
    assert "No module named 'pydot'" in said
    assert "Ran 52 tests" in said


def test_one_static_buffer_is_wrong_with_threads_and_ours_is_not() -> None:
    """The same program, the same passes: what proves ours right finds the well-known patch wrong."""
    ours = _races("ours", passes=50)
    assert [(one["wrong_forward"], one["wrong_gradient"]) for one in ours] == [(0, 0)] * 3
    static = _races("static", passes=50)
    assert static[0]["wrong_gradient"] == 0  # one thread: right
    assert all(one is None or one["wrong_gradient"] > 0 for one in static[1:]), static


def _races(variant: str, passes: int) -> "list[dict[str, int] | None]":
    made = image("runtime", variant)  # type: ignore[arg-type]
    found = []
    for threads in (1, 2, 4):
        words = ["/opt/caffe/bin/column-buffer", "threads", "--threads", str(threads), "--passes", str(passes)]
        lines = SHELL.run(buildx.run_words(made.tag, words), check=False).out.splitlines()
        found.append(json.loads(lines[-1]) if lines else None)  # none: it died, as the static one sometimes does
    return found


def test_forward_and_backward_may_run_in_different_threads() -> None:
    done = SHELL.run(buildx.run_words(image().tag, ["/opt/caffe/bin/column-buffer", "handover"]), check=False)
    assert done.ok, done.err
