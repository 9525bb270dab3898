"""This laptop's notes on machines: the intent of a launch, its instance, and the host key that each machine told.

A launch is written down before its first call. A client that was killed anywhere left the whole request with its
token: the same command again takes it up, and gets the same machine. The notes are a folder for each machine, under its
account and region: so they also tell in which regions there may be something of ours, and two accounts may both have a
machine of one name.

    instances/CLOUD/ACCOUNT/REGION/NAME/{intent.json,user-data,asked,instance,known_hosts}

Older versions had no ACCOUNT there. What they noted is taken over (`adopt`) when the account shows the machine
that it is about; until then it still tells of its region, to every account. Later ones made the host key on the laptop,
and pinned it under the launch's token: that counts, too.
"""

import contextlib
import dataclasses
import glob
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec

from infra import names
from infra.aws.session import Cloud
from infra.aws.tags import moved
from infra.aws.types import Instance, SpotRequest
from infra.errors import EndedError
from infra.keys import login_key, pin, write_private
from provision.machines import host_keys, note_folders, note_texts
from provision.machines import user_data as userdata
from provision.machines.note_texts import ASKED, INSTANCE, INTENT, KNOWN, USER_DATA
from provision.offers import budget, cache
from provision.settings import home, state_home

_TOKEN_LIFE_S = 900.0  # a launch that was cut off is taken up for so long; an older one is ended and begun anew
# a machine has at most 30 days, and each `extend`, which takes its notes over, gives at most 30 more
_OLD_NOTES_LAST_S = 90 * 24 * 3600.0
# what the answers of the moment decide; a launch is the same without them. Not `there`: it says which disks are made
_OF_THE_MOMENT = ("token", "address", "tags", "listed", "offers", "image", "root_device", "owner")


def folder(cloud: Cloud, name: str) -> Path:
    """The notes on one machine. AuthError where AWS cannot be asked whose account it is."""
    return _of_cloud(cloud) / cache.account(cloud) / cloud.region / name


def lock_path(cloud: Cloud, name: str) -> Path:
    """The file by which one launch of a name at a time is made on this laptop; its folder is there."""
    path = folder(cloud, name).with_name(f".{name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def regions(cloud: Cloud, name: str = "*") -> list[str]:
    """Regions in which this laptop has notes on a machine (of that name) of this account."""
    mine = _mine(cloud)
    name = name if name == "*" else glob.escape(name)
    places = [*mine.glob(f"*/{name}")] if mine else []
    places += [place for place in note_folders.without_account(cloud.name, name) if _may_be_ours(place)]
    found = {place.parent.name for place in places if place.is_dir()}
    return sorted(found | note_folders.launch_regions(mine, name) if mine else found)


def _mine(cloud: Cloud) -> Path | None:
    """The folder of this account's notes; None where no account has any, so that AWS need not be asked which it is."""
    return _of_cloud(cloud) / cache.account(cloud) if note_folders.accounts(cloud.name) else None


def _may_be_ours(old: Path) -> bool:
    """Whether these are notes of an older version, on a machine that may still be there."""
    try:
        return time.time() - old.stat().st_mtime < _OLD_NOTES_LAST_S
    except FileNotFoundError:  # another command has just taken them over
        return False


def _of_cloud(cloud: Cloud) -> Path:
    return note_folders.of_cloud(cloud.name)


def adopt(cloud: Cloud, name: str, instance_id: str, resource: str) -> None:
    """Take over what an older version noted on this machine or launch, which this account has.

    Nothing is done where there are newer notes on that name.
    """
    old = _of_cloud(cloud) / cloud.region / name
    its = note_texts.alias(old / KNOWN) == instance_id or note_texts.is_of(old, resource)
    if not its or not names.MACHINE.fits(name):
        return
    new = folder(cloud, name)
    if note_texts.there(new):
        return
    new.mkdir(parents=True, exist_ok=True, mode=0o700)
    for note in note_texts.ALL:
        with contextlib.suppress(FileNotFoundError):  # it was never there, or another command has just moved it
            (old / note).replace(new / note)
    note_texts.forget(old)


def log_path(resource: str) -> Path:
    """Where the log of a bootstrap that failed is kept; it outlives the notes."""
    return state_home() / "logs" / f"{resource}.log"


def write_intent(cloud: Cloud, request: SpotRequest) -> SpotRequest:
    """Write down what is about to be asked for; or, after a crash, take up the request that was.

    The deadline counts from here. EndedError where a `down` of this laptop takes the notes away meanwhile.
    """
    place = folder(cloud, request.name)
    if old := _earlier(place, request):
        return dataclasses.replace(old, address=request.address)
    deadline = budget.ends_at(request, datetime.now(timezone.utc))
    request = dataclasses.replace(request, tags={**request.tags, **moved(deadline)})
    _, public = login_key(home())
    order = host_keys.order(host_keys.store(cloud), host_keys.folder(request.launch))
    data = userdata.render(request, deadline, public, order)
    note = {"time": time.time(), "request": msgspec.to_builtins(request)}
    with _still_noted(request.name):
        write_private(place / USER_DATA, "")
        for earlier in (KNOWN, INSTANCE):  # of the machine that had this name before
            (place / earlier).unlink(missing_ok=True)
        (place / USER_DATA).write_bytes(data)
        (place / ASKED).unlink(missing_ok=True)
        write_private(place / INTENT, json.dumps(note))
    return request


@contextmanager
def _still_noted(name: str) -> Iterator[None]:
    """EndedError where the notes are gone: a `down` of this laptop has ended the launch meanwhile."""
    try:
        yield
    except FileNotFoundError as error:
        raise EndedError(
            f"{name} was ended by another command while it was launched", "if you want it, run this command again"
        ) from error


def note_asked(cloud: Cloud, name: str) -> None:
    """From now on AWS may launch the machine of the noted launch. EndedError where a `down` has ended that launch."""
    with _still_noted(name):
        (folder(cloud, name) / ASKED).touch()


def begun(cloud: Cloud, name: str) -> str:
    """The launch of that name of which it is not known what came of it; "" where there is none."""
    place = folder(cloud, name)
    return note_texts.about(place) if (place / INTENT).exists() else ""


def takes_up(cloud: Cloud, request: SpotRequest) -> bool:
    """Whether `request` goes on with a launch that was begun here."""
    return cloud.region == request.region and _earlier(folder(cloud, request.name), request) is not None


def user_data(cloud: Cloud, name: str) -> bytes:
    """What the noted launch gives its machine. EndedError where a `down` has ended that launch."""
    with _still_noted(name):
        return (folder(cloud, name) / USER_DATA).read_bytes()


def _earlier(place: Path, request: SpotRequest) -> SpotRequest | None:
    """The noted request, where it asks for the same and is young enough for EC2 to know its token."""
    try:
        note = json.loads((place / INTENT).read_text())
        old = msgspec.convert(note["request"], SpotRequest)
        deadline = datetime.fromisoformat(old.tags["provision:deadline"])
    except (OSError, ValueError, KeyError, msgspec.ValidationError):  # absent, or of another version
        return None
    young = time.time() - note["time"] < _TOKEN_LIFE_S and deadline > datetime.now(timezone.utc) + timedelta(minutes=1)
    return old if young and _asked(old) == _asked(request) and (place / USER_DATA).exists() else None


def _asked(request: SpotRequest) -> dict[str, Any]:
    given = {key: value for key, value in vars(request).items() if key not in _OF_THE_MOMENT}
    return {**given, "types": sorted({offer.type.name for offer in request.offers})}


def launches(cloud: Cloud) -> dict[str, datetime]:
    """The launches that this laptop began in this region and has not seen yet: the name of each → when it was noted."""
    mine = _mine(cloud)
    places = [*(mine / cloud.region).glob("*")] if mine else []
    places += (_of_cloud(cloud) / cloud.region).glob("*")  # a launch's name has its token: it is no other account's
    return dict(launch for place in places if (launch := note_texts.begun_at(place)))


def forget_intent(cloud: Cloud, name: str) -> None:
    """The launch is over: AWS said what came of it."""
    note_texts.forget(folder(cloud, name), (USER_DATA, INTENT, ASKED))


def note_instance(cloud: Cloud, name: str, instance_id: str) -> None:
    """The noted launch has this instance. EndedError where a `down` has ended that launch.

    A host key that an earlier version pinned under the launch's token goes by the instance's id from now on.
    """
    place = folder(cloud, name)
    with _still_noted(name):
        (place / INTENT).stat()
        (place / INSTANCE).write_text(instance_id)
        if note_texts.alias(place / KNOWN):
            pin(place / KNOWN, instance_id, (place / KNOWN).read_text().split(maxsplit=1)[1])
    forget_intent(cloud, name)


def known_hosts(cloud: Cloud, instance: Instance) -> Path | None:
    """The file with the machine's host key under its id; None where this laptop does not know the key.

    An `up` that was killed between the launch and its note did not note the instance: that is done here.
    """
    adopt(cloud, instance.name, instance.id, instance.launch)
    place = folder(cloud, instance.name)
    if note_texts.is_of(place, instance.launch):
        with contextlib.suppress(EndedError):  # then nothing is known of it
            note_instance(cloud, instance.name, instance.id)
    return place / KNOWN if note_texts.alias(place / KNOWN) == instance.id else None


def pin_host(cloud: Cloud, instance: Instance, public: str) -> Path:
    """From now on this is the machine's host key for this laptop; the file with it."""
    place = folder(cloud, instance.name)
    pin(place / KNOWN, instance.id, public)
    return place / KNOWN


def notes(cloud: Cloud, name: str | None) -> list[Path]:
    """The folders with notes on a machine of that name (None: on any) in this region."""
    mine = _mine(cloud)
    if mine is None:
        return []
    region = mine / cloud.region
    places = [region / name] if name else sorted(region.iterdir()) if region.is_dir() else []
    return [place for place in places if note_texts.there(place)]
