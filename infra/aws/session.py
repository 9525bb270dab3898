"""Where AWS is: AWS itself, or an endpoint that speaks its API. The rest of the code sees no difference."""

import functools
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from infra.errors import CloudError
from infra.shell import Secret

CHECK_IP = "https://checkip.amazonaws.com"
_MAKING = threading.Lock()


@dataclass(frozen=True)
class Cloud:
    """One AWS, as its clients need it. `endpoint` None is AWS itself; `name` is what `--cloud` says.

    `boundary` is the ARN of the permissions boundary that each role of ours gets, "" for none. `usual` are the cloud
    and the region that a command means without flags: `hint` names what differs from them.
    """

    name: str
    region: str
    endpoint: str | None = None
    check_ip: str = CHECK_IP
    profile: str | None = None
    access_key: str | None = None
    secret_key: Secret | None = field(default=None, repr=False)
    boundary: str = field(default="", compare=False)
    usual: tuple[str, str] = field(default=("aws", ""), compare=False)

    @property
    def flags(self) -> str:
        """The flags that lead a command to here, each with a space in front; "" where none is needed."""
        cloud, region = self.usual
        named = "" if self.name == cloud == "aws" else f" --cloud {self.name}"  # another shell may mean AWS
        return named + (f" --region {self.region}" if region and self.region != region else "")

    def hint(self, command: str) -> str:
        """The command as the user can copy it: `down lab` becomes `provision down lab --cloud local`."""
        return f"provision {command}{self.flags}"


@functools.cache
def _session(cloud: Cloud) -> Any:
    import botocore.session  # late: 0.3 s

    session = botocore.session.Session(profile=cloud.profile)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)
    if cloud.access_key and cloud.secret_key:
        session.set_credentials(cloud.access_key, cloud.secret_key)
    return session


def read_credentials_again(cloud: Cloud) -> None:
    """The next call reads the credentials anew, as they may have been renewed in a file; those that the cloud brings
    along stay."""
    if cloud.access_key:
        return
    with _MAKING:
        _client.cache_clear()
        _session.cache_clear()


def signer(cloud: Cloud) -> tuple[str, str]:
    """The id of the access key that calls are signed with, and its account where temporary keys tell it.

    Both are "" where there are no credentials. Temporary keys (of an assumed role, of SSO) differ in each process and
    name their account, as far as botocore knows it. The account that a file names for a lasting key is only what the
    user claims, so it is not used. AuthError where the credentials cannot be read.
    """
    from infra.aws.errors import explained

    with _MAKING, explained("read the credentials for AWS"):
        found = _session(cloud).get_credentials()
        keys = found.get_frozen_credentials() if found else None
    told = getattr(keys, "account_id", None) if keys and keys.token else None
    return (str(keys.access_key), str(told or "")) if keys else ("", "")


def parse_time(value: Any) -> datetime:
    """A time in AWS's answers. botocore's own parser takes 200 times as long: half the time of a listing."""
    try:
        at = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if at.tzinfo is not None:
            return at
    except (AttributeError, ValueError):  # seconds since 1970, and other forms
        pass
    from botocore.utils import parse_timestamp

    said: datetime = parse_timestamp(value)
    return said


def client(cloud: Cloud, service: str, attempts: int = 5) -> Any:
    """A low-level client, shared by all threads (making one is not safe in several).

    `attempts` limits botocore's own retries after throttling and AWS's failures: five tries wait at most 15 s in all.
    Give 1 where the caller retries within a time limit of its own (CreateFleet).
    """
    with _MAKING:
        return _client(cloud, service, attempts)


@functools.cache
def _client(cloud: Cloud, service: str, attempts: int) -> Any:
    from botocore.config import Config

    from infra.aws.errors import explained

    config = Config(
        retries={"mode": "standard", "max_attempts": attempts},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,  # a day's log is thousands of pieces
        s3={"addressing_style": "path"} if cloud.endpoint else None,
    )
    with explained(f"reach AWS's {service}"):
        return _session(cloud).create_client(
            service, region_name=cloud.region, endpoint_url=cloud.endpoint, config=config
        )


def own_address(cloud: Cloud) -> str:
    """This machine's address as the cloud sees it, for the rule that lets SSH in. CloudError where it is not told, or
    where the answer is no address (a network's login page)."""
    import ipaddress
    import urllib.request

    try:
        with urllib.request.urlopen(cloud.check_ip, timeout=10) as answer:
            return str(ipaddress.IPv4Address(answer.read(100).decode("ascii", "replace").strip()))
    except (OSError, ValueError) as error:
        raise CloudError(f"cannot learn this machine's own address: {error}", "check the network") from error
