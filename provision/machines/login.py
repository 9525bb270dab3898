"""Log in to a machine: its address, the key, and the host key that it told, which is pinned when it is first read."""

from pathlib import Path

from infra.address import Address
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.errors import HostError
from infra.keys import login_key
from infra.ssh import SshShell
from provision.machines import host_keys, journal, ssm_proxy, user_data
from provision.settings import home


def address(cloud: Cloud, instance: Instance) -> Address:
    """How to log in there. HostError where nobody knows the machine's host key, or nobody is let in; HostKeyError for
    a key that is none; AuthError or CloudError where S3 does not tell it."""
    refuse_kept(cloud, instance)
    known = known_hosts(cloud, instance)
    if known is None:
        raise HostError(
            f"this laptop does not know the host key of {instance.name}, which has told none",
            "SSH works then from the laptop that started it; logs, fetch and resume work from any",
        )
    key, _ = login_key(home())
    if instance.via == "ssm":
        proxy = ssm_proxy.words(cloud, instance.id)
        return Address(instance.id, user_data.USER, key, known, instance.id, proxy=proxy, flags=cloud.flags)
    return Address(str(instance.address), user_data.USER, key, known, instance.id, flags=cloud.flags)


def known_hosts(cloud: Cloud, instance: Instance) -> Path | None:
    """The file with the machine's host key: the one that is pinned here, or the one that it told, which is pinned then.

    None where it has told none yet. HostKeyError, AuthError, CloudError.
    """
    if known := journal.known_hosts(cloud, instance):
        return known
    told = host_keys.told(cloud, instance)
    return journal.pin_host(cloud, instance, told) if told else None


def refuse_kept(cloud: Cloud, instance: Instance) -> None:
    """HostError for a machine that works for a run which AWS keeps: nobody logs in there, nor trains there."""
    if run := instance.record.run:
        raise HostError(
            f"{instance.name} lets nobody in: it works for {run}, which AWS keeps without a laptop",
            f"follow it: {cloud.hint(f'logs {run} -f')}; stop it: {cloud.hint(f'stop {run}')}",
        )


def shell(cloud: Cloud, instance: Instance) -> SshShell:
    """A shell on the machine, as the login user; the errors of `address`."""
    return SshShell(address(cloud, instance), instance.name)
