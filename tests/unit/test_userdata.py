"""What a blank machine is told at its first boot."""

import gzip
import json
from datetime import datetime, timezone

from infra.keys import new_pair
from provision import userdata

DEADLINE = datetime(2026, 11, 21, 18, 40, tzinfo=timezone.utc)


def config() -> dict[str, object]:
    packed = userdata.render(DEADLINE, "ssh-ed25519 AAAA laptop", new_pair("host"))
    text = gzip.decompress(packed).decode()
    assert text.startswith("#cloud-config\n")
    plain: dict[str, object] = json.loads(text.split("\n", 1)[1])
    return plain


def test_the_deadline_is_armed_first_and_at_the_right_time() -> None:
    found = config()
    assert next(iter(found)) == "bootcmd"
    [command] = found["bootcmd"]  # type: ignore[misc]
    assert command[-1] == "2026-11-21 18:40:00 UTC"
    assert "provision-deadline.timer" in " ".join(command)


def test_it_fits_into_what_ec2_takes_with_room_to_grow() -> None:
    packed = userdata.render(DEADLINE, "ssh-ed25519 AAAA laptop", new_pair("host"))
    assert len(packed) < userdata.LIMIT * 0.9


def test_only_our_keys_let_in() -> None:
    found = config()
    [user] = found["users"]  # type: ignore[misc]
    assert user["ssh_authorized_keys"] == ["ssh-ed25519 AAAA laptop"]
    assert user["lock_passwd"] is True
    assert found["ssh_pwauth"] is False
    assert found["ssh_genkeytypes"] == []
    assert set(found["ssh_keys"]) == {"ed25519_private", "ed25519_public"}  # type: ignore[call-overload]


def test_no_aws_credentials_travel() -> None:
    assert "AKIA" not in json.dumps(config())
