"""`make bench`, logs: our parser next to Caffe's own parse_log.py on real logs, and the memory that a long log takes.

parse_log.py comes out of Debian's source package when the benchmark runs, with the one line changed that Python 3 does
not read. The log is a real one (tests/data), its training repeated with growing iterations. Both must tell the same
numbers: `disagreements` counts those that differ. Two things are known to: parse_log gives a display the learning rate
of the display before it, and the time of its output line, some microseconds after its first line.
"""

import csv
import importlib.util
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from provision.logs import export, reader
from provision.logs.read import Log
from provision.settings import cache_home
from tests.engine.caffe_kit import source

DATA = Path(__file__).parent / "data"
LINES = 500_000
LONG = 100_000_000
# a child's figure begins with its parent's: so the parent is a small one
_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
_AT = re.compile(rb"(Iteration |_iter_)(\d+)")


def parse_log() -> ModuleType:
    """Caffe's tools/extra/parse_log.py as a module."""
    folder = cache_home() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    tar = source().tar
    assert tar is not None
    with tarfile.open(tar) as packed:
        member = packed.extractfile("tools/extra/parse_log.py")
        extra = packed.extractfile("tools/extra/extract_seconds.py")
        assert member is not None and extra is not None
        (folder / "extract_seconds.py").write_bytes(extra.read())
        text = member.read().decode()
    path = folder / "parse_log.py"
    path.write_text(re.sub(r"^(\s*)print (['\"].*)$", r"\1print(\2)", text, flags=re.MULTILINE))
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("parse_log", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blown_up(path: Path, *, lines: int = 0, size: int = 0) -> int:
    """One real log whose training goes on and on; how many lines it has."""
    text = (DATA / "digits-interrupted.log").read_bytes()
    begin = text.index(b"\n", text.index(b"Solving digits")) + 1
    end = text.rindex(b"\n", 0, text.index(b"Snapshotting to binary proto file snapshots/digits_iter_680")) + 1
    head, body = text[:begin], text[begin:end]
    count, written, turn = head.count(b"\n"), len(head), 0
    with path.open("wb") as out:
        out.write(head)
        while count < lines or written < size:
            shift = turn * 680
            part = _AT.sub(lambda one, by=shift: one[1] + b"%d" % (int(one[2]) + by), body)
            out.write(part)
            count, written, turn = count + part.count(b"\n"), written + len(part), turn + 1
    return count


def of_others(path: Path, *, size: int) -> int:
    """A log of no dialect: lines with a step and four numbers, and five lines of words behind each; how many lines."""
    count = written = 0
    with path.open("wb") as out:
        while written < size:
            clock = f"2026-11-30 {count // 3600 % 24:02}:{count // 60 % 60:02}:{count % 60:02},123"
            part = (
                f"{clock} INFO train: step={count} loss={9 / (count + 1):.4f} val_acc=0.5 lr=0.1 time=0.1s\n".encode()
            )
            part += b"some other line of the program, with nothing in it that counts\n" * 5
            out.write(part)
            count, written = count + 6, written + len(part)
    return count


def whole_logs(path: Path) -> int:
    """Whole logs of short trainings, with their heads, one after the other; how many lines."""
    text = b"".join((DATA / f"digits-{name}.log").read_bytes() for name in ("interrupted", "resumed"))
    turns = LINES // text.count(b"\n") + 1
    path.write_bytes(text * turns)
    return text.count(b"\n") * turns


def cpu(work: Callable[[], object], times: int = 7) -> float:
    """CPU seconds of a call: the least of some, as what else a machine's cores do only adds to it."""
    found = []
    for _ in range(times):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def exhaust(made: object) -> None:
    for _ in made:  # type: ignore[attr-defined]
        pass


def disagreements(theirs: ModuleType, path: Path) -> int:
    """Numbers of parse_log's that ours do not have."""
    train, test = theirs.parse_log(str(path))
    written = export.write_csv(Log("log", path), path.with_suffix(".csv"))
    assert not written.lost
    ours = {file.name.split(".")[-2]: list(csv.DictReader(file.open(newline=""))) for file in written.files}
    wrong = abs(len(train) - len(ours["train"])) + abs(len(test) - len(ours["test"]))
    wrong += sum(
        _differs(one, other, at, False) for at, (one, other) in enumerate(zip(ours["test"], test, strict=False))
    )
    for at, (one, other) in enumerate(zip(ours["train"], train, strict=False)):
        after = train[at + 1]["LearningRate"] if 0 < at < len(train) - 1 else None
        wrong += _differs(one, other | {"LearningRate": after}, at, True)
    return wrong


def _differs(one: dict[str, str], other: dict[str, float], at: int, train: bool) -> int:
    slack = {"Seconds": 0.01 if train else 1e-6}
    names = [name for name in other if other[name] is not None and not (name == "LearningRate" and at == 0)]
    return sum(not abs(float(one[name]) - other[name]) <= slack.get(name, 0.0) for name in names)


def peak(words: list[str]) -> float:
    """The most memory that a program took, in MB."""
    said = subprocess.run([sys.executable, "-c", _PEAK, *words], check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(said) * 1024 / 1e6


def row(name: str, value: float, unit: str, against: str, other: float) -> dict[str, object]:
    return {
        "name": name, "value": round(value, 3), "unit": unit, "against": against, "other": round(other, 3),
        "ratio": round(value / other, 3) if other else 0.0,
    }  # fmt: skip


def rows() -> Iterator[dict[str, object]]:
    """As each is measured: the memory of an export of a long log takes minutes."""
    folder = cache_home() / "bench"
    theirs = parse_log()
    training, mixed = folder / "training.log", folder / "mixed.log"
    count, both = blown_up(training, lines=LINES), whole_logs(mixed)
    mega, unit = 1e6, "M lines/CPU s"
    peer = count / cpu(lambda: theirs.parse_log(str(training))) / mega
    quick = count / cpu(lambda: exhaust(reader.columns(Log("a", training).pieces()))) / mega
    heads = both / cpu(lambda: exhaust(reader.columns(Log("a", mixed).pieces()))) / mega
    yield row("log parser, training lines alone", quick, unit, "limit", 1.0)
    yield row("log parser, whole logs", heads, unit, "limit", 1.0)
    yield row("log parser, training lines alone", quick, unit, "parse_log.py", peer)
    each = count / cpu(lambda: exhaust(Log("a", training).events())) / mega
    yield row("log parser, each number an event", each, unit, "parse_log.py", peer)
    table = count / cpu(lambda: export.write_csv(Log("a", training), folder / "out.csv"), 3) / mega
    yield row("log to CSV", table, unit, "parse_log.py", peer)
    others = folder / "others.log"
    lines = of_others(others, size=10_000_000)
    found = lines / cpu(lambda: exhaust(reader.columns(Log("a", others).pieces())), 3) / mega
    yield row("log parser, another program's log", found, unit, "limit", 0.05)
    yield row("numbers that differ from parse_log.py's", disagreements(theirs, training), "numbers", "limit", 0)
    yield from memory(folder)


def memory(folder: Path) -> Iterator[dict[str, object]]:
    """The peak of each command that reads a log."""
    long = folder / "long.log"
    blown_up(long, size=LONG)
    for what, words in {
        "--csv": ["logs", str(long), "--csv", str(folder / "long.csv")],
        "--json": ["logs", str(long), "--json"],
        "--tensorboard": ["logs", str(long), "--tensorboard", str(folder / "board")],
        "--plot": ["logs", str(long), "--plot", str(folder / "long.png")],
        "diagnose": ["diagnose", str(long)],
    }.items():
        used = peak([sys.executable, "-m", "provision", *words])
        yield row(f"memory on a 100 MB log, {what}", used, "MB", "limit", 100)
    of_others(long, size=LONG)
    for what, words in {
        "--csv": ["logs", str(long), "--csv", str(folder / "long.csv")],
        "diagnose": ["diagnose", str(long)],
    }.items():
        used = peak([sys.executable, "-m", "provision", *words])
        yield row(f"memory on 100 MB of another program's log, {what}", used, "MB", "limit", 100)


if __name__ == "__main__":
    for one in rows():
        print(one)
