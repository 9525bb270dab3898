"""This laptop's notes, account by account: two accounts may have machines of one name, and an upgrade loses no key."""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from infra.aws import session
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.errors import CloudError, EndedError, HostError, NotFoundError
from infra.keys import pin
from provision.machines import down, find, journal, login
from provision.offers import cache
from provision.settings import cache_home, state_home
from tests.unit import fake_aws
from tests.unit.fake_aws import FakeAws, Refused, Region
from tests.unit.test_machines import asked

MINE = fake_aws.CLOUD
THEIRS = dataclasses.replace(MINE, access_key="B")  # another profile: another account
NOTES = {"intent": "intent.json", "user_data": "user-data"}
NOW = datetime.now(timezone.utc)


def both() -> None:
    """Two accounts in one cloud and region; no machine has told its key in S3."""
    for cloud in (MINE, THEIRS):
        FakeAws(cloud, GetObject=Refused("NoSuchKey"))


def machine(id_: str, resource: str = "provision-lab-01234567") -> Instance:
    tags = {"provision:resource": resource}
    return Instance(id_, "lab", "running", "p3.8xlarge", "us-east-1a", "spot", "192.0.2.9", NOW, tags)


def launched(cloud: Cloud, id_: str) -> str:
    """A machine `lab` that was launched from here; its host key."""
    journal.write_intent(cloud, asked())
    journal.note_instance(cloud, "lab", id_)
    return journal.pin_host(cloud, machine(id_), f"ssh-ed25519 AAAA{id_}").read_text()


def old_notes(region: str = "us-east-1", key: str = "", **files: str) -> Path:
    """What a version before accounts were told apart noted on `lab`: the host key of `key`, and other files."""
    place = state_home() / "instances" / "fake" / region / "lab"
    pin(place / "known_hosts", key, "ssh-ed25519 AAAA")
    for name, text in files.items():
        (place / NOTES[name]).write_text(text)
    return place


def intent(token: str = "0123456789abcdef") -> str:
    return json.dumps({"time": time.time(), "request": {"name": "lab", "token": token}})


def test_two_accounts_keep_the_keys_of_machines_of_one_name() -> None:
    both()
    mine, theirs = launched(MINE, "i-1"), launched(THEIRS, "i-2")
    assert login.address(MINE, machine("i-1")).known_hosts.read_text() == mine
    assert login.address(THEIRS, machine("i-2")).known_hosts.read_text() == theirs
    with pytest.raises(HostError, match="does not know the host key of lab"):
        login.address(THEIRS, machine("i-1"))


def test_the_end_in_one_account_forgets_nothing_of_the_other() -> None:
    both()
    theirs = launched(THEIRS, "i-2")
    aws = Region()
    launched(MINE, "i-1")
    down.down(aws.cloud, "lab", lambda _: None, 5.0)
    assert aws.left() == {"vol-2"}
    assert journal.known_hosts(MINE, machine("i-1")) is None
    assert login.address(THEIRS, machine("i-2")).known_hosts.read_text() == theirs


def test_the_regions_are_those_of_the_account() -> None:
    both()
    west = dataclasses.replace(THEIRS, region="us-west-2")
    FakeAws(west)
    journal.write_intent(west, asked(region="us-west-2"))
    assert [place.region for place in find.places(THEIRS)] == ["us-east-1", "us-west-2"]
    assert [place.region for place in find.places(MINE)] == ["us-east-1"]
    assert journal.launches(MINE) == {}
    assert list(journal.launches(west)) == ["provision-lab-01234567"]


def test_aws_is_asked_once_whose_account_it_is_and_not_at_all_without_notes() -> None:
    aws = FakeAws(MINE)
    assert (journal.regions(MINE), journal.notes(MINE, None), journal.launches(MINE)) == ([], [], {})
    assert aws.calls == []
    launched(MINE, "i-1")
    journal.regions(MINE)
    journal.notes(MINE, "lab")
    assert aws.names() == ["GetCallerIdentity"]
    [kept] = (cache_home() / "lookups").rglob("account.json")
    assert set(json.loads(kept.read_text())) == {"key", "account"}


def test_a_profile_that_is_given_other_keys_is_another_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the profile stays, and so does the file that the answer is kept in."""
    aws = FakeAws(MINE)
    assert journal.folder(MINE, "lab").parts[-3:] == ("111111111111", "us-east-1", "lab")
    monkeypatch.setattr(cache, "signer", lambda _: ("AKIAOTHER", ""))
    aws.answers["GetCallerIdentity"] = {"Account": "333333333333", "Arn": "arn:aws:iam::333333333333:user/me"}
    assert journal.folder(MINE, "lab").parts[-3:] == ("333333333333", "us-east-1", "lab")
    assert len([*(cache_home() / "lookups").rglob("account.json")]) == 1


def test_temporary_keys_tell_their_account_and_aws_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of an assumed role are others in each process."""
    cloud = Cloud("aws", "us-east-1", "http://127.0.0.1:9")
    for name, value in (("ACCESS_KEY_ID", "ASIAX"), ("SECRET_ACCESS_KEY", "y"), ("ACCOUNT_ID", "444444444444")):
        monkeypatch.setenv(f"AWS_{name}", value)
    session._session.cache_clear()
    assert session.signer(cloud) == ("ASIAX", "")  # of a key that lasts it is the user's own word
    session._session.cache_clear()
    monkeypatch.setenv("AWS_SESSION_TOKEN", "z")
    assert session.signer(cloud) == ("ASIAX", "444444444444")
    assert journal.folder(cloud, "lab").parts[-3:] == ("444444444444", "us-east-1", "lab")
    session._session.cache_clear()


def test_an_upgrade_takes_over_the_key_of_a_machine_that_is_ours() -> None:
    both()
    old = old_notes(key="i-1")
    assert journal.known_hosts(THEIRS, machine("i-2")) is None
    assert (old / "known_hosts").exists()  # another account's machine of that name takes nothing
    known = journal.known_hosts(MINE, machine("i-1"))
    assert known == journal.folder(MINE, "lab") / "known_hosts"
    assert known.read_text() == "i-1 ssh-ed25519 AAAA\n"
    assert known.stat().st_mode & 0o777 == 0o600
    assert not old.exists()


def test_an_upgrade_goes_on_with_a_launch_that_was_cut_off() -> None:
    both()
    token = "0123456789abcdef"
    old = old_notes(key=token, intent=intent(token), user_data="secret")
    assert list(journal.launches(MINE)) == ["provision-lab-01234567"]
    assert journal.known_hosts(THEIRS, machine("i-2", "provision-lab-89abcdef")) is None
    known = journal.known_hosts(MINE, machine("i-1", "provision-lab-01234567"))
    assert known is not None
    assert known.read_text() == "i-1 ssh-ed25519 AAAA\n"
    # no private key stays, which earlier versions had in the user data
    assert {path.name for path in known.parent.iterdir()} == {"known_hosts", "instance"}
    assert not old.exists()


def test_the_end_of_a_machine_ends_its_old_notes_and_no_other_ones() -> None:
    old = old_notes(key="i-1")
    down.down(Region().cloud, "lab", lambda _: None, 5.0)
    assert not old.exists()
    old = old_notes(key="i-7")
    down.down(Region().cloud, "lab", lambda _: None, 5.0)
    assert old.exists()


def test_old_notes_tell_of_their_region_as_long_as_a_machine_may_live() -> None:
    both()
    old = old_notes("us-west-2", key="i-1")
    assert [place.region for place in find.places(MINE, (), "lab")] == ["us-east-1", "us-west-2"]
    os.utime(old, (time.time() - 91 * 24 * 3600,) * 2)
    assert [place.region for place in find.places(MINE)] == ["us-east-1"]


def test_newer_notes_on_a_name_stay_as_they_are() -> None:
    both()
    newer = launched(MINE, "i-2")
    old_notes(key="i-1")
    assert journal.known_hosts(MINE, machine("i-1")) is None
    assert login.address(MINE, machine("i-2")).known_hosts.read_text() == newer


def test_a_machine_ends_also_where_aws_does_not_say_whose_it_is() -> None:
    both()
    launched(MINE, "i-1")
    for kept in (cache_home() / "lookups").rglob("account.json"):
        kept.unlink()
    aws = Region()
    aws.answers["GetCallerIdentity"] = Refused("InternalFailure")
    done = down.down(aws.cloud, "lab", lambda _: None, 5.0)
    assert done.ended["instances"] == ["i-1"]
    assert aws.left() == {"vol-2"}
    with pytest.raises(CloudError, match="ask AWS who we are"):
        down.down(aws.cloud, "lab", lambda _: None, 5.0)
    aws.answers.pop("GetCallerIdentity")
    down.down(aws.cloud, "lab", lambda _: None, 5.0)  # now the notes are ended
    with pytest.raises(NotFoundError):
        down.down(aws.cloud, "lab", lambda _: None, 5.0)


@pytest.mark.parametrize(
    "step",
    [
        lambda: journal.note_asked(MINE, "lab"),
        lambda: journal.user_data(MINE, "lab"),
        lambda: journal.note_instance(MINE, "lab", "i-1"),
    ],
    ids=["before the call", "before the template", "after the call"],
)
def test_a_launch_whose_notes_a_down_took_away_ends_with_a_word(step: Callable[[], object]) -> None:
    both()
    journal.write_intent(MINE, asked())
    shutil.rmtree(journal.folder(MINE, "lab"))
    with pytest.raises(EndedError, match="lab was ended by another command while it was launched"):
        step()
    assert journal.known_hosts(MINE, machine("i-1")) is None
