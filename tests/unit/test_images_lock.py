"""A target's lock: what is written, what it makes of a Dockerfile, and when it is refused."""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest

from images.choose import parse, targets
from images.lock import changes, find, hold, load, make, place, write
from images.render import render
from images.target import Target
from infra import basepin
from infra.basepin import Pin, digest_in, pin, pin_of
from infra.errors import ImageError, UsageError
from infra.shell import OnLine, Result, Words
from provision.cli import run
from provision.commands.image_lock import _next
from provision.commands.session import Place
from provision.hosts.image import planned

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
DAY = datetime(2026, 11, 29, 13, 14, tzinfo=timezone.utc)


class Engine:
    """An engine with images, as docker inspects them, and a registry with digests."""

    where = "this machine"

    def __init__(self, images: Mapping[str, dict[str, object]], registry: Mapping[str, str] | None = None) -> None:
        self.images, self.registry = dict(images), dict(registry or {})
        self.said: list[list[str]] = []

    def run(
        self,
        words: Words,
        *,
        check: bool = True,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_line: OnLine | None = None,
    ) -> Result:
        self.said.append(list(words))
        if words[1:4] == ["buildx", "imagetools", "inspect"]:
            found = self.registry.get(words[4])
            return Result(0, json.dumps({"digest": found})) if found else Result(1, "", "no such host")
        if words[1:3] == ["image", "inspect"]:
            found_image = self.images.get(words[-1])
            if found_image is None:
                return Result(1, "", "Error: No such image")
            return Result(0, json.dumps(found_image if "--format" in words else [found_image]))
        return Result(1, "", "cannot")

    def put(self, source: Path, target: str) -> None:
        raise NotImplementedError

    def get(self, source: str, target: Path) -> None:
        raise NotImplementedError


def made_here(identity: str) -> dict[str, object]:
    return {"Id": identity, "RepoDigests": [], "Config": {"Labels": {"provision.base": "made here"}}}


def target(name: str = "tools:cpu-debian12") -> Target:
    return parse(name)


# what a base is pinned to


def test_a_base_is_held_by_what_the_registry_says_then_by_what_was_pulled_then_by_its_id() -> None:
    here = Engine({"debian:bookworm": made_here(ONE)})
    assert pin("debian:bookworm", here) == Pin(made_here=ONE)
    assert pin("debian:bookworm", Engine({}, {"debian:bookworm": TWO})) == Pin(digest=TWO)
    pulled = {"Id": ONE, "RepoDigests": [f"mirror.example/debian@{ONE}", f"debian@{TWO}"]}
    assert pin_of("debian:bookworm", pulled) == Pin(digest=TWO)
    assert pin_of("localhost:5000/debian", {"Id": ONE, "RepoDigests": [f"localhost:5000/debian@{TWO}"]}).digest == TWO


@pytest.mark.parametrize("said", [Result(1, '{"digest": "x"}'), Result(0, "{}"), Result(0, "words"), Result(0, "[]")])
def test_a_registry_that_says_no_digest_has_said_nothing(said: Result) -> None:
    assert digest_in(said) is None


# the file


def test_a_lock_is_found_again_and_written_to_the_same_bytes(tmp_path: Path) -> None:
    one = target("caffe-debian")
    lock = make(one, {"debian:bullseye": Pin(digest=ONE)}, DAY)
    path = write(lock, one, tmp_path)
    assert path == tmp_path / "caffe-debian" / "cpu-debian11.yaml"
    assert path.read_text() == (
        "# Written by `provision image lock`; `provision image update` renews it.\n"
        f"bases:\n  debian:bullseye:\n    digest: {ONE}\ndate: '2026-11-29'\nepoch: 1795910400\n"
        "snapshot: 20261129T000000Z\ntarget: caffe-debian:cpu-debian11\n"
    )
    assert find(one, tmp_path) == lock
    write(lock, one, tmp_path / "again")
    assert (tmp_path / "again/caffe-debian/cpu-debian11.yaml").read_bytes() == path.read_bytes()
    assert find(target("tools"), tmp_path) is None
    gpus = target("caffe:cuda11.8-cudnn8.7-debian12@K80,V100")
    assert place(gpus).name == "cuda11.8-cudnn8.7-debian12@K80,V100.yaml"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("snapshot:", "snapshots:", "did you mean snapshot?"),
        (f"digest: {ONE}", "digest: sha256:12", r"at bases\[\.\.\.\]\.digest"),
        (f"    digest: {ONE}", f"    digest: {ONE}\n    made_here: {TWO}", "either a digest or made_here"),
        ("target: caffe-debian", "target: caffe", "is the lock of caffe:cpu-debian11"),
        ("date: '2026-11-29'", "date: 2026", "Expected 'str'"),
    ],
)
def test_a_lock_that_is_wrong_is_refused_with_its_place(old: str, new: str, said: str, tmp_path: Path) -> None:
    one = target("caffe-debian")
    path = write(make(one, {"debian:bullseye": Pin(digest=ONE)}, DAY), one, tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UsageError) as error:
        load(path, one)
    assert re.search(said, str(error.value))


# what it makes of a Dockerfile


def test_bases_are_named_by_digest_and_the_tag_tells() -> None:
    one = target("cuda:cuda12.9-cudnn9.10-ubuntu24.04")
    names = {one.variant.base: Pin(digest=ONE), one.variant.base_runtime: Pin(digest=TWO)}
    locked, free = render(one, lock=make(one, names, DAY)), render(one)
    assert f"FROM {one.variant.base}@{ONE} AS base\nARG SOURCE_DATE_EPOCH=1795910400\n" in locked.dockerfile
    assert f"FROM {one.variant.base_runtime}@{TWO} AS runtime-base\n" in locked.dockerfile
    assert "FROM base AS devel\n" in locked.dockerfile
    assert locked.hash != free.hash and locked.tag != free.tag and free.lock is None
    other = make(one, {**names, one.variant.base: Pin(digest=TWO)}, DAY)
    assert render(one, lock=other).hash != locked.hash


@pytest.mark.parametrize("name", ["caffe:cpu-debian12", "caffe:cuda11.8-cudnn8.7-debian12", "detectron", "tools"])
def test_no_base_is_left_open(name: str) -> None:
    from images.build import bases

    one = target(name)
    lock = make(one, {base: Pin(digest=ONE) for base in bases(render(one).dockerfile)}, DAY)
    text = render(one, lock=lock).dockerfile
    assert bases(text) and all("@sha256:" in base for base in bases(text))


def test_a_base_that_was_made_here_keeps_its_name_and_its_id_is_in_the_tag() -> None:
    one = target()
    first, second = (render(one, lock=make(one, {"debian:bookworm": Pin(made_here=i)}, DAY)) for i in (ONE, TWO))
    assert "\nFROM debian:bookworm AS build\n" in first.dockerfile
    assert first.dockerfile == second.dockerfile and first.hash != second.hash


def test_a_lock_of_an_older_matrix_or_of_other_checksums_is_refused() -> None:
    one = target()
    lock = make(one, {"debian:bookworm": Pin(digest=ONE)}, DAY)
    with pytest.raises(UsageError, match="does not know its base image debian:bookworm") as error:
        render(one, lock=msgspec.structs.replace(lock, bases={"debian:stretch": lock.bases["debian:bookworm"]}))
    assert error.value.mend == "provision image update tools:cpu-debian12"
    with pytest.raises(UsageError, match="checksums of tools's Python packages"):
        render(one, lock=msgspec.structs.replace(lock, hashes=ONE))


def test_another_base_than_the_one_that_was_locked_stops_the_build() -> None:
    lock = make(target(), {"debian:bookworm": Pin(made_here=ONE)}, DAY)
    hold(lock, Engine({"debian:bookworm": made_here(ONE)}))
    with pytest.raises(ImageError, match=r"is locked to sha256:1.* this machine it is sha256:2") as error:
        hold(lock, Engine({"debian:bookworm": made_here(TWO)}))
    assert "provision image update tools:cpu-debian12" in error.value.mend and "--no-lock" in error.value.mend


# the commands


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, with a registry whose answers are those of `ONE`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(basepin, "pin", lambda name, shell, on_line=None: Pin(digest=ONE))
    return tmp_path


def test_lock_writes_once_and_update_shows_what_became_of_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["image", "lock", "tools", "--dry-run"]) == 0
    assert "nothing is written" in capsys.readouterr().out and not list(project.iterdir())
    assert run(["image", "lock", "tools", "--json"]) == 0
    [said] = json.loads(capsys.readouterr().out)
    assert said["written"] and (project / said["file"]).exists()
    assert {"what": "base debian:bookworm", "old": "", "new": ONE} in said["changes"]
    assert run(["image", "lock", "tools"]) == 0
    assert "is locked already" in capsys.readouterr().out
    monkeypatch.setattr(basepin, "pin", lambda name, shell, on_line=None: Pin(digest=TWO))
    assert run(["image", "update", "tools", "--json"]) == 0
    [said] = json.loads(capsys.readouterr().out)
    assert {"what": "base debian:bookworm", "old": ONE, "new": TWO} in said["changes"]
    assert TWO in (project / said["file"]).read_text()
    assert run(["image", "update", "caffe"]) == 2
    assert "provision image lock caffe:" in capsys.readouterr().err


def test_a_lock_that_is_there_is_taken_by_all_that_name_the_image(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = render(target()).tag
    assert planned("tools").tag == free
    assert run(["image", "lock", "tools", "--json"]) == 0
    lock = find(target())
    locked = render(target(), lock=lock).tag
    assert planned("tools").tag == locked != free
    capsys.readouterr()
    for more, wanted in (([], f"debian:bookworm@{ONE} AS build"), (["--no-lock"], "debian:bookworm AS build")):
        assert run(["image", "render", "tools", *more]) == 0
        assert f"FROM {wanted}\n" in capsys.readouterr().out
    elsewhere = (project / "provision.lock").rename(project / "elsewhere") / "tools" / "cpu-debian12.yaml"
    assert run(["image", "render", "tools", "--lock", str(elsewhere)]) == 0
    assert f"@{ONE}" in capsys.readouterr().out
    assert run(["image", "render", "caffe", "--lock", str(elsewhere)]) == 2
    assert "is the lock of tools:cpu-debian12" in capsys.readouterr().err
    assert run(["image", "render", "tools", "--lock", str(elsewhere), "--no-lock"]) == 2


def test_a_proof_takes_the_lock_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    caffe = parse("caffe:cpu-debian12")
    write(make(caffe, {}, DAY), caffe)  # of an older matrix
    words = ["image", "prove", caffe.name, "--dry-run"]
    assert run(words) == 2
    assert f"the lock of {caffe.name} does not know its base image" in capsys.readouterr().err
    assert run([*words, "--no-lock"]) == 0
    write(make(target(), {}, DAY), target())
    assert run([*words, "--lock", str(place(target()))]) == 2
    assert "is the lock of tools:cpu-debian12" in capsys.readouterr().err


def test_the_same_day_twice_changes_nothing() -> None:
    first, second = (make(target(), {"debian:bookworm": Pin(digest=ONE)}, DAY.replace(hour=hour)) for hour in (1, 23))
    assert changes(first, second) == []
    assert ("epoch", "1795910400", "1795996800") in changes(
        first, make(target(), {"debian:bookworm": Pin(digest=ONE)}, DAY.replace(day=30))
    )


def test_every_target_can_be_locked() -> None:
    from images.build import bases

    for one in list(targets())[::7]:
        pins = {name: Pin(digest=ONE) for name in bases(render(one).dockerfile)}
        assert "@sha256:" in render(one, lock=make(one, pins, DAY)).dockerfile


def test_what_is_proposed_names_the_machine_with_all_its_flags() -> None:
    target, place = parse("tools"), Place("builder", "local:demo", "us-east-1")
    flags = " --on builder --cloud local:demo --region us-east-1"
    assert _next("lock", [target], place, dry_run=True) == f"provision image lock {target.name}{flags}"
    assert _next("update", [target], place, dry_run=False) == f"provision image build {target.name}{flags}"
    assert _next("lock", [target], Place(cloud="aws"), dry_run=False) == f"provision image build {target.name}"
