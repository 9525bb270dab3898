"""Copies between a host and S3, made by the guard with the instance's own role: nothing crosses the home line."""

from infra.ssh import SshShell
from provision.runs import Run

HOST_RUNS = "/var/lib/provision/runs"
_GUARD = ("sudo", "python3", "/opt/provision/guard")


def guard_words(verb: str, run: Run, prefix: str, folder: str, bucket: str | None = None) -> list[str]:
    """The guard's own copying, with the instance's role."""
    cloud = run.store.cloud
    place = bucket or run.store.bucket
    return [*_GUARD, verb, place, cloud.region, cloud.endpoint or "", prefix, folder]


def pull(shell: SshShell, run: Run, prefix: str, folder: str, bucket: str | None = None) -> None:
    """From S3 to a folder of the host, owned by the login user."""
    shell.run(["mkdir", "-p", folder])
    shell.run(guard_words("pull", run, prefix, folder, bucket))
    shell.run(["sudo", "chown", "-R", "--reference", HOST_RUNS, folder])
