"""Where a fork's schema comes from: kept from before, out of its source, or out of a built image of it.

Nothing is downloaded unless it is asked for: what needs no network is tried in order of cost. What was found is kept in
the cache, by stack and commit.
"""

import base64
import json
import os
import tarfile
from pathlib import Path
from typing import Literal

from images.source import resolve
from images.stacks import Stack, stacks
from infra import buildx
from infra.border import did_you_mean
from infra.errors import ImageError, UsageError
from infra.shell import LocalShell, OnLine, Shell
from provision.net.schema import Schema, compile_proto, registered
from provision.settings import cache_home

Kind = Literal["git", "debian"]

_ASK = """
import base64, json, caffe
from caffe.proto import caffe_pb2
print(json.dumps({"descriptor": base64.b64encode(caffe_pb2.DESCRIPTOR.serialized_pb).decode(),
                  "types": list(caffe.layer_type_list())}))
"""


def caffes() -> list[str]:
    """The stacks that hold a Caffe, by name."""
    return [name for name in stacks() if name.startswith("caffe")]


def find(name: str, shell: Shell | None = None) -> Schema | None:
    """The stack's schema from what is on this machine: the cache, a kept source, an image at the engine; or None."""
    stack = _stack(name)
    return _kept(stack) or _from_kept_source(stack) or _from_image(stack, shell or LocalShell())


def fetch(name: str, kind: Kind | None, mirror: str | None, on_line: OnLine | None = None) -> Schema:
    """The stack's schema from its source: its own git, Debian's package, or a copy of the user's.

    UsageError for an unknown stack.
    """
    stack = _source_stack(_stack(name)) if kind == "debian" else _stack(name)
    folder = cache_home() / "sources"
    if kind == "git" and not mirror:
        mirror = str(_cloned(stack, folder))
    made = resolve(stack, folder, debian=kind == "debian", mirror=mirror, on_line=on_line)
    if made.tar is None:
        raise UsageError(f"{mirror} cannot be read without cloning it", "clone it, and give the folder")
    return _keep(_stack(name), from_tar(name, made.tar))


def from_tar(name: str, tar: Path) -> Schema:
    """The schema in a source tree. ImageError where it holds no caffe.proto."""
    texts: dict[str, str] = {}
    with tarfile.open(tar) as tree:
        for member in tree:
            path = member.name.removeprefix("./")
            if member.isreg() and (path == "src/caffe/proto/caffe.proto" or _registers(path)):
                data = tree.extractfile(member)
                texts[path] = data.read().decode(errors="replace") if data else ""
    proto = texts.pop("src/caffe/proto/caffe.proto", None)
    if proto is None:
        raise ImageError(f"{tar} holds no src/caffe/proto/caffe.proto", "give a source tree of Caffe")
    return Schema(name, f"source {tar.name}", compile_proto(proto), registered(texts.values()))


def _registers(path: str) -> bool:
    return path.endswith((".cpp", ".cu")) and path.startswith("src/caffe/") and "/test/" not in path


def _stack(name: str) -> Stack:
    if name not in caffes():
        raise UsageError(f"there is no Caffe called {name!r}", did_you_mean(name, caffes()))
    return stacks()[name]


def _source_stack(stack: Stack) -> Stack:
    """Debian's Caffe is made of the source package that stands in for the stack caffe."""
    return stacks()["caffe"] if stack.name == "caffe-debian" else stack


def _cloned(stack: Stack, folder: Path) -> Path:
    """A bare repository with the pinned commit alone."""
    place = folder / f"{stack.name}.git"
    shell = LocalShell()
    shell.run(["git", "init", "--quiet", "--bare", str(place)])
    done = shell.run(
        ["git", "-C", str(place), "fetch", "--quiet", "--depth", "1", stack.source, stack.revision], check=False
    )
    if not done.ok:
        said = (done.err.strip().splitlines() or ["git said nothing"])[-1]
        mend = "give a copy of it: --source-mirror PATH"
        raise ImageError(f"{stack.source} cannot give {stack.revision}: {said}", mend)
    return place


def _file(stack: Stack) -> Path:
    return cache_home() / "schemas" / f"{stack.name}-{stack.revision[:12]}.json"


def _kept(stack: Stack) -> Schema | None:
    try:
        raw = json.loads(_file(stack).read_text(encoding="utf-8"))
        return Schema(stack.name, raw["origin"], base64.b64decode(raw["descriptor"]), frozenset(raw["types"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(stack: Stack, schema: Schema) -> Schema:
    path = _file(stack)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    data = base64.b64encode(schema.descriptor).decode()
    text = json.dumps({"origin": schema.origin, "descriptor": data, "types": sorted(schema.types)})
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return schema


def _from_kept_source(stack: Stack) -> Schema | None:
    """A tar that an image was built of before: of the stack's commit, or Debian's, which is Caffe's of 2018."""
    folder, names = cache_home() / "sources", [f"{stack.name}-{stack.revision[:12]}.tar"]
    if stack.name in ("caffe", "caffe-debian"):
        names += [path.name for path in sorted(folder.glob("caffe-*-debian.tar"))]
    there = [folder / name for name in names if (folder / name).is_file()]
    return _keep(stack, from_tar(stack.name, there[0])) if there else None


def _from_image(stack: Stack, shell: Shell) -> Schema | None:
    """An image of the stack that has Python."""
    if not buildx.answers(shell):
        return None
    listed = shell.run(buildx.list_words(f"provision.stack={stack.name}"), check=False)
    for line in listed.out.splitlines() if listed.ok else ():
        image = json.loads(line)
        done = buildx.run_in(shell, image["ID"], ["python3", "-c", _ASK])
        if done.ok:
            raw = json.loads(done.out.splitlines()[-1])
            origin = f"image {image['Repository']}:{image['Tag']}"
            data = base64.b64decode(raw["descriptor"])
            return _keep(stack, Schema(stack.name, origin, data, frozenset(raw["types"])))
    return None
