"""Boxes: named development containers that stay, from any of our images, on this laptop or on a machine.

A box is one container of the name `provision-box-NAME`, started detached and doing nothing; people come in with
`exec`. Its state is Docker's alone: labels say what it is, nothing is written down elsewhere. Where it is on a machine,
that machine's tag says so too, so that `ls` need not ask each machine. In a box one is the user who made it, so that
files on volumes are one's own; `exec --root` installs packages, and `commit` keeps what was installed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from infra.containers import ContainerSpec, GpuRequest, cli_words
from infra.errors import NotFoundError, UsageError
from infra.shell import Result, Shell
from provision.hosts.x_display import SOCKETS, Display

LABEL = "provision.box"
_SHOWS = "provision.box.display"
TAG = "provision:box:"  # and its name: a tag of the machine that it is on; empty where it is gone
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_USER = "box"  # what the user is called in there; the uid is the user's own


@dataclass(frozen=True)
class BoxSpec:
    """A box to start. `user` is uid:gid, `volumes` are SOURCE:TARGET[:ro], a name without `/` being a volume of
    Docker's; `ports` are published on 127.0.0.1 alone. `display` is where windows go, if anywhere."""

    name: str
    image: str
    user: str
    gpus: GpuRequest = field(default_factory=GpuRequest)
    volumes: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    display: Display | None = None
    shm_mib: int = 1024


@dataclass(frozen=True)
class Box:
    """A box as it is: `status` is docker's word (running, exited)."""

    name: str
    image: str
    status: str
    created: str
    ports: str = ""


def container(name: str) -> str:
    """The container of the box of that name. UsageError for what is no name."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a box", "use a-z, 0-9 and -, 31 characters at most")
    return f"provision-box-{name}"


def start_words(spec: BoxSpec) -> list[str]:
    """The words that start the box. Its home is a Docker volume, which outlives `rm --keep-home` and a new image."""
    flags = ["--detach", "--hostname", spec.name, "--entrypoint", "sleep", "--volume", f"{home(spec.name)}:/home/box"]
    for volume in spec.volumes:
        flags += ["--volume", _volume(volume)]
    for port in spec.ports:
        flags += ["--publish", _port(port)]
    if spec.display:
        flags += ["--volume", f"{SOCKETS}:{SOCKETS}:ro"]
    shows = {_SHOWS: spec.display.name} if spec.display else {}
    window = {"DISPLAY": spec.display.name} if spec.display else {"MPLBACKEND": "Agg"}
    started = ContainerSpec(
        container(spec.name), spec.image, ("infinity",), spec.user, workdir="/home/box", gpus=spec.gpus,
        labels={LABEL: spec.name, "provision.image": spec.image, **shows},
        environment={"HOME": "/home/box", "USER": _USER, **window}, shm_mib=spec.shm_mib,
        rights=None,  # people install and try things in there, with sudo
    )  # fmt: skip
    return cli_words(started, *flags)


def home(name: str) -> str:
    """The name of the Docker volume that is the box's home."""
    return f"{container(name)}-home"


def _volume(text: str) -> str:
    """SOURCE:TARGET[:ro] as docker takes it. UsageError where it is not that."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    good = bool(source) and PurePosixPath(target).is_absolute() and mode in ("", "ro", "rw")
    if not good or not (source.startswith("/") or _NAME.fullmatch(source)):
        raise UsageError(
            f"--volume {text} is no volume", "write /folder:/target or NAME:/target, and :ro where it is read"
        )
    return text


def _port(text: str) -> str:
    here, colon, there = text.partition(":")
    there = there if colon else here
    if not (here.isdigit() and there.isdigit() and 0 < int(here) < 65536 and 0 < int(there) < 65536):
        raise UsageError(f"--port {text}: no port", "write 8888, or 8080:8888 for port 8888 of the box as 8080 here")
    return f"127.0.0.1:{here}:{there}"


# the cookie goes into the home, which is in no image; nothing but this box's user reads it
_LET_SEE = 'umask 077; head -c "$1" > /home/box/.Xauthority; chown "$(stat -c %u:%g /home/box)" /home/box/.Xauthority'
# what makes the user known by name in there (`whoami`, ssh and pip ask), and the home the user's own
_WELCOME = """
grep -q "^[^:]*:[^:]*:$1:" /etc/passwd || echo "box:x:$1:$2::/home/box:/bin/bash" >> /etc/passwd
grep -q "^[^:]*:[^:]*:$2:" /etc/group || echo "box:x:$2:" >> /etc/group
chown "$1:$2" /home/box
"""


def start(shell: Shell, spec: BoxSpec) -> None:
    """Make and start the box; whole or not at all. UsageError where one of that name is there."""
    if find(shell, spec.name) is not None:
        raise UsageError(
            f"there is a box {spec.name} already", f"go into it: provision box exec {spec.name}; or name another"
        )
    try:
        shell.run(start_words(spec))
        uid, _, gid = spec.user.partition(":")
        words = ["docker", "exec", "--user", "0:0", container(spec.name), "sh", "-c", _WELCOME, "sh", uid, gid or uid]
        shell.run(words)
        if spec.display:
            _let_see(shell, spec.name, spec.display)
    except BaseException:  # also Ctrl-C: docker leaves a container behind that could not be started
        shell.run(["docker", "rm", "--force", "--volumes", container(spec.name)], check=False)
        raise


def _let_see(shell: Shell, name: str, display: Display) -> None:
    """Give a box that runs the cookies of a display: no `xhost +`, which would let everybody in. It is told how many
    bytes they are: the end of a stream can be lost on its way in (`infra.buildx.run_words`)."""
    head = ["docker", "exec", "--interactive", "--user", "0:0", container(name), "sh", "-c", _LET_SEE]
    words = [*head, "sh", str(len(display.cookies))]
    shell.run(words, stdin=display.cookies)


def boxes(shell: Shell) -> list[Box]:
    """The boxes of that engine, by name."""
    words = ["docker", "ps", "--all", "--filter", f"label={LABEL}", "--format", "{{json .}}"]
    rows = [json.loads(line) for line in shell.run(words).out.splitlines() if line.strip()]
    return sorted((_box(row) for row in rows), key=lambda box: box.name)


def _box(row: Mapping[str, str]) -> Box:
    """From a line of `docker ps`. Older engines have no State: the first word of Status tells."""
    status = row.get("State") or ("running" if row["Status"].startswith("Up") else "exited")
    name = row["Names"].removeprefix("provision-box-")
    return Box(name, row["Image"], status, row["CreatedAt"], row.get("Ports", ""))


def find(shell: Shell, name: str) -> Box | None:
    """The box of that name; None where there is none."""
    wanted = container(name).removeprefix("provision-box-")
    return next((box for box in boxes(shell) if box.name == wanted), None)


def get(shell: Shell, name: str) -> Box:
    """The box of that name. NotFoundError where there is none."""
    box = find(shell, name)
    if box is None:
        known = [box.name for box in boxes(shell)]
        mend = f"there are: {', '.join(known)}" if known else "make one: provision box up NAME"
        raise NotFoundError(f"there is no box {name!r} on {shell.where}", mend)
    return box


def exec_words(name: str, words: Sequence[str], *, root: bool = False, terminal: bool = False) -> list[str]:
    """The words that run a command, or a shell, in a box."""
    flags = (["--interactive", "--tty"] if terminal else []) + (["--user", "0:0"] if root else [])
    return ["docker", "exec", *flags, container(name), *(words or ("bash",))]


def noted(tags: Mapping[str, str]) -> dict[str, str]:
    """A machine's boxes and their images, as its tags tell."""
    return {key.removeprefix(TAG): image for key, image in sorted(tags.items()) if key.startswith(TAG) and image}


def wake(shell: Shell, name: str, display: Display | None = None) -> None:
    """Start a box that was stopped; one that runs goes on. One that shows windows gets the display's cookies anew:
    they are others after each login."""
    get(shell, name)
    shell.run(["docker", "start", container(name)])
    shows = f'{{{{index .Config.Labels "{_SHOWS}"}}}}'
    if display and shell.run(["docker", "inspect", "--format", shows, container(name)]).out.strip():
        _let_see(shell, name, display)


def sleep(shell: Shell, name: str) -> None:
    """Stop the box; its files stay."""
    get(shell, name)
    shell.run(["docker", "stop", "--time", "10", container(name)])


def commit(shell: Shell, name: str, tag: str) -> str:
    """Its file system as an image of that tag; the id (sha256:…). Volumes, its home too, are not part of it."""
    get(shell, name)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._/-]*(:[\w][\w.-]{0,127})?", tag):
        raise UsageError(f"{tag!r} is no image's tag", "write name:tag, such as my-caffe:2026-11")
    if tag.startswith("provision/"):
        raise UsageError(
            f"{tag}: names that begin with provision/ are kept for images that provision builds", "take another name"
        )
    return shell.run(["docker", "commit", container(name), tag]).out.strip()


def remove(shell: Shell, name: str, keep_home: bool = False) -> None:
    """End and remove it, with its home unless that is kept."""
    get(shell, name)
    shell.run(["docker", "rm", "--force", "--volumes", container(name)])
    if not keep_home:
        shell.run(["docker", "volume", "rm", "--force", home(name)])


def swap(shell: Shell, gb: int) -> str:
    """Give the host that much swap on its disk (write-up 4: compilers run out of memory on small machines); what it
    says then. 0 GB: take ours away."""
    from infra.host import script

    done: Result = shell.run(["sudo", "sh", "-s", str(gb)], stdin=script("swap.sh").encode())
    return done.out.strip()
