"""What is said to docker buildx, and what it says becomes an error with its mend."""

import pytest

from infra import buildx
from infra.errors import DiskError, EngineError, ImageError
from infra.shell import Result


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
