"""Objects as files below a folder of the shared file system: each is there whole or not at all.

The same keys and promises as infra/store.py has for S3: who reads sees an object as somebody wrote it, of several who
write a new one at once one wins. No lock of the file system is counted on: NFS and Lustre may have none.
"""

import contextlib
import errno
import os
import stat
import time

LARGEST = 64 << 20
ASIDE = ".new"
STALE_S = 60  # a lock that is older was left by a process that died


class Objects:
    """The objects below `root`, which is its user's alone."""

    def __init__(self, root):
        self.root = root

    def path(self, key):
        """The object's file; ValueError for a key that leads out of the folder."""
        steps = key.split("/")
        if "\0" in key or steps[0] == ASIDE or any(step in ("", ".", "..") for step in steps):
            raise ValueError("%r names nothing in %s" % (key, self.root))
        return os.path.join(self.root, *steps)

    def exists(self):
        return os.path.isdir(self.root)

    def list(self, prefix, after=""):
        """[[key, size, etag, time], ...] of the objects whose key begins with `prefix` and sorts behind `after`."""
        below, _, _ = prefix.rpartition("/")
        top = self.path(below) if below else self.root
        found = []
        for folder, folders, names in os.walk(top):
            at = "" if folder == self.root else os.path.relpath(folder, self.root) + "/"
            folders[:] = [name for name in folders if at or name != ASIDE]
            for name in names:
                key = at + name
                if key.startswith(prefix) and key > after:
                    with contextlib.suppress(OSError):
                        seen = os.lstat(os.path.join(folder, name))
                        found += [[key] + about(seen)] if stat.S_ISREG(seen.st_mode) else []
        return sorted(found)

    def folders(self, prefix):
        """Names of the folders right under `prefix`, which ends in a slash or is empty."""
        try:
            top = self.path(prefix.rstrip("/")) if prefix else self.root
            return sorted(
                one.name for one in os.scandir(top) if one.is_dir(follow_symlinks=False) and one.name != ASIDE
            )
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, key):
        """The object's bytes; None where there is none. ValueError where it is larger than anything of ours."""
        try:
            with open(os.open(self.path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as data:
                size = os.fstat(data.fileno()).st_size
                if size > LARGEST:
                    raise ValueError("it has %d bytes, and at most %d make sense" % (size, LARGEST))
                return data.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def head(self, key):
        """[size, etag, time]; None where there is no such object."""
        try:
            seen = os.lstat(self.path(key))
            return about(seen) if stat.S_ISREG(seen.st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, key, data):
        with self.fresh(data) as part:
            self.place(part, key, os.rename)

    def write_all(self, rows, data):
        """Write several objects, [[key, size], ...], whose bytes follow one another; then they are on the disk."""
        at = 0
        for key, size in rows:
            with self.fresh(data[at : at + size], settle=False) as part:
                self.place(part, key, os.rename)
            at += size
        os.sync()

    def write_new(self, key, data):
        """Whether the object is ours now; False where another one is there."""
        with self.fresh(data) as part:
            try:
                self.place(part, key, linked)
            except FileExistsError:
                return self.read(key) == data
        return True

    def replace(self, key, data, etag):
        """Write in the place of the object of that mark; False where another one is there by now."""
        with self.fresh(data) as part, self.alone(key):
            found = self.head(key)
            if found is None or found[1] != etag:
                return self.read(key) == data
            self.place(part, key, os.rename)
        return True

    def delete(self, keys):
        """Delete objects, and folders that are empty then; absent ones are no error."""
        for key in keys:
            path = self.path(key)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(path)
            folder = os.path.dirname(path)
            while folder != self.root:
                try:
                    os.rmdir(folder)
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    if error.errno != errno.ENOENT:
                        break
                folder = os.path.dirname(folder)

    @contextlib.contextmanager
    def fresh(self, data, settle=True):
        """A file with these bytes beside all objects, which is gone after the block if it still has its name. `settle`:
        its bytes are on the disk before it gets another one."""
        aside = os.path.join(self.root, ASIDE)
        os.makedirs(aside, 0o700, exist_ok=True)
        part = os.path.join(aside, os.urandom(8).hex())
        try:
            with open(part, "xb") as out:
                out.write(data)
                out.flush()
                if settle:
                    os.fsync(out.fileno())
            yield part
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)

    def place(self, part, key, move):
        path = self.path(key)
        while True:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                move(part, path)
                return
            except FileNotFoundError:  # its folder went away with the last object in it
                continue

    @contextlib.contextmanager
    def alone(self, key):
        """One at a time, by a file that only one can make."""
        lock = os.path.join(self.root, ASIDE, "lock")
        while True:
            try:
                os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                break
            except FileExistsError:
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - os.stat(lock).st_mtime > STALE_S:
                        os.unlink(lock)
                time.sleep(0.05)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(lock)


def about(found):
    return [found.st_size, "%x-%x-%x" % (found.st_ino, found.st_mtime_ns, found.st_size), found.st_mtime]


def linked(part, path):
    """Give the file a second name, which must be new. Where the file system has no hard links, write it anew."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        with open(part, "rb") as data, open(path, "xb") as out:
            out.write(data.read())
