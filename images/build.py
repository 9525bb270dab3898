"""From a Target to an Image: look first; base image, then BuildKit. A build that fails leaves no tag.

The tag carries the hash of the context, and the image a label with the same: where both agree there is nothing
to build. BuildKit's own cache makes a second build quick.
"""

import json
from dataclasses import dataclass

from images.render import Context, render
from images.target import Target
from infra import baseimage, buildx
from infra.errors import ImageError
from infra.shell import OnLine, Shell

LABEL = "provision.context"


@dataclass(frozen=True)
class Image:
    """A built image: its tag, its id at the engine (sha256:…), its size in bytes; whether it was built just now."""

    tag: str
    digest: str
    target: Target
    size: int = 0
    built: bool = False


def existing(context: Context, shell: Shell) -> Image | None:
    """The Context's image if the engine has it already. EngineError where no engine answers."""
    found = buildx.inspect(shell, context.tag)
    if found is None or found.labels.get(LABEL) != context.hash:
        return None
    return Image(context.tag, found.id, context.target, found.size)


def build(target: Target, shell: Shell, on_line: OnLine | None = None) -> Image:
    """The Target's image, built where it is not there yet. `on_line` gets BuildKit's lines.

    ImageError with the last lines where the build fails, EngineError where no engine answers.
    """
    context = render(target)
    return existing(context, shell) or build_context(context, shell, on_line)


def build_context(context: Context, shell: Shell, on_line: OnLine | None = None) -> Image:
    """Build that very context, there or not."""
    baseimage.ensure(context.target.variant.base, shell, on_line)
    with_buildx = buildx.has_buildx(shell)
    result = shell.run(
        buildx.build_words(context.tag, {LABEL: context.hash}, buildx=with_buildx),
        check=False,
        stdin=context.tar(),
        env=buildx.build_env(buildx=with_buildx),
        on_line=on_line or (lambda line: None),
    )
    if not result.ok:
        raise buildx.failure(result, f"the image {context.tag} could not be built", lines=20)
    found = buildx.inspect(shell, context.tag)
    if found is None:
        raise ImageError(f"the build of {context.tag} left no image", "build again: provision image build")
    return Image(context.tag, found.id, context.target, found.size, built=True)


@dataclass(frozen=True)
class Listed:
    """An image of ours at an engine; `id` is docker's short form, `size` and `created` are docker's words."""

    tag: str
    id: str
    size: str
    created: str


def listed(shell: Shell) -> list[Listed]:
    """All images at the engine that were built here, sorted by tag."""
    result = shell.run(buildx.list_words(LABEL), check=False)
    if not result.ok:
        raise buildx.failure(result, "cannot list images")
    raw = [json.loads(line) for line in result.out.splitlines()]
    found = [Listed(f"{one['Repository']}:{one['Tag']}", one["ID"], one["Size"], one["CreatedSince"]) for one in raw]
    return sorted((one for one in found if "<none>" not in one.tag), key=lambda one: one.tag)
