"""The guard's way onto a host: over SSH, before a laptop first asks something of it there.

A machine begins with the guard of the laptop that launched it (`bundle`). Another laptop brings its own, unless that
is the same: so no guard is older than the laptop that relies on it.
What it watches goes on under the new one: all that it knows is in its notes. Only guards from before they came this way
had others; while one of them watches a training it is left alone.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping

from infra.host import guard_modules, script
from infra.ssh import SshShell

WORDS = ("sudo", "python3", "/opt/provision/guard")
_INSTALL = """
mkdir -p /run/provision
exec 9>/run/provision/guard.lock
flock 9
guard=/opt/provision/guard
if [ "$(cat $guard/digest 2>/dev/null)" = "$1" ] && systemctl -q is-active provision-guard; then
    cat >/dev/null
    exit 0
fi
if [ -e $guard ] && [ ! -e $guard/digest ] && [ -n "$(docker ps -q --filter label=provision.run)" ]; then
    echo "a training runs here under an older provision's guard: wait for its end, or take another machine" >&2
    exit 1
fi
rm -rf $guard.new $guard.old
mkdir $guard.new
tar -xzf - -C $guard.new --no-same-owner
echo "$1" > $guard.new/digest
[ ! -e $guard ] || mv -T $guard $guard.old
mv -T $guard.new $guard
rm -rf $guard.old
systemctl restart provision-guard
sleep 1 # one that crashes at its start is waiting to start again by then
systemctl -q is-active provision-guard || { echo "the guard does not start" >&2; exit 1; }
"""


def install(shell: SshShell) -> None:
    """Let the host have this laptop's guard, and let it watch. HostError where it does not start, or one
    that knows other notes watches a training."""
    files, digest = contents()
    shell.run(["sudo", "sh", "-ec", _INSTALL, "sh", digest], stdin=_packed(files))


def contents() -> tuple[dict[str, bytes], str]:
    """The guard's files as they lie in /opt/provision/guard, by name; and the digest by which a host's is known."""
    files = {name.removeprefix("guard/"): script(name).encode() for name in guard_modules()}
    return files, hashlib.sha256(b"".join(name.encode() + text for name, text in files.items())).hexdigest()


def _packed(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def plan(shell: SshShell, run: str, value: Mapping[str, object]) -> None:
    """Tell the guard of the run's next attempt, before its container starts: written whole, or not at all."""
    shell.run([*WORDS, "plan", run], stdin=json.dumps(value).encode())


def place(shell: SshShell, run: str, files: Mapping[str, str]) -> None:
    """Write files into the run's folder on the host, whatever an earlier attempt left there; a name that ends with a
    slash is a folder."""
    shell.run([*WORDS, "place", run], stdin=json.dumps(files).encode())


def stop(shell: SshShell, run: str) -> None:
    """Tell the guard that this run is asked to stop: its end is no failure."""
    shell.run([*WORDS, "stop", run])
