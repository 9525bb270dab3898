"""The packed files of an image on their way from S3: in pieces, several at once and in the tar's order, to a folder of
root's. A piece is deleted once it was read, so that neither the packed image nor its tar is ever whole on the disk. One
that breaks off goes on where it broke, after a restart, too.
"""

import os
import threading
import time

from .s3 import ERRORS, passing

PIECE = 64 << 20
AHEAD = 4 << 30  # bytes of pieces on the disk: as many as come while the machine is being prepared
THREADS = 8  # one connection seldom fills a line
CHUNK = 1 << 20
PATIENCE_S = 90.0
TRIES = 4  # at least, that bring nothing
PAUSE_S = 0.5
GONE = (403, 404, 416)  # S3 says 403 of what is not there to who may not list

# S3 does not have this image whole, for a reason that is the same everywhere; what came is not what the index says
Unusable = type("Unusable", (Exception,), {})
Damaged = type("Damaged", (Unusable,), {})


class Piece:
    """Bytes of a packed blob, from `begin` on, and where they are kept."""

    def __init__(self, path, key, begin, size):
        self.path, self.key, self.begin, self.size = path, key, begin, size
        self.whole = False


def pieces_of(number, blob, folder):
    """The pieces of the tar's file of that number; none of a link."""
    path = os.path.join(folder, "%05d-%s" % (number, blob.get("key", "").rpartition("/")[2]))
    for begin in range(0, blob.get("packed", 0), PIECE):
        yield Piece("%s.%012d" % (path, begin), blob["key"], begin, min(PIECE, blob["packed"] - begin))


class Pieces:
    """All pieces of the blobs, in their order, of which at most AHEAD bytes are on the disk."""

    def __init__(self, bucket, blobs, folder):
        self.bucket = bucket
        self.of = [list(pieces_of(number, blob, folder)) for number, blob in enumerate(blobs)]
        self.left = [piece for pieces in self.of for piece in pieces]
        self.ahead = 0
        self.failed = None
        self.changed = threading.Condition()
        os.makedirs(folder, 0o700, exist_ok=True)
        for name in set(os.listdir(folder)).difference(os.path.basename(piece.path) for piece in self.left):
            os.remove(os.path.join(folder, name))

    def start(self):
        for _ in range(THREADS):
            threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            piece = self.next()
            if piece is None:
                return
            try:
                self.fetch(piece)
            except Exception as error:
                self.fail(error)
                return
            with self.changed:
                piece.whole = True
                self.changed.notify_all()

    def next(self):
        """The next piece to fetch, as soon as there is room for it; None where none is left."""
        with self.changed:
            while self.left and not self.failed and self.ahead and self.ahead + self.left[0].size > AHEAD:
                self.changed.wait()
            if not self.left or self.failed:
                return None
            self.ahead += self.left[0].size
            return self.left.pop(0)

    def fail(self, error):
        with self.changed:
            self.failed = self.failed or error
            self.changed.notify_all()

    def fetch(self, piece):
        """All of a piece, over many connections if need be."""
        tries, last = 0, time.monotonic()
        while not self.failed:
            have = os.path.getsize(piece.path) if os.path.exists(piece.path) else 0
            if have == piece.size:
                return
            try:
                self.connection(piece, have)
            except ERRORS as error:
                now = os.path.getsize(piece.path) if os.path.exists(piece.path) else 0
                tries, last = (tries + 1, last) if now <= have else (1, time.monotonic())
                if not passing(error) or (tries >= TRIES and time.monotonic() - last > PATIENCE_S):
                    code = getattr(error, "code", None)
                    if code in GONE:
                        raise Unusable("a part of the image cannot be had from S3 (%d)" % code) from None
                    raise
                time.sleep(min(PAUSE_S * 2 ** (tries - 1), 8))

    def connection(self, piece, have):
        """One connection's worth, behind what is there."""
        span = "bytes=%d-%d" % (piece.begin + have, piece.begin + piece.size - 1)
        with self.bucket.call("GET", piece.key, "", None, {"range": span}) as answer:
            begins = "bytes %d-" % (piece.begin + have)
            if not (answer.headers.get("Content-Range") or "").startswith(begins):
                raise Unusable("a part of the image has another length in S3")
            with open(piece.path, "ab" if have else "wb") as out:
                for chunk in iter(lambda: answer.read(min(CHUNK, piece.size - out.tell())), b""):
                    out.write(chunk)
                if out.tell() < piece.size:
                    raise ConnectionError("%s was cut off" % piece.key)

    def wait(self, piece):
        with self.changed:
            while not piece.whole:
                if self.failed:
                    raise self.failed
                self.changed.wait()

    def packed(self, number):
        """The bytes of a blob, each piece deleted once it was read."""
        for piece in self.of[number]:
            self.wait(piece)
            with open(piece.path, "rb") as data:
                for chunk in iter(lambda: data.read(CHUNK), b""):
                    yield chunk
            os.remove(piece.path)
            with self.changed:
                self.ahead -= piece.size
                self.changed.notify_all()
