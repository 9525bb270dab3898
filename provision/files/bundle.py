"""The bundle: all that runs on a machine that starts itself, as one object in S3. Its user data names it by its sha256.

Unpacked to /opt/provision it is what a laptop would have brought: the scripts, the guard with the digest by which a
later laptop knows it, what fetches weights, and the units, which kept.sh puts to their place. The same files make the
same bytes.
"""

import gzip
import hashlib
import io
import tarfile
from functools import cache

from infra.host import program, script
from provision.files import guard

_SCRIPTS = ("kept.sh", "clean.sh", "engine.sh", "nvidia.sh", "bootstrap.sh", "idle.sh")
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
