"""A folder on a cluster's shared file system as a place of objects, reached through its login node.

The same promises as of S3 (`infra.aws.s3`) and of a folder here: whole or not there, and of several who write a new
object at once one wins. What it is asked goes through one process there (`infra.slurm_door`).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from infra.errors import NotFoundError
from infra.slurm_door import Door
from infra.store import Stored, decoded

_PIECE = 8 << 20
_MANY = 500


def _batches(objects: Sequence[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for one in objects:
        if batch and (size + len(one[1]) > _PIECE or len(batch) >= _MANY):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one[1])
    if batch:
        yield batch


def _plain(command: str) -> str:
    return f"provision {command}"


class SshFolder:
    """The objects below the door's folder. `name` is the cluster's."""

    def __init__(self, door: Door, name: str, hint: Callable[[str], str] = _plain) -> None:
        self.door, self.name, self.hint = door, name, hint

    @property
    def where(self) -> tuple[str, str, str]:
        """Three names that tell this place from all others of the laptop."""
        return "cluster", self.name, "-"

    def url(self, key: str) -> str:
        return f"{self.door.where}:{self.door.root}/{key}"

    def exists(self) -> bool:
        return bool(self.door.ask("exists")[0])

    def objects(self, prefix: str) -> list[Stored]:
        """All objects whose key begins with `prefix`, by key."""
        return self.objects_after(prefix, "")

    def objects_after(self, prefix: str, after: str) -> list[Stored]:
        """Those of them whose key sorts behind `after`."""
        return [Stored(*row) for row in json.loads(self.door.ask("list", prefix, after)[1])]

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders right under `prefix` (which ends in a slash), sorted."""
        return [str(name) for name in json.loads(self.door.ask("folders", prefix)[1])]

    def read(self, key: str) -> bytes | None:
        """The object's bytes; None where there is none. DamagedError where it is larger than anything of ours."""
        there, data = self.door.ask("read", key)
        return data if there else None

    def read_json(self, key: str) -> Any:
        """The object's JSON; None where there is no such object. DamagedError where it is not JSON."""
        raw = self.read(key)
        return None if raw is None else decoded(raw, self.url(key))

    def write(self, key: str, data: bytes) -> None:
        self.door.ask("write", key, data=data)

    def write_json(self, key: str, value: object) -> None:
        self.write(key, json.dumps(value, indent=1, sort_keys=True).encode())

    def write_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """Write many small objects by few questions."""
        for batch in _batches(objects):
            rows = [[key, len(data)] for key, data in batch]
            self.door.ask("write_all", rows, data=b"".join(data for _, data in batch))

    def read_all(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The bytes of many small objects by few questions; those that are not there are left out."""
        found: dict[str, bytes] = {}
        for at in range(0, len(keys), _MANY):
            some = list(keys[at : at + _MANY])
            sizes, data = self.door.ask("read_all", some)
            begin = 0
            for key, size in zip(some, sizes, strict=True):
                if size is not None:
                    found[key] = data[begin : begin + size]
                    begin += size
        return found

    def write_new(self, key: str, data: bytes) -> bool:
        """Write an object that must not be there yet; False where another one is. Of several writers one wins."""
        return bool(self.door.ask("write_new", key, data=data)[0])

    def replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write an object in the place of the one of that mark; False where another one is there by now."""
        return bool(self.door.ask("replace", key, etag, data=data)[0])

    def head(self, key: str) -> Stored | None:
        """The object, without its bytes; None where there is none."""
        found = self.door.ask("head", key)[0]
        return None if found is None else Stored(key, *found)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, and folders that are empty then; absent ones are no error."""
        if keys:
            self.door.ask("delete", list(keys))

    def download(self, key: str, target: Path) -> None:
        """Write the object to a file, which appears whole or not at all. OSError where the disk is full."""
        found, part = self.head(key), target.with_name(target.name + ".part")
        if found is None:
            raise NotFoundError(f"{self.url(key)} is not there", "somebody has deleted it")
        try:
            with part.open("wb") as out:
                while out.tell() < found.size:
                    piece = self.door.ask("piece", key, out.tell(), _PIECE)[1]
                    if not piece:
                        raise NotFoundError(f"{self.url(key)} became shorter", "run the same command again")
                    out.write(piece)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def upload(self, source: Path, key: str, digest: str, count: Callable[[int], None] = lambda more: None) -> None:
        """Send a file, from where an earlier try ended. `digest`: its sha256, by which alone it becomes the object.

        `count` is called with the bytes that are done. DiskError where there is no room.
        """
        part = f"{key}.{digest[:16]}.part"
        at = getattr(self.head(part), "size", 0)
        with source.open("rb") as data:
            at = at if at <= source.stat().st_size else 0
            data.seek(at)
            count(at)
            while piece := data.read(_PIECE):
                at = int(self.door.ask("grown", part, at, data=piece)[0])
                count(len(piece))
        if self.head(part) is None:
            self.door.ask("grown", part, 0, data=b"")
        if not self.door.ask("settle", part, key, digest)[0]:
            raise NotFoundError(f"{self.url(key)} came damaged", "run the same command again")
