"""Ending: of one machine with all that belongs to it, or of all; and the proof that it is gone.

Nothing is believed that the cloud does not say. What a launch began is found by its tags and its name, so that it
makes no difference who began it, or where that stopped.
"""

import time
from collections.abc import Callable
from pathlib import Path

from infra.aws.ec2 import Ec2
from infra.aws.iam import Iam
from infra.aws.session import Cloud
from infra.errors import LeftoverError
from provision import machines

Say = Callable[[str], None]
_LATE_S = 6.0


def down(cloud: Cloud, name: str | None, say: Say) -> dict[str, list[str]]:
    """End `name` (None: all of ours) with all that belongs to it, and prove it gone. What was ended, by kind."""
    before = everything(cloud, name)
    noted = _noted(cloud, name)
    if name and not any(before.values()) and not noted:
        Ec2(cloud).instance(name)  # raises the NotFoundError that names the others
    say("ending " + (", ".join(before["instances"]) or "what is left"))
    _end(cloud, before)
    # a launch that was cut off may show up late: what was noted and not seen gets some more time
    late = any((place / "intent.json").exists() for place in noted)
    prove(cloud, name, settle=_LATE_S if late else 0.0)
    for place in noted:
        _forget(place)
    return before


def end_old(cloud: Cloud, name: str, instance_id: str, say: Say) -> None:
    """End one machine with what belongs to it; another of the same name that lives stays untouched."""
    ec2 = Ec2(cloud)
    keep = {one.resource for one in ec2.instances(name) if one.id != instance_id}
    found = everything(cloud, name)
    found["instances"] = [one for one in found["instances"] if one == instance_id]
    for kind in ("security groups", "roles", "instance profiles"):
        found[kind] = [one for one in found[kind] if one not in keep]
    say(f"ending what is left of {name}")
    _end(cloud, found)


def _end(cloud: Cloud, found: dict[str, list[str]]) -> None:
    ec2, iam = Ec2(cloud), Iam(cloud)
    ec2.terminate(found["instances"])
    for group in found["security groups"]:
        ec2.delete_group(group)
    for role in sorted({*found["roles"], *found["instance profiles"]}):
        iam.delete_role(role)


def everything(cloud: Cloud, name: str | None) -> dict[str, list[str]]:
    """What exists of `name` (None: of all), by kind."""
    found = Ec2(cloud).leftovers(name)
    mine = f"provision-{name}-" if name else ""
    iam = Iam(cloud)

    def belongs(resource: str) -> bool:
        return not name or (resource.startswith(mine) and "-" not in resource.removeprefix(mine))

    found["roles"] = [one for one in iam.roles() if belongs(one)]
    found["instance profiles"] = [one for one in iam.profiles() if belongs(one)]
    return found


def prove(cloud: Cloud, name: str | None, timeout: float = 120.0, settle: float = 0.0) -> None:
    """Wait until nothing is left, and stays so for `settle` s; LeftoverError that lists what is.

    An instance that shows up only now (a launch whose answer was lost) is ended too.
    """
    until = time.monotonic() + timeout
    clean_since: float | None = None
    while True:
        left = {kind: ids for kind, ids in everything(cloud, name).items() if ids}
        now = time.monotonic()
        clean_since = None if left else clean_since or now
        if clean_since is not None and now - clean_since >= settle:
            return
        if left and now > until:
            words = "; ".join(f"{kind}: {', '.join(ids)}" for kind, ids in left.items())
            raise LeftoverError(f"not everything is gone: {words}", "run the same command again")
        if left.get("instances"):
            Ec2(cloud).terminate(left["instances"])
        Ec2(cloud).delete_volumes(name)
        time.sleep(1.0)


def _noted(cloud: Cloud, name: str | None) -> list[Path]:
    if name:
        place = machines.folder(cloud, name)
        return [place] if place.is_dir() else []
    base = machines.folder(cloud, "x").parent
    return [place for place in base.iterdir() if place.is_dir()] if base.is_dir() else []


def _forget(place: Path) -> None:
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
