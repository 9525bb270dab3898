"""GPUs and AWS types: what others measured, and wrong words and files refused with one message."""

from pathlib import Path

import pytest

from images import gpus
from images.versions import key
from infra.errors import UsageError

# AWS's own description of the types, as moto 5.2.5 and 5.0.10 copy it: GPU, count, MiB a GPU
AWS = {
    "p2.xlarge": ("K80", 1, 12288), "p3.8xlarge": ("V100", 4, 16384), "p3dn.24xlarge": ("V100", 8, 32768),
    "g4dn.12xlarge": ("T4", 4, 16384), "g5.12xlarge": ("A10G", 4, 22888), "g6.12xlarge": ("L4", 4, 22888),
    "g6f.large": ("L4", 1, 2861), "g7.12xlarge": ("RTXPRO4500", 2, 32768), "g7e.48xlarge": ("RTXPRO6000", 8, 98304),
    "p4d.24xlarge": ("A100", 8, 40960), "p5.48xlarge": ("H100", 8, 81920), "p6-b200.48xlarge": ("B200", 8, 183359),
}  # fmt: skip

# compute capabilities of NVIDIA's table (developer.nvidia.com/cuda-gpus)
SM = {
    "K80": 37, "M60": 52, "P100": 60, "V100": 70, "T4": 75, "A100": 80, "A10G": 86, "L4": 89, "H100": 90, "B200": 100,
    "A30": 80, "A2": 86, "A40": 86, "RTXA6000": 86, "RTX2080Ti": 75, "RTX4060": 89, "L40": 89, "RTXPRO6000": 120,
}  # fmt: skip


@pytest.mark.parametrize("name", AWS)
def test_a_type_has_the_gpus_that_aws_says(name: str) -> None:
    found = gpus.aws_type(name)
    assert (found.gpu, found.count, found.gpu_mib) == AWS[name]


def test_gpus_have_the_architecture_that_nvidia_says() -> None:
    assert {name: gpus.gpu(name).sm for name in SM} == {name: f"sm_{number}" for name, number in SM.items()}


def test_what_aws_no_longer_rents_is_known_and_said() -> None:
    gone = {name.split(".")[0] for name, one in gpus.aws_types().items() if not one.listed}
    assert gone == {"p2", "g3", "g3s", "p3"}


def test_where_old_gpus_end() -> None:
    ends = {name: (one.cuda_last, one.cudnn_last, one.driver_last) for name, one in gpus.gpus().items()}
    assert ends["K80"] == ("11.8", "8.7", "470")
    assert ends["M60"] == ends["P100"] == ends["V100"] == ("12.9", "9.10", "580")
    assert ends["T4"] == ends["H100"] == (None, None, None)


def test_a_gpu_is_found_however_it_is_typed() -> None:
    assert gpus.gpu("v100").name == "V100"
    with pytest.raises(UsageError) as error:
        gpus.gpu("V10")
    assert "'V10' is no GPU" in error.value.what and "V100" in error.value.mend


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("NVIDIA A10G", "A10G"), ("Tesla T4", "T4"), ("Tesla V100-SXM2-16GB", "V100"), ("Tesla K80", "K80"),
        ("NVIDIA GeForce RTX 3090", "RTX3090"), ("NVIDIA GeForce RTX 2080 Ti", "RTX2080Ti"),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", "RTX4060"), ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA B300 SXM6 AC", "B300"), ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4-3Q", "L4"), ("NVIDIA RTX A6000", "RTXA6000"), ("Quadro RTX 6000", "RTX6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX6000Ada"), ("RTX PRO Server 6000", "RTXPRO6000"),
        ("NVIDIA RTX PRO 4500 Blackwell Server Edition", "RTXPRO4500"),
    ],
)  # fmt: skip
def test_what_nvidia_smi_and_aws_print_is_understood(printed: str, name: str) -> None:
    assert gpus.gpu(printed).name == name


@pytest.mark.parametrize("typed", ["sm_86", "8.6", "compute_86"])
def test_an_architecture_stands_for_any_gpu_that_has_it(typed: str) -> None:
    found = gpus.gpu(typed)
    assert (found.name, found.sm, found.brand, found.driver_last) == ("sm_86", "sm_86", "tesla", None)


@pytest.mark.parametrize(
    "typed", ["sm_87", "T4G", "A1000", "V10", "NVIDIA", "", "A100 B200", "T4,B200", "T4 sm_80", "V100 RTX 4090"]
)
def test_what_is_only_like_a_gpu_is_none(typed: str) -> None:
    with pytest.raises(UsageError, match="is no GPU that is known here"):
        gpus.gpu(typed)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("g5g.xlarge", "has ARM processors (arm64), and the images here are linux/amd64"),
        ("p6e-gb200.36xlarge", "arm64"), ("g4ad.xlarge", "AMD's GPUs"), ("dl1.24xlarge", "Gaudi"),
        ("trn1.2xlarge", "Trainium"), ("inf2.xlarge", "Inferentia"),
    ],
)  # fmt: skip
def test_a_type_that_no_image_is_for_is_refused_with_the_true_reason(kind: str, why: str) -> None:
    with pytest.raises(UsageError) as error:
        gpus.aws_type(kind)
    assert error.value.what.startswith(f"{kind} has ") and why in error.value.what
    assert error.value.mend.endswith("g4dn.xlarge")


def test_no_type_with_a_gpu_of_ours_is_a_stranger() -> None:
    assert not [name for name in gpus.aws_types() if gpus.stranger(name)]


def test_drivers_that_know_a_gpu_have_a_first_before_the_last() -> None:
    for one in gpus.gpus().values():
        assert one.driver_last is None or key(one.driver_first) < key(one.driver_last)


def test_code_that_a_gpu_runs_is_of_its_major_and_no_newer_than_it() -> None:
    assert gpus.code_for(gpus.gpu("L4"), ["sm_80", "sm_86", "sm_90"]) == "sm_86"
    assert gpus.code_for(gpus.gpu("B300"), ["sm_90", "sm_100", "sm_120"]) == "sm_100"
    assert gpus.code_for(gpus.gpu("RTX5090"), ["sm_100"]) is None
    assert gpus.code_for(gpus.gpu("A100"), ["sm_86"]) is None


def test_a_type_that_aws_does_not_have_names_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        gpus.aws_type("p3.9xlarge")
    assert "p3.8xlarge" in error.value.mend


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sm: sm_37,", "sm: 37,", "gpus[...].sm"),
        ("cudnn_last: '9.10'", "cudnn_last: 9.10", "quotes"),
        ("gpu: K80,", "gpu: K8O,", "'K8O' is no GPU"),
        ("family: Kepler", "familiy: Kepler", "familiy"),
        ("source: minor", "source: minr", "no source 'minr'"),
        ("brand: geforce", "brand: gforce", "gpus[...].brand"),
    ],
)
def test_a_wrong_file_is_one_message(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = gpus.PATH.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "gpus.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UsageError) as error:
        gpus.load(path)
    assert said in str(error.value)
