"""The image of a run: which one is meant, at which engine it is, and how it comes back where it is gone.

It is named by a target (`caffe`, `caffe:cuda11.8-cudnn8.7-debian12@V100`) or, where it was made of another source or
stage, by its tag as `provision image ls` shows it. The label of an image that was built here holds the hash of its tag:
one that was tagged so by hand is not taken. One that `image build --on NAME` made is used where it is: no image
of gigabytes crosses the laptop's line.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.errors import DiskError, RunError, UsageError
from infra.shell import LocalShell, Shell
from provision import console

if TYPE_CHECKING:
    from images.render import Context
    from images.target import Target
    from infra.ssh import SshShell

_TAG = re.compile(r"provision/([\w.-]+):([\w.-]+?)-([0-9a-f]{12})(-\w+)*")

Host = Callable[[], AbstractContextManager[Shell]]


@dataclass(frozen=True)
class RunImage:
    """An image at an engine; `on_host`: at the machine's, not at the laptop's."""

    target: "Target"
    tag: str
    digest: str
    on_host: bool = False


def target_of(words: str) -> "Target":
    """The Target that a target's name or an image's tag speaks of. UsageError names the nearest."""
    from images.choose import parse

    tag = _TAG.fullmatch(words)
    return parse(f"{tag[1]}:{tag[2]}" if tag else words)


def planned(words: str) -> RunImage:
    """What would be used; nothing is looked for at an engine. A lock of the project's is taken."""
    target = target_of(words)
    return RunImage(target, words if words.startswith("provision/") else _context(target).tag, "")


def _context(target: "Target") -> "Context":
    from images.lock import find
    from images.render import render

    return render(target, lock=find(target))


def obtain(words: str, host: Host | None = None) -> RunImage:
    """The image, from the laptop's engine or else the host's; a target's that is at neither is built on the laptop."""
    wanted = planned(words)
    if (found := _at(LocalShell(), wanted)) is not None:
        return found
    if host is not None:
        with host() as shell:
            if (found := _at(shell, wanted, on_host=True)) is not None:
                return found
    return build(words, LocalShell())


def at(shell: Shell, words: str) -> RunImage:
    """The image at that engine: as it is there, sent from the laptop where that has it, else built there."""
    from infra.ssh import SshShell

    wanted = planned(words)
    if (found := _at(shell, wanted)) is not None:
        return found
    here = None if isinstance(shell, LocalShell) else _at(LocalShell(), wanted)
    if here is None or not isinstance(shell, SshShell):
        return build(words, shell, on_host=not isinstance(shell, LocalShell))
    deliver(shell, here.tag, here.digest, f"provision image build {wanted.target.name}")
    return here


def deliver(shell: "SshShell", tag: str, digest: str, build: str) -> bool:
    """Send this laptop's image to the host's engine; False where that has this very image.

    RunError where it is not here any more (`build` is the command that makes it), DiskError where the host has no room.
    """
    from infra import buildx
    from infra.docker_engine import open_local
    from provision.hosts import image_cache

    if buildx.inspect(shell, digest) is not None:
        return False
    here = open_local()
    if not here.has_image(digest):
        raise RunError(f"this laptop has no image {tag} ({digest[:19]})", f"build it: {build}")
    with console.step(f"image {tag} to {shell.where}"):
        sent = shell.feed(buildx.load_words(), image_cache.chunks(here, tag, digest), check=False)
    if sent.ok:
        return True
    error = buildx.failure(sent, f"the image {tag} cannot be sent to {shell.where}")
    if isinstance(error, DiskError):
        raise DiskError(error.what, f"take a larger --disk; or on {shell.where}: docker system prune")
    raise error


def build(words: str, shell: Shell, *, on_host: bool = False) -> RunImage:
    """Build the image at that engine. UsageError where it is named by a tag: its source is not known here."""
    from images.check import build_checked

    wanted = planned(words)
    context = _context(wanted.target)
    if wanted.tag != context.tag:
        raise UsageError(
            f"there is no image {words} that was built as its tag says",
            f"build it again as you did: provision image build {wanted.target.name} --source … or --stage …",
        )
    with console.step(f"building the image {context.tag}"):
        made = build_checked(context, shell)
    return RunImage(wanted.target, made.tag, made.digest, on_host)


def _at(shell: Shell, wanted: RunImage, *, on_host: bool = False) -> RunImage | None:
    """That image at the engine, if it is there and was built as its tag says."""
    from images.build import LABEL
    from infra import buildx

    tag = _TAG.fullmatch(wanted.tag)
    found = buildx.inspect(shell, wanted.tag)
    if tag is None or found is None or found.labels.get(LABEL) != tag[3]:
        return None
    return RunImage(wanted.target, wanted.tag, found.id, on_host)
