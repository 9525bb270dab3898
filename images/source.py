"""Where a source tree comes from: its own git, a mirror of that, a tree of the user's, or Debian's source package.

A checkout is taken as it is (changed, or at another commit: that is what its owner works on), unless it is just the
pinned commit; a bare repository is a mirror. What is not fetched in the build goes in with the context, as a tar with
the tree at its top and the same bytes for the same tree. The stack's pinned commit is the same tree wherever it comes
from, and makes the same image with the same tag; any other tree has its own.
"""

import contextlib
import hashlib
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from images.context import source_tree
from images.distributions import distribution
from images.stacks import Stack
from infra.debsource import SourcePackage, fetch
from infra.errors import DiskError, ImageError, UsageError
from infra.shell import LocalShell, OnLine, Shell

Kind = Literal["git", "mirror", "tree", "debian"]

# by stack: the package's name and version, its release and that one's image, and the commit that it was made of
_DEBIAN = {
    "caffe": (
        ("caffe", "1.0.0+git20180821.99bd997-8"),
        ("debian11", "debian:bullseye"),
        "99bd99795dcdf0b1d3086a8d67ab1782a8a08383",
    ),
}


# a user's name may be a token; ssh's own git@ is none
_SECRET = re.compile(r"https?://[^/?#]*@|[\w+.-]+://[^/?#@]*:[^/?#]*@", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """Where a tree comes from.

    `git` fetches the pinned commit in the build, from `url` if that is given; the others bring `tar`: `mirror` holds
    the pinned commit, `debian` and `tree` another. `revision` is None for the pinned commit.
    """

    kind: Kind = "git"
    revision: str | None = None
    tar: Path | None = None
    url: str | None = None

    @property
    def arguments(self) -> dict[str, str]:
        """The Dockerfile's ARGs that differ from what stands there."""
        given = {"SOURCE": self.url, "REVISION": self.revision}
        return {key: value for key, value in given.items() if value}

    @cached_property
    def identity(self) -> str:
        """A text that goes into the image's hash; empty for the pinned commit."""
        if self.revision is None or self.tar is None:
            return ""
        return f"{self.revision} {hashlib.sha256(self.tar.read_bytes()).hexdigest()}"


PINNED = Source()


def resolve(
    stack: Stack,
    cache: Path,
    *,
    debian: bool = False,
    mirror: str | None = None,
    shell: Shell | None = None,
    on_line: OnLine | None = None,
) -> Source:
    """The Source that the user's options mean; tars are kept in `cache`. `shell`: a machine with an engine for
    `debian`, if this one has none.

    UsageError where the options are wrong, ImageError where the source cannot be fetched, DiskError without room.
    """
    if (debian or mirror) and "get_source.sh" not in stack.files:
        raise UsageError(f"{stack.name} is not compiled from a source tree", "leave --source and --source-mirror out")
    if debian and mirror:
        raise UsageError("--source debian and --source-mirror are two sources", "give one of them")
    if debian:
        return _debian(stack, cache, shell or LocalShell(), on_line)
    return _mirror(stack, mirror, cache, on_line) if mirror else PINNED


def is_address(text: str) -> bool:
    """Whether the text is a repository's address on another machine: https://…, ssh://…, git@host:path."""
    return "://" in text or (":" in text.partition("/")[0] and not Path(text).exists())


def _debian(stack: Stack, cache: Path, shell: Shell, on_line: OnLine | None) -> Source:
    if stack.name not in _DEBIAN:
        raise UsageError(
            f"Debian has no source package of {stack.name}", f"it has one of {', '.join(_DEBIAN)}; leave --source out"
        )
    (name, version), (release, base), revision = _DEBIAN[stack.name]
    package = SourcePackage(name, version, base, distribution(release).end_of_life)
    upstream = fetch(package, cache, shell, on_line)
    packed = cache / f"{stack.name}-{revision[:12]}-debian.tar"
    return Source("debian", revision, packed if packed.exists() else _pack_tar(upstream, packed))


def _mirror(stack: Stack, mirror: str, cache: Path, on_line: OnLine | None) -> Source:
    if is_address(mirror):
        return _address(mirror)
    path = Path(mirror).expanduser()
    if not path.exists():
        raise UsageError(f"--source-mirror {mirror} is not there", "give a git repository, a folder, a tar or a URL")
    if (path / source_tree.FOLDER).is_dir():
        what = f"{mirror} is half patched: a run of image patch was stopped while it wrote"
        raise UsageError(what, f"bring it to its end with: provision image patch {mirror} --stack {stack.name}")
    own = _own_tree(path, stack)
    if own and on_line:
        on_line(f"source: {path} as it is: {own}")
    if path.is_dir() and _is_repository(path) and not own:
        packed = cache / f"{stack.name}-{stack.revision[:12]}.tar"
        return Source("mirror", None, packed if packed.exists() else _archived(path, stack, packed))
    with _temporary(cache) as part:
        (pack_folder if path.is_dir() else _pack_tar)(path, part)
        name = cache / f"{stack.name}-{hashlib.sha256(part.read_bytes()).hexdigest()[:12]}.tar"
        part.replace(name)
    return Source("tree", "unknown", name)


def _address(mirror: str) -> Source:
    """An address goes to docker as a build argument, which the process list and the image's history show."""
    if _SECRET.match(mirror):
        raise UsageError(
            "--source-mirror holds a user's name or password, which docker would show to everyone on that machine",
            "clone it with git, which asks for them itself (git clone --bare ADDRESS FOLDER), and give the folder",
        )
    return Source(url=mirror)


def _own_tree(path: Path, stack: Stack) -> str:
    """Why a checkout is more than a mirror of the pinned commit; empty where it is not, or is none."""
    if not (path / ".git").exists():
        return ""
    git = ["git", "-C", str(path)]
    changed = LocalShell().run([*git, "status", "--porcelain"], check=False)
    head = LocalShell().run([*git, "rev-parse", "--verify", "--quiet", "HEAD"], check=False).out.strip()
    if not changed.ok:  # git refuses it, and will say why when it is asked for the commit
        return ""
    if head != stack.revision:
        return f"it is at {head[:12] or 'no commit'}, not at {stack.revision[:12]} of {stack.name}"
    return "it has changes that are not committed" if changed.out.strip() else ""


def _is_repository(path: Path) -> bool:
    return (path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir())


def _archived(repository: Path, stack: Stack, packed: Path) -> Path:
    with _temporary(packed.parent) as part:
        words = ["git", "-C", str(repository), "archive", "--format=tar", "-o", str(part), stack.revision]
        done = LocalShell().run(words, check=False)
        if not done.ok:
            said = (done.err.strip().splitlines() or ["git said nothing"])[-1]
            raise ImageError(
                f"{repository} cannot give the commit {stack.revision} of {stack.name}: {said}",
                f"git -C {repository} fetch {stack.source} {stack.revision}",
            )
        return pack(part, packed)


def pack(tar: Path, target: Path, *, strip: bool = False) -> Path:
    """Write a tar again with the same bytes for the same tree; with `strip`, without its top folder."""
    with _temporary(target.parent) as part:
        try:
            with tarfile.open(tar) as old, tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as new:
                for info, member in sorted(_members(old, strip), key=lambda pair: pair[0].name):
                    new.addfile(info, old.extractfile(member) if member.isreg() else None)
        except (tarfile.TarError, EOFError) as error:
            raise UsageError(f"{tar} is no tar that can be read: {error}", "give a .tar, .tar.gz or .tar.xz") from error
        part.replace(target)
    return target


def pack_folder(folder: Path, target: Path) -> Path:
    """Write a folder's files to such a tar, without version control and compiled files."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as new:
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            name = path.relative_to(folder).as_posix()
            if set(Path(name).parts) & {".git", ".build_release", ".build_debug", "__pycache__"}:
                continue
            info = new.gettarinfo(path, name)
            if info is None or not (info.isreg() or info.isdir() or info.issym()):
                continue
            with path.open("rb") if info.isreg() else contextlib.nullcontext() as data:
                new.addfile(_plain(info, name), data)
    return target


def _pack_tar(tar: Path, target: Path) -> Path:
    """Pack someone else's tar, which may have a top folder of its own or none (Debian's of Caffe has none)."""
    try:
        with tarfile.open(tar) as old:
            names = [name.removeprefix("./") for name in old.getnames()]
    except (tarfile.TarError, OSError) as error:
        raise UsageError(f"{tar} is no tar that can be read: {error}", "give a .tar, .tar.gz or .tar.xz") from error
    tops = {name.split("/")[0] for name in names if name not in ("", ".")}
    return pack(tar, target, strip=len(tops) == 1)


def _members(tar: tarfile.TarFile, strip: bool) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarInfo]]:
    for member in tar.getmembers():
        parts = [part for part in member.name.split("/") if part not in ("", ".")][1 if strip else 0 :]
        if not parts or not (member.isreg() or member.isdir() or member.issym()):
            continue
        if ".." in parts:
            raise UsageError(f"the tar holds {member.name}, which leads out of it", "take another copy of the source")
        info = tarfile.TarInfo("/".join(parts))
        info.type, info.linkname, info.size, info.mode = member.type, member.linkname, member.size, member.mode
        yield _plain(info, info.name), member


def _plain(info: tarfile.TarInfo, name: str) -> tarfile.TarInfo:
    """The member without the facts that differ from machine to machine."""
    info.name, info.mtime, info.uid, info.gid, info.uname, info.gname = name, 0, 0, 0, "", ""
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    info.pax_headers = {}
    return info


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Gives a new file to write to; it is deleted afterwards unless the caller renamed it. DiskError where there is no
    room."""
    path: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".part", dir=folder)
        os.close(handle)
        path = Path(name)
        yield path
    except OSError as error:
        raise DiskError(f"the source cannot be packed in {folder}: {error}", "free some disk space there") from error
    finally:
        if path is not None:
            path.unlink(missing_ok=True)
