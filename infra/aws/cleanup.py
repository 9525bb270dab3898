"""How each kind of what is ours is ended. Waits and retries are inside; what is gone already is as good as ended."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.ec2 import filters
from infra.aws.errors import code_of, explained
from infra.aws.holdings import ENDED, Holding
from infra.aws.iam import Iam
from infra.aws.scheduler import Scheduler
from infra.aws.session import Cloud, client
from infra.errors import CloudError
from infra.together import together

_BUSY = (
    "DependencyViolation", "VolumeInUse", "InvalidNetworkInterface.InUse", "InvalidIPAddress.InUse",
    "InvalidSnapshot.InUse", "IncorrectState",
)  # fmt: skip
_ONE_REFUSED = ("OperationNotPermitted", "UnauthorizedOperation")  # for one of several, perhaps


class Removal:
    """In one region. `patience` is how long (s) to wait for a thing in use or on its way out; `sleep` is for tests."""

    def __init__(self, cloud: Cloud, patience: float = 300.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self.cloud = cloud
        self.patience = patience
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self.cloud, "ec2")

    def terminate(self, ids: Sequence[str]) -> None:
        """Ask for the instances' end. AWS refuses a list whole for one id; then each is asked for alone."""
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
        _, errors = together([partial(self.terminate, [one]) for one in ids])
        if errors:
            raise errors[0]

    def wait_ended(self, ids: Sequence[str]) -> None:
        """Wait until AWS says that they are terminated; CloudError when that takes too long."""
        if ids and not self._within(lambda: not self._alive(ids)):
            raise CloudError(f"{', '.join(ids)} did not end within {self.patience:g} s", "run the same command again")

    def shut(self, group: Holding) -> None:
        """Let nobody in any more."""
        rules = group.row.get("IpPermissions")
        if rules:
            self._delete("close a security group", self._api.revoke_security_group_ingress,
                         GroupId=group.id, IpPermissions=rules)  # fmt: skip

    def delete(self, one: Holding) -> None:
        """End a thing that is no instance, waiting while it is in use; absent is as good."""
        _DELETES[one.kind](self, one)

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
        """Whether it was done before our patience was over."""
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
    "volumes": lambda at, one: at._delete("delete a volume", at._api.delete_volume, VolumeId=one.id),
    "network interfaces": lambda at, one: at._delete(
        "delete a network interface", at._api.delete_network_interface, NetworkInterfaceId=one.id
    ),
    "security groups": lambda at, one: at._delete(
        "delete a security group", at._api.delete_security_group, GroupId=one.id
    ),
    "launch templates": lambda at, one: at._delete(
        "delete a launch template", at._api.delete_launch_template, LaunchTemplateId=one.id
    ),
    "key pairs": lambda at, one: at._delete("delete a key pair", at._api.delete_key_pair, KeyPairId=one.id),
    "spot requests": lambda at, one: at._delete(
        "cancel a spot request", at._api.cancel_spot_instance_requests, SpotInstanceRequestIds=[one.id]
    ),
    "elastic IPs": lambda at, one: at._delete("release an elastic IP", at._api.release_address, AllocationId=one.id),
    "snapshots": lambda at, one: at._delete("delete a snapshot", at._api.delete_snapshot, SnapshotId=one.id),
    "machine images": lambda at, one: at._delete("delete a machine image", at._api.deregister_image, ImageId=one.id),
    "schedules": lambda at, one: Scheduler(at.cloud).disarm(one.id),
    "roles": lambda at, one: Iam(at.cloud).delete_role(one.id),
    "instance profiles": lambda at, one: Iam(at.cloud).delete_role(one.id),  # a profile goes with its role
}


def _absent(error: ClientError) -> bool:
    return "NotFound" in code_of(error) or code_of(error) == "InvalidAMIID.Unavailable"


def _busy(error: ClientError) -> bool:
    return code_of(error) in _BUSY or "currently in use" in str(error)
