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
from infra import aptsources
from infra.errors import UsageError

# `ptxas --help` of NVIDIA's compiler wheels; before 11.7 JuliaGPU/CUDA.jl, compatibility.jl @fd1008df. First and last
# architecture, and those of them that a later release has not
PTXAS = {
    "8.0": (20, 62), "9.0": (30, 70), "9.2": (30, 72), "10.0": (30, 75), "10.1": (30, 75), "10.2": (30, 75),
    "11.0": (35, 80), "11.1": (35, 86), "11.2": (35, 86), "11.3": (35, 86), "11.4": (35, 87), "11.5": (35, 87),
    "11.6": (35, 87), "11.7": (35, 87), "11.8": (35, 90), "12.0": (50, 90), "12.1": (50, 90), "12.2": (50, 90),
    "12.3": (50, 90), "12.4": (50, 90), "12.5": (50, 90), "12.6": (50, 90), "12.8": (50, 120), "12.9": (50, 121),
    "13.0": (75, 121), "13.1": (75, 121), "13.2": (75, 121), "13.3": (75, 121), "13.4": (75, 121),
}  # fmt: skip
NOT_YET = {"12.8": {103}}

# crt/host_config.h of the compiler wheels from 11.7; before that Spack's cuda.py @1e8cf059
GCC = {
    "8.0": "5", "9.0": "6", "9.2": "7", "10.0": "7", "10.1": "8", "10.2": "8", "11.0": "9", "11.1": "10", "11.2": "10",
    "11.3": "10", "11.4": "11", "11.5": "11", "11.6": "11", "11.7": "11", "11.8": "11", "12.0": "12", "12.1": "12",
    "12.2": "12", "12.3": "12", "12.4": "13", "12.5": "13", "12.6": "13", "12.8": "14", "12.9": "14", "13.0": "15",
    "13.1": "15", "13.2": "15", "13.3": "15", "13.4": "16",
}  # fmt: skip

# NVIDIA's CUDA compatibility page; before 10.0 the driver table of the release notes
DRIVER = {"8.0": "375.26", "9.0": "384.81", "9.2": "396.26", "10.0": "410.48", "10.1": "418.39", "10.2": "440.33"}
DRIVER_OF_MAJOR = {11: "450.80.02", 12: "525.60.13", 13: "580"}

# the driver branch that came with each CUDA, by the table in its release notes: the first that knows it without help
NATIVE = {
    "11.0": "450", "11.1": "455", "11.2": "460", "11.3": "465", "11.4": "470", "11.5": "495", "11.6": "510",
    "11.7": "515", "11.8": "520", "12.0": "525", "12.1": "530", "12.2": "535", "12.3": "545", "12.4": "550",
    "12.5": "555", "12.6": "560", "12.8": "570", "12.9": "575", "13.0": "580", "13.1": "590", "13.2": "595",
    "13.3": "600",
}  # fmt: skip

# real code in libcudnn_ops of NVIDIA's wheels, by the first release that has it so
CUDNN = [
    ((8, 5), {35, 50, 60, 61, 70, 75, 80, 86}), ((8, 6), {35, 50, 60, 61, 70, 75, 80, 86, 90}),
    ((8, 8), {50, 60, 61, 70, 75, 80, 86, 90}), ((9, 6), {50, 60, 61, 70, 80, 90}),
    ((9, 7), {50, 60, 61, 70, 80, 90, 100, 120}), ((9, 11), {75, 80, 90, 100, 120}),
]  # fmt: skip

# NVIDIA's doc/supported-tags.md and unsupported-tags.md ("these tags still exist") of the summer of 2026: releases with
# -cudnn…-devel- and -runtime- images that no later one of the same CUDA replaces, and their Ubuntus
LISTED = {
    "11.0.3": "16.04 18.04 20.04", "11.1.1": "16.04 18.04 20.04", "11.2.2": "16.04 18.04 20.04",
    "11.3.1": "16.04 18.04 20.04", "11.4.3": "18.04 20.04", "11.5.2": "18.04 20.04", "11.6.2": "18.04 20.04",
    "11.7.1": "18.04 20.04 22.04", "11.8.0": "18.04 20.04 22.04", "12.0.1": "18.04 20.04 22.04",
    "12.1.1": "20.04 22.04", "12.2.2": "20.04 22.04", "12.3.2": "20.04 22.04", "12.4.1": "20.04 22.04",
    "12.5.1": "20.04 22.04", "12.6.3": "20.04 22.04 24.04", "12.8.1": "20.04 22.04 24.04",
    "12.9.2": "20.04 22.04 24.04", "13.0.3": "22.04 24.04", "13.1.2": "22.04 24.04", "13.2.1": "22.04 24.04",
    "13.3.1": "22.04 24.04 26.04",
}  # fmt: skip

# the month from which NVIDIA's rules (doc/support-policy.md) have tags deleted, by the first release that it holds for:
# half a year after the end in the chart container_tags.xlsx, which is that of R470 or of R535; or after a newer update
DELETED_FROM = {"11.0": "2024-01", "11.4": "2025-01", "12.2": "2026-12", "12.8": "2026-11", "12.9": None}

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
OFFICIAL = [row for row in CUDA if row.base_kind == "official"]
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


def test_all_rows_of_a_cuda_major_need_the_same_driver_from_11_on() -> None:
    needed: dict[int, set[str | None]] = {}
    for row in (row for row in ROWS if key(row.cuda or "0") >= (11,)):
        needed.setdefault(key(row.cuda or "")[0], set()).add(row.driver_min)
    assert needed == {11: {"450.80.02"}, 12: {"525.60.13"}, 13: {"580"}}


@pytest.mark.parametrize("row", [row for row in ROWS if row.base_kind == "official"], ids=lambda row: row.id)
def test_an_official_base_says_which_drivers_it_lets_in(row: Variant) -> None:
    takes = row.accepts
    assert takes and takes.compat and takes.source.split(" + ")[0] == "dockerfiles"
    # NVIDIA's images of 11.3 let in every driver from R450 on, beside those that know CUDA 11.3
    assert takes.native == ("450" if row.cuda == "11.3" else NATIVE[str(row.cuda)])
    assert set(takes.geforce) <= set(takes.rtx) <= set(takes.tesla)
    assert all(key(one) < key(takes.native) for one in takes.tesla)


def test_only_an_official_base_lets_drivers_in_by_branch() -> None:
    assert all(row.accepts is None for row in ROWS if row.base_kind != "official")


def test_games_cards_need_the_driver_of_the_cuda_from_12_5_on() -> None:
    for row in ROWS:
        if row.accepts and key(str(row.cuda)) >= (12, 5):
            assert row.accepts.rtx == row.accepts.tesla and not row.accepts.geforce


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


@pytest.mark.parametrize("row", OFFICIAL, ids=lambda row: row.id)
def test_a_base_says_from_when_nvidias_rules_have_it_deleted(row: Variant) -> None:
    month = [month for since, month in DELETED_FROM.items() if key(since) <= key(str(row.release))][-1]
    assert row.deleted_from == month
    assert row.status == ("overdue" if month else "listed")
    listed = "NVIDIA listed this base in the summer of 2026; by its rules it may be deleted from"
    assert row.caution == (f"{listed} {month} on" if month else "")


@pytest.mark.parametrize("row", OFFICIAL, ids=lambda row: row.id)
def test_a_base_that_may_be_deleted_has_a_twin_with_the_very_same_versions(row: Variant) -> None:
    twin = row.twin
    assert (twin is None) == (row.status == "listed")
    if twin:
        assert matrix.rows()[f"{row.id}-apt"] == twin and twin.expected_id == twin.id
        assert twin.base == twin.base_runtime == row.distribution.replace("ubuntu", "ubuntu:")
        assert (twin.base_kind, twin.status, twin.twin_of, twin.twin) == ("nvidia-apt", "rebuilt-here", row.id, None)
        assert row.pins.items() <= twin.pins.items()
        alike = ("distribution", "cuda", "release", "cudnn", "nccl", "gcc", "architectures", "driver_min")
        assert all(getattr(twin, fact) == getattr(row, fact) for fact in alike)
        assert twin.removed_tag is None, "its tag is not known to be gone"


def apt_runtime(row: matrix.Variant) -> dict[str, str]:
    """What apt installs into the image itself."""
    return {name: version for name, version in row.apt_build.items() if name in row.runtime}


def test_a_twin_installs_the_toolkit_to_build_and_only_libraries_to_run() -> None:
    twin = matrix.rows()["cuda12.4-cudnn9.1-ubuntu22.04-apt"]
    assert apt_runtime(twin) == {
        "cuda-cudart-12-4": "12.4.127-1", "cuda-libraries-12-4": "12.4.1-1", "libcublas-12-4": "12.4.5.8-1",
        "libcudnn9-cuda-12": "9.1.0.70-1", "libnccl2": "2.21.5-1+cuda12.4",
    }  # fmt: skip
    assert twin.apt_build["cuda-minimal-build-12-4"] == "12.4.1-1"
    assert twin.apt_build["libcudnn9-headers-cuda-12"] == twin.apt_build["libcudnn9-dev-cuda-12"] == "9.1.0.70-1"


def test_nvidias_own_registry_has_the_same_tags() -> None:
    row = matrix.rows()["cuda12.9-cudnn9.10-ubuntu22.04"]
    assert row.second_base == "nvcr.io/nvidia/cuda:12.9.2-cudnn-devel-ubuntu22.04"
    assert matrix.rows()["cpu-debian12"].second_base is None


def test_packages_out_of_another_releases_tree_are_named_and_doubted() -> None:
    borrowed = {row.id: row.trees for row in ROWS if row.trees}
    # NVIDIA's Dockerfile end-of-life/9.2/ubuntu1804/base
    assert borrowed == {"cuda9.2-cudnn7.6-ubuntu18.04": {"cuda": "ubuntu1710", "machine-learning": "ubuntu1604"}}
    doubted = {row.id for row in ROWS if "not verified" in row.caution}
    assert set(borrowed) < doubted
    assert {row.id for row in ROWS if row.removed_tag and row.distribution in ("ubuntu14.04", "ubuntu16.04")} < doubted
    assert {row.id for row in ROWS if row.twin_of and row.distribution == "ubuntu16.04"} < doubted
    assert {"cuda13.4-cudnn9.26-ubuntu24.04", "cuda11.3-cudnn8.2-debian11"} < doubted


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
        ("13.3.1-cudnn-devel-ubuntu26.04", "cuda13.3-cudnn9.24-ubuntu26.04"),
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
    assert set(apt_runtime(row)) == {"libcudart11.0", "libcublas11", "libcurand10"}


def test_an_official_base_needs_nothing_installed_and_a_rebuilt_one_all() -> None:
    official, rebuilt = (matrix.rows()[f"cuda11.8-cudnn8.{minor}-ubuntu20.04"] for minor in (9, 7))
    assert official.apt_build == official.wheels == {}
    assert rebuilt.apt_build["libcudnn8-dev"] == apt_runtime(rebuilt)["libcudnn8"] == "8.7.0.84-1+cuda11.8"
    assert "cuda-minimal-build-11-8" in rebuilt.apt_build and "cuda-minimal-build-11-8" not in apt_runtime(rebuilt)


def test_every_distribution_is_known() -> None:
    assert {row.distribution for row in ROWS} <= set(distributions())


def test_a_snapshots_day_is_the_last_of_the_release() -> None:
    """infra cannot import images, so Debian's days are in both."""
    last = {one.codename: one.end_of_life.replace("-", "") for name, one in distributions().items() if "debian" in name}
    assert len(last) > 2 and {name: aptsources.LAST_DAY[name] for name in last} == last


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
        ("source: dockerfiles}", "source: dockerfile}", "].sources.accepts)", "did you mean dockerfiles?"),
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
    assert msgspec.structs.replace(row, twin_of="its-tag").expected_id == "cuda11.8-cudnn8.7-debian12-apt"


def test_every_check_that_a_stack_names_is_there() -> None:
    for stack in stacks.stacks().values():
        assert {*stack.checks, *stack.gpu_checks} <= set(CHECKS), stack.name
