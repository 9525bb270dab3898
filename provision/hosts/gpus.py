"""Which of a host's GPUs are free. A container of ours says by its labels which it holds: a training, or a task."""

from infra.docker_engine import Docker
from infra.errors import BusyError, RunError
from provision.hosts.facts import Facts


def free(
    engine: Docker, facts: Facts, wanted: int, where: str, *, too_few: str = "", busy: str = ""
) -> tuple[int, ...]:
    """As many GPUs, by index, as are wanted and nobody holds.

    RunError where the host, which is called `where`, has not so many at all, with the mend `too_few`; BusyError where
    others hold them, with the mend `busy`.
    """
    have = [gpu.index for gpu in facts.gpus]
    if wanted > len(have):
        raise RunError(f"{where} has {len(have)} GPUs, not {wanted}", too_few.format(have=len(have)))
    holders = held(engine) if wanted else {}
    taken = {index for indices in holders.values() for index in indices}
    left = [index for index in have if index not in taken]
    if wanted > len(left):
        raise BusyError(
            f"{len(left)} of {where}'s {len(have)} GPUs are free, not {wanted}: the others train {', '.join(holders)}",
            busy,
        )
    return tuple(left[:wanted])


def held(engine: Docker) -> dict[str, tuple[int, ...]]:
    """The indices of the GPUs that are taken, by the run or task whose container holds them."""
    found: dict[str, tuple[int, ...]] = {}
    for container in engine.containers("provision.run"):
        listed = [int(index) for index in container.labels.get("provision.gpus", "").split(",") if index]
        holder = container.labels["provision.run"]
        if listed:
            found[holder] = (*found.get(holder, ()), *listed)
    return found
