"""What an instance reads at 169.254.169.254: only what RunInstances received, and what EC2 would add.

The sidecar container has checked the token and knows the caller's address; here are the answers.
"""

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from moto.core.utils import utcnow
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from localcloud.machines import Machine

SESSION = 6 * 3600  # seconds that a role's credentials live
RENEW = timedelta(minutes=5)  # before their end, new ones are handed out

Answer = tuple[int, bytes]
sessions: dict[str, Any] = {}  # instance id → its role's session


def answer(machine: Machine, path: str) -> Answer:
    """Status and body for `path`, e.g. /latest/meta-data/instance-id."""
    if path == "/latest/user-data":
        return _user_data(machine)
    if not path.startswith("/latest/meta-data"):
        return 404, b""
    wanted = path.removeprefix("/latest/meta-data").strip("/")
    pages = _pages(machine)
    if wanted in pages:
        text = pages[wanted]()
        return (404, b"") if text is None else (200, text.encode())
    return _listing(wanted, pages)


def _pages(machine: Machine) -> dict[str, Callable[[], str | None]]:
    instance = machine.instance
    role = _role(instance)
    pages: dict[str, Callable[[], str | None]] = {
        "ami-id": lambda: str(instance.image_id),
        "instance-id": lambda: str(instance.id),
        "instance-type": lambda: str(instance.instance_type),
        "instance-life-cycle": lambda: instance.lifecycle or "on-demand",
        "local-ipv4": lambda: machine.address,
        "public-ipv4": lambda: machine.address,
        "local-hostname": lambda: str(instance.private_dns_name),
        "placement/availability-zone": lambda: str(instance.placement.zone),
        "placement/region": lambda: str(instance.region_name),
        "spot/instance-action": lambda: _action(machine),
        "spot/termination-time": lambda: machine.interruption.at if machine.interruption else None,
    }
    if _profile(instance) is not None:
        pages["iam/info"] = lambda: _info(instance)
    if instance.key_name:
        pages["public-keys/0/openssh-key"] = lambda: _key(instance)
    if role is not None:
        pages["iam/security-credentials"] = lambda: str(role.name)
        pages[f"iam/security-credentials/{role.name}"] = lambda: _credentials(instance, role)
    return pages


def _listing(wanted: str, pages: dict[str, Callable[[], str | None]]) -> Answer:
    """The names in a folder, as EC2 lists them."""
    prefix = f"{wanted}/" if wanted else ""
    inside = [name.removeprefix(prefix) for name in pages if name.startswith(prefix)]
    names = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in inside})
    return (200, "\n".join(names).encode()) if names else (404, b"")


def _user_data(machine: Machine) -> Answer:
    given = machine.instance.user_data
    return (200, base64.b64decode(given.as_bytes())) if given else (404, b"")


def _key(instance: Any) -> str | None:
    pair = instance.ec2_backend.key_pairs.get(instance.key_name)
    material = getattr(pair, "material_public", None)
    return material.decode() if isinstance(material, bytes) else material


def _action(machine: Machine) -> str | None:
    coming = machine.interruption
    return json.dumps({"action": "terminate", "time": coming.at}) if coming else None


def _profile(instance: Any) -> Any:
    association = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
    return association.iam_instance_profile if association else None


def _role(instance: Any) -> Any:
    profile = _profile(instance)
    return profile.roles[0] if profile and profile.roles else None


def _info(instance: Any) -> str:
    profile = _profile(instance)
    found = {"Code": "Success", "LastUpdated": _iso(utcnow()), "InstanceProfileArn": profile.arn}
    return json.dumps({**found, "InstanceProfileId": profile.id})


def _credentials(instance: Any, role: Any) -> str:
    """The role's session of this instance, as the SDKs read it; renewed before it ends."""
    session = sessions.get(instance.id)
    if session is None or session.role_arn != role.arn or session.expiration < utcnow() + RENEW:
        session = sessions[instance.id] = _assume(instance, role)
    words = {
        "Code": "Success",
        "LastUpdated": _iso(utcnow()),
        "Type": "AWS-HMAC",
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.session_token,
        "Expiration": _iso(session.expiration),
    }
    return json.dumps(words)


def _assume(instance: Any, role: Any) -> Any:
    account = iam_backends[instance.owner_id]["aws"].account_id
    return sts_backends[account]["aws"].assume_role(
        region_name=instance.region_name,
        role_session_name=instance.id,
        role_arn=role.arn,
        policy="",
        duration=SESSION,
        external_id="",
    )


def _iso(at: datetime) -> str:
    return at.replace(tzinfo=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
