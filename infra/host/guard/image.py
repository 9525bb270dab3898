"""An image on its way from S3 to Docker, without a registry: what `docker save` wrote, file by file.

images/sha256/HEX.json is the index: each file of the tar (`blobs`), packed by gzip under a name that is its sum. They
come in pieces, several at once and in the tar's order, to a folder of root's. Docker is given the tar while they come:
a piece is deleted once it was read, so that neither the packed image nor the tar is ever whole on the disk. A piece
that breaks off goes on where it broke, after a restart, too. Every file's sum is looked at, and at the end the image's
id.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
import zlib

from .host import log
from .s3 import ERRORS, passing

PIECE = 64 << 20
AHEAD = 4 << 30  # bytes of pieces on the disk: as many as come while the machine is being prepared
THREADS = 8  # one connection seldom fills a line
CHUNK = 1 << 20
PATIENCE_S = 90.0
TRIES = 4  # at least, that bring nothing
PAUSE_S = 0.5
LOAD_S = 1800  # that Docker takes after it has all
INDEX = 16 << 20  # bytes of an index
GONE = (403, 404, 416)  # S3 says 403 of what is not there to who may not list
BLOB = r"images/blobs/[0-9a-f]{64}\.gz"


# S3 does not have this image whole, for a reason that is the same everywhere; what came is not what the index says
Unusable = type("Unusable", (Exception,), {})
Damaged = type("Damaged", (Unusable,), {})


def index_of(bucket, image):
    """(blobs, ids that Docker may give it) of an image: {"id", "index", "sum": sha256 of the index, which may be
    missing}. Unusable where the index is missing or makes no sense."""
    text = index_text(bucket, image["index"])
    try:
        if image.get("sum") and hashlib.sha256(text).hexdigest() != image["sum"]:
            raise ValueError("another index")
        known = json.loads(text.decode())
        if known["id"] != image["id"]:
            raise ValueError("another image")
        blobs = [checked(blob) for blob in known["blobs"]]
    except (LookupError, TypeError, ValueError):
        raise Unusable("the image's index in S3 is damaged") from None
    # a Docker that keeps images another way than the one that made it names them by their configuration; who may write
    # the bucket may not say which that is
    config = known.get("config") if image.get("sum") else None
    return blobs, [image["id"]] + ["sha256:" + blob["sha256"] for blob in blobs if blob["name"] == config]


def index_text(bucket, key):
    last = time.monotonic() + PATIENCE_S
    while True:
        try:
            with bucket.call("GET", key) as answer:
                return answer.read(INDEX)
        except ERRORS as error:
            if not passing(error) or time.monotonic() > last:
                code = getattr(error, "code", None)
                if code in GONE:
                    raise Unusable("the image's index cannot be had from S3 (%d)" % code) from None
                raise
        time.sleep(PAUSE_S)


def checked(blob):
    steps = blob["name"].split("/")
    if not all(steps) or ".." in steps or "." in steps:
        raise ValueError("an odd name")
    if "link" in blob:
        return {"name": blob["name"], "link": str(blob["link"])}
    if not re.match(BLOB + r"\Z", blob["key"]) or not int(blob["packed"]) > 0 or not int(blob["size"]) >= 0:
        raise ValueError("an odd blob")
    return blob


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


def unpacked(blob, packed):
    """The file's bytes. Damaged where they are not those of the index; no more memory than some chunks."""
    digest, size = hashlib.sha256(), 0
    press = zlib.decompressobj(wbits=31)
    try:
        for data in packed:
            while data:
                if press.eof:
                    press = zlib.decompressobj(wbits=31)
                piece = press.decompress(data, CHUNK)
                data = press.unconsumed_tail or press.unused_data
                size += len(piece)
                if size > blob["size"]:
                    raise zlib.error("too long")
                digest.update(piece)
                yield piece
        rest = press.flush()
        size += len(rest)
        digest.update(rest)
        yield rest
    except zlib.error:
        size = -1
    if (size, digest.hexdigest()) != (blob["size"], blob["sha256"]):
        raise Damaged("a part of the image in S3 is damaged")


def tar(blobs, pieces):
    """The tar that Docker loads, in chunks."""
    for number, blob in enumerate(blobs):
        entry = tarfile.TarInfo(blob["name"])
        entry.mode = 0o644
        if "link" in blob:
            entry.type, entry.linkname = tarfile.SYMTYPE, blob["link"]
            yield entry.tobuf(tarfile.GNU_FORMAT)
            continue
        entry.size = blob["size"]
        yield entry.tobuf(tarfile.GNU_FORMAT)
        for chunk in unpacked(blob, pieces.packed(number)):
            yield chunk
        yield b"\0" * (-entry.size % 512)
    yield b"\0" * 1024


def docker_load(chunks, children=None):
    """Exit code and last words of `docker load`. What the chunks raise ends it, and nothing is loaded."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(["docker", "load", "-q"], stdin=subprocess.PIPE, stdout=said, stderr=said)
        try:
            if children is not None:
                children.add(process.pid)
            with contextlib.suppress(BrokenPipeError):
                for chunk in chunks:
                    process.stdin.write(chunk)
                process.stdin.close()
            code = process.wait(LOAD_S)
        except BaseException:
            process.kill()
            raise
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.wait()
            if children is not None:
                children.discard(process.pid)
        said.seek(0)
        return code, said.read(1 << 16).decode(errors="replace").strip()


class Image:
    """The image of a capsule: {"id", "tag", "index"}. `load` takes the tar's chunks, `words` asks Docker."""

    def __init__(self, bucket, image, folder, words, load):
        self.bucket, self.image, self.folder = bucket, image, folder
        self.words, self.load = words, load

    def there(self, ids):
        """Whether Docker has it by one of these ids; then it has its name."""
        for known in ids:
            code, text = self.words(["docker", "image", "inspect", "-f", "{{.Id}}", known])
            if code == 0 and text == known:
                return self.words(["docker", "tag", known, self.image["tag"]])[0] == 0
        return False

    def bring(self, wait_ready):
        """Let Docker have it. `wait_ready` returns when there is a Docker: the pieces come meanwhile. Unusable where S3
        has not all of it, OSError where Docker refuses."""
        try:
            if not self.there([self.image["id"]]):  # before a restart, or on the machine image
                self.come(wait_ready, *index_of(self.bucket, self.image))
        finally:
            for folder in (self.folder, self.folder + "-again"):
                shutil.rmtree(folder, ignore_errors=True)

    def come(self, wait_ready, blobs, ids):
        pieces = Pieces(self.bucket, blobs, self.folder)
        pieces.start()
        try:
            wait_ready()
            if self.there(ids):
                return
            try:
                self.given(blobs, ids, pieces)
            except Damaged as error:  # perhaps on its way
                log("image: %s; once more" % error)
                pieces.fail(error)
                pieces = Pieces(self.bucket, blobs, self.folder + "-again")
                pieces.start()
                self.given(blobs, ids, pieces)
        finally:
            pieces.fail(Unusable("it is over"))

    def given(self, blobs, ids, pieces):
        code, text = self.load(tar(blobs, pieces))
        if code != 0:
            raise OSError("docker load: %s" % (text.split("\n")[-1] or code))
        if not self.there(ids):
            raise Unusable("what the image's index in S3 names is another image")
