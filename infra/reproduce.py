"""An image at an engine, with nothing in it that differs from build to build (infra/host/reproduce.py).

The host of the engine does it: an image of gigabytes crosses no line.
"""

from collections.abc import Sequence

from infra.errors import DiskError, ImageError
from infra.host import script
from infra.shell import OnLine, Shell


def settle(tag: str, bases: Sequence[str], epoch: int, shell: Shell, on_line: OnLine | None = None) -> None:
    """Let the image have no date after `epoch` (seconds since 1970), and no layers that differ between builds.

    What it has from one of `bases` stays. ImageError or DiskError where it cannot be done.
    """
    if on_line:
        on_line(f"{tag}: taking out what differs from build to build")
    words = ["python3", "-", str(epoch), tag, *bases]
    done = shell.run(words, check=False, stdin=script("reproduce.py").encode())
    if done.ok:
        return
    said = (done.err.strip().splitlines() or ["no reason given"])[-1]
    what = f"{tag} is built, but what differs from build to build cannot be taken out: {said}"
    if "No space left" in said:
        raise DiskError(what, "free twice the image's size on that machine, or name a place with room: TMPDIR")
    raise ImageError(what, "build it as it is: --no-lock")
