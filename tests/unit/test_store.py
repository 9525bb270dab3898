"""What a run needs of the place of its folder: the same of S3 and of a folder of this laptop."""

import os
import threading
from pathlib import Path

import pytest

from infra import store as stores
from infra.aws.s3 import S3
from infra.errors import DamagedError, NotFoundError, ProvisionError, UsageError
from infra.folder import Folder
from infra.store import Store
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.runs import fetch, log, notes, report, summary, trust
from provision.runs.manifest import Attempt, Manifest, Source
from provision.runs.store import AnyRun
from tests.unit.fake_s3 import NAME, OURS, FakeS3


@pytest.fixture(params=["s3", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return S3(FakeS3().cloud, NAME, OURS)
    return Folder(tmp_path / "here", ("here", "-", "-"))


def keys(place: Store, prefix: str) -> list[str]:
    return [stored.key for stored in place.objects(prefix)]


def test_what_is_written_is_read(place: Store, tmp_path: Path) -> None:
    place.write("runs/a/x", b"one")
    place.write("runs/a/x", b"two")
    assert place.exists()
    assert place.read("runs/a/x") == b"two"
    assert [(stored.key, stored.size) for stored in place.objects("runs/")] == [("runs/a/x", 3)]
    place.download("runs/a/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("x")] == ["x"]


def test_what_is_not_there_is_none(place: Store, tmp_path: Path) -> None:
    assert place.read("runs/a/x") is None
    assert place.read_json("runs/a/x") is None
    assert place.head("runs/a/x") is None
    assert place.objects("runs/") == []
    assert place.folders("runs/") == []
    place.delete(["runs/a/x"])
    with pytest.raises(ProvisionError):
        place.download("runs/a/x", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_objects_are_listed_by_key_below_any_prefix(place: Store) -> None:
    for key in ("runs/a/log/10", "runs/a/log/9", "runs/a-b/log/1", "runs/b/x", "runs/a/log/deep/1"):
        place.write(key, b"1")
    assert keys(place, "runs/a/log/") == ["runs/a/log/10", "runs/a/log/9", "runs/a/log/deep/1"]
    assert keys(place, "runs/a") == sorted([*keys(place, "runs/a/"), "runs/a-b/log/1"])
    assert [one.key for one in place.objects_after("runs/a/log/", "runs/a/log/10")] == [
        "runs/a/log/9", "runs/a/log/deep/1",
    ]  # fmt: skip
    assert place.folders("runs/") == ["a-b", "a", "b"]  # as S3 sorts what ends in a slash
    assert place.folders("runs/a/log/") == ["deep"]
    assert place.folders("") == ["runs"]


def test_a_folder_goes_with_its_last_object(place: Store) -> None:
    place.write("runs/a/log/1", b"1")
    place.write("runs/b/x", b"1")
    place.delete(["runs/a/log/1", "runs/a/log/2"])
    assert place.folders("runs/") == ["b"]
    place.write("runs/a/log/1", b"1")
    assert place.read("runs/a/log/1") == b"1"


def test_of_many_who_write_first_one_wins(place: Store) -> None:
    won: list[int] = []

    def claim(number: int) -> None:
        if place.write_new("runs/a/attempts/001.json", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert place.read("runs/a/attempts/001.json") == b"%d" % won[0]


def test_an_object_is_replaced_only_where_it_is_the_one_that_was_seen(place: Store) -> None:
    place.write("k", b"one")
    seen = place.head("k")
    assert seen is not None
    assert place.replace("k", b"two", seen.etag)
    assert not place.replace("k", b"three", seen.etag)
    assert place.read("k") == b"two"
    assert not place.replace("absent", b"x", seen.etag)
    assert place.read("absent") is None


def test_damaged_json_is_told_with_its_address(place: Store) -> None:
    place.write("runs/a/state.json", b"{")
    with pytest.raises(DamagedError, match=r"runs/a/state\.json is damaged"):
        place.read_json("runs/a/state.json")
    assert place.url("runs/a/state.json").endswith("/runs/a/state.json")


def test_the_notes_of_two_places_do_not_meet(place: Store, tmp_path: Path) -> None:
    other = Folder(tmp_path / "other", ("cluster", "campus", "-"))
    assert len(place.where) == len(other.where) == 3
    assert notes.path(place, "a") != notes.path(other, "a")
    assert place.hint("runs").startswith("provision runs")


# a run, wherever it lies


def made(place: Store) -> AnyRun:
    run, recipe = AnyRun(place, "digits-1"), load("digits")
    run.write_manifest(
        Manifest(
            "digits-1", "2026-01-01", recipe, render(recipe), "caffe", "caffe:1", "sha256:1", Source(), Source(), 0,
            "box", "laptop", "", "",
        )
    )  # fmt: skip
    place.write(run.key("log/001-000000000000"), b"Iteration 10, lo")
    place.write(run.key("log/002-000000000000"), b"Test net output #0: accuracy = 0.5\n")
    place.write(run.key("outputs/plots/loss.csv"), b"1,2\n")
    return run


def test_a_run_is_read_followed_and_fetched_from_any_place(place: Store, tmp_path: Path) -> None:
    run = made(place)
    again = AnyRun(place, "digits-1")
    trust.check(again)
    assert again.manifest == run.manifest
    assert b"".join(log.text(again)) == b"Iteration 10, lo\nTest net output #0: accuracy = 0.5\n"
    assert summary.of(again).run == "digits-1"
    assert report.facts(again).state == "starting"
    fetch.fetch(again, tmp_path / "out")
    assert (tmp_path / "out/plots/loss.csv").read_bytes() == b"1,2\n"


def test_no_two_attempts_of_a_run_have_one_number_in_any_place(place: Store) -> None:
    run = made(place)
    run.add_attempt(Attempt(1, "here", "here", "", "2026-01-01", made_by="me@laptop aa"))
    with pytest.raises(ProvisionError, match=r"goes on already: attempt 1 .*, by me@laptop"):
        run.add_attempt(Attempt(1, "here", "here", "", "2026-01-02", made_by="you@laptop bb"))
    assert run.next_number() == 2


def test_a_manifest_that_somebody_changed_is_refused_in_any_place(place: Store) -> None:
    run = made(place)
    raw = place.read(run.key("manifest.json"))
    assert raw is not None
    place.write(run.key("manifest.json"), raw.replace(b"2026-01-01", b"2026-01-02"))
    with pytest.raises(ProvisionError, match="somebody changed it"):
        trust.check(AnyRun(place, "digits-1"))


# a folder of this laptop alone


def test_a_folder_is_its_users_alone_and_holds_no_half_objects(tmp_path: Path) -> None:
    place = Folder(tmp_path / "here", ("here", "-", "-"))
    place.write("runs/a/x", b"1")
    assert not place.write_new("runs/a/x", b"2")
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "here/.new").iterdir()) == []
    assert keys(place, "") == ["runs/a/x"]


@pytest.mark.parametrize("key", ["../x", "runs/../../x", "/etc/passwd", "runs//x", ".new/x", ".lock", "a\0b"])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    place = Folder(tmp_path / "here", ("here", "-", "-"))
    for act in (place.read, lambda key: place.write(key, b"1"), place.head, lambda key: place.delete([key])):
        with pytest.raises(DamagedError, match="names nothing"):
            act(key)
    assert not (tmp_path / "x").exists()


def test_a_link_in_the_folder_is_no_object(tmp_path: Path) -> None:
    place = Folder(tmp_path / "here", ("here", "-", "-"))
    place.write("runs/a/x", b"1")
    (tmp_path / "here/runs/a/y").symlink_to("/etc/passwd")
    (tmp_path / "here/runs/b").symlink_to(tmp_path)
    assert keys(place, "runs/") == ["runs/a/x"]
    assert place.folders("runs/") == ["a"]


def test_an_object_larger_than_anything_of_ours_is_not_read(tmp_path: Path) -> None:
    place = Folder(tmp_path / "here", ("here", "-", "-"))
    place.write("runs/a/state.json", b"1")
    os.truncate(tmp_path / "here/runs/a/state.json", stores.LARGEST + 1)
    with pytest.raises(DamagedError, match="at most"):
        place.read("runs/a/state.json")


def test_a_place_that_may_not_be_written_is_told() -> None:
    place = Folder(Path("/proc/1/no-such-place"), ("here", "-", "-"))
    with pytest.raises(UsageError, match="cannot be written"):
        place.write("runs/a/x", b"1")


def test_writers_and_deleters_of_one_folder_do_not_hinder_each_other(tmp_path: Path) -> None:
    place = Folder(tmp_path / "here", ("here", "-", "-"))
    failed: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for _ in range(60):
                place.write(f"runs/a/{name}", b"1")
                place.delete([f"runs/a/{name}"])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert place.objects("") == []
    with pytest.raises(NotFoundError):
        place.download("runs/a/x", tmp_path / "x")
