"""Push an image to any registry. docker itself keeps the logins (`docker login`)."""

import re
from dataclasses import dataclass

from images.build import Image
from infra import buildx
from infra.errors import ImageError, ProvisionError, UsageError
from infra.shell import OnLine, Result, Shell

_NAME = re.compile(
    r"(?:(?P<registry>localhost|[\w.-]+\.[\w.-]+|[\w.-]+(?=:\d))(?P<port>:\d+)?/)?"
    r"(?P<path>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
)


@dataclass(frozen=True)
class Pushed:
    """Where the image is now: the full name, and the digest by which it can be pulled for ever."""

    name: str
    digest: str


def full_name(image: Image, name: str) -> str:
    """`name` with a tag: the image's own where it has none. UsageError where it cannot name an image."""
    match = _NAME.fullmatch(name)
    if not match:
        raise UsageError(
            f"{name!r} cannot name an image", "write REGISTRY/NAME or REGISTRY/NAME:TAG, the name in lower case"
        )
    return name if match["tag"] else f"{name}:{image.tag.rpartition(':')[2]}"


def push(image: Image, name: str, shell: Shell, on_line: OnLine | None = None) -> Pushed:
    """Tag the image with `name` and push it. A push that fails leaves no such tag, unless it was there before.

    UsageError for a wrong name, ImageError where the registry refuses or does not answer.
    """
    full = full_name(image, name)
    before = buildx.inspect(shell, full)
    tagged = shell.run(buildx.tag_words(image.tag, full), check=False)
    if not tagged.ok:
        raise buildx.failure(tagged, f"{image.tag} cannot be tagged {full}")
    result = shell.run(buildx.push_words(full), check=False, on_line=on_line or (lambda line: None))
    if not result.ok:
        undo = buildx.tag_words(before.id, full) if before else buildx.untag_words(full)
        shell.run(undo, check=False)
        raise _failure(result, full)
    found = re.findall(r"digest: (sha256:[0-9a-f]{64})", result.out)
    return Pushed(full, found[-1] if found else "")


def _failure(result: Result, full: str) -> ProvisionError:
    said = (result.err.strip() or result.out.strip()).splitlines()[-1:]
    what = f"{full} cannot be pushed: {said[0] if said else 'docker said nothing'}"
    registry = full.split("/")[0] if re.match(r"[^/]*[.:][^/]*/|localhost/", full) else ""
    if re.search("denied|unauthorized|authentication required|no basic auth|forbidden", what, re.IGNORECASE):
        return ImageError(what, f"log in with an account that may push there: docker login {registry}".rstrip())
    if "HTTP response to HTTPS client" in what:
        return ImageError(what, f"the registry speaks no TLS: add {registry} to the engine's insecure-registries")
    if re.search("refused|no such host|timeout|unreachable|reset by peer", what, re.IGNORECASE):
        return ImageError(what, f"does {registry or 'the registry'} answer? its name and port come before the first /")
    return buildx.failure(result, f"{full} cannot be pushed")
