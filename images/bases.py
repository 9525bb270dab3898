"""The base images that an image was built on, in its labels; whether the engine's bases are others now, or old.

A base's name stays while the image behind it changes: with every security fix, if all is well. So an image says which
one it was built on, as OCI labels for people and scanners, and with the ids of all its bases for us.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from infra import buildx, remotebase
from infra.shell import OnLine, Shell

NAME, DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
ALL = "provision.bases"
OLD_DAYS = 30  # an older base is likely to lack security fixes


def fetch(references: Sequence[str], shell: Shell, on_line: OnLine | None = None, *, pull: bool = False) -> None:
    """Make sure that the engine has all these images; with `pull`, each as its registry or distribution has it today.

    ImageError where one can be neither pulled nor made.
    """
    for reference in references:
        remotebase.ensure(reference, shell, on_line, pull=pull)


def labels(references: Sequence[str], below: str, shell: Shell) -> dict[str, str]:
    """The labels for an image built on these, of which `below` is under its last stage. No digest for `scratch`."""
    found = {name: base for name in references if (base := buildx.inspect(shell, name)) is not None}
    said = {ALL: " ".join(f"{name}={base.id}" for name, base in found.items())}
    return said | ({NAME: below, DIGEST: found[below].digest(below)} if below in found else {})


def are_others(labels: Mapping[str, str], shell: Shell) -> bool:
    """Whether the engine has, under a base's name, another image than the one built on. Absent bases do not count."""
    for base in labels.get(ALL, "").split():
        name, _, digest = base.partition("=")
        found = buildx.inspect(shell, name)
        if found is not None and found.id != digest:
            return True
    return False


def cautions(references: Sequence[str], shell: Shell, now: datetime | None = None) -> list[str]:
    """A line for each base at the engine that is older than OLD_DAYS. A base named by its digest has none."""
    now = now or datetime.now(timezone.utc)
    said = []
    for name in references:
        found = None if "@" in name else buildx.inspect(shell, name)
        days = (now - found.created).days if found is not None and found.created else 0
        if days > OLD_DAYS:
            said.append(f"caution: the base image {name} at the engine is {days} days old; --pull asks for a newer one")
    return said


def below(stages: Sequence[tuple[str, str | None]], stage: str | None = None) -> str:
    """The image under a stage (None: the last), where `stages` are what each starts from and its name."""
    last = next(at for at in reversed(range(len(stages))) if stage in (None, stages[at][1]))
    start = stages[last][0]
    for before, name in reversed(stages[:last]):
        start = before if name == start else start
    return start
