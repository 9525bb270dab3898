"""What is said to docker buildx, and what it says becomes an error with its mend."""

from typing import Any

import pytest

from infra import buildx
from infra.errors import DiskError, EngineError, ImageError
from infra.shell import Result, Words


def test_build_words_name_the_engines_own_builder() -> None:
    words = buildx.build_words("a:b", {"k": "v"})
    assert words[:6] == ["docker", "buildx", "build", "--builder", "default", "--load"]
    assert words[-1] == "-" and words[words.index("--label") + 1] == "k=v"
    assert buildx.build_words("a:b", {}, buildx=False)[:2] == ["docker", "build"]
    assert buildx.build_env(buildx=False) == {"DOCKER_BUILDKIT": "1"}


@pytest.mark.parametrize(
    ("said", "kind", "mend"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", EngineError, "start the engine"),
        ("permission denied while trying to connect to the Docker daemon socket", EngineError, "docker group"),
        ("BuildKit is enabled but the buildx component is missing or broken.", EngineError, "install buildx"),
        ("write /x: no space left on device", DiskError, "docker system prune"),
        ("E: Version '1' for 'caffe' was not found", ImageError, "sources.list"),
    ],
)
def test_what_docker_says_becomes_an_error_with_its_mend(said: str, kind: type[Exception], mend: str) -> None:
    error = buildx.failure(Result(1, err=said), "cannot build")
    assert type(error) is kind
    assert said in error.what and mend in error.mend


FAILED = """\
#5 0.3 noise
#5 ERROR: failed [/bin/sh -c long]: exit code: 3
------
 > [2/3] RUN long:
0.3 the reason
------
ERROR: failed [/bin/sh -c long]: exit code: 3
"""


def test_a_failed_build_is_told_by_the_end_of_its_step() -> None:
    assert buildx.last_words(FAILED, 9) == ["0.3 the reason", "exit code: 3"]


class Engine:
    """A shell whose docker answers what it is told; it keeps what it was asked."""

    where = "a fake"

    def __init__(self, answer: Result) -> None:
        self.answer = answer
        self.asked: list[tuple[list[str], dict[str, Any]]] = []

    def run(self, words: Words, **how: Any) -> Result:
        self.asked.append((list(words), how))
        return self.answer

    def put(self, source: object, target: object) -> None: ...

    def get(self, source: object, target: object) -> None: ...


def test_what_runs_in_an_image_gets_no_stream_and_a_limit() -> None:
    words = buildx.run_words("a:b", ["caffe", "--version"], user="7:8", limit_s=60)
    assert " ".join(words).endswith("--user 7:8 a:b timeout --kill-after=10 60 caffe --version")
    assert "--interactive" not in words and "--rm" in words


def test_input_goes_along_as_a_word() -> None:
    words = buildx.run_words("a:b", ["cat", "-"], stdin="line's \n")
    assert "--interactive" not in words
    assert words[-4:] == ["sh", "line's \n", "cat", "-"]


@pytest.mark.parametrize("code", [124, 137])
def test_what_did_not_end_in_its_time_says_so(code: int) -> None:
    engine = Engine(Result(code, "begun", "noise"))
    told = buildx.run_in(engine, "a:b", ["cat"], limit_s=0)
    assert (told.code, told.out, told.err) == (buildx.ENDED, "begun", "noise\nit did not end within 0 s")
    words, how = engine.asked[0]
    assert words[-2:] == ["0", "cat"]
    assert how["timeout"] > 0 and how.get("stdin") is None


@pytest.mark.parametrize("code", [0, 1, 124, 137])
def test_what_ended_before_its_time_is_told_as_it_is(code: int) -> None:
    answer = Result(code, "said", "of memory")
    assert buildx.run_in(Engine(answer), "a:b", ["cat"], limit_s=3600) == answer
