"""Images leave S3 when their user says so: none that a run needs, no layer that another image has, none on its way."""

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.aws.s3 import S3
from infra.docker_engine import Docker
from infra.errors import BusyError, DamagedError, NotFoundError, ProvisionError, RunError, UsageError
from provision import clouds
from provision.cli import run as provision
from provision.engines import images_claim, images_s3, images_stored
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.runs.manifest import Attempt, Manifest, Source
from provision.runs.store import Run
from tests.unit.fake_aws import CLOUD
from tests.unit.fake_s3 import NAME, OURS, FakeS3
from tests.unit.kept_kit import Engine

OLD, NEW = "sha256:" + "a1" * 32, "sha256:" + "b2" * 32
BASE = {"abc.json": b"{}", "manifest.json": json.dumps([{"Config": "abc.json"}]).encode(), "base.tar": b"base" * 9000}
FILES: dict[str, dict[str, bytes | str]] = {
    OLD: {**BASE, "old.tar": b"old" * 999},
    NEW: {**BASE, "new.tar": b"new" * 9},
}
NOW = datetime.now(timezone.utc)
LONG_AGO = NOW - timedelta(days=40)


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.setattr(clouds, "resolve", lambda _: CLOUD)
    return FakeS3()


def place() -> S3:
    return S3(CLOUD, NAME, OURS)


def send(digest: str) -> int:
    return images_s3.send(cast(Docker, Engine(FILES[digest], digest)), place(), f"caffe:{digest[7:9]}", digest)


def aged(aws: FakeS3, at: datetime, prefix: str = "") -> None:
    for key in [key for key in aws.held if key.startswith(prefix)]:
        aws.put(key, aws.held[key][0], at)


def ran(run_id: str, digest: str, state: str = "finished", attempts: int = 1) -> Run:
    run, recipe = Run(place(), run_id), load("digits")
    run.write_manifest(
        Manifest(
            run_id, "2026-10-01", recipe, render(recipe), "caffe", "caffe:1", digest, Source(), Source(), 0, "lab",
            "p3.8xlarge", "spot", "us-east-1",
        )
    )  # fmt: skip
    for number in range(1, attempts + 1):
        run.add_attempt(Attempt(number, "i-1", "lab", "us-east-1a", "2026-10-01"))
    place().write_json(run.key("state.json"), {"state": state, "attempt": attempts, "instance": "i-1"})
    return run


def keep(aws: FakeS3, run: Run, status: str = "RUNNING") -> None:
    execution = f"arn:aws:states:us-east-1:{OURS}:execution:provision-keeper-1:{run.id}-1"
    began, ends = "2026-10-01T12:00:00+00:00", "2026-12-01T12:00:00+00:00"
    keeping = {"execution": execution, "launch": "l", "number": 1, "started": began, "ends": ends}
    place().write_json(run.key("keeper.json"), keeping)
    aws.answers["DescribeExecution"] = {"status": status}


def whole(aws: FakeS3, digest: str) -> bool | None:
    """Whether all of its layers are there; None where there is no such image."""
    index = aws.held.get(f"images/sha256/{digest[7:]}.json")
    return None if index is None else all(blob["key"] in aws.held for blob in json.loads(index[0])["blobs"])


# what there is


def test_each_image_is_told_with_its_size_its_cost_and_the_last_run_of_it(aws: FakeS3) -> None:
    send(OLD)
    send(NEW)
    aged(aws, LONG_AGO)
    ran("digits-20261001-120000-ab12", OLD)
    ran("digits-20261002-120000-cd34", OLD)
    held = images_stored.look(CLOUD)
    first, second = map(held.row, held.images)
    assert (first["image"], first["run"], first["needed"]) == (OLD, "digits-20261002-120000-cd34", [])
    assert (second["image"], second["run"], second["used"][:10]) == (NEW, "", f"{LONG_AGO:%Y-%m-%d}")
    sizes = {blob["name"]: blob["packed"] for blob in json.loads(aws.held[f"images/sha256/{OLD[7:]}.json"][0])["blobs"]}
    assert first["bytes"] == sum(sizes.values()) and first["alone"] == sizes["old.tar"]
    assert first["dollars_a_month"] == round(sum(sizes.values()) / 2**30 * 0.023, 4)


def test_the_table_and_its_json(aws: FakeS3, capsys: pytest.CaptureFixture[str]) -> None:
    assert provision(["image", "stored"]) == 0
    assert "no images in s3://" in capsys.readouterr().out
    send(OLD)
    ran("digits-20261001-120000-ab12", OLD)
    assert provision(["image", "stored"]) == 0
    out = capsys.readouterr().out
    assert OLD[:19] in out and "digits-20261001-120000-ab12" in out and "in all" in out
    assert provision(["image", "stored", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["image"] == OLD


# what goes, and what stays


def test_what_is_named_goes_and_the_layers_of_others_stay(aws: FakeS3, capsys: pytest.CaptureFixture[str]) -> None:
    send(OLD)
    send(NEW)
    before = dict(aws.held)
    assert provision(["image", "forget", OLD[7:15], "--dry-run"]) == 0
    assert dict(aws.held) == before and "would go" in capsys.readouterr().out
    assert provision(["image", "forget", OLD[7:15]]) == 0
    assert "deleted 1 image" in capsys.readouterr().out
    assert (whole(aws, OLD), whole(aws, NEW)) == (None, True)
    assert len(before) - len(aws.held) == 2  # the index, and the one layer that it has alone
    assert images_s3.vouched(place(), OLD) == "" and images_s3.vouched(place(), NEW)
    assert provision(["image", "forget", "caffe:b2"]) == 0
    assert [key for key in aws.held if key.startswith("images/")] == []


def test_an_image_that_is_gone_is_brought_again(aws: FakeS3) -> None:
    send(OLD)
    images_stored.forget(CLOUD, [OLD])
    assert whole(aws, OLD) is None
    assert send(OLD) > 0 and whole(aws, OLD)


@pytest.mark.parametrize("state", ["running", "starting"])
def test_what_a_run_needs_that_goes_on_is_not_deleted(
    aws: FakeS3, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    send(OLD)
    keep(aws, ran("digits-20261001-120000-ab12", OLD, state))
    aged(aws, LONG_AGO)
    assert provision(["image", "forget", OLD]) == 13
    assert "provision stop digits-20261001-120000-ab12" in capsys.readouterr().err
    assert provision(["image", "forget", "--unused", "30d", "--force"]) == 0
    with pytest.raises(RunError):
        images_stored.forget(CLOUD, [OLD])
    assert whole(aws, OLD)


def test_a_keeper_that_waits_for_a_machine_needs_its_image(aws: FakeS3) -> None:
    send(OLD)
    run = ran("digits-20261001-120000-ab12", OLD, "interrupted")
    keep(aws, run)
    with pytest.raises(RunError, match="needs the image"):
        images_stored.forget(CLOUD, [OLD])
    keep(aws, run, "FAILED")  # it has given up: a resume brings the image again
    images_stored.forget(CLOUD, [OLD])
    assert whole(aws, OLD) is None


def test_a_run_that_may_begin_yet_needs_its_image_and_one_whose_client_was_killed_does_not(aws: FakeS3) -> None:
    send(OLD)
    ran(f"digits-{NOW:%Y%m%d-%H%M%S}-ab12", OLD, "starting", attempts=0)
    with pytest.raises(RunError, match="needs the image"):
        images_stored.forget(CLOUD, [OLD])
    place().delete([key for key in aws.held if key.startswith("runs/")])
    ran(f"digits-{LONG_AGO:%Y%m%d-%H%M%S}-ab12", OLD, "starting", attempts=0)
    images_stored.forget(CLOUD, [OLD])
    assert whole(aws, OLD) is None


def test_while_nobody_can_tell_which_image_a_run_needs_none_is_deleted(aws: FakeS3) -> None:
    send(OLD)
    run = ran("digits-20261001-120000-ab12", OLD, "running")
    keep(aws, run)
    aws.put(run.key("manifest.json"), b"{")
    with pytest.raises(RunError, match="may need any image"):
        images_stored.forget(CLOUD, [OLD])
    assert images_stored.unused(images_stored.look(CLOUD), 0) == [] and whole(aws, OLD)


def test_what_nobody_has_used_for_long_goes_after_a_question(aws: FakeS3, capsys: pytest.CaptureFixture[str]) -> None:
    send(OLD)
    send(NEW)
    aged(aws, LONG_AGO)
    ran("digits-20261001-120000-ab12", NEW)  # its folder was written to today
    assert provision(["image", "forget", "--unused", "30d"]) == 2
    assert "--force" in capsys.readouterr().err and whole(aws, OLD)
    assert provision(["image", "forget", "--unused", "30d", "--force"]) == 0
    assert (whole(aws, OLD), whole(aws, NEW)) == (None, True)


def test_layers_of_an_upload_that_broke_off_stay_for_a_week(aws: FakeS3) -> None:
    send(OLD)
    send(NEW)
    place().delete([f"images/sha256/{NEW[7:]}.json"])
    loose = images_stored.look(CLOUD).loose
    assert len(loose) == 1
    images_stored.forget(CLOUD, [])
    assert loose[0].key in aws.held
    aged(aws, NOW - timedelta(days=8), loose[0].key)
    assert [blob.key for blob in images_stored.forget(CLOUD, [])] == [loose[0].key]
    assert whole(aws, OLD)


def test_what_others_wrote_there_is_neither_believed_nor_deleted(aws: FakeS3) -> None:
    send(OLD)
    index = f"images/sha256/{OLD[7:]}.json"
    known = json.loads(aws.held[index][0])
    known["blobs"] += [{"key": "runs/digits-1/manifest.json"}, {"key": "images/blobs/../../x"}]
    aws.put(index, json.dumps(known).encode())
    aws.put("images/blobs/notes.txt", b"mine")
    aws.put("runs/digits-1/manifest.json", b"{}", LONG_AGO)
    images_stored.forget(CLOUD, [OLD])
    assert set(aws.held) == {"images/blobs/notes.txt", "runs/digits-1/manifest.json"}


def test_an_index_that_makes_no_sense_stops_everything(aws: FakeS3) -> None:
    """Nobody knows which layers its image has."""
    send(OLD)
    send(NEW)
    aws.put(f"images/sha256/{NEW[7:]}.json", b'{"tag": "x"}')
    with pytest.raises(DamagedError, match=NEW[7:]):
        images_stored.forget(CLOUD, [OLD])
    assert whole(aws, OLD)


def test_words_that_name_none_or_two(aws: FakeS3, capsys: pytest.CaptureFixture[str]) -> None:
    send(OLD)
    held = images_stored.look(CLOUD)
    with pytest.raises(NotFoundError, match="has no image 'caffe:zz'"):
        images_stored.named(held, ["caffe:zz"])
    other = "sha256:" + "a1" * 31 + "00"
    FILES[other] = FILES[OLD]
    send(other)
    del FILES[other]
    with pytest.raises(UsageError, match="means 2 images"):
        images_stored.named(images_stored.look(CLOUD), ["a1a1a1"])
    for words in ([], [OLD, "--unused", "1d"]):
        assert provision(["image", "forget", *words]) == 2


# two clients at once


def test_nothing_is_deleted_while_somebody_brings_an_image(aws: FakeS3) -> None:
    send(OLD)
    with images_claim.claimed(place()), pytest.raises(BusyError, match=r"alice\S* is bringing an image"):
        images_stored.forget(CLOUD, [OLD])
    assert whole(aws, OLD) and images_claim.FORGETTING not in aws.held
    images_stored.forget(CLOUD, [OLD])


def test_the_mark_of_a_killed_client_counts_for_a_day_and_its_holder_goes_no_further(aws: FakeS3) -> None:
    send(OLD)
    with images_claim.claimed(place()) as claim:
        claim.check()
        aged(aws, NOW - timedelta(hours=25), images_claim.CLAIMS)
        with pytest.raises(RunError, match="more than a day"):
            claim.check()
        images_stored.forget(CLOUD, [OLD])
        with pytest.raises(RunError, match="more than a day"):
            claim.check()


def test_of_two_who_delete_one_waits_and_a_killed_one_counts_for_a_quarter_of_an_hour(aws: FakeS3) -> None:
    send(OLD)
    with images_claim.deleting(place()), pytest.raises(BusyError, match="is deleting images already"):
        images_stored.forget(CLOUD, [OLD])
    place().write(images_claim.FORGETTING, b"{}")
    with pytest.raises(BusyError):
        images_stored.forget(CLOUD, [OLD])
    aged(aws, NOW - timedelta(minutes=16), images_claim.FORGETTING)
    images_stored.forget(CLOUD, [OLD])
    assert whole(aws, OLD) is None


def test_who_slept_while_deleting_deletes_nothing_more(aws: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    send(OLD)
    clock = iter([0.0, *[1e6] * 9])
    monkeypatch.setattr(images_claim, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(RunError, match="took too long"):
        images_stored.forget(CLOUD, [OLD])
    assert whole(aws, OLD) and images_claim.FORGETTING in aws.held  # perhaps another's by now


def test_who_brings_an_image_waits_until_the_others_are_deleted_and_says_so(
    aws: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    place().write(images_claim.FORGETTING, b'{"who": "bob@desk"}')
    looks = iter([lambda: None, lambda: place().delete([images_claim.FORGETTING])])
    monkeypatch.setattr(time, "sleep", lambda _: next(looks)())
    with images_claim.claimed(place(), said.append):
        assert next(looks, None) is None
    assert said == [f"bob@desk is deleting images in s3://{NAME}: waiting for that"]
    place().write(images_claim.FORGETTING, b"{}")
    aged(aws, NOW - timedelta(minutes=16), images_claim.FORGETTING)
    with images_claim.claimed(place(), said.append):
        assert len(said) == 1


class Waits(Exception):
    """It would wait for the other client, which cannot go on here before this one returns."""


def begin_run(aws: FakeS3, digest: str) -> None:
    """What `begin` does with the image of a run."""
    with images_claim.claimed(place()) as claim:
        if not images_s3.is_whole(place(), digest):
            send(digest)
        claim.check()
        run = ran("digits-20261001-120000-ab12", digest, "starting", attempts=0)
        keep(aws, run)


def at_call(aws: FakeS3, number: int, act: Callable[[], None]) -> list[int]:
    """Let `act` run whole before the call of that number, from now on; the calls that were made, by number."""
    answer, made, inside = aws.answer, list[int](), list[int]()

    def counted(model: Any, params: dict[str, Any], key: str = "A") -> Any:
        if not inside:
            made.append(len(made) + 1)
            if len(made) == number:
                inside.append(1)
                act()
                inside.clear()
        return answer(model, params, key)

    aws.answer = counted  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize("digest", [OLD, NEW])  # the image that is being deleted; one that shares a layer with it
@pytest.mark.parametrize("first", ["brings", "deletes"])
def test_whoever_is_interrupted_by_the_other_anywhere_no_run_is_left_without_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str, first: str
) -> None:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))

    def waits(_: float) -> None:
        raise Waits

    monkeypatch.setattr(time, "sleep", waits)
    number, calls = 0, 1
    seen = set[str]()
    while number < calls:
        number += 1
        aws = FakeS3()
        send(OLD)
        later: list[Callable[[], None]] = []

        def tried(act: Callable[[], Any], later: list[Callable[[], None]] = later) -> None:
            try:
                act()
                seen.add("whole")
            except Waits:
                later.append(act)
                seen.add("waits")
            except ProvisionError as error:
                seen.add(type(error).__name__)

        brings = lambda aws=aws: begin_run(aws, digest)  # noqa: E731
        deletes = lambda: images_stored.forget(CLOUD, [OLD])  # noqa: E731
        outer, inner = (brings, deletes) if first == "brings" else (deletes, brings)
        made = at_call(aws, number, lambda inner=inner: tried(inner))  # type: ignore[misc]
        tried(outer)
        calls = len(made)
        for act in later:
            tried(act)
        assert whole(aws, digest), f"{first}: interrupted at call {number}"
        assert not [key for key in aws.held if key.startswith(images_claim.CLAIMS) or key == images_claim.FORGETTING]
    assert number > 10 and seen >= ({"BusyError", "whole"} if first == "brings" else {"waits", "whole"})
