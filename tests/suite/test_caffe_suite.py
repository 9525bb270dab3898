"""Caffe's own C++ tests, compiled and run with our patches and without them; and the memory that they save.

Without them is: with those alone that make this Caffe compile on today's libraries.
"""

import re
from functools import cache

import pytest

from images.patches import ColumnBuffer
from images.prove import prove
from infra import buildx
from tests.engine.caffe_kit import SHELL, image

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

_RUN = 'cd /src && exec .build_release/test/test_all.testbin --gtest_filter="-*GPU*" 2>/dev/null'


@cache
def outcome(column_buffer: ColumnBuffer) -> tuple[set[str], set[str]]:
    """Names of the tests that passed, and of those that failed."""
    made = image("suite", column_buffer)
    said = SHELL.run(buildx.run_words(made.tag, ["sh", "-c", _RUN], user="0:0"), check=False).out
    passed, failed = (set(re.findall(rf"^\[ +{word} \] (\S+)", said, re.MULTILINE)) for word in ("OK", "FAILED"))
    assert len(passed) + len(failed) > 1000, said[-3000:]
    return passed, failed


def test_all_of_caffes_own_tests_pass_as_without_our_column_buffer() -> None:
    passed, failed = outcome("ours")
    assert not failed
    assert passed >= outcome("none")[0]


def test_fcn8s_takes_two_thirds_of_the_memory_and_no_longer() -> None:
    """One pass, forward and backward, on 500 x 500 pixels: at most 0.64 of what each layer's own buffer takes."""
    ours = prove(image("devel"), "ours", SHELL, passes=1)
    none = prove(image("devel", "none"), "none", SHELL, passes=1)
    assert ours.peak_bytes is not None and none.peak_bytes is not None
    assert ours.peak_bytes <= 0.64 * none.peak_bytes
    print(f"peak {ours.peak_bytes / none.peak_bytes:.3f}, seconds {ours.seconds} against {none.seconds}")
