"""The kinds of database, by name; each is imported where it is used."""

from pathlib import Path

from infra.errors import UsageError
from provision.data.databases import Reader, Writer

BACKENDS = ("lmdb", "leveldb")
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
    pairs = (
        [str(path) for path in sorted(folder.iterdir()) if path.is_dir() and backend_of(path)]
        if folder.is_dir()
        else []
    )
    mend = f"it holds some: {', '.join(pairs)}" if pairs else "make one: provision data lmdb LIST DIR"
    raise UsageError(f"{folder} holds no LMDB or LevelDB database", mend)


def backend_of(folder: Path) -> str | None:
    """Which database a folder holds: lmdb, leveldb or None."""
    if (folder / "data.mdb").is_file():
        return "lmdb"
    return "leveldb" if (folder / "CURRENT").is_file() else None
