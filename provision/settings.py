"""The user's settings: defaults, then the user's file, then the project's, then the environment, then flags.

The user's file is ~/.config/provision/settings.yaml, the project's is provision.yaml in its folder. Both have the
keys of `Settings`; an unknown key is an error that names the nearest.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from infra import names
from infra.border import convert, read_yaml
from infra.errors import UsageError

_LARGEST_GB = 16384  # of a gp3 volume


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every command may need.

    `max_price` in US dollars an hour, `budget` in US dollars, disk in GB, times as their names say. `more_regions` are
    tried in order after `region` where there is no capacity; `fallback` is none or on-demand, `via` ssh or ssm; `ami`
    is for all machines, `amis` names one (or an SSM parameter) for a GPU's family. `accept_licences` are files of
    trained weights to whose terms the user keeps. `permissions_boundary` is the ARN of the policy that bounds each role
    that is made. `bake`: a machine that AWS keeps for a training, and that had to install its driver, becomes a machine
    image at its end.
    """

    cloud: str = "aws"
    region: str = "us-east-1"
    profile: str | None = None
    disk_gb: int = 100
    max_hours: float = 24.0
    max_price: float | None = None
    more_regions: tuple[str, ...] = ()
    fallback: str = "none"
    idle_minutes: float = 30.0
    budget: float | None = None
    keep_on_error_minutes: float | None = None
    via: str = "ssh"
    expire_days: int = 30
    push_seconds: float = 5.0
    ami: str | None = None
    amis: dict[str, str] = {}
    accept_licences: tuple[str, ...] = ()
    permissions_boundary: str | None = None
    bake: bool = True


def home() -> Path:
    """The folder of the user's settings and login key."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return Path(base) / "provision" if base else Path.home() / ".config" / "provision"


def state_home() -> Path:
    """The folder of launch intents and known_hosts, which are caches of what the cloud knows."""
    base = os.environ.get("XDG_STATE_HOME")
    return Path(base) / "provision" if base else Path.home() / ".local" / "state" / "provision"


def cache_home() -> Path:
    """The folder of prepared data, which is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "provision" if base else Path.home() / ".cache" / "provision"


def load(**flags: Any) -> Settings:
    """The settings in force; a flag that is None was not given. UsageError for a value that cannot be."""
    merged: dict[str, Any] = {}
    for path in (home() / "settings.yaml", Path("provision.yaml")):
        merged |= _of_file(path)
    for name in ("cloud", "region"):
        if value := os.environ.get(f"PROVISION_{name.upper()}"):
            merged[name] = value
    merged |= {key: value for key, value in flags.items() if value is not None}
    settings = convert(merged, Settings, "settings")
    for region in (settings.region, *settings.more_regions):
        names.REGION.check(region)
    if settings.permissions_boundary is not None:
        names.BOUNDARY.check(settings.permissions_boundary)
    if not 8 <= settings.disk_gb <= _LARGEST_GB:
        raise UsageError(f"disk_gb must be at least 8 and at most {_LARGEST_GB}", "see `provision up --help`")
    if not settings.max_hours > 0:
        raise UsageError("max_hours must be more than 0", "see `provision up --help`")
    return settings


def _of_file(path: Path) -> dict[str, Any]:
    """Only the keys that the file really sets; none where there is no file."""
    if not os.path.lexists(path):
        return {}
    raw = read_yaml(path)
    settings = convert(raw, Settings, str(path))
    return {key: getattr(settings, key) for key in raw} if isinstance(raw, dict) else {}
