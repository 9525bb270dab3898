"""Take out of an image what differs from build to build, so that two builds of one locked target give one digest. Runs
on the engine's host with Python 3.6+ alone: python3 - EPOCH TAG [BASE...] < reproduce.py

The image is saved, its layers are written anew and it is loaded under the same tag; its id before and after is printed.
Layers that a BASE has stay as they are, and are shared with it. In the others no file is younger than EPOCH
(seconds since 1970): younger ones get that moment, and so do the dates in byte code of Python's (which hold it to its
source), the day of the last password in /etc/shadow, and the dates of the image itself. Logs, and caches that hold
inodes or times, are left out; /etc/machine-id is made empty, as systemd wants it in an image. The engine needs to know
nothing of SOURCE_DATE_EPOCH.

All goes through files in $TMPDIR (or /var/tmp, as /tmp may be memory): the memory that this takes is small, the disk
twice the image's.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from datetime import datetime, timezone

DAY = 86400
CHUNK = 1 << 20

# files by their paths; folders stay
LEFT_OUT = re.compile(
    r"var/log/.*|var/cache/ldconfig/aux-cache|var/cache/debconf/.*-old|var/cache/apt/.*\.bin|var/lib/apt/lists/.*"
    r"|var/cache/fontconfig/.*|root/\.cache/.*"
)
EMPTIED = re.compile(r"etc/machine-id|var/lib/dbus/machine-id")
SHADOW = re.compile(r"etc/shadow-?")
BYTE_CODE = re.compile(r".*\.py[co]")


class Broken(Exception):
    """Docker did not do its part."""


def byte_code(data, epoch):
    """Python's byte code, with the moment of its source no later than the source's will be. It stands behind the magic
    number, from 3.7 on behind a word of flags; where those are not zero there is no date (PEP 552)."""
    if len(data) < 16 or data[2:4] != b"\r\n":
        return data
    number = struct.unpack("<H", data[:2])[0]
    new = 3390 <= number < 20000  # 3.7; those of Python 2 are above 20000
    place = 8 if new else 4
    if new and data[4:8] != bytes(4):
        return data
    moment = struct.unpack("<I", data[place : place + 4])[0]
    return data[:place] + struct.pack("<I", min(moment, epoch)) + data[place + 4 :]


def shadow(data, epoch):
    """The lines of /etc/shadow, with days since 1970 that are no later."""
    lines = [line.split(":") for line in data.decode().split("\n")]
    for fields in lines:
        if len(fields) > 2 and fields[2].isdigit():
            fields[2] = str(min(int(fields[2]), epoch // DAY))
    return "\n".join(":".join(fields) for fields in lines).encode()


def changed(name, data, epoch):
    """A file's new content; None: it stays as it is."""
    if EMPTIED.fullmatch(name):
        return b""
    if SHADOW.fullmatch(name):
        return shadow(data.read(), epoch)
    if BYTE_CODE.fullmatch(name):
        return byte_code(data.read(), epoch)
    return None


def left_out(name):
    """Whether a file goes. A mark that a file of a layer below is gone has to stay."""
    return LEFT_OUT.fullmatch(name) is not None and not os.path.basename(name).startswith(".wh.")


def retimed(member, epoch):
    """A file of a layer, no younger than that; whole seconds, as engines differ in what they keep of one."""
    member.mtime = int(min(member.mtime, epoch))
    for name in ("mtime", "atime", "ctime"):
        member.pax_headers.pop(name, None)
    return member


def names_of_links(source):
    """The files that another name in the layer is a link to: their content is in the tar under this one."""
    found = set()
    with tarfile.open(source, "r:*") as layer:
        for member in layer:
            if member.islnk():
                found.add(re.sub(r"^(\./)+", "", member.linkname))
            layer.members = []
    return found


def rewrite(source, target, epoch):
    """A layer's tar written anew; the SHA-256 of the new one."""
    linked = names_of_links(source)
    with tarfile.open(source, "r:*") as old, tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as new:
        for member in old:
            name = re.sub(r"^(\./)+", "", member.name)
            if left_out(name) and not member.isdir() and name not in linked:
                continue
            data = old.extractfile(member) if member.isreg() else None
            content = changed(name, data, epoch) if data is not None else None
            if content is not None:
                member.size, data = len(content), io.BytesIO(content)
            elif data is not None:
                data.seek(0)
            new.addfile(retimed(member, epoch), data)
            old.members, new.members = [], []  # or both remember every file
    return "sha256:" + sha256(target)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as data:
        for chunk in iter(lambda: data.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def clamped(moment, epoch):
    """A date of the image's configuration, such as 2026-11-29T06:50:16.123456789Z."""
    last = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return min(moment[:19], last[:19]) + "Z" if moment else moment


def configuration(old, diff_ids, epoch):
    """The image's configuration, with its new layers and no date later than that."""
    new = dict(old, rootfs=dict(old["rootfs"], diff_ids=diff_ids))
    if "created" in new:
        new["created"] = clamped(new["created"], epoch)
    new["history"] = [
        dict(step, created=clamped(step["created"], epoch)) if "created" in step else step
        for step in old.get("history", [])
    ]
    return json.dumps(new, separators=(",", ":"), sort_keys=True).encode()


def unpack(stream, folder):
    """What `docker save` writes, as files. Older engines name a layer that comes twice by a link."""
    links = {}
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            path = os.path.join(folder, os.path.normpath("/" + member.name)[1:])
            if member.isreg():
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as out:
                    shutil.copyfileobj(tar.extractfile(member), out, CHUNK)
            elif member.issym():
                links[path] = os.path.join(os.path.dirname(path), member.linkname)
    for path, target in links.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(os.path.normpath(target), path)


def repacked(folder, tag, keep, epoch):
    """The files of an image's new tar, by their names in it."""
    with open(os.path.join(folder, "manifest.json")) as data:
        manifest = json.load(data)[0]
    with open(os.path.join(folder, manifest["Config"])) as data:
        old = json.load(data)
    diff_ids, files = list(old["rootfs"]["diff_ids"]), {}
    for number, name in enumerate(manifest["Layers"]):
        path = os.path.join(folder, name)
        if number >= keep:
            new = os.path.join(folder, "new-%d.tar" % number)
            diff_ids[number] = rewrite(path, new, epoch)
            path = new
        files["%d/layer.tar" % number] = path
    config = configuration(old, diff_ids, epoch)
    name = hashlib.sha256(config).hexdigest() + ".json"
    files[name] = config
    said = [{"Config": name, "RepoTags": [tag], "Layers": [path for path in files if path.endswith(".tar")]}]
    files["manifest.json"] = json.dumps(said).encode()
    return files


def pack(files, stream):
    """Write them as a tar."""
    with tarfile.open(fileobj=stream, mode="w|") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.size = os.path.getsize(content)
                with open(content, "rb") as data:
                    tar.addfile(info, data)


def docker(*words):
    done = subprocess.run(["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode:
        raise Broken(done.stderr.strip())
    return done.stdout.strip()


def layers(reference):
    return json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", reference))


def shared(tag, bases):
    """How many of the image's first layers are a base's."""
    own, most = layers(tag), 0
    for base in bases:
        theirs = layers(base)
        if own[: len(theirs)] == theirs:
            most = max(most, len(theirs))
    return most


def saved(tag, folder):
    with subprocess.Popen(["docker", "image", "save", tag], stdout=subprocess.PIPE) as process:
        unpack(process.stdout, folder)
        process.stdout.read()
    if process.returncode:
        raise Broken("docker save ended with exit code %d" % process.returncode)


def loaded(files):
    with subprocess.Popen(["docker", "load", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        with contextlib.suppress(BrokenPipeError):  # it ended early: its exit code tells
            pack(files, process.stdin)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    if process.returncode:
        raise Broken("docker load ended with exit code %d" % process.returncode)


def main(epoch, tag, bases):
    before = docker("image", "inspect", "--format", "{{.Id}}", tag)
    place = os.environ.get("TMPDIR", "/var/tmp")
    with tempfile.TemporaryDirectory(prefix="provision-image.", dir=place) as folder:
        saved(tag, folder)
        loaded(repacked(folder, tag, shared(tag, bases), epoch))
    after = docker("image", "inspect", "--format", "{{.Id}}", tag)
    if after != before:
        subprocess.run(["docker", "image", "rm", before], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(before, after)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
    except (Broken, OSError, tarfile.TarError) as error:
        sys.exit(str(error))
