"""What is said of a tree before a compiler runs: what is left of older interfaces, and what it needs beyond Caffe's."""

import json
import re
from pathlib import Path

import pytest

from images import compiles, dependencies
from images.compiles import Verdict, anchors, newest, verdicts
from images.context.source_tree import Tree
from images.versions import key
from tests.unit.test_image_commands import run
from tests.unit.test_patches_vintages import put

SOURCE = "src/caffe/layers/mine_layer.cpp"
TODAY = {"opencv": "4.10", "protobuf": "3.21", "python": "3.13", "gcc": "14", "cuda": "12.4", "cudnn": "9.1",
         "boost": "1.83"}  # fmt: skip
OLD = {
    "opencv": "2.4",
    "protobuf": "2.6",
    "python": "2.7",
    "gcc": "4.8",
    "cuda": "8.0",
    "cudnn": "5.1",
    "boost": "1.54",
}


def verdict(root: Path, library: str, versions: dict[str, str] | None = None) -> Verdict:
    [found] = [one for one in verdicts(Tree(root), versions or TODAY) if one.library == library]
    return found


@pytest.mark.parametrize(
    ("library", "code", "since"),
    [
        ("opencv", "x = CV_LOAD_IMAGE_COLOR;", "4"),
        ("opencv", "IplImage* image = 0;", "4"),
        ("opencv", "#include <opencv/cv.h>", "4"),
        ("opencv", "#include <opencv2/contrib/contrib.hpp>", "3"),
        ("protobuf", "in->SetTotalBytesLimit(most, 5);", "3.18"),
        ("cuda", "tex1Dfetch(t, i);", "12"),
        ("cuda", "static __device__ double atomicAdd(double* a, double b) {}", "8"),
        ("cuda", "cusparseScsrmm(h);", "11"),
        ("cudnn", "cudnnTensor4dDescriptor_t d;", "2"),
        ("cudnn", "cudnnSetFilter4dDescriptor(f, t, k, c, h, w);", "5"),
        ("cudnn", "cudnnSetPooling2dDescriptor(p, m, h, w, a, b, c, d);", "5"),
        ("cudnn", "cudnnActivationForward_v4(h);", "6"),
        ("cudnn", "cudnnConvolutionBackwardData_v3(h);", "6"),
        ("cudnn", "cudnnSetConvolution2dDescriptor(c, a, b, d, e, f, g, m);", "6"),
        ("cudnn", "cudnnGetConvolutionForwardAlgorithm(h, a);", "8"),
        ("gcc", "std::max(margin - sqrt(d), 0.0);", "6"),
    ],
)
def test_what_a_later_version_lacks_is_found_with_its_place(
    tmp_path: Path, library: str, code: str, since: str
) -> None:
    put(tmp_path, {SOURCE: f"// nothing\n{code}\n"})
    found = verdict(tmp_path, library)
    assert [(one.where, one.since) for one in found.left] == [(f"{SOURCE}:2", since)]
    assert not found.compiles and found.below == since
    put(tmp_path, {SOURCE: f"// {code}\n/* {code} */\n"})
    assert verdict(tmp_path, library).compiles


@pytest.mark.parametrize(
    "code",
    [
        "#if CUDNN_VERSION_MIN(6, 0, 0)\n#else\ncudnnSetConvolution2dDescriptor(c, a, b, d, e, f, g, m);\n#endif\n",
        "#if CV_MAJOR_VERSION < 3\nx = CV_LOAD_IMAGE_COLOR;\n#endif\n",
        "#if __CUDA_ARCH__ < 600\n__device__ double atomicAdd(double* a, double b) {}\n#endif\n",
        "#define CV_LOAD_IMAGE_COLOR cv::IMREAD_COLOR\n",
        "cudnnSetConvolution2dDescriptor(c, a, b, d, e, f, g, m CAFFE_COMPUTE_TYPE(t));\n",
        "cudnnSetPooling2dDescriptor(p, m, n, h, w, a, b, c, d);\n",
    ],
)
def test_code_for_another_version_does_not_count(tmp_path: Path, code: str) -> None:
    put(tmp_path, {SOURCE: code})
    assert all(one.compiles for one in verdicts(Tree(tmp_path), TODAY))


def test_old_code_is_right_for_old_libraries(tmp_path: Path) -> None:
    put(tmp_path, {SOURCE: "cudnnGetConvolutionForwardAlgorithm(h, a); in->SetTotalBytesLimit(a, 5);\n"})
    assert all(one.compiles for one in verdicts(Tree(tmp_path), OLD))
    assert not all(one.compiles for one in verdicts(Tree(tmp_path), None))


def test_without_cuda_nothing_is_said_of_it(tmp_path: Path) -> None:
    put(tmp_path, {SOURCE: "tex1Dfetch(t, i);\n"})
    cpu = {name: value for name, value in TODAY.items() if name not in ("cuda", "cudnn")}
    assert {"cuda", "cudnn"}.isdisjoint(one.library for one in verdicts(Tree(tmp_path), cpu))


@pytest.mark.parametrize(
    ("line", "since"),
    [("-gencode arch=compute_20,code=sm_20", "9"), ("-gencode arch=compute_35,code=sm_35", "12")],
)
def test_a_makefile_config_of_the_users_own_is_read(tmp_path: Path, line: str, since: str) -> None:
    put(tmp_path, {"Makefile.config": f"# CUDA_ARCH := -gencode arch=compute_30\nCUDA_ARCH := {line}\n", SOURCE: ""})
    [left] = verdict(tmp_path, "cuda").left
    assert (left.where, left.since) == ("Makefile.config:2", since)


def test_pycaffe_that_is_of_python_2_is_named(tmp_path: Path) -> None:
    put(tmp_path, {"python/caffe/a.py": "x = 1\nprint x\n", "python/caffe/b.py": "print(1)\n"})
    [left] = verdict(tmp_path, "python").left
    assert left.where == "python/caffe/a.py:2"


def test_many_places_are_counted_and_not_listed(tmp_path: Path) -> None:
    put(tmp_path, {SOURCE: "x = CV_AA;\n" * 20})
    assert [one.where for one in verdict(tmp_path, "opencv").left][3:] == ["and 17 more places"]


def test_each_anchor_names_a_library_that_is_shown_and_can_be_read() -> None:
    for anchor in anchors():
        assert anchor.library in compiles.NAMES
        assert bool(anchor.word) + bool(anchor.call) + bool(anchor.line) == 1, anchor
        re.compile(anchor.word or anchor.line)
    versioned = [anchor for anchor in anchors() if anchor.library != "cpu"]
    assert set(newest()) >= {anchor.library for anchor in versioned}
    assert all(key(str(newest()[one.library])) >= key(one.since)[:2] or one.since == "22" for one in versioned)


def test_a_build_without_cuda_reads_no_header_of_cudas(tmp_path: Path) -> None:
    guarded = "#ifndef CPU_ONLY\n#include <cuda_runtime.h>\n#endif\n#ifdef USE_CUDNN\n#include <cudnn.h>\n#endif\n"
    put(tmp_path, {"include/caffe/a.hpp": guarded, "src/caffe/b.cu": "#include <cuda.h>\n"})
    cpu = {name: value for name, value in TODAY.items() if name not in ("cuda", "cudnn")}
    assert verdict(tmp_path, "cpu", cpu).compiles
    put(tmp_path, {"include/caffe/a.hpp": "#include <nvml.h>\n"})
    assert [one.where for one in verdict(tmp_path, "cpu", cpu).left] == ["include/caffe/a.hpp:1"]
    assert "cpu" not in {one.library for one in verdicts(Tree(tmp_path), TODAY)}


def test_a_build_without_cuda_calls_nothing_of_cudas(tmp_path: Path) -> None:
    cpu = {name: value for name, value in TODAY.items() if name not in ("cuda", "cudnn")}
    declared = "template <typename D>\nvoid caffe_gpu_mine(D x);\n#ifndef CPU_ONLY\nCUDA_CHECK(f());\n#endif\n"
    put(tmp_path, {"include/caffe/a.hpp": declared, SOURCE: "// nothing\n  caffe_gpu_memcpy(n, a, b);\n",
                   "matlab/m.cpp": "cudaMemcpy(a, b);\n", "src/caffe/test/t.cpp": "cudaMemcpy(a, b);\n",
                   "src/caffe/b.cpp": "#ifdef USE_CUDA\ncudaMemcpy(a, b);\n#endif\n"})  # fmt: skip
    assert [one.where for one in verdict(tmp_path, "cpu", cpu).left] == [f"{SOURCE}:2"]
    put(tmp_path, {SOURCE: "x = CUDA_CHECK(cudaSetDevice(0));\n"})
    assert len(verdict(tmp_path, "cpu", cpu).left) == 2


def test_a_build_without_cuda_does_not_link_where_a_stub_is_missing(tmp_path: Path) -> None:
    header = "class MineLayer : public Layer<Dtype> {\n  virtual void Forward_gpu(const V& a);\n};\n"
    put(tmp_path, {"include/caffe/mine.hpp": header, SOURCE: "INSTANTIATE_CLASS(MineLayer);\n"})
    cpu = {name: value for name, value in TODAY.items() if name not in ("cuda", "cudnn")}
    [left] = verdict(tmp_path, "cpu", cpu).left
    assert (left.where, left.what) == (f"{SOURCE}:1", "MineLayer::Forward_gpu has no stub")
    put(tmp_path, {SOURCE: "STUB_GPU(MineLayer);\nINSTANTIATE_CLASS(MineLayer);\n"})
    [left] = verdict(tmp_path, "cpu", cpu).left
    assert left.what == "a stub of MineLayer that its class does not declare, or defines itself"
    put(tmp_path, {SOURCE: "STUB_GPU_FORWARD(MineLayer, Forward);\nINSTANTIATE_CLASS(MineLayer);\n"})
    assert verdict(tmp_path, "cpu", cpu).compiles


def test_a_module_of_python_may_have_an_encoding_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "python" / "caffe").mkdir(parents=True)
    (tmp_path / "python" / "caffe" / "a.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = 'caf\xe9'\n")
    (tmp_path / "python" / "caffe" / "b.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert verdict(tmp_path, "python").compiles
    (tmp_path / "python" / "caffe" / "a.py").write_bytes(b"x = 'caf\xe9'\n")
    assert [one.where for one in verdict(tmp_path, "python").left] == ["python/caffe/a.py:1"]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("for a in b.iteritems(): pass\n", ["iteritems"]),
        ("import six\nfor a in six.iteritems(b): pass\n", []),
        ("x = xrange(2)\n", ["xrange"]),
        ("try:\n    xrange\nexcept NameError:\n    xrange = range\nx = xrange(2)\n", []),
        ("from itertools import izip\n", ["izip"]),
        ("try:\n    from itertools import izip\nexcept ImportError:\n    izip = zip\n", []),
        ("from _caffe import Net\nimport cPickle\n", ["_caffe", "cPickle"]),
        ("from ._caffe import Net\n", []),
    ],
)
def test_what_python_3_has_no_more_is_named(tmp_path: Path, code: str, found: list[str]) -> None:
    put(tmp_path, {"python/caffe/a.py": code})
    assert [one.what for one in verdict(tmp_path, "python").left] == found


def test_a_header_that_the_build_leaves_out_is_not_needed(tmp_path: Path) -> None:
    put(tmp_path, {
        SOURCE: "#ifdef USE_NCCL\n#include <nccl.h>\n#endif\n#ifdef _WIN32\n#include <strange.h>\n#endif\n"
                "/*\n#include <matio.h>\n*/\n",
        "windows/main.cpp": "#include <stranger.h>\n",
    })  # fmt: skip
    tree = Tree(tmp_path)
    assert [one.name for one in dependencies.needs(tree)] == ["NCCL"]
    assert not dependencies.needs(tree, {"USE_NCCL": None})


def test_what_headers_of_others_in_the_tree_include_is_needed_where_the_tree_includes_them(tmp_path: Path) -> None:
    image = "#ifndef img_shown\n#define img_shown 1\n#endif\n#if img_shown == 1\n#include <X11/Xlib.h>\n#endif\n"
    image += '#ifdef img_png\n#include <png.h>\n#endif\n#include "inner.h"\n'
    put(tmp_path, {
        SOURCE: "#include <thirdparty/img/img.h>\n",
        "include/thirdparty/img/img.h": image,
        "include/thirdparty/img/inner.h": "#include <matio.h>\n",
        "include/thirdparty/other.h": "#include <mpi.h>\n",
    })  # fmt: skip
    found = {one.name: one.files for one in dependencies.needs(Tree(tmp_path))}
    assert found == {"X11": ("include/thirdparty/img/img.h",), "matio": ("include/thirdparty/img/inner.h",)}
    put(tmp_path, {"Makefile": "# -Dimg_shown=0\nifeq ($(A), 1)\nFLAGS += -Dimg_shown=0 -Dimg_png\nendif\n"})
    assert {one.name for one in dependencies.needs(Tree(tmp_path))} == {"X11", "matio", "JPEG, PNG, zlib"}
    put(tmp_path, {"Makefile": "FLAGS += -Dimg_shown=0 -DX\n"})
    assert {one.name for one in dependencies.needs(Tree(tmp_path))} == {"matio"}


def test_a_folder_of_windows_is_no_library(tmp_path: Path) -> None:
    put(tmp_path, {SOURCE: '#include "lmdb/lmdb.h"\n#include "caffe\\\\blob.hpp"\n#include "hdf5/serial/hdf5.h"\n'})
    [found] = dependencies.needs(Tree(tmp_path))
    assert "on Windows" in found.name and "without the folder" in found.note


def test_what_a_fork_adds_is_named_with_its_packages(tmp_path: Path) -> None:
    put(tmp_path, {
        SOURCE: '#include <matio.h>\n#include <vector>\n#include <nvml.h>\n#include "caffe/own.hpp"\n'
                '#include <opencv2/core/core.hpp>\n#include <boost/thread.hpp>\n#include "strange/thing.h"\n'
                '#include "caffe/gone.hpp"\n// #include <mpi.h>\n#include "caffe/proto/caffe.pb.h"\n',
        "include/caffe/own.hpp": "#include <cudnn.h>\n#include <stdint.h>\n#include <sys/stat.h>\n",
    })  # fmt: skip
    found = {one.name: one for one in dependencies.needs(Tree(tmp_path))}
    assert set(found) == {"matio", "NVML", "strange/thing.h", "caffe/gone.hpp"}
    assert found["matio"].note == "Debian: libmatio-dev; Ubuntu: the same"
    assert "cuda-nvml-dev" in found["NVML"].note and found["NVML"].files == (SOURCE,)
    assert found["caffe/gone.hpp"].note.startswith("the tree has no such file")
    assert "no library with that header" in found["strange/thing.h"].note


@pytest.mark.parametrize("name", dependencies.table().added)
def test_each_added_library_has_packages_or_says_that_there_are_none(name: str) -> None:
    library = dependencies.table().added[name]
    assert library.headers and library.debian
    for header in library.headers:
        re.compile(header)


def test_the_command_says_what_will_not_compile_and_its_exit_code_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, {SOURCE: "#include <matio.h>\ntex1Dfetch(t, i);\n", "Makefile.config": "BLAS := open\n"})
    assert run(["image", "patch", str(tmp_path), "--stack", "caffe", "--dry-run", "--json"]) == 12
    done = capsys.readouterr()
    found = {one["patch"]: one for one in json.loads(done.out)}
    assert found["check cuda"]["status"] == "will not compile"
    assert found["check cuda"]["files"] == [f"{SOURCE}:2"]
    assert found["check opencv"]["status"] == "nothing against it"
    assert found["needs matio"]["notes"] == ["Debian: libmatio-dev; Ubuntu: the same"]
    assert "Makefile.config is yours: it is read, and not changed" in found["tree"]["notes"]
    assert "will not compile with CUDA" in done.err
    assert run(["image", "patch", str(tmp_path), "--stack", "caffe", "--dry-run"]) == 12
    said = " ".join(capsys.readouterr().out.split())
    assert "texture references are gone" in said and "libmatio-dev" in said
