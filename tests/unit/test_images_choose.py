"""From a wish to one target, to its tag and its context."""

import io
import json
import tarfile

import msgspec
import pytest
from click.testing import CliRunner

from images import ends
from images.choose import choose, fits, parse, pick, table, targets
from images.fits import cautions, refusal, served
from images.gpus import code_for, gpu
from images.matrix import Variant, rows
from images.render import Context, render
from images.stacks import Stack, stacks
from images.target import Target
from images.versions import key
from infra.errors import UsageError
from provision.account import doctor
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
        ({"gpu": "K80", "distribution": "ubuntu20.04"}, "cuda11.8-cudnn8.7-ubuntu20.04"),  # the tags may be deleted
        ({"gpu": "K80", "cuda": "11.8", "distribution": "ubuntu20.04"}, "cuda11.8-cudnn8.7-ubuntu20.04"),
        ({"cuda": "9.0", "cudnn": "7"}, "cuda9.0-cudnn7.6-ubuntu16.04"),
        ({"cuda": "8.0.61", "cudnn": "6"}, "cuda8.0-cudnn6.0-ubuntu16.04"),
        ({"cuda": "12", "distribution": "ubuntu24.04"}, "cuda12.9-cudnn9.10-ubuntu24.04"),
        ({"cudnn": "9.10"}, "cuda12.9-cudnn9.10-ubuntu22.04"),
        ({"driver": "470.57", "distribution": "ubuntu22.04"}, "cuda11.8-cudnn8.7-ubuntu22.04"),
        ({"driver": "470.57", "cuda": "12", "gpu": "T4"}, "cuda12.8-cudnn9.8-ubuntu22.04"),
        ({"driver": "570.133.20", "cuda": "13.0", "gpu": "H100"}, "cuda13.0-cudnn9.14-ubuntu22.04"),
        ({"driver": "535.183", "cuda": "12.9"}, "cuda12.9-cudnn9.10-ubuntu22.04"),
        ({"driver": "525", "cuda": "12.0", "gpu": "RTX3090"}, "cuda12.0-cudnn8.8-ubuntu22.04"),
        ({"gpu": "L4", "cuda": "11.7"}, "cuda11.7-cudnn8.5-ubuntu22.04"),
        ({"gpu": "A10G", "cuda": "11.0"}, "cuda11.0-cudnn8.0-ubuntu20.04"),
        ({"gpu": "T4", "cuda": "9.2"}, "cuda9.2-cudnn7.6-ubuntu16.04"),
        ({"gpu": "B300", "cuda": "12.8"}, "cuda12.8-cudnn9.8-ubuntu22.04"),
        ({"gpu": "B300", "cuda": "12"}, "cuda12.9-cudnn9.10-ubuntu22.04"),  # it has code of its own
        ({"gpu": "sm_89"}, "cuda11.8-cudnn8.7-debian12"),
        ({"gpu": ("V100", "B200")}, "cuda12.9-cudnn9.10-ubuntu22.04"),
        ({"gpu": ("K80", "H100")}, "cuda11.8-cudnn8.7-debian12"),
        ({"gpu": "V100,B200"}, "cuda12.9-cudnn9.10-ubuntu22.04"),
        ({"gpu": ("V100, A10G", "NVIDIA B200")}, "cuda12.9-cudnn9.10-ubuntu22.04"),
        ({"instance": "p3.8xlarge", "gpu": ("v100", "sm_70")}, "cuda11.8-cudnn8.7-debian12"),
        ({"instance": "g7e.2xlarge"}, "cuda13.3-cudnn9.24-ubuntu22.04"),
        ({"instance": "g7.48xlarge", "driver": "595.91.07"}, "cuda13.2-cudnn9.20-ubuntu22.04"),
        ({"cuda": "12.6"}, "cuda12.6-cudnn9.5-ubuntu22.04"),  # the tag before its twin
        ({"cuda": "13"}, "cuda13.3-cudnn9.24-ubuntu22.04"),
        ({"cuda": "13.4"}, "cuda13.4-cudnn9.26-ubuntu24.04"),
        ({"distribution": "ubuntu26.04"}, "cpu-ubuntu26.04"),
        ({"gpu": "B300", "distribution": "ubuntu26.04"}, "cuda13.3-cudnn9.24-ubuntu26.04"),
        # these drivers are in no list of the tag: its twin asks for the CUDA's floor alone
        ({"cuda": "11.8", "cudnn": "8.9", "driver": "515.65"}, "cuda11.8-cudnn8.9-ubuntu22.04-apt"),
        ({"cuda": "12.8", "gpu": "RTX4090", "driver": "565.57"}, "cuda12.8-cudnn9.8-ubuntu22.04-apt"),
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
    wish = {"cuda": "12", "gpu": "T4"}
    assert _row(pick(_stack(prefers=("ubuntu24.04",)), wish)) == "cuda12.9-cudnn9.10-ubuntu24.04"
    assert _row(pick(_stack(prefers=("ubuntu22.04", "debian13")), wish)) == "cuda12.9-cudnn9.10-ubuntu22.04"
    assert _row(pick(_stack(prefers=("debian13", "ubuntu22.04")), wish)) == "cuda12.4-cudnn9.1-debian13"


def test_what_may_be_deleted_goes_after_what_is_rebuilt_and_before_its_own_twin() -> None:
    wish = {"cuda": "11.8", "distribution": "ubuntu22.04", "gpu": "T4"}
    assert _row(pick(_stack(), wish)) == "cuda11.8-cudnn8.7-ubuntu22.04"
    assert _row(pick(_stack(), wish | {"cudnn": "8.9"})) == "cuda11.8-cudnn8.9-ubuntu22.04"
    assert _row(pick(_stack(kinds=("nvidia-apt",)), wish | {"cudnn": "8.9"})) == "cuda11.8-cudnn8.9-ubuntu22.04-apt"


def test_a_wheel_that_was_opened_goes_before_one_that_was_not() -> None:
    assert _row(choose("detectron", gpu="T4")) == "cuda10.2-cudnn7.6-debian11"
    for gpu_ in ("A100", "A10G", "L4", "L40S"):
        assert _row(choose("detectron", gpu=gpu_)) == "cuda11.3-cudnn8.2-debian11"


def test_a_release_that_lives_goes_before_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    wish = {"cuda": "11.8", "cudnn": "8.9", "gpu": "T4"}
    stack = _stack(prefers=("ubuntu20.04", "ubuntu22.04"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1735689600")  # 2025-01-01: both live
    assert _row(pick(stack, wish)) == "cuda11.8-cudnn8.9-ubuntu20.04"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")  # 2026-01-01: 20.04 ended on 2025-05-29
    assert _row(pick(stack, wish)) == "cuda11.8-cudnn8.9-ubuntu22.04"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1893456000")  # 2030-01-01: both have ended
    assert _row(pick(stack, wish)) == "cuda11.8-cudnn8.9-ubuntu20.04"


@pytest.mark.parametrize(
    ("row", "day", "said"),
    [
        (
            "cpu-debian11",
            "1788220800",
            "debian11 ended on 2026-08-31: no security updates since; its packages come from a",
        ),
        ("cpu-debian11", "1780272000", "debian11 ends on 2026-08-31"),
        ("cpu-ubuntu20.04", "1788220800", "its packages stay on the mirrors"),
        ("cpu-debian12", "1788220800", ""),
    ],
)
def test_the_end_of_a_release_is_told(row: str, day: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", day)
    assert said in ends.caution(rows()[row]) and bool(said) == bool(ends.caution(rows()[row]))


def test_choose_matrix_and_doctor_tell_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["image", "choose", "--stack", "caffe-debian"]) == 0
    assert "debian11 ended on 2026-08-31: no security updates" in capsys.readouterr().out
    assert run(["image", "matrix", "--json"]) == 0
    found = {row["id"]: row["end_of_life"] for row in json.loads(capsys.readouterr().out)}
    assert found["cpu-debian11"] == "2026-08-31" and found["cpu-ubuntu24.04"] == "2029-05-31"
    said = [one for one in doctor.releases() if "debian11" in one.found]
    assert said and said[0].state == "warn" and "caffe-debian" in said[0].found


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
    assert cells["detectron", "p4d.24xlarge"].target == "detectron:cuda11.3-cudnn8.2-debian11"
    assert "torch 1.10.0+cu113" in cells["detectron", "p5.48xlarge"].reason


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
        ({"stack": "caffe", "instance": "p3.8xlarge", "gpu": "K80"}, "p3.8xlarge has the V100", "one of the two"),
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
            "the last with code for it is 11.8, and it needs driver 525.60.13 where the last for the K80 is R470",
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
            {"stack": "caffe", "cuda": "12.9", "driver": "470.57"},
            "nvidia/cuda:12.9.2-cudnn-devel-ubuntu20.04 lets in R535, R550, R560, R565, R570, and R575 or newer",
            "caffe:cuda11.8-cudnn8.7-debian12 (another CUDA)",
        ),
        (  # let in, but it could not work: NVIDIA's forward compatibility is not for GeForce
            {"stack": "cuda", "cuda": "12.1", "gpu": "RTX3090", "driver": "470.256.02"},
            "it is too old, CUDA 12.1 needs 525.60.13",
            "(another driver)",
        ),
        (
            {"stack": "caffe", "gpu": "V100", "driver": "590.44"},
            "no image runs on the V100 under the driver 590.44: the last branch for the V100 is R580",
            "take a machine with one of its drivers: R384 to R580",
        ),
        ({"stack": "caffe", "gpu": "K80", "driver": "535.183"}, "the last branch for the K80 is R470", ""),
        ({"stack": "caffe", "gpu": "B200", "driver": "570.124"}, "the first driver for the B200 is 570.133.20", ""),
        ({"stack": "caffe", "gpu": "H100", "driver": "450.80"}, "the first driver for the H100 is R525", ""),
        ({"stack": "caffe", "gpu": ("T4", "M60"), "driver": "595"}, "the last branch for the M60 is R580", ""),
        (
            {"stack": "caffe", "gpu": ("K80", "B200")},
            "no image of caffe with GPU K80 runs on the B200: CUDA 11.8 is too old for the B200 (sm_100)",
            "(without the K80) or caffe:cuda11.8-cudnn8.7-debian12 (without the B200)",
        ),
        ({"stack": "caffe", "gpu": "K80,B200"}, "with GPU K80 runs on the B200", "(without the K80)"),
        ({"stack": "caffe", "gpu": "T4 B200"}, "'T4 B200' is no GPU", ""),
        ({"stack": "caffe", "gpu": "RTX5090", "cuda": "11.8"}, "CUDA 11.8 is too old for the RTX5090 (sm_120)", ""),
        ({"stack": "caffe", "row": "cuda11.8-cudnn8.7-debian12", "driver": "450.79"}, "11.8 needs 450.80.02", ""),
        ({"stack": "caffe", "instance": "g5g.xlarge"}, "g5g.xlarge has ARM processors (arm64)", "g4dn.xlarge"),
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
            {"stack": "detectron", "gpu": "H100"},
            "torch 1.10.0+cu113, a wheel with CUDA 11.3, holds no code for the H100 (sm_90)",
            "detectron runs on the L4 (g6.xlarge)",
        ),
        (  # the driver is the type's: it is not to blame, and nobody asked for it
            {"stack": "detectron", "instance": "p5.4xlarge", "driver": "595.91.07"},
            "no image of detectron runs on the H100: torch 1.10.0+cu113",
            "detectron runs on the L4 (g6.xlarge)",
        ),
        (
            {"stack": "caffe", "row": "cpu-debian12", "gpu": "T4", "driver": "595.91.07"},
            "no image of caffe with row cpu-debian12 runs on the T4: it has no CUDA",
            "take caffe:cuda11.8-cudnn8.7-debian12 (another row)",
        ),
        (  # what is named instead still runs under the driver
            {"stack": "caffe", "cuda": "12.4", "gpu": "K80", "driver": "390.116"},
            "no image of caffe with CUDA 12.4 runs on the K80: CUDA 12.4 is too new",
            "take caffe:cuda9.0-cudnn7.6-ubuntu16.04 (another CUDA)",
        ),
        ({"stack": "detectron", "cuda": "11.8"}, "the last PyTorch with Caffe2", "take detectron:cuda11.3"),
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
    assert refusal(rows()["cuda9.0-cudnn7.6-ubuntu16.04"], gpu("T4")) is None  # code for sm_70 serves it
    assert "8.0 is too old for the T4" in str(refusal(rows()["cuda8.0-cudnn7.2-ubuntu16.04"], gpu("T4")))


def test_code_that_is_not_the_gpus_own_is_taken_with_a_word() -> None:
    row = rows()["cuda11.7-cudnn8.5-ubuntu22.04"]
    assert cautions(row, [gpu("A10G")]) == []
    assert cautions(row, [gpu("L4")]) == ["the L4 runs on code made for sm_86, not for its own sm_89"]
    assert "no longer knows the K80" in cautions(rows()["cuda11.7-cudnn8.5-ubuntu20.04"], [gpu("K80")])[0]


def test_a_driver_that_is_let_in_for_some_gpus_or_by_cuda_compat_is_taken_with_a_word() -> None:
    row = rows()["cuda12.9-cudnn9.10-ubuntu22.04"]
    assert cautions(row, [], "575.57") == cautions(row, [gpu("H100")], "535.183") == []
    assert cautions(row, [], "535.183") == ["under the driver 535.183 on data-centre GPUs, not on GeForce cards"]
    [said] = cautions(rows()["cuda13.0-cudnn9.14-ubuntu22.04"], [gpu("H100")], "570.133.20")
    assert said == "under the driver 570.133.20 by the base's cuda-compat: CUDA 13.0 itself needs 580"
    [said] = cautions(rows()["cuda11.8-cudnn8.9-ubuntu22.04"], [gpu("RTX3090")], "470.256.02")
    assert "error 804" in said


@pytest.mark.parametrize("row", [row for row in rows().values() if row.architectures], ids=lambda row: row.id)
def test_a_target_has_code_that_serves_each_gpu_of_its_row(row: Variant) -> None:
    stack = _stack(kinds=(row.base_kind,))
    for name in served(row):
        one = gpu(name)
        assert code_for(one, Target(stack, row).architectures), name
        mine = Target(stack, row, (name,))
        assert code_for(one, mine.architectures) and set(mine.architectures) <= set(row.architectures), name
        assert f"code=sm_{mine.architectures[0][3:]}" in mine.gencode[0]


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
    assert "NVIDIA listed this base in the summer of 2026; by its rules it may be deleted from 2024-01 on" in said
    assert "nvcr.io/nvidia/cuda:11.3.1-cudnn8-devel-ubuntu20.04 is the same; if both are gone: " in said
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
    assert render(target).tag == f"provision/caffe-debian:cpu-debian11-{render(target).hash}"
    changed = Context(target, (("Dockerfile", render(target).dockerfile + "# one more line\n"),))
    assert changed.tag != render(target).tag
