"""GPUs and AWS types: what others measured, and wrong words and files refused with one message."""

from pathlib import Path

import pytest

from images import gpus
from infra.errors import UsageError

# AWS's own description of the types, as moto 5.2.5 and 5.0.10 copy it: GPU, count, MiB a GPU
AWS = {
    "p2.xlarge": ("K80", 1, 12288), "p3.8xlarge": ("V100", 4, 16384), "p3dn.24xlarge": ("V100", 8, 32768),
    "g4dn.12xlarge": ("T4", 4, 16384), "g5.12xlarge": ("A10G", 4, 22888), "g6.12xlarge": ("L4", 4, 22888),
    "p4d.24xlarge": ("A100", 8, 40960), "p5.48xlarge": ("H100", 8, 81920), "p6-b200.48xlarge": ("B200", 8, 183359),
}  # fmt: skip

# compute capabilities of NVIDIA's table (developer.nvidia.com/cuda-gpus)
SM = {"K80": 37, "M60": 52, "P100": 60, "V100": 70, "T4": 75, "A100": 80, "A10G": 86, "L4": 89, "H100": 90, "B200": 100}


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
