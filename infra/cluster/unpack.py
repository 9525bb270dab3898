"""An image on the shared file system: a folder of its files, and beside it a note that is written last.

images/HEX.tar.gz       as it was sent, until it is unpacked
images/HEX/             the files of the image of that id, for charliecloud, apptainer and podman
images/HEX.sqsh         the same for enroot (pyxis)
images/HEX.json         written when the others are whole: without it nothing runs of them
"""

import contextlib
import json
import os
import shutil
import subprocess
import tarfile

POINTS = ("work", "data", "project", "weights", "driver")  # where an attempt's folders are mounted
NEEDS_SQUASH = ("pyxis",)


def unpack(store, name, runtime, about):
    """Make the image of the tar images/NAME.tar.gz; whether it is whole. `about` is what the note says."""
    packed, target = store.path("images/%s.tar.gz" % name), store.path("images/" + name)
    fresh = "%s.%s" % (target, os.urandom(4).hex())
    try:
        os.mkdir(fresh, 0o700)
        with tarfile.open(packed) as tar:
            for entry in tar:
                put(tar, entry, fresh)
        for point in POINTS:
            os.makedirs(os.path.join(fresh, point), exist_ok=True)
        if runtime in NEEDS_SQUASH:
            squash(fresh, target + ".sqsh")
        with contextlib.suppress(OSError):  # of an earlier try, which has no note
            drop(target)
        os.rename(fresh, target)
        store.write("images/%s.json" % name, json.dumps(dict(about, runtime=runtime)).encode())
    finally:
        with contextlib.suppress(OSError):
            drop(fresh)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(packed)
    return True


def put(tar, entry, folder):
    """One file of the archive below the folder. Devices stay out: nobody but root can make them. All is its user's, who
    may read and enter it: a folder without that right could be neither filled nor deleted."""
    steps = [step for step in entry.name.split("/") if step not in ("", ".")]
    if ".." in steps or not steps or entry.isdev():
        return
    path = os.path.join(folder, *steps)
    real = os.path.realpath(os.path.dirname(path))
    if real != os.path.realpath(folder) and not real.startswith(os.path.realpath(folder) + "/"):
        return  # by way of a link of the archive
    if entry.isdir():
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o700 | entry.mode & 0o777)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    if entry.issym():
        os.symlink(entry.linkname, path)
    elif entry.islnk():
        os.link(
            os.path.join(folder, *[step for step in entry.linkname.split("/") if step not in ("", ".", "..")]), path
        )
    else:
        with open(path, "xb") as out:
            shutil.copyfileobj(tar.extractfile(entry), out, 1 << 20)
        os.chmod(path, 0o400 | entry.mode & 0o777)


def squash(folder, target):
    fresh = target + "." + os.urandom(4).hex()
    words = ["mksquashfs", folder, fresh, "-noappend", "-all-root", "-no-progress"]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise ValueError("mksquashfs is not installed on the login node, and enroot needs it") from None
    if done.returncode != 0:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        raise OSError("mksquashfs: %s" % done.stderr.decode(errors="replace").strip().split("\n")[-1])
    os.rename(fresh, target)


def drop(folder):
    """Delete a folder with all that is in it."""
    if os.path.lexists(folder):
        shutil.rmtree(folder)
