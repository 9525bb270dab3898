"""The container of an attempt, as a value: the same whoever starts it, a laptop over SSH or the machine by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.containers import Bind, ContainerSpec, GpuRequest
from provision.files.s3_to_host import HOST_RUNS
from provision.recipes.spec import to_dict
from provision.runs import inputs, weights
from provision.runs.manifest import Manifest

_NO_GPUS = GpuRequest()
LOGGED = ("sh", "-c", 'exec "$@" >> "$LOG" 2>&1', "sh")


@dataclass(frozen=True)
class Folders:
    """Where on its machine lies what a container gets: the run's folder, its data and its code ("": it has none), and
    the folder of all trained weights."""

    work: str
    data: str
    project: str
    weights: str = weights.FOLDER


def folders_on_host(manifest: Manifest) -> Folders:
    """Where all that lies on a machine of EC2."""
    code = inputs.code_folder(manifest.id) if manifest.project.folder else ""
    return Folders(folder(manifest.id), manifest.data.folder, code)


def folder(run_id: str) -> str:
    """The run's folder on a host: the container's /work."""
    return f"{HOST_RUNS}/{run_id}"


def name(run_id: str, number: int) -> str:
    return f"provision-{run_id}-{number:03d}"


def log_of(number: int) -> str:
    """Where the attempt's log is, relative to the run's folder."""
    return f"log/attempt-{number:03d}.txt"


def spec(
    manifest: Manifest,
    words: Sequence[str],
    *,
    name: str = "",
    user: str = "",
    gpus: GpuRequest = _NO_GPUS,
    labels: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    folders: Folders | None = None,
) -> ContainerSpec:
    """The container that runs these words of the recipe. `labels` and `environment` come beside the manifest's own;
    `folders` are those of a machine of EC2 where no others are given."""
    return ContainerSpec(
        name=name,
        image=manifest.image,
        command=(*LOGGED, *words),
        user=user,
        binds=binds(manifest, folders or folders_on_host(manifest)),
        gpus=gpus,
        labels={"provision.run": manifest.id, **(labels or {}), "provision.image": manifest.digest},
        environment={**manifest.rendered.environment, **(environment or {})},
        ports=manifest.settings.ports,
        stop_signal=manifest.recipe.stop.signal,
        rights=manifest.recipe.container.rights,
    )


def binds(manifest: Manifest, folders: Folders) -> tuple[Bind, ...]:
    """What of the machine is in the container: the run's folder, its data and code, its trained weights."""
    found = [Bind(folders.work, "/work")]
    if folders.data:
        found.append(Bind(folders.data, "/data", read_only=True))
    if folders.project:
        found.append(Bind(folders.project, "/project", read_only=True))
    files = manifest.rendered.weights
    return (
        *found,
        *(
            Bind(weights.path_on_host(weight, folders.weights), f"/weights/{weight.file}", read_only=True)
            for weight in files
        ),
    )


def guard_plan(manifest: Manifest) -> dict[str, object]:
    """What the guard has to know of the run that is the same for every attempt: what to look for, and how to stop it.

    Where S3 is, the attempt, its container and its machine come beside it.
    """
    plain = to_dict(manifest.recipe)
    return {
        "id": manifest.id, "snapshots": plain["snapshots"], "stop": plain["stop"], "outputs": plain["outputs"],
        "push_seconds": manifest.settings.push_seconds,
    }  # fmt: skip
