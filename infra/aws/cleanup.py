"""How we end each kind of thing that we made. Waits and retries are inside; a thing that is gone is no error."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.ec2 import filters
from infra.aws.errors import code_of, explained
from infra.aws.iam import Iam
from infra.aws.resources import ENDED, Holding
from infra.aws.scheduler import Scheduler
from infra.aws.session import Cloud, client
from infra.concurrency import together
from infra.errors import CloudError

_BUSY = (
    "DependencyViolation", "VolumeInUse", "InvalidNetworkInterface.InUse", "InvalidIPAddress.InUse",
    "InvalidSnapshot.InUse", "IncorrectState",
)  # fmt: skip
_ONE_REFUSED = ("OperationNotPermitted", "UnauthorizedOperation")  # perhaps for one instance of several alone


class Removal:
    """Ends our things in one region. `patience`: how many seconds to wait for a thing that is in use, or is ending.

    `sleep` is for tests.
    """

    def __init__(self, cloud: Cloud, patience: float = 300.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self.cloud = cloud
        self.patience = patience
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self.cloud, "ec2")

    def terminate(self, ids: Sequence[str]) -> None:
        """Ask AWS to end the instances; absent ones are no error. AuthError where that is not allowed.

        AWS refuses the whole list for one bad id; then we ask for each instance alone.
        """
        if not ids:
            return
        with explained("terminate instances"):
            try:
                self._api.terminate_instances(InstanceIds=list(ids))
                return
            except ClientError as error:
                alone = len(ids) == 1
                if alone and _absent(error):
                    return
                if alone or not (code_of(error).startswith("Invalid") or code_of(error) in _ONE_REFUSED):
                    raise
        _, errors = together([partial(self.terminate, [instance]) for instance in ids])
        if errors:
            raise errors[0]

    def wait_ended(self, ids: Sequence[str]) -> None:
        """Wait until AWS says that the instances are terminated. CloudError where that takes longer than `patience`."""
        if ids and not self._within(lambda: not self._alive(ids)):
            raise CloudError(f"{', '.join(ids)} did not end within {self.patience:g} s", "run the same command again")

    def shut(self, group: Holding) -> None:
        """Remove all inbound rules of a security group."""
        rules = group.row.get("IpPermissions")
        if rules:
            self._delete("close a security group", self._api.revoke_security_group_ingress,
                         GroupId=group.id, IpPermissions=rules)  # fmt: skip

    def delete(self, holding: Holding) -> None:
        """End one thing that is not an instance; an absent one is no error. CloudError where it stays in use."""
        _DELETES[holding.kind](self, holding)

    def _delete(self, doing: str, call: Callable[..., Any], **words: Any) -> None:
        def tried() -> bool:
            with explained(doing):
                try:
                    call(**words)
                except ClientError as error:
                    if _absent(error):
                        return True
                    if not _busy(error):
                        raise
                    return False
            return True

        if not self._within(tried):
            which = next(iter(words.values()))
            raise CloudError(f"cannot {doing}: {which} is still in use", "run the same command again")

    def _within(self, done: Callable[[], bool]) -> bool:
        """Whether `done` came true within `patience` seconds."""
        until = time.monotonic() + self.patience
        pause = 0.3
        while not done():
            if time.monotonic() >= until:
                return False
            self._sleep(pause)
            pause = min(pause * 1.3, 3.0)
        return True

    def _alive(self, ids: Sequence[str]) -> bool:
        with explained("look at instances"):  # by a filter: a list of ids is refused for one that is forgotten
            pages = self._api.get_paginator("describe_instances").paginate(Filters=filters(instance_id=ids))
            rows = [row for page in pages for group in page["Reservations"] for row in group["Instances"]]
        return any(row["State"]["Name"] not in ENDED for row in rows)


_DELETES: dict[str, Callable[[Removal, Holding], None]] = {
    "volumes": lambda at, holding: at._delete("delete a volume", at._api.delete_volume, VolumeId=holding.id),
    "network interfaces": lambda at, holding: at._delete(
        "delete a network interface", at._api.delete_network_interface, NetworkInterfaceId=holding.id
    ),
    "security groups": lambda at, holding: at._delete(
        "delete a security group", at._api.delete_security_group, GroupId=holding.id
    ),
    "launch templates": lambda at, holding: at._delete(
        "delete a launch template", at._api.delete_launch_template, LaunchTemplateId=holding.id
    ),
    "key pairs": lambda at, holding: at._delete("delete a key pair", at._api.delete_key_pair, KeyPairId=holding.id),
    "spot requests": lambda at, holding: at._delete(
        "cancel a spot request", at._api.cancel_spot_instance_requests, SpotInstanceRequestIds=[holding.id]
    ),
    "elastic IPs": lambda at, holding: at._delete(
        "release an elastic IP", at._api.release_address, AllocationId=holding.id
    ),
    "snapshots": lambda at, holding: at._delete("delete a snapshot", at._api.delete_snapshot, SnapshotId=holding.id),
    "machine images": lambda at, holding: at._delete(
        "delete a machine image", at._api.deregister_image, ImageId=holding.id
    ),
    "schedules": lambda at, holding: Scheduler(at.cloud).disarm(holding.id),
    "roles": lambda at, holding: Iam(at.cloud).delete_role(holding.id),
    "instance profiles": lambda at, holding: Iam(at.cloud).delete_role(holding.id),  # a profile goes with its role
}


def _absent(error: ClientError) -> bool:
    return "NotFound" in code_of(error) or code_of(error) == "InvalidAMIID.Unavailable"


def _busy(error: ClientError) -> bool:
    return code_of(error) in _BUSY or "currently in use" in str(error)
