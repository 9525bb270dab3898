"""From a wish to one target, to its tag and its context."""

import io
import tarfile

import pytest
from click.testing import CliRunner

from images.choose import choose, parse, targets
from images.render import Context, render
from images.target import Target
from infra import buildx
from infra.errors import EngineError, ImageError, UsageError
from infra.shell import Result
from provision.cli import run


def test_a_stack_alone_is_enough() -> None:
    assert choose("caffe-debian").name == "caffe-debian:cpu-debian11"
    assert parse("caffe-debian:cpu-debian11") == choose("caffe-debian")


@pytest.mark.parametrize(
    ("wish", "what", "mend"),
    [
        ({"stack": "cafe-debian"}, "no stack 'cafe-debian'", "did you mean caffe-debian?"),
        ({"stack": "caffe-debian", "row": "cpu-debian1"}, "no row 'cpu-debian1'", "did you mean cpu-debian11?"),
        (
            {"stack": "caffe-debian", "row": "cpu-debian12"},
            "Debian 11 is the last release that packages Caffe",
            "take caffe-debian:cpu-debian11",
        ),
        ({"stack": "caffe-debian", "cuda": "11.8"}, "it is for CPUs only", "take caffe-debian:cpu-debian11"),
        (
            {"stack": "caffe-debian", "gpu": "V100"},
            "no image of caffe-debian has code for the V100",
            "take caffe-debian",
        ),
        ({"stack": "caffe-debian", "gpu": "V10"}, "'V10' is no GPU", "did you mean V100"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest(wish: dict[str, str], what: str, mend: str) -> None:
    with pytest.raises(UsageError) as error:
        choose(**wish)
    assert what in error.value.what
    assert mend in error.value.mend


def test_the_tag_follows_from_the_context() -> None:
    target = choose("caffe-debian")
    assert target.tag == f"provision/caffe-debian:cpu-debian11-{render(target).hash}"
    changed = Context(target, (("Dockerfile", render(target).dockerfile + "# one more line\n"),))
    assert changed.tag != target.tag


def test_the_context_is_the_same_bytes_each_time() -> None:
    for target in targets():
        first, second = render(target).tar(), render(Target(target.stack, target.variant)).tar()
        assert first == second
        with tarfile.open(fileobj=io.BytesIO(first)) as tar:
            assert tar.getnames() == ["Dockerfile"]


def test_the_dockerfile_pins_what_it_installs() -> None:
    text = render(choose("caffe-debian")).dockerfile
    for name, version in choose("caffe-debian").stack.packages.items():
        assert f"{name}={version} " in text


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
        ("write /x: no space left on device", ImageError, "docker system prune"),
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


def test_the_command_prints_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "choose", "--stack", "caffe-debian"]) == 0
    assert capsys.readouterr().out.startswith("caffe-debian:cpu-debian11\n")
    assert run(["image", "choose", "--stack", "caffe"]) == 2
    assert "did you mean caffe-debian?" in capsys.readouterr().err


def test_the_matrix_as_json_names_the_stacks_of_each_row() -> None:
    import json

    from provision.commands.image import image

    rows = json.loads(CliRunner().invoke(image, ["matrix", "--json"]).output)
    assert {row["id"]: row["stacks"] for row in rows} == {"cpu-debian11": ["caffe-debian"], "cpu-debian12": []}


def test_render_prints_one_and_wants_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "render", "caffe-debian"]) == 0
    assert "FROM debian:bullseye\n" in capsys.readouterr().out
    assert run(["image", "render"]) == 2
