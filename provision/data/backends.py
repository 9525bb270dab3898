"""The kinds of database, by name; each is imported where it is used."""

from pathlib import Path

from infra.errors import UsageError
from provision.data.databases import Reader, Writer

BACKENDS = ("lmdb", "leveldb")
_LMDB, _HDF5 = b"\xde\xc0\xef\xbe", b"\x89HDF\r\n\x1a\n"  # LMDB's number stands behind its page's head, 16 bytes
LONGEST_KEY = 511  # bytes; LMDB's, as it is compiled everywhere


def writer(folder: Path, backend: str) -> Writer:
    """Open the database in `folder` to write, or make it. MissingExtraError without the backend's library."""
    if backend == "leveldb":
        from provision.data.leveldb import LevelWriter

        return LevelWriter(folder)
    from provision.data.lmdb_store import LmdbWriter

    return LmdbWriter(folder)


def reader(folder: Path) -> Reader:
    """Open the database in `folder` to read. UsageError where there is none, or one that cannot be read."""
    found = backend_of(folder)
    if found == "lmdb":
        from provision.data.lmdb_store import LmdbReader

        return LmdbReader(folder)
    if found == "leveldb":
        from provision.data.leveldb import LevelReader

        return LevelReader(folder)
    if not folder.exists():
        raise UsageError(f"{folder} is not there", "make it: provision data lmdb LIST DIR")
    if folder.is_file():
        raise UsageError(f"{folder} is a file, and a database is a folder", file_mend(folder))
    pairs = (
        [str(path) for path in sorted(folder.iterdir()) if path.is_dir() and backend_of(path)]
        if folder.is_dir()
        else []
    )
    mend = f"it holds some: {', '.join(pairs)}" if pairs else "make one: provision data lmdb LIST DIR"
    raise UsageError(f"{folder} holds no LMDB or LevelDB database", mend)


def file_mend(path: Path) -> str:
    """What to do with a file that was given in place of a database."""
    with path.open("rb") as file:
        head = file.read(20)
    if path.name == "data.mdb":
        return f"name its folder: {path.parent}"
    if head[16:] == _LMDB:
        return f"it is an LMDB without a folder; Caffe reads a folder: mkdir DIR && mv {path} DIR/data.mdb"
    if head.startswith(_HDF5):
        return "it is HDF5, which Caffe's HDF5Data layer reads, and nothing here"
    return "make one: provision data lmdb LIST DIR"


def backend_of(folder: Path) -> str | None:
    """Which database a folder holds: lmdb, leveldb or None."""
    if (folder / "data.mdb").is_file():
        return "lmdb"
    return "leveldb" if (folder / "CURRENT").is_file() else None
