"""Patches on trees that are laid out otherwise, and on those that builds without CUDA read."""

import re
from pathlib import Path

import pytest

from images import patches as p
from images.context.apply_patches import CHANGED, SKIPPED
from infra.errors import UsageError
from tests.unit.test_patches_vintages import BASE, OF_2016, apply, put

# ---- layouts


def test_caffe_in_a_subfolder_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "external" / "caffe-fast-rcnn"
    put(inner, OF_2016 | {"src/caffe/proto/caffe.proto": "syntax = 'proto2';\n"})
    put(tmp_path, {"Makefile": "all:\n", "lib/setup.py": "x = 1\n"})
    report = p.apply_to(tmp_path, [p.patches()["column-buffer"]])
    assert report.tree.root == inner and report.results[0].status == CHANGED


def test_of_several_caffes_one_has_to_be_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        put(tmp_path / name, {"src/caffe/proto/caffe.proto": "syntax = 'proto2';\n"})
    with pytest.raises(UsageError, match="holds several trees of Caffe") as caught:
        p.apply_to(tmp_path, [p.patches()["column-buffer"]])
    assert caught.value.mend == f"name one of them, such as {tmp_path / 'one'}"


def test_a_folder_without_caffe_is_named_and_submodules_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no Caffe: no src/caffe/proto/") as caught:
        p.apply_to(tmp_path, p.select("caffe", None))
    assert "submodule" not in caught.value.mend
    place = tmp_path / "of mine"
    put(place, {".gitmodules": "[submodule 'caffe']\n", "caffe/.keep": ""})
    with pytest.raises(UsageError, match="holds no Caffe") as caught:
        p.apply_to(place, p.select("caffe", None))
    assert f"git -C '{place}' submodule update --init" in caught.value.mend


def test_a_file_with_crlf_is_patched_and_keeps_them(tmp_path: Path) -> None:
    put(tmp_path, OF_2016)
    (tmp_path / BASE).write_bytes(OF_2016[BASE].replace("\n", "\r\n").encode())
    [result] = (report := p.apply_to(tmp_path, [p.patches()["column-buffer"]])).results
    assert result.status == CHANGED and report.tree.with_crlf == [BASE]
    text = (tmp_path / BASE).read_bytes()
    assert b"ColumnBuffer<Dtype> col_buffer_;\r\n" in text and text.count(b"\n") == text.count(b"\r\n")


# ---- builds for the CPU alone

ALTERNATE = {"include/caffe/util/device_alternate.hpp": "#ifdef CPU_ONLY\n#else\n#include <cublas_v2.h>\n#endif\n"}


def test_cudas_headers_are_left_to_builds_with_cuda(tmp_path: Path) -> None:
    name = "src/caffe/layers/mine_layer.cpp"
    put(tmp_path, ALTERNATE | {name: "#include <vector>\n#include <cuda_profiler_api.h>\nint x;\n",
                               "src/caffe/layers/mine_layer.cu": "#include <cuda_runtime.h>\n"})  # fmt: skip
    assert apply(tmp_path, "cpu-only").files == [name]
    guarded = "#include <vector>\n#ifndef CPU_ONLY\n#include <cuda_profiler_api.h>\n#endif\nint x;\n"
    assert (tmp_path / name).read_text() == guarded


def test_a_stub_for_missing_gpus_stands_once(tmp_path: Path) -> None:
    name = "src/caffe/layers/mine_layer.cpp"
    stubs = "#ifdef CPU_ONLY\nSTUB_GPU(MineLayer);\n#endif\n"
    put(tmp_path, ALTERNATE | {name: stubs + stubs})
    apply(tmp_path, "cpu-only")
    assert re.findall(r"(?m)^STUB_GPU", (tmp_path / name).read_text()) == ["STUB_GPU"]


HEADER = "include/caffe/layers/mine_layer.hpp"
MINE = "src/caffe/layers/mine_layer.cpp"
MADE = "INSTANTIATE_CLASS(MineLayer);\n"
FORWARD = "void Forward_gpu(const V& a, const V& b)"
BACKWARD = "void Backward_gpu(const V& a, const B& c, const V& b)"


def layer(*members: str) -> dict[str, str]:
    """A header with such a layer, and the file that it is about."""
    body = "".join(f"  virtual {one}\n" for one in members)
    return ALTERNATE | {HEADER: f"template <typename Dtype>\nclass MineLayer : public Layer<Dtype> {{\n{body}}};\n"}


@pytest.mark.parametrize(
    ("members", "stub", "said"),
    [
        ([FORWARD + ";", BACKWARD + ";"], "STUB_GPU(MineLayer)", ["STUB_GPU(MineLayer)"]),
        ([FORWARD + ";", BACKWARD + " { NOT_IMPLEMENTED; }"], "STUB_GPU(MineLayer)",
         ["STUB_GPU_FORWARD(MineLayer, Forward)"]),
        ([FORWARD + " { this->Backward_gpu(a, c, b); }", BACKWARD + ";"], "STUB_GPU(MineLayer)",
         ["STUB_GPU_BACKWARD(MineLayer, Backward)"]),
        ([BACKWARD + " {}"], "STUB_GPU_FORWARD(MineLayer, Forward)", []),
        (["void Forward_cpu(const V& a);"], "STUB_GPU(MineLayer)", []),
        ([FORWARD + " override;"], "STUB_GPU(MineLayer)", ["STUB_GPU_FORWARD(MineLayer, Forward)"]),
    ],
)  # fmt: skip
def test_a_stub_is_what_the_class_declares(tmp_path: Path, members: list[str], stub: str, said: list[str]) -> None:
    put(tmp_path, layer(*members) | {MINE: f"#ifdef CPU_ONLY\n{stub};\n#endif\n{MADE}"})
    apply(tmp_path, "cpu-only")
    assert re.findall(r"(?m)^STUB_GPU[^;]*", (tmp_path / MINE).read_text()) == said


@pytest.mark.parametrize("there", ["", "#ifdef CPU_ONLY\nSTUB_GPU_BACKWARD(MineLayer, Backward);\n#endif\n"])
def test_a_layer_whose_stub_was_forgotten_gets_one(tmp_path: Path, there: str) -> None:
    put(tmp_path, layer(FORWARD + ";", BACKWARD + ";") | {MINE: there + MADE})
    assert apply(tmp_path, "cpu-only").files == [MINE]
    stub = "STUB_GPU_FORWARD(MineLayer, Forward);" if there else "STUB_GPU(MineLayer);"
    assert f"#ifdef CPU_ONLY\n{stub}  // as its class declares\n#endif\n{MADE}" in (tmp_path / MINE).read_text()


@pytest.mark.parametrize(
    "code",
    [
        f"#ifdef CPU_ONLY\ntemplate <typename D> void MineLayer<D>::{FORWARD[5:]} {{ }}\n#endif\n"
        "#ifdef CPU_ONLY\nSTUB_GPU_BACKWARD(MineLayer, Backward);\n#endif\n" + MADE,
        "#ifdef USE_CUDNN\n" + MADE + "#endif\n",
        "#ifndef CPU_ONLY\nSTUB_GPU(MineLayer);\nSTUB_GPU(MineLayer);\n" + MADE + "#endif\n",
        "#define TWICE(X) \\\n  STUB_GPU(X); \\\n  STUB_GPU(X);\n",
    ],
)
def test_stubs_that_are_right_stay(tmp_path: Path, code: str) -> None:
    put(tmp_path, layer(FORWARD + ";", BACKWARD + ";") | {MINE: code})
    assert apply(tmp_path, "cpu-only").status == SKIPPED


def test_a_class_that_two_headers_declare_otherwise_is_left_alone(tmp_path: Path) -> None:
    other = layer(FORWARD + ";")[HEADER]
    put(tmp_path, layer(FORWARD + ";", BACKWARD + " {}") | {"examples/mine.hpp": other, MINE: "STUB_GPU(MineLayer);\n"})
    assert apply(tmp_path, "cpu-only").status == SKIPPED


def test_a_fork_of_before_builds_for_the_cpu_is_left_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, {"include/caffe/common.hpp": "#include <cublas_v2.h>\n"})
    result = apply(tmp_path, "cpu-only")
    assert result.status == SKIPPED and "no builds for the CPU alone" in result.notes[0]


def test_a_fork_without_builds_for_the_cpu_is_left_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, {"include/caffe/util/device_alternate.hpp": "#include <cublas_v2.h>\n"})
    result = apply(tmp_path, "cpu-only")
    assert result.status == SKIPPED and "no builds for the CPU alone" in result.notes[0]
