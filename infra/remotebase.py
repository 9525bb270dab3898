"""Base images at another machine's engine: pulled or made there, or sent from here where that machine cannot get them.

A base is a hundred megabytes and is sent once; what is built on it stays there.
"""

from infra import baseimage, buildx
from infra.errors import ImageError
from infra.shell import LocalShell, OnLine, Shell


def ensure(reference: str, shell: Shell, on_line: OnLine | None = None, *, pull: bool = False) -> None:
    """Make sure that the shell's engine has the image, with `pull` the newest that can be had.

    ImageError where it can be had neither there nor here.
    """
    if isinstance(shell, LocalShell):
        baseimage.ensure(reference, shell, on_line, pull=pull)
        return
    try:
        baseimage.ensure(reference, shell, on_line, pull=pull)
    except ImageError as there:
        try:
            baseimage.ensure(reference, LocalShell(), on_line, pull=pull)
        except ImageError:
            raise there from None
        _send(reference, shell, on_line)


def _send(reference: str, shell: Shell, on_line: OnLine | None) -> None:
    from infra.docker_engine import open_local
    from infra.ssh import SshShell

    if not isinstance(shell, SshShell):
        raise ImageError(f"{shell.where} has no base image {reference}", f"bring it there: docker save {reference}")
    if on_line:
        on_line(f"base image {reference}: {shell.where} cannot get it; sending this machine's")
    done = shell.feed(buildx.load_words(), open_local().save(reference), check=False)
    if not done.ok:
        raise buildx.failure(done, f"the base image {reference} cannot be sent to {shell.where}")
