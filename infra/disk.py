"""What this machine's disk answers to those who write files, as errors of ours."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import DiskError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Around what writes to `place`: DiskError where there is no room, UsageError where it cannot be written."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno in _FULL:
            raise DiskError(f"{place} cannot be written: {said}", "free some disk there, or name another") from error
        raise UsageError(f"{place} cannot be written: {said}", "name a folder that you may write to") from error
