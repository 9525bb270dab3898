"""What a base image's name stands for today: a digest that a registry answers to, or the id of an image made here.

A digest names the same bytes for ever and everywhere. A base that was made here (`infra.baseimage`) is in no registry:
only its id at the engine identifies it.
"""

import json
import re
from dataclasses import dataclass

from infra import buildx, remotebase
from infra.errors import HostError, ImageError
from infra.shell import OnLine, Result, Shell

_SECONDS = 60.0  # a registry that does not answer within this time has no answer


@dataclass(frozen=True)
class Pin:
    """`digest` at the registry (sha256:…), or else `made_here`: the image's id at the engine."""

    digest: str | None = None
    made_here: str | None = None


def pin(reference: str, shell: Shell, on_line: OnLine | None = None) -> Pin:
    """What the registry has under the name; else what the engine pulled under it; else what was made here.

    ImageError where the image can be neither asked for, nor pulled, nor made.
    """
    if digest := _at_registry(reference, shell):
        return Pin(digest)
    remotebase.ensure(reference, shell, on_line)
    return pin_of(reference, look(reference, shell))


def look(reference: str, shell: Shell) -> dict[str, object]:
    """What `docker image inspect` prints of an image at the engine. ImageError where there is no such image."""
    found = shell.run(["docker", "image", "inspect", "--format", "{{json .}}", reference], check=False)
    if not found.ok:
        raise buildx.failure(found, f"cannot look for the image {reference}")
    there: dict[str, object] = json.loads(found.out)
    return there


def pin_of(reference: str, inspected: dict[str, object]) -> Pin:
    """The pin of the engine's own image of that name, out of what `look` gave."""
    if "@" in reference:
        return Pin(reference.partition("@")[2])
    digests = inspected.get("RepoDigests")
    names = [str(name) for name in digests] if isinstance(digests, list) else []
    own = [name for name in names if name.rpartition("@")[0] == re.sub(r":[^/:]+$", "", reference)]
    for name in own or names:
        return Pin(name.rpartition("@")[2])
    return Pin(made_here=str(inspected["Id"]))


def with_digest(reference: str, digest: str) -> str:
    """The name that means those bytes and no others: `debian:bookworm@sha256:…`."""
    return f"{reference}@{digest}"


def must_have(reference: str, shell: Shell, mend: str, on_line: OnLine | None = None) -> None:
    """Make sure that the engine has the image of that digest; ImageError with `mend` where it cannot be had."""
    try:
        remotebase.ensure(reference, shell, on_line)
    except ImageError as error:
        raise ImageError(f"the base image {reference} cannot be pulled, and the lock allows no other", mend) from error


def must_be(reference: str, image_id: str, shell: Shell, mend: str, on_line: OnLine | None = None) -> None:
    """Make sure that the engine's image of that name has this id; ImageError with `mend` where it has another."""
    remotebase.ensure(reference, shell, on_line)
    found = buildx.inspect(shell, reference)
    if found is None or found.id != image_id:
        there = found.id if found else "gone"
        raise ImageError(
            f"the base image {reference} is locked to {image_id}, which was made on one machine and is in no registry;"
            f" on {shell.where} it is {there}",
            mend,
        )


def _at_registry(reference: str, shell: Shell) -> str | None:
    words = ["docker", "buildx", "imagetools", "inspect", reference, "--format", "{{json .Manifest}}"]
    try:
        return digest_in(shell.run(words, check=False, timeout=_SECONDS))
    except HostError:  # it hangs
        return None


def digest_in(result: Result) -> str | None:
    """The digest out of what `imagetools inspect` printed."""
    try:
        found = json.loads(result.out)["digest"] if result.ok else None
    except (ValueError, KeyError, TypeError):
        return None
    return str(found) if found else None
