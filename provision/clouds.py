"""What `--cloud` means: AWS, or a local cloud of that name, which differs by endpoint, keys and address alone."""

import json
import sys

from infra.aws.session import Cloud
from infra.errors import CloudError, UsageError
from infra.shell import LocalShell, Result, Secret
from provision import console
from provision.settings import Settings


def resolve(settings: Settings, start: bool = True) -> Cloud:
    """`aws`, `local` or `local:NAME`; a local cloud is started when it does not run."""
    kind, _, name = settings.cloud.partition(":")
    if kind == "aws" and not name:
        return Cloud(name="aws", region=settings.region, profile=settings.profile)
    if kind == "local":
        return _local(settings.cloud, name or "default")
    raise UsageError(f"unknown cloud {settings.cloud!r}", "known: aws, local, local:NAME")


def local(*words: str, check: bool = True) -> Result:
    """Run a verb of the local cloud's own program, which production code never imports."""
    command = [sys.executable, "-m", "localcloud", *words]
    result = LocalShell().run(command, check=False, on_line=_progress)
    if check and not result.ok:
        said = result.err.strip().splitlines()
        raise CloudError(said[-1] if said else "the local cloud failed", _local_mend(result.err))
    return result


def _progress(text: str) -> None:
    if text.startswith("… "):
        console.line(text)


def _local_mend(said: str) -> str:
    if "No module named" in said:
        return "install its part: pip install 'provision[local]'"
    return "its log: provision local status"


def _local(cloud: str, name: str) -> Cloud:
    facts = json.loads(local("start", "--name", name).out)
    return Cloud(
        name=cloud,
        region=facts["region"],
        endpoint=facts["endpoint"],
        check_ip=facts["checkip"],
        access_key=facts["access_key"],
        secret_key=Secret(facts["secret_key"]),
    )
