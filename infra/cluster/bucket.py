"""The run's folder on the shared file system, as the guard writes to S3 elsewhere."""

import contextlib
import hashlib
import os
import time
import urllib.error

from guard.host import TIME

CHUNK = 1 << 20


class Bucket:
    """The methods of guard.s3.Bucket that a run needs, on objects in a folder."""

    def __init__(self, store):
        self.store = store
        self.last = 0.0

    def put(self, key, data, query=""):
        self.store.write(key, data)

    def put_file(self, key, fd, going=lambda: None):
        """Copy an open file; name, size and sha256 of what was copied. `going` is asked now and then, and may raise."""
        digest, size = hashlib.sha256(), 0
        with self.store.fresh(b"") as part:
            with open(part, "r+b") as out:
                while True:
                    going()
                    piece = os.pread(fd, CHUNK, size)
                    if not piece:
                        break
                    out.write(piece)
                    digest.update(piece)
                    size += len(piece)
                out.flush()
                os.fsync(out.fileno())
            self.store.place(part, key, os.rename)
        return {"name": os.path.basename(key), "size": size, "sha256": digest.hexdigest()}

    def ask(self, method, key, query="", body=None, more=()):
        """GET an object's text, or DELETE it. As of S3, what is not there is HTTPError 404."""
        if method == "DELETE":
            self.store.delete([key])
            return ""
        data = self.store.read(key)
        if data is None:
            raise urllib.error.HTTPError(key, 404, "not there", None, None)
        return data.decode()

    def list(self, prefix):
        return [(key, size, time.strftime(TIME, time.gmtime(at))) for key, size, _, at in self.store.list(prefix)]

    def copied(self, prefix, files, folder):
        """Bring the files of a snapshot to a folder; whether each is as its index says."""
        for one in files:
            name = one["path"].rpartition("/")[2]
            digest = hashlib.sha256()
            target = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)
            with open(self.store.path(prefix + name), "rb") as data, open(target, "xb") as out:
                for chunk in iter(lambda: data.read(CHUNK), b""):
                    digest.update(chunk)
                    out.write(chunk)
            if digest.hexdigest() != one["sha256"]:
                return False
        return True
