"""The matrix: canonical, true by what others say (tables copied here, each with its source), and a wrong one is refused
with the place and the reason."""

from pathlib import Path

import msgspec
import pytest

from images import matrix, stacks
from images.check import CHECKS
from images.distributions import distributions
from images.gpus import gpus
from images.matrix import Variant, official_tag
from images.versions import key
from infra.errors import UsageError

# `ptxas --help` of NVIDIA's compiler wheels; before 11.7 JuliaGPU/CUDA.jl, compatibility.jl @fd1008df. First and last
# architecture, and those of them that a later release has not
PTXAS = {
    "8.0": (20, 62), "9.0": (30, 70), "9.2": (30, 72), "10.0": (30, 75), "10.1": (30, 75), "10.2": (30, 75),
    "11.0": (35, 80), "11.1": (35, 86), "11.2": (35, 86), "11.3": (35, 86), "11.4": (35, 87), "11.5": (35, 87),
    "11.6": (35, 87), "11.7": (35, 87), "11.8": (35, 90), "12.0": (50, 90), "12.1": (50, 90), "12.2": (50, 90),
    "12.3": (50, 90), "12.4": (50, 90), "12.5": (50, 90), "12.6": (50, 90), "12.8": (50, 120), "12.9": (50, 121),
    "13.0": (75, 121),
}  # fmt: skip
NOT_YET = {"12.8": {103}}

# crt/host_config.h of the compiler wheels from 11.7; before that Spack's cuda.py @1e8cf059
GCC = {
    "8.0": "5", "9.0": "6", "9.2": "7", "10.0": "7", "10.1": "8", "10.2": "8", "11.0": "9", "11.1": "10", "11.2": "10",
    "11.3": "10", "11.4": "11", "11.5": "11", "11.6": "11", "11.7": "11", "11.8": "11", "12.0": "12", "12.1": "12",
    "12.2": "12", "12.3": "12", "12.4": "13", "12.5": "13", "12.6": "13", "12.8": "14", "12.9": "14", "13.0": "15",
}  # fmt: skip

# NVIDIA's CUDA compatibility page; before 10.0 the driver table of the release notes
DRIVER = {"8.0": "375.26", "9.0": "384.81", "9.2": "396.26", "10.0": "410.48", "10.1": "418.39", "10.2": "440.33"}
DRIVER_OF_MAJOR = {11: "450", 12: "525", 13: "580"}

# real code in libcudnn_ops of NVIDIA's wheels, by the first release that has it so
CUDNN = [
    ((8, 5), {35, 50, 60, 61, 70, 75, 80, 86}), ((8, 6), {35, 50, 60, 61, 70, 75, 80, 86, 90}),
    ((8, 8), {50, 60, 61, 70, 75, 80, 86, 90}), ((9, 6), {50, 60, 61, 70, 80, 90}),
    ((9, 7), {50, 60, 61, 70, 80, 90, 100, 120}), ((9, 11), {75, 80, 90, 100, 120}),
]  # fmt: skip

# NVIDIA's doc/supported-tags.md of 2025-12-15: releases with -cudnn…-devel- and -runtime- images, and their Ubuntus
LISTED = {
    "11.0.3": "16.04 18.04 20.04", "11.1.1": "16.04 18.04 20.04", "11.2.2": "16.04 18.04 20.04",
    "11.3.1": "16.04 18.04 20.04", "11.4.3": "18.04 20.04", "11.5.2": "18.04 20.04", "11.6.2": "18.04 20.04",
    "11.7.1": "18.04 20.04 22.04", "11.8.0": "18.04 20.04 22.04", "12.0.1": "18.04 20.04 22.04",
    "12.1.1": "20.04 22.04", "12.2.2": "20.04 22.04", "12.3.2": "20.04 22.04", "12.4.1": "20.04 22.04",
    "12.5.1": "20.04 22.04", "12.6.3": "20.04 22.04 24.04", "12.8.1": "20.04 22.04 24.04",
    "12.9.1": "20.04 22.04 24.04", "13.0.2": "22.04 24.04",
}  # fmt: skip

# tags as NVIDIA's lists print them, of each grammar
TAGS = {
    ("8.0.61", "5.1", "devel", "ubuntu14.04"): "8.0-cudnn5-devel-ubuntu14.04",
    ("9.0.176", "7.6", "devel", "ubuntu16.04"): "9.0-cudnn7-devel-ubuntu16.04",
    ("10.2.89", "8.6", "runtime", "ubuntu18.04"): "10.2-cudnn8-runtime-ubuntu18.04",
    ("11.0.3", "8.0", "devel", "ubuntu16.04"): "11.0.3-cudnn8-devel-ubuntu16.04",
    ("11.8.0", "8.9", "devel", "ubuntu22.04"): "11.8.0-cudnn8-devel-ubuntu22.04",
    ("12.2.2", "8.9", "devel", "ubuntu20.04"): "12.2.2-cudnn8-devel-ubuntu20.04",
    ("12.3.2", "9.0", "devel", "ubuntu22.04"): "12.3.2-cudnn9-devel-ubuntu22.04",
    ("12.4.1", "9.1", "devel", "ubuntu22.04"): "12.4.1-cudnn-devel-ubuntu22.04",
    ("13.0.2", "9.14", "runtime", "ubuntu24.04"): "13.0.2-cudnn-runtime-ubuntu24.04",
    ("12.4.0", None, "devel", "ubuntu22.04"): "12.4.0-devel-ubuntu22.04",
    ("9.0.176", None, "base", "ubuntu16.04"): "9.0-base-ubuntu16.04",
}

ROWS = list(matrix.load().values())
CUDA = [row for row in ROWS if row.cuda]
COMPILED = [row for row in CUDA if row.base_kind != "torch-wheel"]


def _sm(row: Variant) -> set[int]:
    return {key(one)[0] for one in row.architectures}


def test_the_matrix_is_canonical() -> None:
    text = matrix.PATH.read_text(encoding="utf-8")
    assert matrix.dump(matrix.read()) == text, "run: python -m images.matrix"


@pytest.mark.parametrize("row", COMPILED, ids=lambda row: row.id)
def test_a_row_serves_the_gpus_that_its_cuda_and_its_cudnn_serve(row: Variant) -> None:
    first, last = PTXAS[str(row.cuda)]
    known = {key(one.sm)[0] for one in gpus().values()}
    expected = {sm for sm in known if first <= sm <= last} - NOT_YET.get(str(row.cuda), set())
    code = [code for since, code in CUDNN if since <= key(row.cudnn or "")]
    if code:  # before 8.5 nothing was measured
        expected = {sm for sm in expected if any(one // 10 == sm // 10 and one <= sm for one in code[-1])}
    assert _sm(row) == expected


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_k80_ends_at_cudnn_8_7_and_a_v100_at_9_10(row: Variant) -> None:
    if key(row.cudnn or "0") >= (8, 8):
        assert "sm_37" not in row.architectures
    if key(row.cudnn or "0") >= (9, 11):
        assert "sm_70" not in row.architectures


@pytest.mark.parametrize("row", COMPILED, ids=lambda row: row.id)
def test_compiler_and_driver_are_as_nvidia_says(row: Variant) -> None:
    assert row.gcc == GCC[str(row.cuda)]
    assert row.driver_min == (DRIVER.get(str(row.cuda)) or DRIVER_OF_MAJOR[key(str(row.cuda))[0]])


@pytest.mark.parametrize("row", CUDA, ids=lambda row: row.id)
def test_drivers_end_where_all_gpus_of_a_row_have_ended(row: Variant) -> None:
    ends = [one.driver_last for one in gpus().values() if one.sm in row.architectures]
    assert row.driver_last == (None if None in ends else max(filter(None, ends), key=key))


@pytest.mark.parametrize("row", CUDA, ids=lambda row: row.id)
def test_versions_follow_from_the_exact_ones(row: Variant) -> None:
    assert str(row.release).startswith(f"{row.cuda}.")
    assert f"{row.cudnn_release}.".startswith(f"{row.cudnn}.")
    assert set(row.runtime) <= set(row.pins)
    nccl = [version for name, version in row.pins.items() if "nccl" in name]
    assert all(version.startswith(f"{row.nccl}.") for version in nccl) and bool(nccl) == bool(row.nccl)


def test_official_bases_are_all_that_nvidia_still_lists_and_no_other() -> None:
    there = {(row.release, row.distribution) for row in ROWS if row.base_kind == "official"}
    assert there == {(release, f"ubuntu{one}") for release, all_ in LISTED.items() for one in all_.split()}
    for row in ROWS:
        if row.base_kind == "official":
            assert row.base == official_tag(str(row.release), row.cudnn, "devel", row.distribution)
            assert row.base_runtime == official_tag(str(row.release), row.cudnn, "runtime", row.distribution)
        else:
            assert not row.base.startswith("nvidia/") and not row.base_runtime.startswith("nvidia/")


def test_cuda_whose_images_are_gone_is_there_for_each_ubuntu_that_had_it() -> None:
    rebuilt = {(row.cuda, row.distribution[6:]) for row in ROWS if row.removed_tag}
    wanted = {"8.0": "14.04 16.04", "9.0": "16.04", "9.2": "16.04 18.04", "10.0": "14.04 16.04 18.04",
              "10.1": "14.04 16.04 18.04", "10.2": "16.04 18.04"}  # fmt: skip
    assert rebuilt == {(cuda, one) for cuda, all_ in wanted.items() for one in all_.split()}
    assert {row.cudnn for row in ROWS if row.cuda == "8.0"} == {"5.1", "6.0", "7.2"}


def test_bases_past_nvidias_date_to_delete_them_say_so() -> None:
    # NVIDIA's doc/support-policy.md: deleted half a year after their end, which 11.0 to 11.3 have passed
    overdue = {str(row.release) for row in ROWS if row.status == "overdue"}
    assert overdue == {release for release in LISTED if key(release) < (11, 4)}
    for row in ROWS:
        assert (row.caution.startswith("NVIDIA listed this base on 2025-12-15; its date")) == (row.status == "overdue")


def test_packages_out_of_another_releases_tree_are_named_and_doubted() -> None:
    borrowed = {row.id: row.trees for row in ROWS if row.trees}
    # NVIDIA's Dockerfile end-of-life/9.2/ubuntu1804/base
    assert borrowed == {"cuda9.2-cudnn7.6-ubuntu18.04": {"cuda": "ubuntu1710", "machine-learning": "ubuntu1604"}}
    doubted = {row.id for row in ROWS if "not verified" in row.caution}
    assert set(borrowed) < doubted
    assert {row.id for row in ROWS if row.removed_tag and row.distribution in ("ubuntu14.04", "ubuntu16.04")} < doubted


@pytest.mark.parametrize(("parts", "tag"), TAGS.items(), ids=lambda one: one if isinstance(one, str) else "")
def test_the_four_tag_grammars(parts: tuple[str, str | None, str, str], tag: str) -> None:
    assert official_tag(*parts) == f"nvidia/cuda:{tag}"


@pytest.mark.parametrize(
    ("typed", "row"),
    [
        ("nvidia/cuda:9.0-cudnn7-devel-ubuntu16.04", "cuda9.0-cudnn7.6-ubuntu16.04"),
        ("8.0-cudnn6-runtime-ubuntu14.04", "cuda8.0-cudnn6.0-ubuntu14.04"),
        ("12.8.1-cudnn-devel-ubuntu24.04", "cuda12.8-cudnn9.8-ubuntu24.04"),
        ("11.2.0-devel-ubuntu18.04", "cuda11.2-cudnn8.1-ubuntu18.04"),
    ],
)
def test_a_tag_of_nvidias_leads_to_its_row(typed: str, row: str) -> None:
    found = matrix.like_tag(typed)
    assert found and found.id == row


def test_what_is_no_tag_or_has_no_row_leads_nowhere() -> None:
    assert matrix.like_tag("cuda11.8-cudnn8.7-debian12") is None
    assert matrix.like_tag("7.5-cudnn5-devel-ubuntu14.04") is None


def test_packages_and_wheels_of_a_debian_row() -> None:
    row = matrix.rows()["cuda11.8-cudnn8.7-debian12"]
    assert row.wheels == {"nvidia-cudnn-cu11": "8.7.0.84", "nvidia-nccl-cu11": "2.21.5"}
    assert row.apt_build["nvidia-cuda-toolkit"] == "11.8.89~11.8.0-5~deb12u1"
    assert set(row.apt_runtime) == {"libcudart11.0", "libcublas11", "libcurand10"}


def test_an_official_base_needs_nothing_installed_and_a_rebuilt_one_all() -> None:
    official, rebuilt = (matrix.rows()[f"cuda11.8-cudnn8.{minor}-ubuntu20.04"] for minor in (9, 7))
    assert official.apt_build == official.apt_runtime == official.wheels == {}
    assert rebuilt.apt_build["libcudnn8-dev"] == rebuilt.apt_runtime["libcudnn8"] == "8.7.0.84-1+cuda11.8"
    assert "cuda-minimal-build-11-8" in rebuilt.apt_build and "cuda-minimal-build-11-8" not in rebuilt.apt_runtime


def test_every_distribution_is_known() -> None:
    assert {row.distribution for row in ROWS} <= set(distributions())


def _changed(tmp_path: Path, old: str, new: str) -> Path:
    text = matrix.PATH.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "matrix.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "what", "mend"),
    [
        ("cudnn: '9.10'", "cudnn: 9.10", "].cudnn)", "quotes"),
        ("gcc: '10'", "gcc: 10", "].gcc)", "quotes"),
        ("  base: debian:bullseye", "  bsae: debian:bullseye", "bsae", "base"),
        ("- id: cpu-debian11", "- id: cpu-debian10", "rows[0].id", "write cpu-debian11"),
        ("- id: cpu-debian12", "- id: cpu-debian11", "rows[1].id", "write cpu-debian12"),
        ("base_kind: cpu", "base_kind: gpu", "rows[0].base_kind", ""),
        ("sources: {base: debian}", "sources: {base: debain}", "no source 'debain'", "did you mean debian?"),
    ],
)
def test_a_wrong_row_is_one_message_with_the_place(tmp_path: Path, old: str, new: str, what: str, mend: str) -> None:
    with pytest.raises(UsageError) as error:
        matrix.load(_changed(tmp_path, old, new))
    assert what in error.value.what
    assert mend in error.value.mend


def test_a_row_twice_is_refused(tmp_path: Path) -> None:
    text = matrix.PATH.read_text(encoding="utf-8")
    first = text[text.index("- id: cpu-debian11") : text.index("- id: cpu-debian12")]
    path = tmp_path / "matrix.yaml"
    path.write_text(text + first, encoding="utf-8")
    with pytest.raises(UsageError, match="cpu-debian11 is there twice"):
        matrix.load(path)


def test_no_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        matrix.load(tmp_path / "none.yaml")


def test_an_id_follows_from_the_row() -> None:
    row = msgspec.structs.replace(matrix.rows()["cpu-debian12"], cuda="11.8", cudnn="8.7")
    assert row.expected_id == "cuda11.8-cudnn8.7-debian12"


def test_every_check_that_a_stack_names_is_there() -> None:
    for stack in stacks.stacks().values():
        assert {*stack.checks, *stack.gpu_checks} <= set(CHECKS), stack.name
