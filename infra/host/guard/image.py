"""An image on its way from S3 to Docker, without a registry: what `docker save` wrote, file by file.

images/sha256/HEX.json is the index: each file of the tar (`blobs`), packed by gzip under a name that is its sum. They
come in pieces (pieces.py), and Docker is given the tar while they come. Every file's sum is looked at, and at the end
the image's id.
"""

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import zlib

from . import pieces
from .host import log
from .pieces import CHUNK, GONE, Damaged, Pieces, Unusable
from .s3 import ERRORS, passing

LOAD_S = 1800  # that Docker takes after it has all
INDEX = 16 << 20  # bytes of an index
BLOB = r"images/blobs/[0-9a-f]{64}\.gz"


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
    last = time.monotonic() + pieces.PATIENCE_S
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
        time.sleep(pieces.PAUSE_S)


def checked(blob):
    steps = blob["name"].split("/")
    if not all(steps) or ".." in steps or "." in steps:
        raise ValueError("an odd name")
    if "link" in blob:
        return {"name": blob["name"], "link": str(blob["link"])}
    if not re.match(BLOB + r"\Z", blob["key"]) or not int(blob["packed"]) > 0 or not int(blob["size"]) >= 0:
        raise ValueError("an odd blob")
    return blob


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


def tar(blobs, coming):
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
        for chunk in unpacked(blob, coming.packed(number)):
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
        coming = Pieces(self.bucket, blobs, self.folder)
        coming.start()
        try:
            wait_ready()
            if self.there(ids):
                return
            try:
                self.given(blobs, ids, coming)
            except Damaged as error:  # perhaps on its way
                log("image: %s; once more" % error)
                coming.fail(error)
                coming = Pieces(self.bucket, blobs, self.folder + "-again")
                coming.start()
                self.given(blobs, ids, coming)
        finally:
            coming.fail(Unusable("it is over"))

    def given(self, blobs, ids, coming):
        code, text = self.load(tar(blobs, coming))
        if code != 0:
            raise OSError("docker load: %s" % (text.split("\n")[-1] or code))
        if not self.there(ids):
            raise Unusable("what the image's index in S3 names is another image")
