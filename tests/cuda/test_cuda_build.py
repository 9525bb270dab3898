"""Caffe compiled and linked for GPUs, for real and without a GPU: Debian's CUDA 11.8 with cuDNN 8.7 and NCCL.

Half an hour on two cores the first time, minutes with the compiler's cache: `tox -e cuda`, not in the default run.
It goes up to the stage `devel`, for a K80, a V100 and an H100, from Debian's source package. Nothing runs on a GPU.
"""

import json
import re
from pathlib import Path

import pytest

from images.build import Image, Order, build, build_context, existing
from images.choose import parse
from images.render import render
from images.source import resolve
from infra import buildx
from infra.shell import LocalShell
from provision.settings import cache_home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]
SHELL = LocalShell()
ROW = "cuda11.8-cudnn8.7-debian12"
PREFIX = Path("/opt/caffe")
VERSIONS = {"cuda": "11.8", "cublas": "11.11", "cudnn": "8.7", "nccl": "2.21"}


def inside(image: Image, *words: str) -> str:
    """What a program prints in a container of the image: no network, no GPU, a user that it does not know."""
    result = SHELL.run(buildx.run_words(image.tag, words, user="12345:12345"), check=False)
    assert result.ok, result.err
    return result.out


@pytest.fixture(scope="module")
def caffe() -> Image:
    target = parse(f"caffe:{ROW}@K80,V100,H100")
    source = resolve(target.stack, cache_home() / "sources", debian=True, shell=SHELL, on_line=print)
    order = Order(source, "devel")
    context = render(target)
    return existing(context, SHELL, order) or build_context(context, SHELL, print, order)


@pytest.fixture(scope="module")
def cuda() -> Image:
    return build(parse(f"cuda:{ROW}"), SHELL, print)


def needed(image: Image, path: Path) -> set[str]:
    return set(re.findall(r"NEEDED +(\S+)", inside(image, "objdump", "-p", str(path))))


def test_the_library_holds_code_for_the_gpus_asked_for_and_no_other(caffe: Image) -> None:
    library = str(PREFIX / "lib/libcaffe.so")
    code = re.findall(r"\.(sm_\d+)\.cubin", inside(caffe, "cuobjdump", "--list-elf", library))
    assert set(code) == {"sm_37", "sm_70", "sm_90"}
    assert {code.count(one) for one in set(code)} == {len(code) // 3}, "some sources lack code for a GPU"
    assert len(code) // 3 > 50, "Caffe has more than fifty sources for GPUs"
    forward = re.findall(r"\.(sm_\d+)\.ptx", inside(caffe, "cuobjdump", "--list-ptx", library))
    assert set(forward) == {"sm_90"}, "PTX of the newest, for GPUs to come"


def test_the_library_links_cudnn_and_nccl(caffe: Image) -> None:
    assert needed(caffe, PREFIX / "lib/libcaffe.so") >= {
        "libcudart.so.11.0", "libcublas.so.11", "libcurand.so.10", "libcudnn.so.8", "libnccl.so.2",
    }  # fmt: skip
    symbols = inside(caffe, "nm", "-D", str(PREFIX / "lib/libcaffe.so"))
    for name in ("cudnnConvolutionForward", "cudnnConvolutionBackwardFilter", "cudnnSoftmaxForward", "ncclAllReduce"):
        assert re.search(rf" U {name}\b", symbols), f"compiled without {name}"


def test_every_library_is_found_and_the_driver_is_left_to_the_host(caffe: Image) -> None:
    found = inside(
        caffe, "sh", "-c", f"ldd {PREFIX}/bin/caffe {PREFIX}/lib/libcaffe.so {PREFIX}/python/caffe/_caffe.so"
    )
    assert "not found" not in found
    assert "libcuda.so" not in inside(caffe, "ldconfig", "-p"), (
        "a driver's library in the image would not fit the host's"
    )


def test_it_starts_without_a_gpu_and_says_that_there_is_none(caffe: Image) -> None:
    assert "caffe version" in inside(caffe, "caffe", "--version")
    assert "loaded" in inside(caffe, "python3", "-c", "import caffe; caffe.set_mode_cpu(); print('loaded')")
    asked = SHELL.run(buildx.run_words(caffe.tag, ["caffe", "device_query", "-gpu", "0"]), check=False)
    assert not asked.ok
    assert re.search("no CUDA-capable device|driver version is insufficient", asked.out + asked.err)


def test_caffe_with_its_compiler_stays_below_seven_gigabytes(caffe: Image) -> None:
    assert caffe.size < 7e9


def test_the_bare_base_finds_the_libraries_of_the_row(cuda: Image) -> None:
    assert json.loads(inside(cuda, "cuda-check")) == VERSIONS
    assert "libcuda.so" not in inside(cuda, "ldconfig", "-p")
    assert cuda.size < 2.6e9, "the toolkit has no place in the image that only runs"


def test_the_bare_base_says_what_is_missing_where_there_is_no_gpu(cuda: Image) -> None:
    asked = SHELL.run(buildx.run_words(cuda.tag, ["cuda-check", "run"]), check=False)
    assert asked.code == 1
    assert "cudaGetDeviceCount" in asked.err
