"""`data sync`: which files are copied or deleted and why, by size, time and S3's ETags; what a machine's role may."""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from infra.aws.iam import Iam
from infra.aws.s3 import S3, Place, Stored, parse
from infra.aws.s3_transfer import etag_fits
from infra.errors import UsageError
from localcloud import access
from provision.cli import run
from provision.commands.data_sync import _ask_before_all_goes
from provision.files import s3_folder, s3_to_host
from provision.files.s3_folder import Change, plan
from provision.runs import inputs
from tests.unit.fake_aws import FakeAws

PLACE = Place("lab", "voc/")
NOW = 1_700_000_000
CLOCK = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)


class Bucket:
    """A bucket that only lists."""

    def __init__(self, *held: Stored) -> None:
        self.held = held

    def objects(self, prefix: str) -> list[Stored]:
        return [one for one in self.held if one.key.startswith(prefix)]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def stored(name: str, data: bytes, modified: float = NOW) -> Stored:
    return Stored(f"voc/{name}", len(data), md5(data), modified)


def put(folder: Path, name: str, data: bytes, time: float = NOW) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time, time))


def planned(folder: Path, held: Sequence[Stored], **more: bool) -> list[tuple[str, str, str]]:
    changes = plan(cast(S3, Bucket(*held)), PLACE, folder, **{"up": True, **more})
    return [(one.action, one.path, one.why) for one in changes]


def test_up_go_new_files_other_sizes_and_newer_content(tmp_path: Path) -> None:
    put(tmp_path, "new.txt", b"1")
    put(tmp_path, "a/size.txt", b"12")
    put(tmp_path, "same.txt", b"1", NOW - 500)
    put(tmp_path, "touched.txt", b"1", NOW + 500)
    put(tmp_path, "changed.txt", b"2", NOW + 500)
    held = [stored(name, b"1") for name in ("a/size.txt", "same.txt", "touched.txt", "changed.txt", "gone.txt")]
    wanted = [("upload", "a/size.txt", "size"), ("upload", "changed.txt", "content"), ("upload", "new.txt", "new")]
    assert planned(tmp_path, held) == wanted
    assert planned(tmp_path, held, delete=True) == [*wanted, ("delete", "gone.txt", "gone")]


def test_down_come_objects_of_another_time_and_content(tmp_path: Path) -> None:
    put(tmp_path, "same.txt", b"1", NOW)
    put(tmp_path, "touched.txt", b"1", NOW + 9)
    put(tmp_path, "edited.txt", b"2", NOW + 9)
    put(tmp_path, "mine.txt", b"2")
    held = [stored(name, b"1", NOW + 0.7) for name in ("same.txt", "touched.txt", "edited.txt", "x/new.txt")]
    wanted = [("download", "edited.txt", "content"), ("download", "x/new.txt", "new")]
    assert planned(tmp_path, held, up=False) == wanted
    assert planned(tmp_path, held, up=False, delete=True) == [*wanted, ("delete", "mine.txt", "gone")]
    assert planned(tmp_path / "not-yet", held[:1], up=False) == [("download", "same.txt", "new")]


def test_contents_are_compared_on_request_whatever_the_time(tmp_path: Path) -> None:
    put(tmp_path, "swapped.txt", b"2", NOW - 500)
    held = [stored("swapped.txt", b"1")]
    assert planned(tmp_path, held) == []
    assert planned(tmp_path, held, checksum=True) == [("upload", "swapped.txt", "content")]


def test_where_the_etag_does_not_tell_the_time_decides(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", b"1", NOW + 5)
    put(tmp_path, "b.txt", b"1", NOW - 5)
    held = [Stored(f"voc/{name}.txt", 1, "0123-9", NOW) for name in "ab"]
    assert planned(tmp_path, held, checksum=True) == [("upload", "a.txt", "time")]


def test_the_ignore_file_holds_for_both_ways(tmp_path: Path) -> None:
    put(tmp_path, ".provisionignore", b"cache/\n*.tmp\n")
    put(tmp_path, "cache/x", b"1")
    put(tmp_path, "y.tmp", b"1")
    put(tmp_path, "z", b"1")
    put(tmp_path, "w", b"2")
    held = [stored(name, b"2") for name in ("cache/far", "far.tmp", "folder/", "w")]
    assert planned(tmp_path, held, delete=True) == [("upload", "z", "new")]
    assert planned(tmp_path, held, up=False, delete=True) == [("delete", "z", "gone")]


def test_a_source_without_a_file_is_refused_and_deletes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "mine.txt", b"1")
    for more in ({}, {"delete": True}):
        with pytest.raises(UsageError, match=r"s3://lab/voc/? has no file to copy"):
            planned(tmp_path, [stored("folder/", b"")], up=False, **more)
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(UsageError, match="empty has no file to copy"):
            planned(tmp_path / "empty", [stored("a.txt", b"1")], **more)


def test_a_source_of_which_the_target_has_nothing_is_asked_about_before_all_goes(tmp_path: Path) -> None:
    put(tmp_path, "VOC2007/1.jpg", b"1")
    held = [stored("1.jpg", b"1"), stored("2.jpg", b"1")]
    changes = plan(cast(S3, Bucket(*held)), PLACE, tmp_path, up=True, delete=True)
    assert [one.why for one in changes if one.action == "delete"] == [s3_folder.NOTHING_STAYS] * 2
    with pytest.raises(
        UsageError, match="all 2 files of s3://lab/voc would be deleted: set has none of them"
    ) as caught:
        _ask_before_all_goes(changes, "set", "s3://lab/voc")
    assert "--force" in caught.value.mend
    _ask_before_all_goes([one for one in changes if one.action == "upload"], "set", "s3://lab/voc")


def test_names_that_s3_cannot_hold_are_told_before_anything_is_copied(tmp_path: Path) -> None:
    put(tmp_path, "right.jpg", b"1")
    (tmp_path / os.fsdecode(b"\xb9\xb7.jpg")).write_bytes(b"1")
    with pytest.raises(UsageError, match="cannot hold 1 of the names of files"):
        planned(tmp_path, [])
    put(tmp_path, ".provisionignore", b"\xb9*\n")
    assert planned(tmp_path, []) == [("upload", "right.jpg", "new")]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_a_key_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leads out of the folder"):
        planned(tmp_path, [stored(name, b"1")], up=False)


@pytest.mark.parametrize("part", [5 << 20, 8 << 20, 64 << 20])
def test_etags_of_objects_that_were_sent_in_parts(part: int, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 17
    path = tmp_path / "large"
    path.write_bytes(data)
    pieces = [data[at : at + part] for at in range(0, len(data), part)]
    digests = [hashlib.md5(one, usedforsecurity=False).digest() for one in pieces]
    assert etag_fits(path, f"{md5(b''.join(digests))}-{len(pieces)}") is True
    assert etag_fits(path, f"{'0' * 32}-{len(pieces)}") is None  # other parts, or another file: nobody can say


def test_etags_of_whole_and_of_empty_files(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"")
    assert etag_fits(path, md5(b"")) is True
    path.write_bytes(b"1")
    assert etag_fits(path, md5(b"1")) is True
    assert etag_fits(path, md5(b"2")) is False


def test_places_in_s3() -> None:
    assert parse("s3://lab/a/b/") == parse("s3://lab/a/b") == Place("lab", "a/b/")
    assert parse("s3://lab") == Place("lab", "")
    for wrong in ("s3://", "lab/a", "http://lab/a"):
        with pytest.raises(UsageError, match="no place in S3"):
            parse(wrong)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a", "b"], "neither is in S3"), (["s3://a/b", "s3://c/d"], "both are in S3"), (["a"], "no DST"),
        (["here", "--on", "lab"], "no place in S3"), (["s3://a/b", "/etc", "--on", "lab"], "below the machine's /data"),
        (["s3://a/b", "/data/../etc", "--on", "lab"], "below the machine's /data"),
        (["s3://a/b", "--delete", "--on", "lab"], "neither --delete"),
    ],
)  # fmt: skip
def test_words_that_mean_nothing(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "sync", *words]) == 2
    assert said in capsys.readouterr().err


def test_files_go_away_with_the_folders_that_they_leave_empty(tmp_path: Path) -> None:
    for name in ("a/b/c.txt", "a/keep.txt", "d.txt"):
        put(tmp_path, name, b"1")
    changes = [Change("delete", "a/b/c.txt", 1, "gone"), Change("delete", "d.txt", 1, "gone")]
    s3_folder._remove(tmp_path, [one.path for one in changes])
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a", "a/keep.txt"]


def test_a_machine_finds_it_where_train_looks_and_may_read_no_more() -> None:
    assert inputs.host_folder("s3://lab/voc") == inputs.data_source("", "s3://lab/voc").folder
    text = json.dumps(s3_to_host.data_policy(PLACE, CLOCK, "us-east-1")[1])
    assert "arn:aws:s3:::lab/voc/*" in text
    assert '"s3:prefix": "voc/*"' in text
    assert "Put" not in text and "Delete" not in text


def test_the_right_to_read_data_ends_by_itself_where_nobody_takes_it_away() -> None:
    _, document = s3_to_host.data_policy(PLACE, CLOCK, "us-east-1")
    statements: Any = document["Statement"]
    assert [one["Condition"]["DateLessThan"] for one in statements] == [{"aws:CurrentTime": "2026-11-21T12:00:00Z"}] * 2
    for statement in statements:
        for until, may in (("2026-11-21T11:59:59Z", True), ("2026-11-21T12:00:00Z", False)):
            context = {"s3:prefix": ["voc/a"], "aws:currenttime": [until]}
            resource = statement["Resource"].replace("*", "a.jpg")
            assert access.allowed(statements, statement["Action"], resource, context) == may


def test_what_a_killed_laptop_left_on_a_role_is_taken_away_once_it_holds_no_longer() -> None:
    left = s3_to_host.data_policy(PLACE, CLOCK, "us-east-1")[0]
    fresh = s3_to_host.data_policy(PLACE, CLOCK + timedelta(hours=2), "us-east-1")[0]
    names = ["digits-20261120-120000-ab12", "data-20261120-120000-ab12", left, fresh, "session-manager"]
    aws = FakeAws(ListRolePolicies={"PolicyNames": names})
    s3_to_host.forbid_outdated(Iam(aws.cloud), "role", CLOCK + timedelta(hours=23))
    assert aws.of("DeleteRolePolicy") == []
    s3_to_host.forbid_outdated(Iam(aws.cloud), "role", CLOCK + timedelta(hours=25))
    assert aws.of("DeleteRolePolicy") == [{"RoleName": "role", "PolicyName": left}]
    assert re.fullmatch(r"[\w+=,.@-]{1,128}", left)  # what IAM takes as a name
