"""A lock on a host for work that two clients must not do at once, such as taking GPUs.

The lock is held by a process of the host (`flock`), whose standard input is this connection: it ends with the client,
however that ends. A client whose line is cut without a word is missed after a minute, for a client that lives sends a
beat every ten seconds. So the lock may be held for as long as the work takes, and no dead client holds it.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from infra.errors import HostError, ProvisionError, RunError
from infra.ssh import SshShell
from provision.files.s3_to_host import HOST_RUNS

LOCK = f"{HOST_RUNS}/.turn"
_BEAT_S, _SILENT_S = 10.0, 60
_HELD, _BUSY = "held", "busy"
_HOLD = f"""
exec 9> "$1" || exit 2
flock -w "$2" 9 || {{ echo {_BUSY}; exit 1; }}
echo {_HELD}
while read -r -t "$3" _; do :; done
"""


@contextmanager
def turn(shell: SshShell, wait_s: int = 120, lock: str = LOCK) -> Iterator[None]:
    """The host's lock, held inside the block. RunError where another client has it for longer than `wait_s` seconds."""
    said: queue.SimpleQueue[str | ProvisionError] = queue.SimpleQueue()
    over = threading.Event()
    holder = threading.Thread(target=_hold, args=(shell, [lock, str(wait_s), str(_SILENT_S)], over, said), daemon=True)
    holder.start()
    try:
        _await(said, shell.where)
        yield
    finally:
        over.set()
        holder.join(10)


def _hold(
    shell: SshShell, words: list[str], over: threading.Event, said: "queue.SimpleQueue[str | ProvisionError]"
) -> None:
    """Hold the lock until the block ends, and report what happens."""

    def beats() -> Iterator[bytes]:
        while not over.wait(_BEAT_S):
            yield b"\n"

    try:
        done = shell.feed(["bash", "-c", _HOLD, "bash", *words], beats(), check=False, on_line=said.put)
        said.put(HostError(f"the lock {words[0]} cannot be taken on {shell.where}: {done.err.strip()}"))
    except ProvisionError as error:
        said.put(error)


def _await(said: "queue.SimpleQueue[str | ProvisionError]", where: str) -> None:
    while (answer := said.get()) != _HELD:
        if isinstance(answer, ProvisionError):
            raise answer
        if answer == _BUSY:
            raise RunError(f"another training is being started on {where}", "try again in a minute")
