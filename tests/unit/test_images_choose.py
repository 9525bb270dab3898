"""From a wish to one target, to its tag and its context."""

import io
import tarfile

import msgspec
import pytest
from click.testing import CliRunner

from images.choose import choose, fits, parse, pick, table, targets
from images.fits import refusal
from images.gpus import gpu
from images.matrix import rows
from images.render import Context, render
from images.stacks import Stack, stacks
from images.target import Target
from images.versions import key
from infra.errors import UsageError
from provision.cli import run

INSTANCES = (
    "p2.xlarge", "p3.8xlarge", "p3dn.24xlarge", "g4dn.12xlarge", "g5.12xlarge", "g6.12xlarge", "p4d.24xlarge",
    "p5.48xlarge", "p6-b200.48xlarge",
)  # fmt: skip


def _stack(**changes: object) -> Stack:
    """A stack that can stand on everything, but for what is said."""
    wide: dict[str, object] = {
        "name": "it", "flavours": ("cpu", "cuda"), "distributions": (), "rows": (), "prefers": ("debian12",),
        "kinds": ("cpu", "official", "nvidia-apt", "debian-cuda"), "cuda_first": None, "cuda_last": None,
        "because": "of the test",
    }  # fmt: skip
    return msgspec.structs.replace(stacks()["caffe"], **(wide | changes))


def _row(target: Target) -> str:
    return target.variant.id


def test_a_stack_alone_is_for_cpus_where_it_can_be() -> None:
    assert choose("caffe-debian").name == "caffe-debian:cpu-debian11"
    assert parse("caffe-debian:cpu-debian11") == choose("caffe-debian")
    assert _row(choose("caffe")) == "cpu-debian12"
    assert _row(choose("caffe", distribution="ubuntu18.04")) == "cpu-ubuntu18.04"
    assert _row(pick(_stack(flavours=("cuda",)), {})) == "cuda11.8-cudnn8.7-debian12"


@pytest.mark.parametrize(
    ("wish", "row"),
    [
        ({"instance": "p3.8xlarge"}, "cuda11.8-cudnn8.7-debian12"),
        ({"gpu": "k80"}, "cuda11.8-cudnn8.7-debian12"),
        ({"gpu": "K80", "distribution": "ubuntu20.04"}, "cuda11.7-cudnn8.5-ubuntu20.04"),
        ({"gpu": "K80", "cuda": "11.8", "distribution": "ubuntu20.04"}, "cuda11.8-cudnn8.7-ubuntu20.04"),
        ({"cuda": "9.0", "cudnn": "7"}, "cuda9.0-cudnn7.6-ubuntu16.04"),
        ({"cuda": "8.0.61", "cudnn": "6"}, "cuda8.0-cudnn6.0-ubuntu16.04"),
        ({"cuda": "12", "distribution": "ubuntu24.04"}, "cuda12.9-cudnn9.10-ubuntu24.04"),
        ({"cudnn": "9.10"}, "cuda12.9-cudnn9.10-ubuntu22.04"),
        ({"driver": "470.57", "distribution": "ubuntu22.04"}, "cuda11.8-cudnn8.9-ubuntu22.04"),
        ({"driver": "390.116"}, "cuda9.0-cudnn7.6-ubuntu16.04"),
        ({"flavour": "cuda"}, "cuda11.8-cudnn8.7-debian12"),
        ({"cuda": "9.2"}, "cuda9.2-cudnn7.6-ubuntu16.04"),  # 18.04's packages are from other releases' trees
        ({"cuda": "11.2"}, "cuda11.2-cudnn8.7-debian11"),  # NVIDIA's bases are past their date
        ({"cuda": "11.3"}, "cuda11.3-cudnn8.2-ubuntu20.04"),  # there is no other
        ({"flavour": "cuda", "distribution": "ubuntu16.04"}, "cuda10.2-cudnn8.4-ubuntu16.04"),
    ],
)
def test_a_wish_finds_its_row(wish: dict[str, str], row: str) -> None:
    assert _row(choose("caffe", **wish)) == row


def test_a_listed_base_goes_before_a_rebuilt_one_and_then_the_preferred_distribution() -> None:
    wish = {"cuda": "11.8", "gpu": "T4"}
    assert _row(pick(_stack(prefers=("ubuntu20.04",)), wish)) == "cuda11.8-cudnn8.9-ubuntu20.04"
    assert _row(pick(_stack(prefers=("ubuntu22.04", "debian12")), wish)) == "cuda11.8-cudnn8.9-ubuntu22.04"
    assert _row(pick(_stack(prefers=("debian12", "ubuntu22.04")), wish)) == "cuda11.8-cudnn8.7-debian12"


@pytest.mark.parametrize("cell", table(INSTANCES), ids=lambda cell: f"{cell.stack}-{cell.instance}")
def test_every_cell_has_a_target_with_code_for_the_gpu_or_a_reason(cell) -> None:  # type: ignore[no-untyped-def]
    if cell.target is None:
        assert len(cell.reason) > 20
        return
    served = parse(cell.target).variant.architectures
    of = {"p2": "sm_37", "p3": "sm_70", "p3dn": "sm_70", "g4dn": "sm_75", "g5": "sm_86", "g6": "sm_89",
          "p4d": "sm_80", "p5": "sm_90", "p6-b200": "sm_100"}  # fmt: skip
    assert of[cell.instance.split(".")[0]] in served


def test_what_the_cells_say() -> None:
    cells = {(cell.stack, cell.instance): cell for cell in table(INSTANCES)}
    assert len(cells) == len(stacks()) * len(INSTANCES)
    k80 = parse(str(cells["caffe-crfrnn", "p2.xlarge"].target)).variant
    assert key(str(k80.cuda)) <= (11, 8) and key(str(k80.cudnn)) <= (8, 7) and key(str(k80.driver_min)) <= (470,)
    b200 = parse(str(cells["caffe-crfrnn", "p6-b200.48xlarge"].target)).variant
    assert key(str(b200.cuda)) >= (12, 8)
    assert cells["caffe-debian", "p3.8xlarge"].reason.endswith("for CPUs only")
    assert cells["detectron", "g4dn.12xlarge"].target == "detectron:cuda10.2-cudnn7.6-debian11"
    assert "torch 1.10.2" in cells["detectron", "p4d.24xlarge"].reason


@pytest.mark.parametrize(
    ("wish", "what", "mend"),
    [
        ({"stack": "cafe-debian"}, "no stack 'cafe-debian'", "did you mean caffe-debian"),
        ({"stack": "caffe-debian", "row": "cpu-debian1"}, "no row 'cpu-debian1'", "did you mean cpu-debian11?"),
        (
            {"stack": "caffe-debian", "row": "cpu-debian12"},
            "Debian 11 is the last release that packages Caffe",
            "take caffe-debian:cpu-debian11",
        ),
        ({"stack": "caffe-debian", "cuda": "11.8"}, "is for CPUs only", "take caffe-debian:cpu-debian11"),
        ({"stack": "caffe-debian", "gpu": "V100"}, "is for CPUs only", "take caffe-debian:cpu-debian11"),
        ({"stack": "caffe", "gpu": "V10"}, "'V10' is no GPU", "did you mean V100"),
        ({"stack": "caffe", "instance": "p3.9xlarge"}, "'p3.9xlarge' is no AWS type", "p3.8xlarge"),
        ({"stack": "caffe", "instance": "p3.8xlarge", "gpu": "K80"}, "p3.8xlarge has the V100", "one of both"),
        ({"stack": "caffe", "cuda": "9.1"}, "caffe has no CUDA 9.1, only 8.0, 9.0, 9.2", "caffe:cuda9.2-cudnn7.6"),
        ({"stack": "caffe", "cuda": "nine"}, "'nine' is no version", "11.8"),
        ({"stack": "caffe", "distribution": "ubunto18.04"}, "'ubunto18.04' is no distribution", "ubuntu18.04"),
        ({"stack": "caffe", "flavour": "gpu"}, "'gpu' is no flavour", "cpu"),
        (
            {"stack": "caffe", "cuda": "9.0", "cudnn": "9"},
            "caffe with CUDA 9.0 has no cuDNN 9, only 7.6",
            "caffe:cuda9.0-cudnn7.6-ubuntu16.04 (another cuDNN)",
        ),
        (  # GPU too old for the CUDA, and its driver too
            {"stack": "caffe", "cuda": "12.4", "instance": "p2.xlarge"},
            "the last with code for it is 11.8, and it needs driver 525 where the last for the K80 is R470",
            "caffe:cuda11.8-cudnn8.7-debian12 (another CUDA)",
        ),
        (  # GPU too new
            {"stack": "caffe", "cuda": "10.2", "gpu": "A100"},
            "CUDA 10.2 is too old for the A100 (sm_80): the first that knows it is 11.0",
            "(another CUDA)",
        ),
        (  # CUDA would do, cuDNN has no code
            {"stack": "caffe", "cuda": "11.8", "cudnn": "8.9", "gpu": "K80"},
            "cuDNN 8.9 has no code for the K80 (sm_37): the last that has is 8.7",
            "caffe:cuda11.8-cudnn8.7-debian12 (another cuDNN)",
        ),
        (
            {"stack": "caffe", "cuda": "13.0", "gpu": "V100"},
            "CUDA 13.0 is too new for the V100 (sm_70): the last with code for it is 12.9",
            "(another GPU)",
        ),
        (
            {"stack": "caffe", "cuda": "12", "driver": "470.57"},
            "no image of caffe with CUDA 12 runs on the driver 470.57: it is too old, CUDA 12.0 needs 525",
            "caffe:cuda11.8-cudnn8.7-debian12 (another CUDA)",
        ),
        ({"stack": "caffe", "driver": "304"}, "it is too old, CUDA 8.0 needs 375.26", "update the driver, or take"),
        (  # gcc too new
            {"stack": "caffe", "cuda": "8.0", "distribution": "debian12"},
            "CUDA 8.0 takes gcc 5 at most, and the oldest gcc of debian12 is 11",
            "caffe:cuda8.0-cudnn7.2-ubuntu16.04 (another distribution)",
        ),
        (  # base image gone
            {"stack": "caffe", "row": "nvidia/cuda:9.0-cudnn7-devel-ubuntu16.04"},
            "NVIDIA deleted nvidia/cuda:9.0-cudnn7-devel-ubuntu16.04 from Docker Hub in 2023",
            "take caffe:cuda9.0-cudnn7.6-ubuntu16.04: the same on ubuntu:16.04",
        ),
        (
            {"stack": "caffe", "row": "11.8.0-cudnn8-devel-ubuntu22.04"},
            "is one of NVIDIA's tags, not a row",
            "take caffe:cuda11.8-cudnn8.9-ubuntu22.04",
        ),
        (
            {"stack": "detectron", "gpu": "A100"},
            "torch 1.10.2, a wheel with CUDA 10.2, holds no code for the A100 (sm_80)",
            "detectron runs on the T4 (g4dn",
        ),
        ({"stack": "detectron", "cuda": "11.8"}, "the last PyTorch with Caffe2", "take detectron:cuda10.2"),
        ({"stack": "caffe", "flavour": "cpu", "gpu": "T4"}, "it has no CUDA", "(another flavour)"),
        ({"stack": "caffe", "flavour": "cpu", "driver": "525"}, "it has no CUDA", "take caffe:"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest(wish: dict[str, str], what: str, mend: str) -> None:
    with pytest.raises(UsageError) as error:
        choose(**wish)
    assert what in error.value.what
    assert mend in error.value.mend


def test_what_a_row_needs_to_carry_a_stack() -> None:
    row = rows()["cuda11.8-cudnn8.7-debian12"]
    assert fits(_stack(), row) is None
    assert fits(_stack(flavours=("cpu",)), row) == "it is for CPUs only: of the test"
    assert fits(_stack(flavours=("cuda",)), rows()["cpu-debian12"]) == "it is for GPUs only: of the test"
    for changes in ({"kinds": ("cpu",)}, {"distributions": ("debian11",)}, {"rows": ("cpu-debian12",)}):
        assert fits(_stack(**changes), row) == "of the test"
    assert fits(_stack(cuda_first="12.0"), row) == "it needs CUDA 12.0 or newer"
    assert fits(_stack(cuda_last="10.2"), row) == "it ends at CUDA 10.2: of the test"


def test_a_row_whose_distribution_has_no_compiler_for_its_cuda_carries_nothing() -> None:
    row = msgspec.structs.replace(rows()["cuda8.0-cudnn7.2-ubuntu16.04"], distribution="debian12")
    assert fits(_stack(), row) == "CUDA 8.0 takes gcc 5 at most, and the oldest gcc of debian12 is 11"


def test_the_ends_of_each_gpu_are_refused_with_what_is_true() -> None:
    assert refusal(rows()["cuda12.9-cudnn9.10-ubuntu22.04"], gpu("V100")) is None
    assert "13.0 is too new for the V100" in str(refusal(rows()["cuda13.0-cudnn9.14-ubuntu22.04"], gpu("V100")))
    assert "9.0 is too old for the T4" in str(refusal(rows()["cuda9.0-cudnn7.6-ubuntu16.04"], gpu("T4")))


def test_gpus_of_a_target_are_named_after_the_row() -> None:
    target = parse("caffe:cuda11.8-cudnn8.7-debian12@v100,K80")
    assert target.gpus == ("K80", "V100")
    assert target.name == "caffe:cuda11.8-cudnn8.7-debian12@K80,V100"
    assert parse(target.name) == target


@pytest.mark.parametrize(
    ("text", "what", "mend"),
    [
        ("caffe:cuda11.8-cudnn8.9-ubuntu22.04@K80", "cuDNN 8.9 has no code for the K80", "it serves M60"),
        ("caffe:cpu-debian12@K80", "it has no CUDA", "none"),
        ("caffe@K80", "'caffe@K80' is not STACK:ROW@GPU,GPU", "caffe:cpu-debian12"),
        ("caffe:cuda11.8-cudnn8.7-debian12@", "is not STACK:ROW@GPU,GPU", ""),
        ("caffe:cuda11.8-cudnn8.7-debian12@K8", "'K8' is no GPU", "K80"),
    ],
)
def test_gpus_that_a_row_does_not_serve_are_refused(text: str, what: str, mend: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert what in error.value.what
    assert mend in error.value.mend


def test_targets_are_all_that_fit() -> None:
    names = [target.name for target in targets()]
    assert len(names) == len(set(names))
    assert "caffe:cuda9.0-cudnn7.6-ubuntu16.04" in names and "caffe-debian:cpu-debian12" not in names
    assert all(parse(name).name == name for name in names)


def test_the_command_prints_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "choose", "--stack", "caffe-debian"]) == 0
    assert capsys.readouterr().out.startswith("caffe-debian:cpu-debian11\n")
    assert run(["image", "choose", "--stack", "caffe-debain"]) == 2
    assert "did you mean caffe-debian" in capsys.readouterr().err


def test_the_command_says_what_may_not_be_there_any_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "choose", "--stack", "caffe", "--cuda", "11.3"]) == 0
    said = capsys.readouterr().out
    assert "NVIDIA listed this base on 2025-12-15; its date to be deleted has passed\n" in said
    assert run(["image", "choose", "--stack", "caffe", "--cuda", "9.0"]) == 0
    assert "not verified: that NVIDIA's packages" in capsys.readouterr().out
    assert run(["image", "choose", "--stack", "caffe"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_the_matrix_as_json_names_the_stacks_of_each_row() -> None:
    import json

    from provision.commands.image import image

    found = json.loads(CliRunner().invoke(image, ["matrix", "--json"]).output)
    stacks_of = {row["id"]: row["stacks"] for row in found}
    assert list(stacks_of) and "caffe-debian" in stacks_of["cpu-debian11"]
    assert "caffe-debian" not in stacks_of["cpu-debian12"] and "caffe" in stacks_of["cpu-debian12"]


def test_render_prints_one_and_wants_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "render", "caffe-debian"]) == 0
    assert "FROM debian:bullseye\n" in capsys.readouterr().out
    assert run(["image", "render"]) == 2


def test_the_context_is_the_same_bytes_each_time() -> None:
    for name in ("caffe-debian", "caffe"):
        target = choose(name)
        first, second = render(target).tar(), render(Target(target.stack, target.variant)).tar()
        assert first == second
        with tarfile.open(fileobj=io.BytesIO(first)) as tar:
            assert "Dockerfile" in tar.getnames()


def test_the_dockerfile_pins_what_it_installs() -> None:
    text = render(choose("caffe-debian")).dockerfile
    for name, version in choose("caffe-debian").stack.packages.items():
        assert f"{name}={version} " in text


def test_the_tag_follows_from_the_context() -> None:
    target = choose("caffe-debian")
    assert target.tag == f"provision/caffe-debian:cpu-debian11-{render(target).hash}"
    changed = Context(target, (("Dockerfile", render(target).dockerfile + "# one more line\n"),))
    assert changed.tag != target.tag
