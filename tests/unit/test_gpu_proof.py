"""The proof that an image finds its GPUs, with an engine and a host that are dictionaries."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from images.choose import parse
from images.stacks import stacks
from infra.containers import ContainerSpec, ContainerState
from infra.errors import EngineError, RunError
from infra.shell import Result
from provision.engines import proofs
from provision.hosts.facts import Facts, Gpu
from provision.training import gpu_check
from tests.unit.fake_aws import CLOUD

CUDA = "caffe:cuda11.8-cudnn8.7-debian12"
DEVICES = "I1121 common.cpp:155] Device id:                     {}\nI1121 common.cpp:156] Major revision number: 7\n"
TOO_OLD = "F1121 common.cpp:142] Check failed: error == cudaSuccess (35 vs. 0)  CUDA driver version is insufficient"


class Host:
    """A shell that has one file: the note."""

    def __init__(self) -> None:
        self.note = ""

    def run(self, words: Sequence[str], *, stdin: bytes | None = None, check: bool = True) -> Result:
        assert words[-1] == gpu_check.NOTE
        if stdin is None:
            return Result(0 if self.note else 1, self.note)
        self.note += stdin.decode()
        return Result(0)


class Engine:
    """Each container says `said` and ends with `code`; one that is asked for as "hang" never ends."""

    def __init__(self, said: str = "", code: int | None = 0, refuses: str = "") -> None:
        self.said, self.code, self.refuses = said, code, refuses
        self.specs: list[ContainerSpec] = []
        self.there: set[str] = set()

    def run(self, spec: ContainerSpec) -> str:
        if self.refuses:
            raise EngineError(f"cannot start {spec.name}: {self.refuses}")
        self.specs.append(spec)
        self.there.add(spec.name)
        return "id"

    def inspect(self, name: str) -> ContainerState | None:
        return ContainerState("id", name, "exited", self.code, {}) if name in self.there else None

    def logs(self, name: str) -> str:
        assert name in self.there
        return self.said

    def remove(self, name: str) -> None:
        self.there.discard(name)


def stage(
    engine: Engine,
    image: str = CUDA,
    driver: str = "535.183",
    kind: str = "p3.8xlarge",
    host: Any = None,
    gpu: str = "Tesla V100-SXM2-16GB",
) -> Any:
    manifest = SimpleNamespace(stack=image, image="provision/caffe:x", digest="sha256:1")
    said: list[str] = []
    found = tuple(Gpu(index, gpu, 16384, driver) for index in range(4))
    return SimpleNamespace(
        cloud=CLOUD, engine=engine, run=SimpleNamespace(id="digits-1", manifest=manifest),
        shell=host or Host(), said=said,
        instance=SimpleNamespace(id="i-1", name="lab", type=kind), say=said.append,
        facts=Facts(1000, 1001, docker="20.10", hook=True, gpus=found),
    )  # fmt: skip


def prove(there: Any, *gpus: int) -> None:
    gpu_check.prove(there, gpus, sleep=lambda _: None)


def test_the_same_image_counts_the_same_gpus_as_the_same_user() -> None:
    engine = Engine("".join(DEVICES.format(index) for index in range(2)))
    there = stage(engine)
    prove(there, 1, 3)
    [spec] = engine.specs
    assert (spec.image, spec.user, spec.gpus.indices) == ("provision/caffe:x", "1000:1001", (1, 3))
    assert spec.command == ("caffe", "device_query", "-gpu", "all")
    assert there.said == ["the image finds its 2 GPUs (driver 535.183)"]
    assert not engine.there, "the proof's container stays"


def test_it_is_done_once_for_a_machine_an_image_and_a_gpu() -> None:
    engine, host = Engine(DEVICES.format(0)), Host()
    prove(stage(engine, host=host), 0)
    prove(stage(engine, host=host), 0)
    assert len(engine.specs) == 1
    another = stage(engine, host=host)
    another.instance.id = "i-2"  # a machine made of an image of the first
    prove(another, 0)
    newer = stage(engine, host=host)
    newer.run.manifest.digest = "sha256:2"
    prove(newer, 0)
    prove(stage(engine, host=host), 2)
    assert len(engine.specs) == 4
    assert engine.specs[-1].gpus.indices == (2,)


def test_fewer_gpus_than_given_is_an_error_and_not_remembered() -> None:
    there = stage(Engine(DEVICES.format(0)))
    with pytest.raises(RunError) as refused:
        prove(there, 0, 1)
    assert refused.value.what.startswith(f"the image {CUDA} cannot train on lab: it finds 1 of its 2 GPUs")
    assert "provision image choose --stack caffe --gpu V100 --driver 535.183" in refused.value.mend
    assert there.shell.note == ""


def test_a_program_that_fails_has_found_nothing_whatever_it_said() -> None:
    with pytest.raises(RunError) as refused:
        prove(stage(Engine(DEVICES.format(0), code=134)), 0)
    assert "finds 0 of its 1 GPUs" in refused.value.what


def test_a_driver_that_is_too_old_is_named_with_what_cuda_said() -> None:
    with pytest.raises(RunError) as refused:
        prove(stage(Engine(TOO_OLD, code=134), driver="390.157"), 0)
    assert "runs on the driver 390.157 of the V100: it is too old, CUDA 11.8 needs 450.80.02" in refused.value.what
    assert "CUDA driver version is insufficient" in refused.value.what


def test_what_nvidias_hook_refuses_is_explained_by_the_driver() -> None:
    hook = "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=11.8, please update your driver"
    with pytest.raises(RunError) as refused:
        prove(stage(Engine(refuses=hook), driver="390.157"), 0)
    assert "the driver 390.157 of the V100: it is too old" in refused.value.what
    with pytest.raises(EngineError) as other:
        prove(stage(Engine(refuses="no space left on device")), 0)
    assert "no space left" in other.value.what


def test_a_gpu_that_the_image_has_no_code_for_is_named() -> None:
    with pytest.raises(RunError) as refused:
        old = stage(Engine("no kernel image", code=1), image="caffe:cuda12.4-cudnn9.1-ubuntu22.04", gpu="Tesla K80")
        prove(old, 0)
    assert "the last branch for the K80 is R470" in refused.value.what
    with pytest.raises(RunError) as unknown:  # what the host prints is not known here: its type is
        old = stage(
            Engine(code=1), image="caffe:cuda12.4-cudnn9.1-ubuntu22.04", gpu="Rubin", kind="p2.xlarge", driver="470.256"
        )
        prove(old, 0)
    assert "K80" in unknown.value.what


def test_a_proof_that_hangs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "_LIMIT_S", 0.01)
    engine = Engine(code=None)
    with pytest.raises(RunError) as refused:
        prove(stage(engine), 0)
    assert "do not answer" in refused.value.what
    assert not engine.there


def test_an_image_without_cuda_says_so_in_one_line() -> None:
    engine = Engine()
    there = stage(engine, image="caffe-debian:cpu-debian11")
    prove(there, 0, 1)
    assert there.said == [
        "the image caffe-debian:cpu-debian11 has no CUDA: the training uses the CPU, and none of the GPUs"
    ]
    assert not engine.specs


def test_a_training_without_gpus_has_nothing_to_prove() -> None:
    engine = Engine()
    prove(stage(engine))
    assert not engine.specs


@pytest.mark.parametrize("name", sorted(name for name, one in stacks().items() if "cuda" in one.flavours))
def test_each_stack_with_cuda_has_a_proof(name: str) -> None:
    assert any(check in proofs.PROOFS for check in stacks()[name].gpu_checks)


@pytest.mark.parametrize(
    ("check", "said", "count"),
    [
        ("caffe-gpu", DEVICES.format(0) + DEVICES.format(1) + DEVICES.format(10), 3),
        ("caffe-gpu", "Cannot use GPU in CPU-only Caffe: check mode.", 0),
        ("cuda-gpu", '{"cuda": "11.8", "cudnn": "8.7", "gpus": 4}', 4),
        ("detectron-gpu", "gpus: 8\n", 8),
        ("detectron-gpu", "gpus: 0\n", 0),
    ],
)
def test_how_each_program_counts(check: str, said: str, count: int) -> None:
    assert proofs.PROOFS[check].count(said) == count


def test_a_stack_with_no_check_that_finds_gpus_says_so() -> None:
    target = parse(CUDA)
    bare = replace(target, stack=msgspec.structs.replace(target.stack, gpu_checks=("caffe-net",)))
    with pytest.raises(RunError, match="the stack caffe has none of the checks caffe-gpu") as caught:
        proofs.of(bare)
    assert "gpu_checks" in caught.value.mend
