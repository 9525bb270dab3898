"""What `--cloud` means: AWS, or a local cloud of that name, which differs by endpoint, keys and address alone."""

import json
import re
import sys

from infra.aws.session import Cloud
from infra.errors import CloudError, MissingExtraError, ProvisionError, UsageError
from infra.shell import LocalShell, Result, Secret
from provision import console
from provision.settings import Settings


def resolve(settings: Settings, start: bool = True) -> Cloud:
    """`aws`, `local` or `local:NAME`; a local cloud is started when it does not run."""
    kind, _, name = settings.cloud.partition(":")
    if kind == "aws" and not name:
        return Cloud(name="aws", region=settings.region, profile=settings.profile)
    if kind == "local":
        return _local(settings, name or "default")
    raise UsageError(f"unknown cloud {settings.cloud!r}", "known: aws, local, local:NAME")


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
        return MissingExtraError("the local cloud is not installed", "pip install 'provision[local]'")
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
    )
