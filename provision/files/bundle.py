"""The bundle: all that runs on a machine of ours, as one object in S3. The machine's user data names it by its sha256.

Unpacked to /opt/provision it is the scripts, the guard with the digest by which a later laptop knows it, what fetches
weights, and the units, which start.sh puts to their place. The same files make the same bytes.
"""

import gzip
import hashlib
import io
import tarfile
from functools import cache

from infra.aws import s3_bucket
from infra.aws.s3 import S3
from infra.host import program, script
from provision.files import guard

_SCRIPTS = ("start.sh", "clean.sh", "engine.sh", "nvidia.sh", "bootstrap.sh", "idle.sh")
_UNITS = (
    "provision-guard.service", "provision-attempt.service", "provision-clean.service", "provision-idle.service",
    "provision-idle.timer",
)  # fmt: skip


@cache
def pack() -> tuple[str, bytes]:
    """The bundle, a tar.gz, and its sha256 in hex: it lies in S3 as host/HEX.tar.gz."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in sorted(_files().items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    packed = gzip.compress(out.getvalue(), 9, mtime=0)
    return hashlib.sha256(packed).hexdigest(), packed


def bring(store: S3) -> None:
    """See to it that the bundle lies in the bucket, whole; both are made where they are not there.

    S3 knows an object that went in one piece by its MD5. One that differs is sent again: by it no machine would begin.
    """
    digest, packed = pack()
    key, whole = f"host/{digest}.tar.gz", (len(packed), hashlib.md5(packed, usedforsecurity=False).hexdigest())
    there = store.head(key)
    if there is None or (there.size, there.etag) != whole:
        s3_bucket.prepare(store)
        store.write(key, packed)


def _files() -> dict[str, bytes]:
    """Each file's content by its path below /opt/provision."""
    files, digest = guard.contents()
    return {
        **{name: script(name).encode() for name in _SCRIPTS},
        **{f"units/{name}": script(name).encode() for name in _UNITS},
        "download.py": program("transfer.py", "download.py").encode(),
        **{f"guard/{name}": text for name, text in files.items()},
        "guard/digest": f"{digest}\n".encode(),
    }
