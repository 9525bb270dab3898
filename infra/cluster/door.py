"""The door on the login node: one process that answers a laptop's questions, so that many cost few round trips.

A question is a line of JSON, [word, arguments, bytes that follow], then those bytes; an answer [kind, value, bytes that
follow] and those. It lives as long as its connection. What it may do its user may: nobody else is served.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile

from . import objects, unpack

HELLO = b"provision-door 1\n"
CHUNK = 1 << 20


class Door:
    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.store = None

    def answer(self, kind, value, data=b""):
        self.sink.write(json.dumps([kind, value, len(data)]).encode() + b"\n" + data)
        self.sink.flush()

    def serve(self):
        self.sink.write(HELLO)
        self.sink.flush()
        while True:
            line = self.source.readline()
            if not line:
                return
            word, given, size = json.loads(line.decode())
            data = self.source.read(size) if size else b""
            try:
                value, body = getattr(self, "do_" + word)(data, *given)
                self.answer("ok", value, body)
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                kind = (
                    "full" if full else "refused" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else "os"
                )
                self.answer(kind, "%s" % error)
            except subprocess.TimeoutExpired as error:
                self.answer("late", "%s" % error)
            except (ValueError, LookupError, TypeError, AttributeError, EOFError, tarfile.TarError) as error:
                self.answer("damaged", "%s" % error)

    def do_open(self, _, root):
        """Work below that folder from now on: its full path, and whose it is: [path, whether ours alone, there]."""
        root = os.path.realpath(os.path.expanduser(os.path.expandvars(root)))
        self.store = objects.Objects(root)
        there = os.path.isdir(root)
        found = os.stat(root) if there else None
        return [root, not there or (found.st_uid == os.getuid() and not found.st_mode & 0o022), there], b""

    def do_make(self, _):
        os.makedirs(self.store.root, 0o700, exist_ok=True)
        return None, b""

    def do_exists(self, _):
        return self.store.exists(), b""

    def do_list(self, _, prefix, after):
        return None, json.dumps(self.store.list(prefix, after)).encode()

    def do_folders(self, _, prefix):
        return None, json.dumps(self.store.folders(prefix)).encode()

    def do_read(self, _, key):
        data = self.store.read(key)
        return data is not None, data or b""

    def do_read_all(self, _, keys):
        """Several small objects by one question: the size of each, None for one that is not there, and their bytes."""
        found = [self.store.read(key) for key in keys]
        return [None if data is None else len(data) for data in found], b"".join(data or b"" for data in found)

    def do_piece(self, _, key, at, size):
        """Some bytes of a large object."""
        with open(self.store.path(key), "rb") as data:
            data.seek(at)
            return None, data.read(size)

    def do_head(self, _, key):
        return self.store.head(key), b""

    def do_write(self, data, key):
        self.store.write(key, data)
        return None, b""

    def do_write_all(self, data, rows):
        """Several objects by one question: [[key, size], ...], whose bytes follow one another."""
        self.store.write_all(rows, data)
        return len(rows), b""

    def do_write_new(self, data, key):
        return self.store.write_new(key, data), b""

    def do_replace(self, data, key, etag):
        return self.store.replace(key, data, etag), b""

    def do_delete(self, _, keys):
        self.store.delete(keys)
        return None, b""

    def do_grown(self, data, key, at):
        """Add bytes to a file that is sent in pieces, from the offset `at` on; its size then. A piece that was written
        before counts once."""
        path = self.store.path(key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "r+b" if os.path.exists(path) else "w+b") as out:
            out.truncate(min(at, os.fstat(out.fileno()).st_size))
            if os.fstat(out.fileno()).st_size < at:
                raise ValueError("%s ends before %d" % (key, at))
            out.seek(at)
            out.write(data)
            return out.tell(), b""

    def do_settle(self, _, part, key, digest):
        """Give the file that was sent in pieces its name, if its sha256 is this; whether it was."""
        path, summed = self.store.path(part), hashlib.sha256()
        with open(path, "rb") as data:
            for chunk in iter(lambda: data.read(CHUNK), b""):
                summed.update(chunk)
            os.fsync(data.fileno())
        if summed.hexdigest() != digest:
            os.unlink(path)
            return False, b""
        os.makedirs(os.path.dirname(self.store.path(key)), exist_ok=True)
        os.rename(path, self.store.path(key))
        return True, b""

    def do_unpack(self, _, *given):
        return unpack.unpack(self.store, *given), b""

    def do_room(self, _):
        """Bytes that are free for this user below the folder, as the file system and `quota` say: [free, quota]."""
        top = self.store.root
        while not os.path.isdir(top):
            top = os.path.dirname(top)
        return [shutil.disk_usage(top).free, quota(top)], b""

    def do_run(self, data, words, seconds):
        """A program's exit code and its output, each cut after a megabyte."""
        try:
            done = subprocess.run(words, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
        except FileNotFoundError:
            return [127, "", "%s: not found" % words[0]], b""
        said = [text[:CHUNK].decode(errors="replace") for text in (done.stdout, done.stderr)]
        return [done.returncode] + said, b""


def quota(folder):
    """What `quota` says is left of its user's blocks there, in bytes; None where it says nothing."""
    try:
        done = subprocess.run(
            ["quota", "-w", "-p", "-f", folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.split() for line in done.stdout.decode(errors="replace").split("\n")]
    left = [(int(row[2]) - int(row[1].rstrip("*"))) * 1024 for row in rows
            if len(row) > 3 and row[1].rstrip("*").isdigit() and row[2].isdigit() and int(row[2])]  # fmt: skip
    return min(left) if left else None


def serve():
    Door(sys.stdin.buffer, sys.stdout.buffer).serve()
