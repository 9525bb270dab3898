"""What happens to a line between the program and the file: prefixes, ends of lines, encodings, packing."""

import bz2
import gzip
import json
import lzma
import random
from collections.abc import Callable
from itertools import count

Put = Callable[[str], str]


def _constant(prefix: str) -> Callable[[random.Random], Put]:
    return lambda dice: lambda line: prefix + line


def _timed(form: str) -> Callable[[random.Random], Put]:
    """`{s}` is a number that grows, `{n}` one of nine digits."""

    def make(dice: random.Random) -> Put:
        seconds = count(10)
        return lambda line: form.format(s=next(seconds) % 50 + 10, n=dice.randrange(10**8, 10**9)) + line

    return make


def _numbered(form: str) -> Callable[[random.Random], Put]:
    def make(dice: random.Random) -> Put:
        number = count(1)
        return lambda line: form.format(next(number)) + line

    return make


def _docker_file(dice: random.Random) -> Put:
    return lambda line: json.dumps({"log": line + "\n", "stream": "stderr", "time": "2026-01-01T00:00:00Z"},
                                   separators=(",", ":"))  # fmt: skip


def _object(before: str, after: str) -> Callable[[random.Random], Put]:
    """A line as the text of an object of JSON, between other keys."""
    return lambda dice: lambda line: before + json.dumps(line) + after


def _bar(dice: random.Random) -> Put:
    """A progress bar that nobody ended with a newline."""
    turn = count(1)

    def put(line: str) -> str:
        done = next(turn) % 100
        bar = ("█" * (done // 10) + "▎" * (done % 10 > 0)).ljust(10)
        return f"{done:3}%|{bar}| {done}/100 [00:{done % 60:02}<00:10, {done / 7:.2f}it/s]{line}"

    return put


PREFIXES: dict[str, Callable[[random.Random], Put]] = {
    "nothing": _constant(""),
    "nothing at all": _constant(""),
    "a rank": _constant("[5] "),
    "mpirun --tag-output": _constant("[1,0]<stderr>:"),
    "srun --label": _constant("0: "),
    "docker-compose": _constant("trainer_1  | "),
    "docker-compose in colours": _constant("\x1b[36mtrainer_1  |\x1b[0m "),
    "kubectl --prefix": _constant("[pod/train-7d9f/main] "),
    "docker --timestamps": _timed("2026-11-29T10:00:{s}.{n}Z "),
    "a container of Kubernetes": _timed("2026-11-29T10:00:{s}.{n}+01:00 stderr F "),
    "ts": _timed("Nov 29 10:00:{s} "),
    "ts -s": _timed("00:00:{s} "),
    "seconds": _timed("[   {s}.{n}] "),
    "syslog": _timed("Nov  9 10:00:{s} gpu-01 caffe[4711]: "),
    "an indentation": _constant("    "),
    "a quotation": _constant("> "),
    "grep -n": _numbered("{}:"),
    "cat -n": _numbered("{:6}\t"),
    "grep": _constant("logs/train.log:"),
    "colours": lambda dice: lambda line: f"\x1b[3{dice.randrange(8)}m{line}\x1b[0m",
    "a progress bar": lambda dice: lambda line: f"\r{dice.randrange(100)}%|##  |\r{line}",
    "a progress bar on the line": _bar,
    "docker's file": _docker_file,
    "fluentd": _object('{"container": "train", "message": ', ', "time": 1614592800.1}'),
    "journalctl -o json": _object('{"PRIORITY":"6","MESSAGE":', ',"_PID":"4711"}'),
}
OBJECTS = ("docker's file", "fluentd", "journalctl -o json")  # a whole file is written so
LINE_ENDS = {"unix": "\n", "windows": "\r\n", "twice windows": "\r\r\n"}
ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "a mark": lambda text: text.encode("utf-8-sig"),
    "PowerShell": lambda text: text.encode("utf-16"),
    "utf-16-le": lambda text: text.encode("utf-16-le"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    "utf-32": lambda text: text.encode("utf-32"),
    "latin-1": lambda text: text.encode("latin-1", "replace"),
    "half PowerShell": lambda text: _half(text),
    "gzip": lambda text: gzip.compress(text.encode()),
    "bzip2": lambda text: bz2.compress(text.encode()),
    "xz": lambda text: lzma.compress(text.encode(), preset=0),
    "utf-16 in gzip": lambda text: gzip.compress(text.encode("utf-16")),
}


def _half(text: str) -> bytes:
    """The second half was written by `>>` of PowerShell."""
    middle = text.find("\n", len(text) // 2) + 1
    return text[:middle].encode() + text[middle:].encode("utf-16-le")
