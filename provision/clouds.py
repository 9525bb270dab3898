"""What `--cloud` means: AWS, or a local cloud of that name, which differs by endpoint, keys and address alone.

A `Session` is a command's flags, resolved once: the cloud, the settings, and whoever is told what happens.
"""

import json
import re
import sys
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from infra import names
from infra.aws.session import Cloud
from infra.errors import CloudError, MissingExtraError, ProvisionError, UsageError
from infra.shell import LocalShell, Result, Secret
from provision import console
from provision import settings as settings_files
from provision.console import Say
from provision.settings import Settings


@dataclass(frozen=True)
class Session:
    """Where a command works: `say` gets a line of what happens meanwhile."""

    cloud: Cloud
    settings: Settings
    say: Say = console.line

    def hint(self, command: str) -> str:
        """The command as the user can copy it, with the flags that lead to this cloud and region."""
        return self.cloud.hint(command)

    def at(self, cloud: Cloud) -> "Session":
        """The same in the region where a machine really is."""
        return replace(self, cloud=cloud, settings=msgspec.structs.replace(self.settings, region=cloud.region))


def session(say: Say = console.line, **flags: Any) -> Session:
    """The session of a command's flags; one that is None was not given. UsageError for settings that cannot be."""
    chosen = settings_files.load(**flags)
    return Session(resolve(chosen), chosen, say)


def hint(command: str, **flags: Any) -> str:
    """As `Session.hint`, where no cloud was asked for anything yet: a local one is not started for it."""
    chosen = settings_files.load(**flags)
    return Cloud(chosen.cloud, chosen.region, usual=_usual()).hint(command)


def resolve(settings: Settings, start: bool = True) -> Cloud:
    """`aws`, `local` or `local:NAME`; a local cloud is started when it does not run."""
    kind, _, name = settings.cloud.partition(":")
    if kind == "aws" and not name:
        bound = settings.permissions_boundary or ""
        return Cloud("aws", settings.region, profile=settings.profile, boundary=bound, usual=_usual())
    if kind == "local":
        return _local(settings, names.LOCAL.check(name or "default"))
    raise UsageError(f"unknown cloud {settings.cloud!r}", "known: aws, local, local:NAME")


def _usual() -> tuple[str, str]:
    """The cloud and the region that a command means without flags."""
    settings = settings_files.load()
    return settings.cloud, settings.region


def local_name() -> str:
    """The name of the local cloud that a command means without flags: "default" where it means AWS."""
    kind, _, name = settings_files.load().cloud.partition(":")
    return name if kind == "local" and name else "default"


def local(*words: str, check: bool = True) -> Result:
    """Run a verb of the local cloud's own program, which production code never imports."""
    command = [sys.executable, "-m", "localcloud", *words]
    result = LocalShell().run(command, check=False, on_line=_progress)
    if check and not result.ok:
        raise _as_said(result)
    return result


def _progress(text: str) -> None:
    """Its own log has the time in front; an error has not."""
    if re.match(r"\d\d:\d\d:\d\d ", text):
        console.line(f"  {text[9:]}")


def _as_said(result: Result) -> ProvisionError:
    """The other program's error as the same error here: its kind by the exit code, then what and mend."""
    if "No module named" in result.err:
        return MissingExtraError("the local cloud is not installed", "pip install 'provision-spot[local]'")
    kinds = {kind.exit_code: kind for kind in ProvisionError.__subclasses__()}
    lines = [line for line in result.err.splitlines() if line.strip()] or ["the local cloud failed"]
    mend = lines.pop().strip() if lines[-1].startswith("  ") and len(lines) > 1 else ""
    return kinds.get(result.code, CloudError)(lines[-1], mend)


def _local(settings: Settings, name: str) -> Cloud:
    facts = json.loads(local("start", "--name", name).out)
    return Cloud(
        name=settings.cloud,
        region=settings.region,
        endpoint=facts["endpoint"],
        check_ip=facts["checkip"],
        access_key=facts["access_key"],
        secret_key=Secret(facts["secret_key"]),
        boundary=settings.permissions_boundary or "",
        usual=_usual(),
    )
