"""The proof of Caffe's column buffer: is it right with several threads, and what does it save?

Each variant (each layer its own buffer: `none`; one for all threads: `static`; one for each thread: `ours`) is built to
the devel stage from the same source. In each image our test program counts wrong passes, and `caffe time` runs
FCN-8s on 500×500 pixels, forward and backward, for its peak of memory.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from images.build import Image, Order, build_context, existing
from images.patches import ColumnBuffer
from images.render import Context
from images.source import Source
from infra import buildx
from infra.errors import ImageError
from infra.shell import OnLine, Result, Shell

VARIANTS: tuple[ColumnBuffer, ...] = ("none", "static", "ours")
THREADS = (1, 2, 4)
_PROGRAM = "/opt/caffe/bin/column-buffer"
_LIMIT_S, _PASS_S = 4 * 3600, 60  # for each program, and for each pass that it was asked for

# One pass forward and backward, in a child of this: the peak is the child's.
_TIME = """\
import json, resource, subprocess, sys, time
net = subprocess.check_output([sys.executable, "/opt/caffe/share/fcn8s.py"])
open("/tmp/net.prototxt", "wb").write(net)
begun = time.time()
child = subprocess.Popen(["caffe", "time", "-model", "/tmp/net.prototxt", "-iterations", "1"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
said = child.communicate()[0].decode(errors="replace").splitlines()[-3:]
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"seconds": time.time() - begun, "peak_kib": peak, "code": child.returncode, "said": said}))
"""


@dataclass(frozen=True)
class Race:
    """How many of `passes` in each of `threads` threads came out wrong; `died` is what it said if it did not end."""

    threads: int
    passes: int
    wrong_forward: int | None
    wrong_gradient: int | None
    died: str = ""

    @property
    def wrong(self) -> str:
        """Both counts in words."""
        return self.died or f"{self.wrong_forward} / {self.wrong_gradient}"

    @property
    def right(self) -> bool:
        return not self.died and self.wrong_forward == 0 and self.wrong_gradient == 0


@dataclass(frozen=True)
class Proof:
    """What was found of one variant.

    `handover` ran forward in one thread and backward in another. `columns_bytes` is what column buffers took in a deep
    net, `peak_bytes` and `seconds` are of one pass of FCN-8s; None where the program died.
    """

    variant: ColumnBuffer
    tag: str
    races: tuple[Race, ...]
    handover: Race
    columns_bytes: int | None
    peak_bytes: int | None
    seconds: float | None

    @property
    def right(self) -> bool:
        """Whether no pass was wrong and each program came to its end."""
        return all(race.right for race in (*self.races, self.handover)) and self.peak_bytes is not None


def image_of(context: Context, source: Source, shell: Shell, on_line: OnLine | None = None) -> Image:
    """The devel image of a context with one of the column buffers, built where it is not there yet."""
    target = context.target
    if not target.stack.patched or "column_buffer.cpp" not in target.stack.files:
        raise ImageError(f"there is nothing to prove of {target.stack.name}: it has no column buffer of ours",
                         "take a stack that is compiled here, such as caffe")  # fmt: skip
    order = Order(source, "devel")
    return existing(context, shell, order) or build_context(context, shell, on_line, order)


def prove(image: Image, variant: ColumnBuffer, shell: Shell, *, passes: int, on_line: OnLine | None = None) -> Proof:
    """Run all programs in the image of that variant; `passes` are for each thread."""
    say = on_line or (lambda line: None)
    races = []
    for threads in THREADS:
        races.append(_race(image, threads, passes, shell))
        say(f"{variant}: threads {threads}: wrong forward / gradient {races[-1].wrong} of {races[-1].passes}")
    handover = read_race(_run(image, [_PROGRAM, "handover"], shell, passes), 2, passes)
    say(f"{variant}: forward and backward in different threads: {handover.wrong}")
    columns = last_json(_run(image, [_PROGRAM, "memory"], shell).out) or {}
    say(f"{variant}: one pass of FCN-8s")
    peak, seconds = _timed(image, shell)
    return Proof(variant, image.tag, tuple(races), handover, columns.get("growth_bytes"), peak, seconds)


def ratios(proofs: Sequence[Proof]) -> dict[ColumnBuffer, float]:
    """Peak memory against that of `none`, for each variant; empty where `none` was not measured."""
    peaks = {proof.variant: proof.peak_bytes for proof in proofs if proof.peak_bytes}
    whole = peaks.get("none")
    return {variant: round(peak / whole, 3) for variant, peak in peaks.items()} if whole else {}


def read_race(result: Result, threads: int, passes: int) -> Race:
    """What the program said of a race. It exits with 1 where a pass was wrong, and may die of it."""
    found = last_json(result.out)
    if found is None or "wrong_gradient" not in found:
        return Race(threads, passes, None, None, _died(result))
    return Race(int(found["threads"]), int(found["passes"]), int(found["wrong_forward"]), int(found["wrong_gradient"]))


def last_json(text: str) -> dict[str, Any] | None:
    """The last line that is a JSON object."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            return found if isinstance(found, dict) else None
    return None


def _race(image: Image, threads: int, passes: int, shell: Shell) -> Race:
    words = [_PROGRAM, "threads", "--threads", str(threads), "--passes", str(passes)]
    return read_race(_run(image, words, shell, passes), threads, passes)


def _timed(image: Image, shell: Shell) -> tuple[int | None, float | None]:
    result = _run(image, [image.target.distribution.python, "-"], shell, stdin=_TIME)
    found = last_json(result.out)
    if found is None or found["code"] != 0:
        return None, None
    return int(found["peak_kib"]) * 1024, round(found["seconds"], 1)


def _run(image: Image, words: list[str], shell: Shell, passes: int = 1, stdin: str = "") -> Result:
    return buildx.run_in(shell, image.tag, words, stdin=stdin, limit_s=_LIMIT_S + passes * _PASS_S)


def _died(result: Result) -> str:
    """Its last words: glog's line of the failed check, if it has one."""
    if result.code == buildx.ENDED:
        return result.err.splitlines()[-1]
    lines = [line for line in (result.err + "\n" + result.out).splitlines() if line.strip()]
    checks = [line.partition("] ")[2] for line in lines if line[:1] == "F" and "] " in line]
    said = (checks or lines or ["no word"])[0 if checks else -1]
    return f"died ({result.code}): {said}"
