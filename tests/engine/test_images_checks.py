"""New images and their checks, for real: an image has its tag when it has passed them, whatever breaks off before."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from images.build import Image, Order, build, build_context, existing, remove
from images.check import Check, check, run
from images.choose import choose
from images.render import Context
from infra import buildx
from infra.errors import ImageError, UsageError
from infra.shell import LocalShell
from provision.commands.image_build import _made
from provision.hosts import image as runimage

pytestmark = pytest.mark.engine
SHELL = LocalShell()


@pytest.fixture(scope="module")
def caffe() -> Image:
    return build(choose("caffe-debian"), SHELL)


def context(*lines: str) -> Context:
    """A Dockerfile of these lines on Debian 11."""
    return Context(choose("caffe-debian"), (("Dockerfile", "\n".join(["FROM debian:bullseye", *lines, ""])),))


def test_a_check_that_fails_says_so() -> None:
    context = Context(choose("caffe-debian"), (("Dockerfile", "FROM debian:bullseye\nRUN echo no Caffe\n"),))
    made = build_context(context, SHELL)
    try:
        results = check(made, SHELL)
        assert not any(one.ok for one in results)
        assert "caffe" in results[1].said
    finally:
        SHELL.run(["docker", "image", "rm", made.tag])


def containers(image: Image, state: str | None = None) -> list[str]:
    """Those of the image, running or not; or those in that state alone."""
    more = ["--filter", f"status={state}"] if state else []
    return SHELL.run(["docker", "ps", "--all", "--quiet", "--filter", f"ancestor={image.tag}", *more]).out.split()


@pytest.fixture(scope="module")
def plain() -> Iterator[Image]:
    """Debian itself."""
    made = build_context(context("RUN echo plain"), SHELL)
    yield made
    remove(made, SHELL)


def test_a_program_that_reads_comes_to_the_end_of_its_input(plain: Image) -> None:
    given = "line's 100%s \\n\nmore"
    told = run("reads", Check(("sh", "-c", "cat; echo; echo read"), f"{re.escape(given)}\nread", given), plain, SHELL)
    assert told.ok, told.said
    for _ in range(5):
        assert run("reads", Check(("sh", "-c", "cat; echo read"), "^read"), plain, SHELL).ok


@pytest.mark.parametrize("program", ["sleep infinity", "trap : TERM INT HUP; while :; do sleep 1; done"])
def test_a_program_that_never_ends_is_ended_and_leaves_no_container(plain: Image, program: str) -> None:
    told = run("ends", Check(("sh", "-c", f"echo begun; {program}"), "begun", limit_s=2), plain, SHELL)
    assert (told.ok, told.said) == (False, "it did not end within 2 s")
    assert containers(plain) == []


def test_what_was_begun_by_a_client_that_was_killed_ends_too(plain: Image) -> None:
    words = buildx.run_words(plain.tag, ["sleep", "infinity"], limit_s=10)
    client = subprocess.Popen(words)
    while not containers(plain, "running") and client.poll() is None:
        time.sleep(0.1)
    assert client.poll() is None
    client.kill()
    client.wait()
    until = time.monotonic() + 300
    while containers(plain) and time.monotonic() < until:
        time.sleep(0.5)
    assert containers(plain) == []


def test_a_check_that_was_made_and_never_started_does_not_hold_the_image() -> None:
    """`docker run` is two requests, and a client may be killed between them; a box of the user's stays."""
    held = context("RUN echo held")
    made = build_context(held, SHELL)
    words = buildx.run_words(made.tag, ["true"])
    SHELL.run(["docker", "create", *words[2:]])
    remove(made, SHELL)
    assert existing(held, SHELL) is None
    again = build_context(held, SHELL)
    other = SHELL.run(["docker", "create", again.tag, "true"]).out.strip()
    try:
        remove(again, SHELL)
        assert other.startswith(containers(again)[0])
    finally:
        SHELL.run(["docker", "rm", other])
        remove(again, SHELL)


def test_a_new_image_that_fails_its_checks_is_taken_away() -> None:
    bad = context("RUN echo no Caffe here")
    with pytest.raises(ImageError, match="does not work, so it was taken away") as error:
        _made(bad, Order(), SHELL, checked=True)
    assert "caffe-version" in error.value.what and "--no-check" in error.value.mend
    assert f"{bad.tag} was built" in error.value.what
    assert not tagged(bad)


# what the checks ask of Caffe, said by a script
SAY = "caffe version 1.0 Iteration 20, loss = 0.1 Optimization Done. tiny_iter_20.solverstate iteration 3 loss 1.0"


LDD = r'#!/bin/sh\necho "libblas.so.3 => /opt/openblas/libblas.so.3 (0x0)"\n'


def pretender(*before: str) -> Context:
    """An image that passes all checks in a second."""
    lines = ["#!/bin/sh", *before, "cat > /dev/null", f"echo {SAY}", "touch /tmp/tiny_iter_20.solverstate"]
    script = "".join(f"{line}\\n" for line in lines)
    python = choose("caffe-debian").distribution.python
    return context(
        "RUN useradd --uid 1000 trainer && mkdir /opt/openblas",
        f"RUN printf '{LDD}' > /usr/bin/ldd",
        f"RUN printf '{script}' > /usr/bin/caffe && chmod 755 /usr/bin/caffe && cp /usr/bin/caffe /usr/bin/{python}",
        "USER trainer",
    )


def tagged(context: Context) -> list[str]:
    """Tags of the context, its own and others made of it."""
    words = ["docker", "image", "ls", "--format", "{{.Tag}}", "--filter", f"reference={context.tag}*"]
    return SHELL.run(words).out.split()


def test_an_image_has_its_tag_once_the_checks_are_passed_and_no_other() -> None:
    good = pretender(": good")
    made = _made(good, Order(), SHELL, checked=True)
    try:
        assert (made.tag, made.built) == (good.tag, True)
        assert tagged(good) == [good.tag.rpartition(":")[2]]
        found = existing(good, SHELL)
        assert found is not None and found.digest == made.digest
    finally:
        remove(made, SHELL)


CHECKED = (
    "from images.build import Order; from infra.shell import LocalShell; from images.render import Context;"
    "from images.choose import choose; from provision.commands.image_build import _made; import sys;"
    "_made(Context(choose('caffe-debian'), (('Dockerfile', sys.argv[1]),)), Order(), LocalShell(), checked=True)"
)


@pytest.mark.long
def test_an_image_whose_checks_were_killed_is_no_image_that_is_there() -> None:
    slow = pretender("sleep 5")
    words = [sys.executable, "-c", CHECKED, slow.dockerfile]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running = ["docker", "ps", "--quiet", "--filter", f"ancestor={slow.tag}-unchecked"]
    try:
        for _ in range(300):
            if SHELL.run(running, check=False).out:
                break
            time.sleep(0.2)
        process.kill()
        process.wait()
        assert tagged(slow) == [f"{slow.tag}-unchecked".rpartition(":")[2]]
        assert existing(slow, SHELL) is None
        time.sleep(7)  # the container of the check ends
        kept = _made(slow, Order(), SHELL, checked=True)
        assert tagged(slow) == [kept.tag.rpartition(":")[2]]
    finally:
        process.kill()
        for tag in tagged(slow):
            SHELL.run(["docker", "image", "rm", f"provision/caffe-debian:{tag}"], check=False)


def test_a_training_does_not_take_an_image_that_was_tagged_by_hand(caffe: Image) -> None:
    assert runimage.obtain(caffe.tag).digest == caffe.digest
    other = caffe.tag[:-12] + "0123456789ab"
    SHELL.run(["docker", "image", "tag", caffe.tag, other])
    try:
        with pytest.raises(UsageError, match="built as its tag says"):
            runimage.obtain(other)
    finally:
        SHELL.run(["docker", "image", "rm", other])
