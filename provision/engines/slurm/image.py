"""The image of this laptop's engine on the cluster's shared file system, once for each id.

It goes there as one packed tar of its files, in pieces: what broke off goes on where it was. The cluster unpacks it
beside its place and writes its note last (`infra.cluster.unpack`), so that a half-copied one is never used.
"""

import gzip
import hashlib
from pathlib import Path

from infra.disk import writing
from infra.docker_engine import Docker
from infra.errors import RunError
from infra.ssh_folder import SshFolder
from provision.files.bar import Bar
from provision.settings import cache_home

SQUASHED = ("pyxis",)
_CHUNK = 1 << 20


def name_of(digest: str) -> str:
    """The image's name on the cluster: its id (sha256:HEX) without the kind."""
    return digest.removeprefix("sha256:")


def is_there(place: SshFolder, digest: str, runtime: str) -> bool:
    """Whether the cluster has the whole image, in a form that its runtime takes."""
    note = place.read_json(f"images/{name_of(digest)}.json")
    return note is not None and (runtime not in SQUASHED or note.get("runtime") in SQUASHED)


def bring(place: SshFolder, engine: Docker, tag: str, digest: str, runtime: str) -> int:
    """Bring the image, unless it is there; the bytes that were sent.

    RunError where the engine has another image under that tag by now; EngineError; DiskError where there or here is no
    room, HostError where the cluster cannot be reached.
    """
    if is_there(place, digest, runtime):
        return 0
    known = engine.image(tag)
    if known is None or known[0] != digest:
        raise RunError(f"this laptop's engine has no image {tag} of the id {digest[:19]}", "build it again")
    packed, name = _packed(engine, tag, digest, known[1]), name_of(digest)
    size = packed.stat().st_size
    with Bar(f"image {tag} to {place.name}", size) as bar:
        done = [0]

        def count(more: int) -> None:
            done[0] += more
            bar.at(done[0])

        place.upload(packed, f"images/{name}.tar.gz", packed.with_suffix(".sum").read_text(), count)
    environment, entry = engine.configuration(tag)
    place.door.ask("unpack", name, runtime, {"id": digest, "tag": tag, "env": environment, "entry": entry})
    packed.unlink()
    return size


def _packed(engine: Docker, tag: str, digest: str, size: int) -> Path:
    """The image's files as one packed tar in the cache, and its sum beside it: what was packed is sent in any number of
    tries."""
    target = cache_home() / "clusters" / f"{name_of(digest)}.tar.gz"
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.with_suffix(".sum").exists():
        return target
    part, summed, done = target.with_suffix(".part"), hashlib.sha256(), 0
    with writing(target), Bar(f"image {tag}: packing", size) as bar:
        with part.open("wb") as out, gzip.GzipFile("", "wb", 1, out, mtime=0) as press:
            for chunk in engine.files(tag):
                press.write(chunk)
                done += len(chunk)
                bar.at(min(done, size))
        with part.open("rb") as data:
            while chunk := data.read(_CHUNK):
                summed.update(chunk)
        target.with_suffix(".sum").write_text(summed.hexdigest())
        part.replace(target)
    return target
