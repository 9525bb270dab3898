"""Where AWS is: the real one, or an endpoint that speaks its API. The rest of the code sees no difference."""

import functools
import threading
from dataclasses import dataclass, field
from typing import Any

from infra.errors import CloudError
from infra.shell import Secret

CHECK_IP = "https://checkip.amazonaws.com"
_MAKING = threading.Lock()


@dataclass(frozen=True)
class Cloud:
    """One AWS, as its clients need it. `endpoint` None is AWS itself; `name` is what `--cloud` says."""

    name: str
    region: str
    endpoint: str | None = None
    check_ip: str = CHECK_IP
    profile: str | None = None
    access_key: str | None = None
    secret_key: Secret | None = field(default=None, repr=False)


@functools.cache
def _session(cloud: Cloud) -> Any:
    import botocore.session  # late: 0.3 s

    session = botocore.session.Session(profile=cloud.profile)
    if cloud.access_key and cloud.secret_key:
        session.set_credentials(cloud.access_key, cloud.secret_key)
    return session


def client(cloud: Cloud, service: str, attempts: int = 5) -> Any:
    """A low-level client, shared by all threads (making one is not safe in several).

    `attempts` bounds botocore's own patience with throttling and AWS's troubles: five tries wait for at most 15 s
    together. 1 where our own has a limit in time (CreateFleet).
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
    """This machine's address as the cloud sees it, for the one rule that lets us in."""
    import urllib.request

    try:
        with urllib.request.urlopen(cloud.check_ip, timeout=10) as answer:
            return str(answer.read().decode().strip())
    except OSError as error:
        raise CloudError(f"cannot learn this machine's own address: {error}", "check the network") from error
