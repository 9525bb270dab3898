"""The matrix against the files themselves: what NVIDIA's ptxas makes code for, which gcc its headers take, and for
which architectures its cuDNN libraries hold code."""

import re
import subprocess
from functools import cache

import pytest

from images.gpus import gpus
from images.matrix import Variant, rows
from images.stacks import stacks
from images.versions import key
from tests.facts import wheels

pytestmark = pytest.mark.facts

KNOWN = {key(one.sm)[0] for one in gpus().values()}
ONCE = [row for row in rows().values() if not row.twin_of]  # a twin has its row's facts
WITH_COMPILER = [row for row in ONCE if row.cuda and key(row.cuda) >= (11, 7) and row.gcc]
WITH_CUDNN = [row for row in ONCE if row.cudnn_release and key(row.cudnn_release) >= (8, 5)]


def _sm(row: Variant) -> set[int]:
    return {key(one)[0] for one in row.architectures}


@cache
def _compiler(cuda: str) -> tuple[set[int], str]:
    """What ptxas of this CUDA knows, and the newest gcc that its headers take."""
    package = "nvidia-cuda-nvcc" + {11: "-cu11", 12: "-cu12", 13: ""}[key(cuda)[0]]
    newest = max((one for one in wheels.versions(package) if key(one)[:2] == key(cuda)), key=key)
    folder = wheels.unpacked(package, newest)
    (ptxas,) = folder.glob("**/bin/ptxas")
    ptxas.chmod(0o755)
    said = subprocess.run([ptxas, "--help"], capture_output=True, text=True, check=True).stdout
    if key(cuda) >= (13,):  # since then the headers have a wheel of their own
        folder = wheels.unpacked("nvidia-cuda-crt", newest)
    (header,) = folder.glob("**/crt/host_config.h")
    limit = re.search(r"#if __GNUC__ > (\d+)", header.read_text(encoding="utf-8", errors="replace"))
    assert limit
    return {int(one) for one in re.findall(r"'sm_(\d+)'", said)}, limit[1]


@cache
def _cudnn_serves(cuda: str, version: str) -> set[int]:
    """Known architectures that run the code in this cuDNN."""
    # 8.x for CUDA 10.2 was never a wheel: the one for CUDA 11 stands in, and its CUDA limits what is asked
    package = f"nvidia-cudnn-cu{max(11, key(cuda)[0])}"
    if version not in wheels.versions(package):
        pytest.skip(f"{package} {version} was never published as a wheel")
    library = "libcudnn_ops" if key(version) >= (9,) else "libcudnn_ops_infer"
    return _served(wheels.gpu_code(package, version, library))


def _served(code: set[int]) -> set[int]:
    """Known architectures that run this code: the same major, and no older minor."""
    return {sm for sm in KNOWN if any(one // 10 == sm // 10 and one <= sm for one in code)}


@pytest.mark.parametrize("row", WITH_COMPILER, ids=lambda row: row.id)
def test_nvcc_can_make_the_rows_code_and_takes_its_gcc(row: Variant) -> None:
    known, gcc = _compiler(str(row.cuda))
    assert _sm(row) <= known
    assert row.gcc == gcc


@pytest.mark.parametrize("row", WITH_CUDNN, ids=lambda row: row.id)
def test_a_row_serves_the_gpus_that_both_its_cudnn_and_its_cuda_serve(row: Variant) -> None:
    served = _cudnn_serves(str(row.cuda), str(row.cudnn_release))
    assert _sm(row) <= served
    if row in WITH_COMPILER:
        assert _sm(row) == served & _compiler(str(row.cuda))[0]


@pytest.mark.parametrize("row", [row for row in rows().values() if row.base_kind == "debian-cuda"], ids=lambda r: r.id)
def test_the_wheels_of_a_row_are_published(row: Variant) -> None:
    assert row.wheels
    for package, version in row.wheels.items():
        assert version in wheels.versions(package)


@pytest.mark.parametrize("name", [name for name in stacks()["detectron"].rows if name.startswith("cuda")])
def test_torchs_wheel_has_caffe2_with_code_for_the_rows_gpus(name: str) -> None:
    row = rows()[name]
    index = [f"--extra-index-url={row.index}"] if row.index else []
    python = ["--python-version=3.9", "--implementation=cp", "--abi=cp39", "--platform=linux_x86_64"]
    version = row.pins.get("torch", stacks()["detectron"].packages["torch"])
    if row.index and not wheels.there(row.index):
        pytest.skip(f"{row.index} cannot be reached")
    code = wheels.gpu_code("torch", version, "libcaffe2_detectron_ops_gpu", *index, *python)
    assert _served(code) == _sm(row)
