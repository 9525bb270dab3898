"""The user's settings: defaults, then the user's file, then the project's, then the environment, then flags.

The user's file is ~/.config/provision/settings.yaml, the project's is provision.yaml in its folder. Both have the
keys of `Settings`; an unknown key is an error that names the nearest.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from infra.border import convert, load_yaml
from infra.errors import UsageError


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every command may need.

    `max_price` in US dollars an hour, `budget` in US dollars, disk in GB, times as their names say. `more_regions` are
    tried in order after `region` where there is no capacity; `fallback` is none or on-demand, `via` ssh or ssm; `ami`
    is for all machines, `amis` names one (or an SSM parameter) for a GPU's family. `accept_licences` are files of
    trained weights to whose terms the user keeps.
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


def home() -> Path:
    """Where the user's settings and login key are."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return Path(base) / "provision" if base else Path.home() / ".config" / "provision"


def state_home() -> Path:
    """Where launch intents and known_hosts are: caches of what the cloud knows."""
    base = os.environ.get("XDG_STATE_HOME")
    return Path(base) / "provision" if base else Path.home() / ".local" / "state" / "provision"


def cache_home() -> Path:
    """Where prepared data is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "provision" if base else Path.home() / ".cache" / "provision"


def load(**flags: Any) -> Settings:
    """The settings in force; a flag that is None was not given."""
    merged: dict[str, Any] = {}
    for path in (home() / "settings.yaml", Path("provision.yaml")):
        if path.is_file():
            merged |= _given(load_yaml(path, Settings), path)
    for name in ("cloud", "region"):
        if value := os.environ.get(f"PROVISION_{name.upper()}"):
            merged[name] = value
    merged |= {key: value for key, value in flags.items() if value is not None}
    settings = convert(merged, Settings, "settings")
    if settings.disk_gb < 8 or settings.max_hours <= 0:
        raise UsageError("disk_gb must be at least 8 and max_hours more than 0", "see `provision up --help`")
    return settings


def _given(settings: Settings, path: Path) -> dict[str, Any]:
    """Only the keys that the file really sets."""
    import yaml

    raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {key: getattr(settings, key) for key in raw}
