"""From a Target to an Image: look first; base images, then BuildKit. A build that fails leaves no tag.

The tag carries the hash of the context, and the image a label with the same: where both agree there is nothing
to build. BuildKit's own cache makes a second build quick. An `Order` says what differs from the usual: another source
tree, or another stage of the Dockerfile than its last; both show in the tag. An image that is still to be checked has
the tag TAG-unchecked, and gets its own tag after the checks: so an interrupted check leaves no image that looks good.
"""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass, replace
from typing import Literal, get_args

from images import bases as base_images
from images.lock import Lock, hold
from images.render import Context, render
from images.source import PINNED, Source
from images.target import Target
from infra import buildsecrets, buildx
from infra.errors import ImageError, UsageError
from infra.reproduce import settle
from infra.shell import OnLine, Shell

LABEL = "provision.context"

Stage = Literal["runtime", "runtime-nopython", "devel", "build", "suite"]
# which checks of the stack a stage cannot pass
_WITHOUT: dict[str, tuple[str, ...]] = {"runtime-nopython": ("pycaffe",)}
_WITHOUT_CHECKS = ("build", "suite")
_NOT_YET = "-unchecked"


@dataclass(frozen=True)
class Order:
    """How a context is built: from which source, and up to which stage."""

    source: Source = PINNED
    stage: Stage = "runtime"


USUAL = Order()


@dataclass(frozen=True)
class Image:
    """A built image: its tag, its id at the engine (sha256:…), its size in bytes; whether it was built just now."""

    tag: str
    digest: str
    target: Target
    size: int = 0
    built: bool = False
    stage: Stage = "runtime"

    @property
    def checks(self) -> tuple[str, ...]:
        """Names of the stack's checks that this stage has to pass."""
        return checks_of(self.target, self.stage)


def checks_of(target: Target, stage: Stage) -> tuple[str, ...]:
    """Names of the stack's checks that a stage of the target has to pass."""
    if stage in _WITHOUT_CHECKS:
        return ()
    return tuple(name for name in target.stack.checks if name not in _WITHOUT.get(stage, ()))


def hash_of(context: Context, order: Order = USUAL) -> str:
    """12 hex digits: the context's own for the pinned commit, others for another source tree."""
    if not order.source.identity:
        return context.hash
    return hashlib.sha256(f"{context.hash} {order.source.identity}".encode()).hexdigest()[:12]


def tag_of(context: Context, order: Order = USUAL) -> str:
    """`provision/STACK:ROW-HASH`, and `-STAGE` for another stage than the last, which must be there."""
    stage = stage_in(context, order)
    return context.tag.removesuffix(context.hash) + hash_of(context, order) + (f"-{stage}" if stage else "")


def tar_of(context: Context, order: Order = USUAL) -> bytes:
    """What docker is given: the context's files and, if the source brings one, source.tar."""
    if order.source.tar is None:
        return context.tar()
    buffer = io.BytesIO(context.tar())
    with (
        tarfile.open(fileobj=buffer, mode="a", format=tarfile.USTAR_FORMAT) as tar,
        order.source.tar.open("rb") as data,
    ):
        info = tarfile.TarInfo("source.tar")
        info.size = order.source.tar.stat().st_size
        tar.addfile(info, data)
    return buffer.getvalue()


def existing(context: Context, shell: Shell, order: Order = USUAL, *, any_base: bool = False) -> Image | None:
    """The Context's image if the engine has it already, on the bases that the engine has now (or on `any_base`).

    EngineError where no engine answers.
    """
    tag = tag_of(context, order)
    found = buildx.inspect(shell, tag)
    if found is None or found.labels.get(LABEL) != hash_of(context, order):
        return None
    if not any_base and base_images.are_others(found.labels, shell):
        return None
    return Image(tag, found.id, context.target, found.size, stage=order.stage)


def build(target: Target, shell: Shell, on_line: OnLine | None = None) -> Image:
    """The Target's image, built where it is not there yet. `on_line` gets BuildKit's lines.

    ImageError with the last lines where the build fails, EngineError where no engine answers.
    """
    context = render(target)
    return existing(context, shell) or build_context(context, shell, on_line)


def build_context(
    context: Context,
    shell: Shell,
    on_line: OnLine | None = None,
    order: Order = USUAL,
    *,
    no_cache: bool = False,
    unchecked: bool = False,
) -> Image:
    """Build the context, even where its image exists. With `unchecked` the image gets its final tag from `keep`.

    Its labels say which bases it was built on. ImageError where the build fails, EngineError where no engine answers.
    """
    tag = tag_of(context, order) + (_NOT_YET if unchecked else "")
    if context.lock is not None:
        hold(context.lock, shell, on_line)
    labels = _on_bases(context, order, shell, on_line)
    with_buildx = buildx.has_buildx(shell)
    with buildsecrets.collected(shell) as secrets:
        words = buildx.build_words(
            tag, labels, buildx=with_buildx, stage=stage_in(context, order),
            arguments=order.source.arguments, secrets=secrets, no_cache=no_cache,
        )  # fmt: skip
        result = shell.run(
            words,
            check=False,
            stdin=tar_of(context, order),
            env=buildx.build_env(buildx=with_buildx),
            on_line=on_line or (lambda line: None),
        )
    if not result.ok:
        raise buildx.failure(result, f"the image {tag} could not be built", lines=20)
    if context.lock is not None:
        _settled(tag, bases(context.dockerfile, stage_in(context, order)), context.lock, shell, on_line)
    found = buildx.inspect(shell, tag)
    if found is None:
        raise ImageError(f"the build of {tag} left no image", "build again: provision image build")
    return Image(tag, found.id, context.target, found.size, built=True, stage=order.stage)


def _settled(tag: str, below: list[str], lock: Lock, shell: Shell, on_line: OnLine | None) -> None:
    """Make the image equal to what its lock says, byte for byte; where that fails, the image loses its tag."""
    try:
        settle(tag, below, lock.epoch, shell, on_line)
    except BaseException:  # Ctrl-C too: an image that is not settled is not what the lock says
        shell.run(buildx.untag_words(tag), check=False)
        raise


def _on_bases(context: Context, order: Order, shell: Shell, on_line: OnLine | None) -> dict[str, str]:
    """Get the base images; give the labels for the image that is built on them."""
    stage = stage_in(context, order)
    needed = bases(context.dockerfile, stage)
    base_images.fetch(needed, shell, on_line)
    below = base_images.below(stages(context.dockerfile), stage)
    return {LABEL: hash_of(context, order), **base_images.labels(needed, below, shell)}


def keep(image: Image, shell: Shell) -> Image:
    """Give an image that was built `unchecked` the tag that it was built for."""
    tag = image.tag.removesuffix(_NOT_YET)
    if tag == image.tag:
        return image
    tagged = shell.run(buildx.tag_words(image.digest, tag), check=False)
    if not tagged.ok:
        raise buildx.failure(tagged, f"{image.tag} cannot be tagged {tag}")
    remove(image, shell)
    return replace(image, tag=tag)


def stages(dockerfile: str) -> list[tuple[str, str | None]]:
    """For each FROM of the Dockerfile: the image it starts from, and the name of its stage (or None)."""
    return [(found[1], found[2]) for found in re.finditer(r"(?m)^FROM (\S+)(?: AS (\S+))?\s*$", dockerfile)]


def stage_in(context: Context, order: Order) -> str | None:
    """The order's stage for docker; None for the Dockerfile's last one. UsageError where there is no such stage."""
    if order.stage == "runtime":
        return None
    names = [name for _, name in stages(context.dockerfile) if name]
    if order.stage not in names:
        have = ["runtime", *(stage for stage in get_args(Stage) if stage in names and stage != "runtime")]
        there = f"it has {', '.join(have)}" if have[1:] else "leave --stage out: it has runtime only"
        raise UsageError(f"an image of {context.target.stack.name} has no stage {order.stage}", there)
    return order.stage


def bases(dockerfile: str, stage: str | None = None) -> list[str]:
    """The images that a build up to `stage` may start from: stages after that one are not looked at."""
    needed: list[str] = []
    names: set[str | None] = set()
    for start, name in stages(dockerfile):
        if start not in names and start != "scratch" and start not in needed:
            needed.append(start)
        names.add(name)
        if name is not None and name == stage:
            break
    return needed


def remove(image: Image, shell: Shell) -> None:
    """Remove the image's tag; the image is deleted with its last tag.

    Checks that a killed client made and did not start would hold it: they go first.
    """
    unstarted = shell.run(buildx.unstarted_words(image.tag), check=False)
    if unstarted.ok and unstarted.out.strip():
        shell.run(buildx.discard_words(unstarted.out.split()), check=False)
    shell.run(buildx.untag_words(image.tag), check=False)


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
    found = [Listed(f"{row['Repository']}:{row['Tag']}", row["ID"], row["Size"], row["CreatedSince"]) for row in raw]
    return sorted((image for image in found if "<none>" not in image.tag), key=lambda image: image.tag)
