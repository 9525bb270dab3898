"""Log in to a machine: its address, the key, and the host key that was pinned at its launch."""

from infra.address import Address
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.errors import HostError
from infra.keys import login_key
from infra.ssh import SshShell
from provision.machines import journal, ssm_proxy, user_data
from provision.settings import home


def address(cloud: Cloud, instance: Instance) -> Address:
    """How to log in there. HostError where this laptop does not know the machine's host key, or nobody is let in."""
    refuse_kept(cloud, instance)
    known = journal.known_hosts(cloud, instance)
    if known is None:
        raise HostError(
            f"this laptop does not know the host key of {instance.name}",
            "SSH works from the laptop that started it; logs, fetch and resume work from any",
        )
    key, _ = login_key(home())
    if instance.via == "ssm":
        proxy = ssm_proxy.words(cloud, instance.id)
        return Address(instance.id, user_data.USER, key, known, instance.id, proxy=proxy, flags=cloud.flags)
    return Address(str(instance.address), user_data.USER, key, known, instance.id, flags=cloud.flags)


def refuse_kept(cloud: Cloud, instance: Instance) -> None:
    """HostError for a machine that works for a run which AWS keeps: nobody logs in there, nor trains there."""
    if run := instance.record.run:
        raise HostError(
            f"{instance.name} lets nobody in: it works for {run}, which AWS keeps without a laptop",
            f"follow it: {cloud.hint(f'logs {run} -f')}; stop it: {cloud.hint(f'stop {run}')}",
        )


def shell(cloud: Cloud, instance: Instance) -> SshShell:
    """A shell on the machine, as the login user. HostError where this laptop does not know its host key."""
    return SshShell(address(cloud, instance), instance.name)
