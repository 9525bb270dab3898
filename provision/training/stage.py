"""All that an attempt works with on its machine."""

from dataclasses import dataclass

from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.docker_engine import Docker
from infra.ssh import SshShell
from provision.console import Say
from provision.engines import container
from provision.hosts.facts import Facts
from provision.runs.store import Run


@dataclass(frozen=True)
class Stage:
    """All that an attempt works with."""

    cloud: Cloud
    run: Run
    instance: Instance
    shell: SshShell
    engine: Docker
    facts: Facts
    say: Say

    @property
    def folder(self) -> str:
        """The run's folder on the host: the container's /work."""
        return container.folder(self.run.id)
