"""This machine's disk: its refusals to write a file, as our errors."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import DiskError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)


def is_file(path: Path) -> bool:
    """Whether the file exists; False also for a text that cannot be a file's name, such as a very long one."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib's raises OSError and ValueError


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Put this around code that writes to `place`: DiskError where there is no room, UsageError for other refusals."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno in FULL:
            raise DiskError(
                f"{place} cannot be written: {said}", "free some disk space there, or name another folder"
            ) from error
        raise UsageError(f"{place} cannot be written: {said}", "name a folder that you may write to") from error
