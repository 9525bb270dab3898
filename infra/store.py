"""Objects by key, wherever they lie: what a run needs of the place of its folder.

Keys are names divided by slashes, below one root; an object is there whole or not at all. S3 is one such place
(`infra.aws.s3`), a folder of this laptop another (`infra.folder`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from infra.errors import DamagedError

LARGEST = 64 << 20  # bytes of what is read into memory: twice the largest piece of a log that a guard writes


@dataclass(frozen=True)
class Stored:
    """One object: key, size in bytes, the place's mark of its content, and when it was written (seconds since 1970)."""

    key: str
    size: int
    etag: str = ""
    modified: float = 0.0


class Store(Protocol):
    """One place of objects. Its methods raise ProvisionErrors where it refuses, or cannot be reached."""

    @property
    def where(self) -> tuple[str, str, str]:
        """Three names that tell this place from all others of the laptop; each can name a folder."""

    def exists(self) -> bool:
        """Whether it was made; it is at the latest when the first object is written."""

    def objects(self, prefix: str) -> list[Stored]:
        """All objects whose key begins with `prefix`, by key."""

    def objects_after(self, prefix: str, after: str) -> list[Stored]:
        """Those of them whose key sorts behind `after`."""

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders right under `prefix` (which ends in a slash), as their keys sort."""

    def read(self, key: str) -> bytes | None:
        """The object's bytes; None where there is none. DamagedError where it is larger than LARGEST."""

    def read_json(self, key: str) -> Any:
        """The object's JSON; None where there is no such object. DamagedError where it is not JSON."""

    def write(self, key: str, data: bytes) -> None:
        """Write an object, in the place of what is there."""

    def write_new(self, key: str, data: bytes) -> bool:
        """Write an object that must not be there yet; False where another one is. Of several writers one wins."""

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write an object in the place of the one of that mark; False where another one is there by now."""

    def head(self, key: str) -> Stored | None:
        """The object, without its bytes; None where there is none."""

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; absent ones are no error."""

    def download(self, key: str, target: Path) -> None:
        """Write the object to a file, which appears whole or not at all. OSError where the disk is full."""

    def hint(self, command: str) -> str:
        """A command of ours as the user can type it for a run that lies here."""

    def url(self, key: str) -> str:
        """The object's address, for messages."""


def decoded(raw: bytes, where: str) -> Any:
    """An object's bytes as JSON values; DamagedError where they are none."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{where} is damaged: {error}", "delete that object") from error


def too_large(where: str, size: int) -> DamagedError:
    """The error for an object that is larger than anything of ours: who trains may write what it likes."""
    return DamagedError(
        f"{where} is damaged: it has {size} bytes, and at most {LARGEST} make sense", "delete that object"
    )
