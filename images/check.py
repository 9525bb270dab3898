"""Checks that run inside an image: what its user will do with it, on a small scale.

A table of commands, and of what they must print; `build_checked` gives a new image its tag only when they pass. Each
runs in a throw-away container without network, most of them as a user that the image does not know: trainings run as
the host user's uid:gid.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from images.build import USUAL, Image, Order, build_context, keep, remove
from images.detectron_checks import WORDS as DETECTRON
from images.render import Context
from infra import buildx
from infra.errors import ImageError
from infra.shell import OnLine, Result, Shell

_ANY_USER = "12345:12345"
_NOT_STARTED = (125, 126, 127)  # docker's own exit codes; it says why first, and how to get help last

_SOLVER = """\
net_param {
  name: "tiny"
  layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
    shape { dim: 8 dim: 1 dim: 8 dim: 8 } shape { dim: 8 }
    data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
  layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
    convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
  layer { name: "score" type: "InnerProduct" bottom: "conv" top: "score"
    inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
}
base_lr: 0.05 lr_policy: "fixed" max_iter: 20 display: 5 solver_mode: CPU random_seed: 1
snapshot_prefix: "/tmp/tiny"
"""

# the reference BLAS, which Debian takes where nobody asks for another, is a tenth as fast
_BLAS = r"""ldd "$(command -v caffe)" | sed -n 's/.*=> \(.*blas[^ ]*\) .*/\1/p' | xargs -r readlink -f"""

_PYCAFFE = """\
import caffe
solver = caffe.SGDSolver("/tmp/solver.prototxt")
solver.step(3)
print("iteration %d loss %r" % (solver.iter, float(solver.net.blobs["loss"].data)))
"""

# no pass may be wrong in 1, 2 and 4 threads, nor from thread to thread; and layers must share memory as they claim
_PROOF = """\
set -e
for threads in 1 2 4; do column-buffer threads --threads $threads --passes 25; done
column-buffer handover
column-buffer memory
"""

_LAYERS = """\
import caffe, sys
print(" ".join(["layers"] + [name for name in sys.argv[1:] if name in caffe.layer_type_list()]))
"""

_MODULES = """\
import importlib
for name in ("cv2", "google.protobuf", "grandalf", "grpc_tools", "ijson", "lmdb", "matplotlib", "PIL", "plyvel",
             "pycocotools.mask", "sklearn", "provision.commands.data_coco", "provision.commands.data_get"):
    importlib.import_module(name)
print("modules are there")
"""


@dataclass(frozen=True)
class Check:
    """A command, its standard input, and a pattern that its output must hold. A command that runs longer than `limit_s`
    seconds is ended, and has failed."""

    words: tuple[str, ...]
    expect: str
    stdin: str = ""
    user: str | None = _ANY_USER
    gpus: bool = False
    limit_s: int = buildx.LIMIT_S


@dataclass(frozen=True)
class CheckResult:
    """A check's outcome: one line of what it printed, and how many seconds it took."""

    name: str
    ok: bool
    said: str
    seconds: float


CHECKS: dict[str, Check] = {
    "user": Check(("sh", "-c", "id -un; id -u"), r"trainer\n1000", user=None),
    "root": Check(("sh", "-c", "id -u"), r"^0\n", user=None),
    "caffe-version": Check(("caffe", "--version"), r"caffe version [\d.]+"),
    "blas": Check(("sh", "-c", _BLAS), r"/libopenblas|/openblas"),
    "caffe-trains": Check(
        ("sh", "-c", "cat > /tmp/solver.prototxt && caffe train -solver /tmp/solver.prototxt 2>&1 && ls /tmp/tiny*"),
        r"(?s)Iteration 20, loss = 0\.\d+.*Optimization Done\..*tiny_iter_20\.solverstate",
        _SOLVER,
    ),
    "pycaffe": Check(
        ("sh", "-c", f"cat > /tmp/solver.prototxt && python3 -c '{_PYCAFFE}'"),
        r"iteration 3 loss \d+\.\d+",
        _SOLVER,
    ),
    "column-buffer": Check(("sh", "-c", _PROOF), r'"sum_bytes": \d+, "largest_bytes": \d+, .*"shared": true'),
    "crfrnn-layers": Check(("python3", "-c", _LAYERS, "MultiStageMeanfield"), "layers MultiStageMeanfield"),
    "ssd-layers": Check(
        ("python3", "-c", _LAYERS, "AnnotatedData", "DetectionOutput", "MultiBoxLoss", "PriorBox"),
        "layers AnnotatedData DetectionOutput MultiBoxLoss PriorBox",
    ),
    "tools-digits": Check(
        ("sh", "-c", "provision data digits /tmp/digits --json && ls /tmp/digits/train_lmdb"),
        r'(?s)"train": 1438.*data\.mdb',
    ),
    "tools-modules": Check(("/opt/provision/venv/bin/python", "-c", _MODULES), "modules are there"),
    "cuda-libraries": Check(("cuda-check",), r'"cuda": "[\d.]+".*"cudnn": "[\d.]+"'),
    "cuda-gpu": Check(("cuda-check", "run"), r'"gpus": [1-9]', gpus=True),
    "caffe-gpu": Check(
        ("sh", "-c", "caffe device_query -gpu all 2>&1; column-buffer threads --device 0; column-buffer devices"),
        r"(?s)Major revision number.*\"wrong_gradient\": 0",
        gpus=True,
    ),
    **{name: Check(words, expect, gpus=name.endswith("-gpu")) for name, (words, expect) in DETECTRON.items()},
}


def check(image: Image, shell: Shell) -> list[CheckResult]:
    """Run the checks of the image's stack in it; where the engine has GPUs and the image CUDA, those for GPUs, too.

    `python3` in a check's words stands for the interpreter of the image's distribution.
    """
    names = image.checks
    if names and image.target.variant.cuda and _has_gpus(shell):
        names += image.target.stack.gpu_checks
    return [run(name, CHECKS[name], image, shell) for name in names]


def build_checked(
    context: Context,
    shell: Shell,
    on_line: OnLine | None = None,
    order: Order = USUAL,
    *,
    no_cache: bool = False,
    on_checks: "Callable[[list[CheckResult]], None] | None" = None,
) -> Image:
    """Build the context; the image gets its tag when its checks have passed. ImageError where a check fails.

    `on_checks` gets the results. An image that fails, or whose checks are interrupted, is deleted.
    """
    made = build_context(context, shell, on_line, order, no_cache=no_cache, unchecked=True)
    try:
        results = check(made, shell)
    except BaseException:  # Ctrl-C too
        remove(made, shell)
        raise
    if on_checks is not None and results:
        on_checks(results)
    if said := failed_words(results):
        remove(made, shell)
        raise ImageError(
            f"{made.tag.removesuffix('-unchecked')} was built and does not work, so it was taken away again: {said}",
            "to look inside, build it again with --no-check: all steps come from the cache",
        )
    return keep(made, shell)


def failed_words(results: "list[CheckResult]") -> str:
    """The names and the last words of the failed checks; empty where all passed."""
    return "; ".join(f"{result.name}: {result.said}" for result in results if not result.ok)


def _has_gpus(shell: Shell) -> bool:
    """Whether the host's driver shows GPUs, and its engine can hand them in."""
    driver = shell.run(["sh", "-c", "nvidia-smi -L"], check=False)
    return driver.ok and "GPU 0" in driver.out and buildx.has_gpus(shell)


def run(name: str, wanted: Check, image: Image, shell: Shell) -> CheckResult:
    """Run one check in the image."""
    python = image.target.distribution.python
    begun = time.monotonic()
    inside = [word.replace("python3", python) for word in wanted.words]
    result = buildx.run_in(
        shell, image.tag, inside, user=wanted.user, gpus=wanted.gpus, stdin=wanted.stdin, limit_s=wanted.limit_s
    )
    found = re.search(wanted.expect, f"{result.out}\n{result.err}") if result.ok else None
    return CheckResult(name, found is not None, _said(result, found), round(time.monotonic() - begun, 1))


def _said(result: Result, found: "re.Match[str] | None") -> str:
    if found:
        return " ".join(found[0].splitlines()[0].split())
    lines = (result.err.strip() or result.out.strip() or f"exit code {result.code}").splitlines()
    return lines[0] if result.code in _NOT_STARTED else lines[-1]
