"""This laptop's notes on machines: the intent of a launch, and the host key that each machine was given.

A launch is written down before its first call. A client that was killed anywhere left the whole request with its
token: the same command again takes it up, and gets the same machine. The notes are a folder for each machine, under its
region: so they also tell in which regions there may be something of ours.
"""

import dataclasses
import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec

from infra.aws.session import Cloud
from infra.aws.types import SpotRequest
from infra.keys import login_key, new_pair, pin, write_private
from provision import userdata
from provision.settings import home, state_home

_TOKEN_LIFE_S = 900.0
# what the answers of the moment decide; a launch is the same without them
_OF_THE_MOMENT = ("token", "address", "tags", "offers", "image", "root_device")


def folder(cloud: Cloud, name: str) -> Path:
    """The notes on one machine."""
    return _of_cloud(cloud) / cloud.region / name


def regions(cloud: Cloud, name: str = "*") -> list[str]:
    """Regions in which this laptop has notes on a machine (of that name)."""
    return sorted({path.parent.name for path in _of_cloud(cloud).glob(f"*/{name}") if path.is_dir()})


def _of_cloud(cloud: Cloud) -> Path:
    return state_home() / "instances" / cloud.name.replace(":", "-")


def log_path(resource: str) -> Path:
    """Where the log of a bootstrap that failed is kept; it outlives the notes."""
    return state_home() / "logs" / f"{resource}.log"


def write_intent(cloud: Cloud, request: SpotRequest) -> SpotRequest:
    """Write down what is about to be asked for; or, after a crash, take up the request that was.

    The deadline counts from here.
    """
    place = folder(cloud, request.name)
    if old := _earlier(place, request):
        return dataclasses.replace(old, address=request.address)
    deadline = userdata.ends_at(request, datetime.now(timezone.utc))
    request = dataclasses.replace(request, tags={**request.tags, "provision:deadline": deadline.isoformat()})
    _, public = login_key(home())
    host = new_pair(request.name)
    pin(place / "known_hosts", request.token, host.public)
    write_private(place / "user-data", "")
    (place / "user-data").write_bytes(userdata.render(request, deadline, public, host))
    note = {"time": time.time(), "request": msgspec.to_builtins(request)}
    write_private(place / "intent.json", json.dumps(note))
    return request


def begun(cloud: Cloud, name: str) -> bool:
    """Whether there is a launch of which it is not known what came of it."""
    return (folder(cloud, name) / "intent.json").exists()


def takes_up(cloud: Cloud, request: SpotRequest) -> bool:
    """Whether `request` goes on with a launch that was begun here."""
    return cloud.region == request.region and _earlier(folder(cloud, request.name), request) is not None


def user_data(cloud: Cloud, name: str) -> bytes:
    """What the noted launch gives its machine."""
    return (folder(cloud, name) / "user-data").read_bytes()


def _earlier(place: Path, request: SpotRequest) -> SpotRequest | None:
    """The noted request, where it asks for the same and is young enough for EC2 to know its token."""
    try:
        note = json.loads((place / "intent.json").read_text())
        old = msgspec.convert(note["request"], SpotRequest)
        deadline = datetime.fromisoformat(old.tags["provision:deadline"])
    except (OSError, ValueError, KeyError, msgspec.ValidationError):  # absent, or of another version
        return None
    young = time.time() - note["time"] < _TOKEN_LIFE_S and deadline > datetime.now(timezone.utc) + timedelta(minutes=1)
    return old if young and _asked(old) == _asked(request) and (place / "user-data").exists() else None


def _asked(request: SpotRequest) -> dict[str, Any]:
    given = {key: value for key, value in vars(request).items() if key not in _OF_THE_MOMENT}
    return {**given, "types": sorted({offer.type.name for offer in request.offers})}


def forget_intent(cloud: Cloud, name: str) -> None:
    """The launch is over: AWS said what came of it. The private half of the host key is forgotten here, too."""
    for one in ("user-data", "intent.json"):
        (folder(cloud, name) / one).unlink(missing_ok=True)


def pin_host(cloud: Cloud, name: str, instance_id: str) -> None:
    """From now on the host key goes by the instance's id."""
    known = folder(cloud, name) / "known_hosts"
    pin(known, instance_id, known.read_text().split(maxsplit=1)[1])
    forget_intent(cloud, name)


def adopt_pin(cloud: Cloud, name: str, resource: str, instance_id: str) -> None:
    """An `up` that was killed between launch and pin left the key under its token."""
    noted = folder(cloud, name) / "intent.json"
    if noted.exists() and resource.endswith(json.loads(noted.read_text())["request"]["token"][:8]):
        pin_host(cloud, name, instance_id)
