"""Images for real: BuildKit builds the rendered Dockerfile, and what comes out trains."""

import re
import time

import pytest

from images.build import Image, build, build_context, existing, listed
from images.check import check
from images.choose import choose
from images.render import Context, render
from infra import buildx
from infra.errors import ImageError
from infra.shell import LocalShell
from provision.cli import run

pytestmark = pytest.mark.engine
SHELL = LocalShell()


@pytest.fixture(scope="module")
def caffe() -> Image:
    return build(choose("caffe-debian"), SHELL)


def test_every_check_passes_in_the_built_image(caffe: Image) -> None:
    results = check(caffe, SHELL)
    assert [one.name for one in results] == ["user", "caffe-version", "caffe-trains", "pycaffe"]
    assert all(one.ok for one in results), results


def test_a_check_that_fails_says_so() -> None:
    context = Context(choose("caffe-debian"), (("Dockerfile", "FROM debian:bullseye\nRUN echo no Caffe\n"),))
    made = build_context(context, SHELL)
    try:
        results = check(made, SHELL)
        assert not any(one.ok for one in results)
        assert "caffe" in results[1].said
    finally:
        SHELL.run(["docker", "image", "rm", made.tag])


def test_a_second_build_does_nothing(caffe: Image) -> None:
    begun = time.monotonic()
    again = build(choose("caffe-debian"), SHELL)
    assert not again.built
    assert (again.digest, again.tag) == (caffe.digest, caffe.tag)
    assert time.monotonic() - begun < 3


def test_the_image_is_whole_small_and_says_what_it_is(caffe: Image) -> None:
    state = SHELL.run(buildx.run_words(caffe.tag, ["sh", "-c", "dpkg --audit; ls /var/lib/apt/lists"])).out
    assert state.split() in ([], ["lock", "partial"]), "packages half installed, or lists left behind"
    found = buildx.inspect(SHELL, caffe.tag)
    assert found is not None and found.size < 650e6
    assert found.labels["org.opencontainers.image.revision"] == "99bd997"
    assert found.labels["provision.row"] == "cpu-debian11"


def test_a_build_that_fails_leaves_no_tag_and_says_why() -> None:
    text = "FROM debian:bullseye\nRUN echo the reason is this; exit 3\n"
    broken = Context(choose("caffe-debian"), (("Dockerfile", text),))
    with pytest.raises(ImageError, match="the reason is this") as error:
        build_context(broken, SHELL)
    assert "exit code: 3" in error.value.what
    assert buildx.inspect(SHELL, broken.tag) is None


def test_a_tag_of_someone_else_is_not_taken_for_ours(caffe: Image) -> None:
    text = "FROM debian:bullseye\n# tagged by hand\n"
    context = Context(choose("caffe-debian"), (("Dockerfile", text),))
    SHELL.run(["docker", "tag", caffe.tag, context.tag])
    try:
        assert existing(context, SHELL) is None
    finally:
        SHELL.run(["docker", "image", "rm", context.tag])


def test_the_commands_tell_the_same(caffe: Image, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "build", "caffe-debian"]) == 0
    assert f"{caffe.tag} is there already" in capsys.readouterr().out
    assert run(["image", "build", "caffe-debian", "--dry-run"]) == 0
    assert f"{caffe.tag} is there already" in capsys.readouterr().out
    assert run(["image", "check", "caffe-debian"]) == 0
    assert re.search(r"caffe-trains +ok", capsys.readouterr().out)
    assert run(["image", "ls"]) == 0
    assert caffe.tag in capsys.readouterr().out
    assert caffe.tag in [one.tag for one in listed(SHELL)]
    found = existing(render(choose("caffe-debian")), SHELL)
    assert found is not None and found.digest == caffe.digest
