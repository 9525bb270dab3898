"""What a running Caffe says of nets and solvers: Debian's, with one process for each, for what it refuses ends it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from images.build import build
from images.choose import choose
from infra import buildx
from infra.shell import LocalShell

_LIMIT_S = 1000
_ROOM = 100_000  # characters of one batch: `run_in` takes 128 KiB

_JUDGE = r"""
import json, os, shutil, signal, sys, tempfile
os.environ["GLOG_minloglevel"] = "2"
import caffe

def build(case):
    if case["solver"]:
        solver = caffe.get_solver(case["main"])
        solver.step(case["steps"])
        return {}
    found = {}
    for phase, stages in case["states"]:
        net = caffe.Net(case["main"], getattr(caffe, phase), stages=stages)
        if case["forward"]:
            net.forward()
        if case["reload"]:
            net.save("saved.caffemodel")
            net.copy_from("saved.caffemodel")
        names = [name for name in net.blobs if "_split_" not in name and name != "(automatic)"]
        found = {"blobs": {name: list(net.blobs[name].shape) for name in names},
                 "params": {name: [list(blob.shape) for blob in net.params[name]] for name in net.params}}
    return found

def child(case, out):
    for name, content in case["files"].items():
        with open(name, "wb") as file:
            file.write(content.encode("latin-1"))
    signal.alarm(120)
    os.dup2(os.open("said", os.O_CREAT | os.O_WRONLY), 2)
    answer = {"taken": True, **build(case)}
    with os.fdopen(out, "w") as pipe:
        json.dump(answer, pipe)
    os._exit(0)

def judged(case):
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            child(case, into)
        finally:
            os._exit(1)
    os.close(into)
    with os.fdopen(out) as pipe:
        told = pipe.read()
    status = os.waitpid(pid, 0)[1]
    with open("said", errors="replace") as file:
        lines = file.read().splitlines()
    fatal = [line.split("] ", 1)[-1] for line in lines if line[:1] in ("F", "E") and "] " in line]
    shutil.rmtree(folder)
    said = " / ".join(fatal) or " / ".join(lines[-2:]) or "signal %d" % (status & 127)
    return json.loads(told) if told else {"taken": False, "code": status, "said": said}

for name, case in json.load(sys.stdin).items():
    print(json.dumps([name, judged(case)]), flush=True)
"""


@dataclass(frozen=True)
class Asked:
    """A folder of files, of which Caffe is given `main`: a net, built in each of the states (a phase and its stages),
    run forward once where `forward`, saved and loaded again where `reload`; or a solver, built and stepped."""

    files: Mapping[str, str | bytes]
    main: str = "net.prototxt"
    states: Sequence[tuple[str, Sequence[str]]] = (("TRAIN", ()), ("TEST", ()))
    solver: bool = False
    steps: int = 1
    forward: bool = False
    reload: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether Caffe took it; else its last words. `blobs` and `params` are the shapes of the last state's net."""

    taken: bool
    said: str = ""
    code: int = 0
    blobs: Mapping[str, list[int]] = field(default_factory=dict)
    params: Mapping[str, list[list[int]]] = field(default_factory=dict)


def judge(asked: Mapping[str, Asked]) -> dict[str, Verdict]:
    """Caffe's word on each, asked in a container for each batch."""
    shell, found = LocalShell(), dict[str, Verdict]()
    tag = build(choose("caffe-debian"), shell).tag
    for batch in _batches(asked):
        told = buildx.run_in(shell, tag, ["python3", "-c", _JUDGE], stdin=batch, limit_s=_LIMIT_S)
        answers: dict[str, Any] = dict(json.loads(line) for line in told.out.splitlines())
        assert answers.keys() == json.loads(batch).keys(), told.err[-3000:]
        found |= {name: Verdict(**answer) for name, answer in answers.items()}
    return found


def _batches(asked: Mapping[str, Asked]) -> Iterator[str]:
    batch: dict[str, object] = {}
    room = _ROOM
    for name, one in asked.items():
        case = {**asdict(one), "files": {path: _latin(content) for path, content in one.files.items()}}
        room -= len(json.dumps({name: case}))
        if room < 0 and batch:
            yield json.dumps(batch)
            batch, room = {}, _ROOM - len(json.dumps({name: case}))
        batch[name] = case
    yield json.dumps(batch)


def _latin(content: str | bytes) -> str:
    """Its bytes, as JSON can have them."""
    return (content.encode() if isinstance(content, str) else content).decode("latin-1")
