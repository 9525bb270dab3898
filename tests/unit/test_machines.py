"""What is decided before anything is done."""

from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.aws.types import InstanceType, Place, SpotRequest
from infra.errors import PriceError, UsageError
from infra.keys import login_key, new_pair, pin
from infra.ssh import Address, ssh_words
from provision.planning import Wish, _check_name, _check_price, _ordered, _tags

PLACES = [Place("us-east-1a", "s-1", 3.5), Place("us-east-1b", "s-2", 4.1)]


def test_a_zone_that_took_a_machine_comes_last() -> None:
    assert [place.zone for place in _ordered(PLACES, "us-east-1a")] == ["us-east-1b", "us-east-1a"]
    assert [place.zone for place in _ordered(PLACES, "")] == ["us-east-1a", "us-east-1b"]


def test_a_price_below_the_market_is_refused_before_the_launch() -> None:
    with pytest.raises(PriceError) as refused:
        _check_price(Wish("x", "p3.8xlarge"), 1.0, tuple(PLACES))
    assert "$3.500" in refused.value.what
    assert "--max-price 3.85" in refused.value.mend
    _check_price(Wish("x", "p3.8xlarge"), 4.0, tuple(PLACES))
    _check_price(Wish("x", "p3.8xlarge", "on-demand"), 1.0, tuple(PLACES))


@given(st.text(max_size=60))
def test_a_name_is_a_name_or_refused(name: str) -> None:
    good = 0 < len(name) <= 40 and name.isascii() and all(c.isalnum() or c == "-" for c in name)
    if good:
        _check_name(name)
    else:
        with pytest.raises(UsageError):
            _check_name(name)


def test_tags_say_whose_it_is_and_when_it_ends() -> None:
    kind = InstanceType("p3.8xlarge", 32, 249856, "V100", 4, 16384)
    request = SpotRequest(
        "lab", "0123456789abcdef", "aws", "us-east-1", kind, tuple(PLACES), "ami-1", "spot", 100, 2.0, "192.0.2.1"
    )
    tags = _tags(request)
    assert tags["provision:name"] == "lab"
    assert tags["provision:resource"] == "provision-lab-01234567"
    left = datetime.fromisoformat(tags["provision:deadline"]) - datetime.now(timezone.utc)
    assert 7100 < left.total_seconds() <= 7200


def test_private_files_are_private(tmp_path: Path) -> None:
    path, public = login_key(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert public.startswith("ssh-ed25519 ")
    assert login_key(tmp_path) == (path, public)
    pin(tmp_path / "known_hosts", "i-1", new_pair("x").public)
    assert (tmp_path / "known_hosts").read_text().startswith("i-1 ssh-ed25519 ")


def test_the_systems_ssh_is_as_strict_as_ours(tmp_path: Path) -> None:
    words = ssh_words(Address("192.0.2.1", "provision", tmp_path / "key", tmp_path / "known", "i-1"), ["echo", "a b"])
    assert "StrictHostKeyChecking=yes" in words
    assert "HostKeyAlias=i-1" in words
    assert words[1:3] == ["-F", "/dev/null"]
    assert words[-1] == "echo 'a b'"
