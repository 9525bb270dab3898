"""What a running Caffe says of nets and solvers: Debian's, with one process for each, for what it refuses ends it."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from images.build import build
from images.choose import choose
from infra import buildx
from infra.shell import LocalShell

_LIMIT_S = 1000

_JUDGE = r"""
import base64, glob, json, os, shutil, signal, sys, tempfile
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
        names = [name for name in net.blobs if "_split_" not in name and name != "(automatic)"]
        found = {"blobs": {name: list(net.blobs[name].shape) for name in names},
                 "params": {name: [list(blob.shape) for blob in net.params[name]] for name in net.params}}
    return found

def child(case, out):
    for name, content in case["files"].items():
        with open(name, "wb") as file:
            file.write(base64.b64decode(content))
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
    and run forward once where `forward`; or a solver, built and stepped."""

    files: Mapping[str, str | bytes]
    main: str = "net.prototxt"
    states: Sequence[tuple[str, Sequence[str]]] = (("TRAIN", ()), ("TEST", ()))
    solver: bool = False
    steps: int = 1
    forward: bool = False


@dataclass(frozen=True)
class Verdict:
    """Whether Caffe took it; else its last words. `blobs` and `params` are the shapes of the last state's net."""

    taken: bool
    said: str = ""
    code: int = 0
    blobs: Mapping[str, list[int]] = field(default_factory=dict)
    params: Mapping[str, list[list[int]]] = field(default_factory=dict)


def judge(asked: Mapping[str, Asked]) -> dict[str, Verdict]:
    """Caffe's word on each, asked in one container."""
    shell = LocalShell()
    cases = {name: {**asdict(one), "files": _packed(one.files)} for name, one in asked.items()}
    tag = build(choose("caffe-debian"), shell).tag
    told = buildx.run_in(shell, tag, ["python3", "-c", _JUDGE], stdin=json.dumps(cases), limit_s=_LIMIT_S)
    answers: dict[str, Any] = dict(json.loads(line) for line in told.out.splitlines())
    assert answers.keys() == asked.keys(), told.err[-3000:]
    return {name: Verdict(**answer) for name, answer in answers.items()}


def _packed(files: Mapping[str, str | bytes]) -> dict[str, str]:
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    return {name: base64.b64encode(content).decode() for name, content in contents.items()}
