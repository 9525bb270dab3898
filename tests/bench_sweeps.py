"""The sweeps' part of `make bench`: a thousand trainings are begun on this laptop, and told of, and stopped.

990 of them are written down as ended before they are told of; the first really trains. Before the clock starts, the
image is built and the data prepared, as for any training after the first.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from images.build import build
from images.choose import choose
from infra.shell import LocalShell

RUNS = 1000
_ENDED = 990


def sweep() -> dict[str, float]:
    """Seconds until the sweep has begun, and until it is told how it stands; the memory that this took, in MB."""
    build(choose("caffe-debian"), LocalShell())
    with tempfile.TemporaryDirectory() as folder:
        env = {
            **os.environ,
            **{f"XDG_{kind}_HOME": f"{folder}/{kind.lower()}" for kind in ("CONFIG", "STATE", "CACHE")},
        }
        _timed(env, "train", "digits", "--on", "here", "--set", "iterations=1")
        said, start = _timed(env, "sweep", "digits", "--on", "here", "--set", "iterations=100000", "--repeat",
                             str(RUNS), "--json")  # fmt: skip
        made = json.loads(said)
        try:
            sweeps = Path(folder, "state/provision/here/sweeps", made["sweep"])
            known = {run: {"state": "finished"} for run in made["runs"][1 : _ENDED + 1]}
            (sweeps / "ended.json").write_text(json.dumps(known))
            told, status, memory = _measured(env, "sweep", "status", made["sweep"], "--json")
        finally:
            _timed(env, "sweep", "stop", made["sweep"])
    if json.loads(told)["finished"] != _ENDED:
        raise RuntimeError(f"the sweep was told wrongly: {told}")
    return {"start": start, "status": status, "memory": memory}


def _timed(env: dict[str, str], *words: str) -> tuple[str, float]:
    said, seconds, _ = _measured(env, *words)
    return said, seconds


def _measured(env: dict[str, str], *words: str) -> tuple[str, float, float]:
    """What the command printed, its seconds, and its memory in MB."""
    begun = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, "-m", "provision", *words], env=env, stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begun
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} failed with exit code {process.returncode}")
        out.seek(0)
        return out.read().decode(), seconds, used.ru_maxrss / 1e3
