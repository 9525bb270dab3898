"""What an image stands on: its labels, when it is built again, and what is said of old bases."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType

import pytest

from images import bases, lock
from images.build import bases as names
from images.build import build_context, existing, stages
from images.choose import choose, parse
from images.render import Context, render
from infra import buildx
from infra.basepin import Pin
from infra.shell import LocalShell, Result, Words
from provision.cli import run
from provision.hosts import image

DEVEL, RUN = "debian:bookworm", "debian:bookworm-slim"
DOCKERFILE = (
    f"FROM {DEVEL} AS build\nFROM {RUN} AS runtime-base\nFROM runtime-base AS devel\nFROM runtime-base AS runtime\n"
)


class Engine(LocalShell):
    """An engine with images by name. A registry has newer ones in `newer`, and for all else what the engine has."""

    def __init__(self, newer: Mapping[str, str] = MappingProxyType({})) -> None:
        self.images: dict[str, dict[str, object]] = {}
        self.newer = newer
        self.lines: list[str] = []

    def add(self, name: str, digest: str, days: float = 0, labels: dict[str, str] | None = None) -> None:
        made = datetime.now(timezone.utc) - timedelta(days=days)
        self.images[name] = {
            "Id": f"sha256:{digest}",
            "RepoDigests": [f"other.example/debian@sha256:x{digest}", f"debian@sha256:repo-{digest}"],
            "Created": made.strftime("%Y-%m-%dT%H:%M:%S.123456789Z"),
            "Config": {"Labels": labels},
        }

    def run(self, words: Words, **more: object) -> Result:
        self.lines.append(" ".join(words))
        if words[:3] == ["docker", "image", "inspect"]:
            found = self.images.get(words[3])
            return Result(0, json.dumps([found])) if found else Result(1, err="Error: No such image")
        if words[:2] == ["docker", "pull"]:
            if new := self.newer.get(words[-1]):
                self.add(words[-1], new)
        elif "build" in words:
            labels = dict(one.split("=", 1) for at, one in enumerate(words) if words[at - 1] == "--label")
            self.add(words[words.index("--tag") + 1], "built", labels=labels)
        return Result(0)


@pytest.fixture
def context() -> Context:
    return Context(choose("caffe-debian"), (("Dockerfile", DOCKERFILE),))


def engine() -> Engine:
    made = Engine()
    made.add(DEVEL, "1")
    made.add(RUN, "2")
    return made


def test_the_image_under_a_stage_is_found_through_the_stages_before_it() -> None:
    of = stages(DOCKERFILE)
    assert [bases.below(of, stage) for stage in (None, "devel", "build")] == [RUN, RUN, DEVEL]
    assert bases.below(stages("FROM debian:12 AS one\nFROM one AS one\n")) == "debian:12"


def test_a_built_image_says_which_bases_it_stands_on(context: Context) -> None:
    shell = engine()
    made = build_context(context, shell)
    found = buildx.inspect(shell, made.tag)
    assert found is not None
    assert found.labels["org.opencontainers.image.base.name"] == RUN
    assert found.labels["org.opencontainers.image.base.digest"] == "sha256:repo-2"
    assert found.labels["provision.bases"] == f"{DEVEL}=sha256:1 {RUN}=sha256:2"
    assert found.labels["provision.context"] == context.hash


def test_a_base_that_is_from_no_registry_is_told_by_its_id(context: Context) -> None:
    shell = engine()
    shell.images[RUN]["RepoDigests"] = []
    build_context(context, shell)
    found = buildx.inspect(shell, context.tag)
    assert found is not None and found.labels[bases.DIGEST] == "sha256:2"


@pytest.mark.parametrize("changed", [DEVEL, RUN])
def test_an_image_on_another_base_than_the_engine_has_is_not_there(context: Context, changed: str) -> None:
    shell = engine()
    build_context(context, shell)
    assert existing(context, shell) is not None
    shell.add(changed, "3")
    assert existing(context, shell) is None
    assert existing(context, shell, any_base=True) is not None


def test_an_image_whose_base_is_not_here_or_not_told_is_there(context: Context) -> None:
    shell = engine()
    build_context(context, shell)
    shell.images = {context.tag: shell.images[context.tag]}
    assert existing(context, shell) is not None
    shell.add(DEVEL, "3")
    shell.add(context.tag, "old", labels={"provision.context": context.hash})
    assert existing(context, shell) is not None


def test_a_base_of_long_ago_is_cautioned_and_one_named_by_its_digest_is_not() -> None:
    shell = engine()
    shell.add(RUN, "2", days=31.5)
    shell.add("debian@sha256:2", "2", days=900)
    [said] = bases.cautions([DEVEL, RUN, "debian@sha256:2", "not:here"], shell)
    assert said.startswith(f"caution: the base image {RUN} at the engine is 31 days old") and "--pull" in said


@pytest.mark.parametrize("created", ["", "0001-01-01T00:00:00Z", "1970-01-01T00:00:01Z"])
def test_a_base_that_hides_its_age_is_not_cautioned(created: str) -> None:
    shell = engine()
    shell.images[RUN]["Created"] = created
    assert bases.cautions([RUN], shell) == []


@pytest.mark.parametrize(
    ("reference", "digest"),
    [
        ("debian:bookworm", "sha256:a"),
        ("debian", "sha256:a"),
        ("localhost:5000/debian:1", "sha256:b"),
        ("debian@sha256:a", "sha256:a"),
        ("ubuntu:22.04", "sha256:id"),
    ],
)
def test_a_digest_is_that_of_the_references_own_registry(reference: str, digest: str) -> None:
    found = buildx.Inspected("sha256:id", {}, 1, ("localhost:5000/debian@sha256:b", "debian@sha256:a"))
    assert found.digest(reference) == digest


# the command


CONTEXT = render(choose("caffe-debian"))
BASES = names(CONTEXT.dockerfile)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine of this machine; the bases at it are two months old, and the image stands on them."""
    shell = Engine()
    for base in BASES:
        shell.add(base, "1", days=60)
    stands = " ".join(f"{base}=sha256:1" for base in BASES)
    shell.add(CONTEXT.tag, "built", labels={"provision.context": CONTEXT.hash, bases.ALL: stands})
    monkeypatch.setattr("infra.shell.LocalShell", lambda: shell)
    return shell


def images_built(shell: Engine) -> list[str]:
    return [line for line in shell.lines if "buildx build" in line]


def test_a_build_says_that_the_base_is_old_and_pull_builds_on_a_newer_one(
    here: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["image", "build", "caffe-debian", "--no-check"]
    assert run(words) == 0
    shown = capsys.readouterr()
    assert "is there already" in shown.out and "is 60 days old; --pull" in shown.err
    here.newer = dict.fromkeys(BASES, "2")
    assert run([*words, "--pull"]) == 0
    shown = capsys.readouterr()
    assert " built: " in shown.out and "days old" not in shown.err
    assert len(images_built(here)) == 1
    assert run([*words, "--pull"]) == 0
    assert "is there already" in capsys.readouterr().out
    assert len(images_built(here)) == 1


def test_a_dry_run_of_pull_asks_nobody(here: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "build", "caffe-debian", "--pull", "--dry-run"]) == 0
    assert f"would ask for {', '.join(BASES)} anew" in capsys.readouterr().out
    assert not [line for line in here.lines if "docker pull" in line]


def test_a_training_takes_the_image_on_its_older_base(here: Engine) -> None:
    here.add(BASES[0], "2")
    assert existing(CONTEXT, here) is None
    assert image.at(here, "caffe-debian").digest == "sha256:built"


def test_an_image_on_an_older_base_can_still_be_pushed(here: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    here.add(BASES[0], "2")
    assert run(["image", "push", "caffe-debian", "registry.example/caffe:1", "--dry-run"]) == 0
    assert "would push" in capsys.readouterr().out


ONE = "1" * 64


@pytest.fixture
def locked(here: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The context of a project that is locked to bases that were made here; its image is there."""
    monkeypatch.chdir(tmp_path)
    made = lock.make(
        CONTEXT.target, {base: Pin(made_here=f"sha256:{ONE}") for base in BASES}, datetime.now(timezone.utc)
    )
    lock.write(made, CONTEXT.target)
    found = render(CONTEXT.target, lock=made)
    for base in BASES:
        here.add(base, ONE, days=60)
    here.add(found.tag, "built", labels={"provision.context": found.hash})
    here.newer = dict.fromkeys(BASES, "2")
    return found


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_pull_leaves_a_base_that_was_made_here_and_is_locked(
    here: Engine, locked: Context, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["image", "build", "caffe-debian", "--no-check", "--pull", *more]) == 0
    shown = capsys.readouterr()
    assert locked.lock is not None
    lock.hold(locked.lock, here)
    assert not [line for line in here.lines if "docker pull" in line]
    assert f"{locked.tag} is there already" in shown.out and "anew" not in shown.out
    for base in BASES:
        assert f"{base} stays: the lock holds it" in shown.err
    assert "provision image build caffe-debian:cpu-debian11 --no-lock --pull, then provision image update" in shown.err


def test_a_base_that_the_lock_holds_for_ever_is_not_cautioned(
    here: Engine, locked: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["image", "build", "caffe-debian", "--no-check"]) == 0
    assert "days old" not in capsys.readouterr().err
    assert run(["image", "build", "caffe-debian", "--no-check", "--no-lock"]) == 0
    assert "is 60 days old; --pull" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("caffe-debian:cpu-debian11", "image check {}"),
        ("cuda:cuda13.3-cudnn9.24-ubuntu22.04", "up --image {} --instance g4dn.xlarge"),
        ("cuda:cuda12.9-cudnn9.10-ubuntu22.04@A10G", "up --image {} --instance g5.xlarge"),
        ("cuda:cuda8.0-cudnn7.2-ubuntu16.04", "image check {}"),  # AWS left the types with its GPUs
    ],
)
def test_what_is_proposed_after_a_build_works(
    here: Engine, name: str, proposed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = render(parse(name))
    here.add(context.tag, "built", labels={"provision.context": context.hash})
    assert run(["image", "build", name]) == 0
    assert f"next: provision {proposed.format(name)}\n" in capsys.readouterr().out
