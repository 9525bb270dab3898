"""Two builds of one locked target give one image; on any engine, also on those that know no SOURCE_DATE_EPOCH."""

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from images import attest
from images.build import USUAL, Image, bases, build_context, existing, remove
from images.check import check
from images.choose import parse
from images.lock import Lock, find, make
from images.render import Context, render
from infra import baseimage, basepin, buildx
from infra.errors import ImageError
from infra.shell import LocalShell, Result, Words
from provision.cli import run

pytestmark = pytest.mark.engine
SHELL = LocalShell()
TOOLS = "tools:cpu-debian12"

# what a build leaves behind, and each time otherwise
UNTIDY = """\
FROM debian:bookworm AS build
RUN useradd --create-home someone && date +%N > /etc/machine-id && date +%N > /home/someone/note && ldconfig
FROM debian:bookworm AS runtime
RUN useradd someone && date +%N > /var/log/installed && date +%N > /etc/machine-id && ldconfig
COPY --from=build /etc/debian_version /opt/there
"""


@pytest.fixture(scope="module")
def lock() -> Lock:
    found = parse(TOOLS)
    names = bases(render(found).dockerfile)
    return make(found, {name: basepin.pin(name, SHELL) for name in names}, datetime.now(timezone.utc))


def untidy(lock: Lock | None) -> Context:
    return Context(parse(TOOLS), (("Dockerfile", UNTIDY),), lock)


def twice(context: Context) -> Iterator[Image]:
    for _ in range(2):
        made = build_context(context, SHELL, no_cache=True)
        yield made
        remove(made, SHELL)


def inspected(reference: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(SHELL.run(buildx.inspect_words(reference)).out)[0]
    return found


def test_an_untidy_build_has_one_digest_once_it_is_locked(lock: Lock) -> None:
    free = {made.digest for made in twice(untidy(None))}
    assert len(free) == 2, "the builds did not differ: this test tests nothing"
    seen = set()
    for made in twice(untidy(lock)):
        seen.add(made.digest)
        there = inspected(made.tag)
        base = inspected("debian:bookworm")
        assert there["RootFS"]["Layers"][0] == base["RootFS"]["Layers"][0]  # type: ignore[index]
        assert str(there["Created"]).startswith(lock.date)
        said = SHELL.run(buildx.run_words(made.tag, ["sh", "-c", "cat /opt/there; id -un someone; ls /var/log"])).out
        assert said.split()[1] == "someone" and "installed" not in said
    assert len(seen) == 1


class NoPlace(LocalShell):
    """This machine, with no place for what is written anew."""

    def run(self, words: Words, **more: Any) -> Result:
        if words[0] == "python3":
            more["env"] = {"TMPDIR": "/nowhere"}
        return super().run(words, **more)


def test_an_image_that_cannot_be_made_the_same_is_not_left_as_if_it_were(lock: Lock) -> None:
    with pytest.raises(ImageError, match="what differs from build to build cannot be taken out") as error:
        build_context(untidy(lock), NoPlace())
    assert "/nowhere" in error.value.what and "--no-lock" in error.value.mend
    assert buildx.inspect(SHELL, untidy(lock).tag) is None


def test_a_bill_and_a_provenance_are_written_beside_a_built_image(lock: Lock, tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx")
    context = untidy(lock)
    made = build_context(context, SHELL)
    try:
        bill, provenance = (json.loads(one.read_text()) for one in attest.write(
            attest.look(made, context, USUAL, SHELL), SHELL, tmp_path))  # fmt: skip
    finally:
        remove(made, SHELL)
    libc = next(one for one in bill["components"] if one["name"] == "libc6")
    assert {"name": "provision:licence-file", "value": "/usr/share/doc/libc6/copyright"} in libc["properties"]
    assert bill["metadata"]["component"]["hashes"][0]["content"] == made.digest.removeprefix("sha256:")
    assert provenance["subject"][0]["digest"]["sha256"] == made.digest.removeprefix("sha256:")
    [base] = [one for one in provenance["predicate"]["buildDefinition"]["resolvedDependencies"] if ":" in one["name"]]
    pin = lock.bases["debian:bookworm"]
    assert f"sha256:{base['digest']['sha256']}" in (pin.digest, pin.made_here)


def test_a_base_that_is_another_stops_the_build_and_says_how_to_go_on(lock: Lock) -> None:
    baseimage.ensure("debian:bookworm", SHELL)
    other = make(parse(TOOLS), {"debian:bookworm": basepin.Pin(made_here="sha256:" + "0" * 64)}, datetime.now())
    with pytest.raises(ImageError, match="is locked to sha256:000") as error:
        build_context(untidy(other), SHELL)
    assert f"provision image update {TOOLS}" in error.value.mend


@pytest.mark.long
def test_tools_is_built_twice_to_one_digest_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["image", "lock", TOOLS]) == 0
    seen = set()
    for number in range(2):
        assert run(["image", "build", TOOLS, "--no-cache", "--no-check", "--json"]) == 0
        found = parse(TOOLS)
        made = existing(render(found, lock=find(found)), SHELL)
        assert made is not None
        seen.add(made.digest)
        if number:
            assert all(one.ok for one in check(made, SHELL))
        remove(made, SHELL)
    assert len(seen) == 1
