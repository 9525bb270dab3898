"""What a job is told to do: the attempt's container and its rules, as JSON for the runner (`infra.cluster.runner`).

It is written once for each time that a run is queued, below the run's folder; what changes from one attempt of it to
the next, the runner finds out.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from provision.engines import capsule, container
from provision.engines.slurm import image
from provision.engines.slurm.submitting import Limits
from provision.runs.manifest import Attempt, Manifest
from provision.runs.store import whoami


def key_of(run_id: str, number: int, turn: int) -> str:
    """Where the order lies that begins with the attempt of that number; `turn`: how often that was queued before."""
    return f"runs/{run_id}/control/order-{number:03d}-{turn}.json"


def compose(
    manifest: Manifest,
    cluster: str,
    runtime: str,
    allowed: Limits,
    number: int,
    binds: Sequence[tuple[str, str]],
    attempts: Sequence[Attempt] = (),
    at: int | None = None,
    seconds: int = 0,
) -> dict[str, Any]:
    """The order. `binds`: the keys of folders and where the container sees them; `at`: the iteration from which the
    first attempt goes on by choice, None: the newest; `seconds`: the time limit of a job, 0 where it is not known."""
    rendered = manifest.rendered
    plain = container.spec(manifest, ())
    return {
        "version": 1, "run": manifest.id, "cluster": cluster, "runtime": runtime,
        "image": image.name_of(manifest.digest),
        "number": number, "attempts": allowed.attempts, "grace_seconds": allowed.grace_seconds, "seconds": seconds,
        "from": at, "chosen": at is not None, "earlier": capsule.chosen_of(attempts),
        "made_by": f"{whoami()} {secrets.token_hex(4)}", "gpus": manifest.gpus,
        "files": {"log/": "", "snapshots/": "", **rendered.files}, "binds": [list(pair) for pair in binds],
        "weights": _weights(manifest), "environment": _environment(plain.environment),
        "command": list(rendered.command), "resumed": list(rendered.resumed(capsule.SNAPSHOT)),
        "plan": container.guard_plan(manifest),
        "stem": {"pattern": manifest.recipe.snapshots.pattern, "parts": list(manifest.recipe.snapshots.parts)},
    }  # fmt: skip


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    return {"HOME": "/tmp", **own}


def _weights(manifest: Manifest) -> list[list[str]]:
    """[key of the file, its name in /weights] of the trained weights."""
    from provision.runs import weights

    return [[weights.path_on_host(file, "weights"), file.file] for file in manifest.rendered.weights]
