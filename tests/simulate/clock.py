"""The virtual clock in the place of the real one, and files that are as old as that clock says.

`datetime` is C: its class methods are changed in the class itself, so that all values stay plain ones.
"""

import builtins
import ctypes
import gc
import io
import os
import queue
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone, tzinfo
from typing import Any

from tests.simulate.baton import BATON, EPOCH

_written: dict[tuple[int, int], float] = {}  # device and inode → when it was last opened to be written


def wall() -> float:
    return EPOCH + BATON.now


def install() -> None:
    """From now on this process's time is the baton's."""
    real = {name: getattr(time, name) for name in ("gmtime", "localtime", "strftime")}
    time.time = wall
    time.time_ns = lambda: int(wall() * 1e9)
    time.monotonic = time.perf_counter = lambda: 1000.0 + BATON.now  # type: ignore[assignment]
    time.monotonic_ns = lambda: int((1000.0 + BATON.now) * 1e9)
    threading._time = queue.time = time.monotonic  # type: ignore[attr-defined]
    time.sleep = lambda seconds: BATON.sleep(seconds)  # type: ignore[misc]
    for name in ("gmtime", "localtime"):
        setattr(time, name, lambda at=None, tell=real[name]: tell(wall() if at is None else at))
    time.strftime = lambda form, at=None: real["strftime"](form, time.localtime() if at is None else at)  # type: ignore[assignment]
    _change(datetime, "now", classmethod(_now))
    _change(datetime, "utcnow", classmethod(lambda cls: cls.fromtimestamp(wall(), timezone.utc).replace(tzinfo=None)))
    _install_files()


def _now(cls: Any, tz: tzinfo | None = None) -> Any:
    return cls.fromtimestamp(wall(), tz)


def _change(kind: type, name: str, value: object) -> None:
    gc.get_referents(kind.__dict__)[0][name] = value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _install_files() -> None:
    real_open, real_os_open, real_stat = builtins.open, os.open, os.stat

    def noted(descriptor: int) -> None:
        at = os.fstat(descriptor)
        _written[at.st_dev, at.st_ino] = wall()

    def opened(file: Any, mode: str = "r", *words: Any, **more: Any) -> Any:
        made = real_open(file, mode, *words, **more)
        if any(letter in mode for letter in "wax+"):
            noted(made.fileno())
        return made

    def os_opened(path: Any, flags: int, *words: Any, **more: Any) -> int:
        descriptor = real_os_open(path, flags, *words, **more)
        if flags & (os.O_WRONLY | os.O_RDWR):
            noted(descriptor)
        return descriptor

    builtins.open = io.open = opened
    os.open = os_opened
    os.stat = _dated(real_stat)


def _dated(stat: Callable[..., os.stat_result]) -> Any:
    def dated(path: Any, *words: Any, **more: Any) -> os.stat_result:
        found = stat(path, *words, **more)
        at = _written.get((found.st_dev, found.st_ino))
        if at is None:
            return found
        nanoseconds = int(at * 1e9)
        return os.stat_result((*found[:8], int(at), int(at)), {"st_mtime": at, "st_mtime_ns": nanoseconds})

    return dated
