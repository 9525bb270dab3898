"""How a command finds the machine that it works with from its flags."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provision import clouds
from provision.clouds import Session

if TYPE_CHECKING:
    from infra.aws.session import Cloud
    from infra.aws.types import Instance
    from infra.shell import Shell
    from infra.ssh import SshShell


def where_is(name: str, flags: dict[str, Any]) -> Session:
    """The session of these flags, in the region that has the machine of that name."""
    from provision.machines import find

    here = clouds.session(**flags)
    return here.at(find.locate(here.cloud, name, here.settings.more_regions))


def places(here: Session) -> "Sequence[Cloud]":
    """The cloud in each region where machines of ours may be."""
    from provision.machines import find

    return find.places(here.cloud, here.settings.more_regions)


@dataclass(frozen=True)
class Machine:
    """A machine that runs, in its session."""

    session: Session
    instance: "Instance"

    def shell(self) -> "SshShell":
        from provision.machines import login

        return login.shell(self.session.cloud, self.instance)


def machine(name: str, flags: dict[str, Any]) -> Machine:
    """The machine of that name, in any region. NotFoundError where there is none, HostError where it does not run."""
    from provision.machines import find

    here = where_is(name, flags)
    return Machine(here, find.find(here.cloud, name))


@dataclass(frozen=True)
class Place:
    """The machine whose Docker engine is meant: this laptop, a machine of ours by name, or ssh://user@host."""

    on: str | None = None
    cloud: str | None = None
    region: str | None = None

    @property
    def flags(self) -> dict[str, Any]:
        """The flags that the user gave about the cloud."""
        return {"cloud": self.cloud, "region": self.region}

    @contextmanager
    def shell(self) -> "Iterator[Shell]":
        if self.on is None:
            from infra.shell import LocalShell

            yield LocalShell()
        elif "://" in self.on:
            from infra.userssh import user_shell

            with user_shell(self.on) as host:
                yield host
        else:
            with machine(self.on, self.flags).shell() as host:
                yield host

    @property
    def words(self) -> str:
        """The flags by which the user named the machine, to be put behind a proposed command."""
        given = {"--on": self.on, "--cloud": self.cloud, "--region": self.region} if self.on else {}
        return "".join(f" {flag} {value}" for flag, value in given.items() if value)
