"""Patches as data: which are chosen for which versions; that each applies to what it is for, and only once."""

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from images import patches as p
from images import steps
from images.context.apply_patches import ALREADY, CHANGED, FAILED
from images.distributions import distributions
from images.matrix import rows
from images.stacks import stacks
from images.target import Target
from infra.errors import UsageError

NEW = {
    "opencv": "4.6",
    "protobuf": "3.21.12",
    "python": "3.11",
    "gcc": "12",
    "cuda": "13.0",
    "cudnn": "9.14",
    "nccl": "2.28",
}
OLD = {"opencv": "2.4", "protobuf": "2.6", "python": "2.7", "gcc": "5", "cuda": "8.0", "cudnn": "6.0", "nccl": None}


def names(versions: dict[str, str | None], stack: str = "caffe") -> list[str]:
    return [patch.name for patch in p.select(stack, versions)]


def test_new_libraries_need_the_patches_for_them_and_old_ones_do_not() -> None:
    always = [
        "base-learning-rate", "column-buffer", "cpu-only", "glog-export", "lazy-imports", "log-year",
        "multi-gpu-interrupt",
        "ssd-video",
    ]  # fmt: skip
    assert names(OLD) == sorted([*always, "atomic-add", "cudnn-calls"])
    assert names({**NEW, "cuda": None, "cudnn": None, "nccl": None}) == sorted(
        [*always, "cxx-standard", "float-max", "opencv4", "opencv4-ssd", "protobuf-limit", "python3", "std-headers"]
    )
    assert {"cudnn8", "cudnn-calls", "cuda13", "nccl-uid"} < set(names(NEW))


@pytest.mark.parametrize(
    ("version", "condition", "holds"),
    [
        ("4", ">=4", True),
        ("4.6.0", ">=4", True),
        ("3.4", ">=4", False),
        ("3.18", ">=3.18", True),
        ("3.9", ">=3.18", False),  # as numbers, not as texts
        ("10.2", ">=9", True),
        ("3.4", ">=3,<4", True),
        ("4.0", ">=3,<4", False),
        ("12", ">=12.0", True),
        (None, ">=1", False),
    ],
)
def test_conditions_compare_numbers(version: str | None, condition: str, holds: bool) -> None:
    assert p.When(cuda=condition).holds({"cuda": version}) is holds
    assert p.When(cuda=condition).holds({}) is False


def test_one_column_buffer_at_a_time() -> None:
    def chosen(kind: p.ColumnBuffer) -> set[str]:
        return {one.name for one in p.select("caffe", NEW, column_buffer=kind) if "column" in one.name}

    assert chosen("ours") == {"column-buffer"}
    assert chosen("static") == {"column-buffer-static"}
    assert chosen("none") == set()
    with pytest.raises(UsageError, match="no column buffer 'our'") as caught:
        p.select("caffe", NEW, column_buffer="our")  # type: ignore[arg-type]
    assert caught.value.mend == "did you mean ours?"


def test_patches_of_caffe_are_for_all_of_caffe_and_for_nothing_else() -> None:
    assert names(NEW, "caffe-ssd") == names(NEW, "caffe")
    assert not set(names(NEW, "detectron")) & set(names(NEW, "caffe"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"wen": {}}, "wen"),
        ({"when": {"opencvv": ">=4"}}, "opencvv"),
        ({"when": {"opencv": 4}}, "quotes"),
        ({"when": {"opencv": "4"}}, "no condition"),
        ({"edits": [{"file": "a", "find": "x", "replace": "x"}]}, "changes nothing"),
        ({"edits": [{"file": "a", "find": "x", "replace": ""}]}, "put a comment in its place"),
        ({"edits": [{"file": "a", "find": "x", "replace": "y", "line": 3}]}, "line"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    body = {"why": "w", "upstream": None, "edits": [{"file": "a", "find": "x", "replace": "y"}]} | changed
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(body))
    with pytest.raises(UsageError) as caught:
        p.load(tmp_path)
    assert message in str(caught.value)
    assert "mine" in str(caught.value)


def test_json_is_the_same_for_the_same_edits() -> None:
    chosen = p.select("caffe", NEW)
    told = [msgspec.structs.replace(one, why="said otherwise", upstream=None) for one in chosen]
    assert p.to_json(chosen) == p.to_json(told)
    assert p.to_json(chosen) != p.to_json(chosen[1:])


def first(paths: steps.Paths) -> str:
    return paths if isinstance(paths, str) else paths[0]


# what the passes over all sources change, for the patches that have no edits of single files
SAMPLES = {
    "cpu-only": "#include <cuda.h>\n",
    "float-max": "Dtype d = std::max(margin - sqrt(x), 0.0);\n",
    "protobuf-limit": "void f() { stream->SetTotalBytesLimit(limit, 5); }\n",
    "std-headers": "#include <vector>\nuint8_t one;\n",
}


MAKEFILES = {"cxx-standard": "CXXFLAGS += -std=c++11\n"}


def most(edit: steps.Edit) -> int:
    """How often its text may be there."""
    return edit.times if isinstance(edit.times, int) else 1 if edit.times == "any" else max(edit.times)


def append(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        stream.write(text)


def tree_for(patch: p.Patch, root: Path) -> None:
    """The least tree that the patch fits: what its edits find, as often as they want it, one after the other."""
    (root / "src" / "caffe").mkdir(parents=True, exist_ok=True)
    for edit in patch.edits:
        times = most(edit)
        find = edit.find if isinstance(edit.find, str) else edit.find[-1]
        append(root, first(edit.file), f"{find}\n//\n" * times)
    for one in (*patch.edits, *patch.create):
        if one.where and one.where.has:
            append(root, first(one.where.file), f"{one.where.has}\n")
    for rule in (*patch.refuse, *patch.skip):
        path = root / first(rule.file)
        if rule.lacks and not (path.exists() and rule.lacks + "\n" in path.read_text()):
            append(root, first(rule.file), f"{rule.lacks}\n")
    append(root, "src/caffe/sample.cpp", SAMPLES.get(patch.name, ""))
    if patch.name in MAKEFILES:
        append(root, "Makefile", MAKEFILES[patch.name])


@pytest.mark.parametrize("name", p.patches())
def test_each_of_ours_applies_and_applied_twice_changes_nothing(tmp_path: Path, name: str) -> None:
    patch = p.patches()[name]
    tree_for(patch, tmp_path)
    assert p.apply_to(tmp_path, [patch]).message() == ""
    once = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    again = p.apply_to(tmp_path, [patch])
    assert [one.status for one in again.results] == [ALREADY]
    assert {path: path.read_text() for path in once} == once
    for edit in patch.edits:
        if edit.where is None or edit.where.has:
            assert edit.replace in once[tmp_path / first(edit.file)]


@pytest.mark.parametrize("kind", ["ours", "static"])
def test_ours_all_fit_one_tree(tmp_path: Path, kind: p.ColumnBuffer) -> None:
    chosen = p.select("caffe", NEW, column_buffer=kind)
    for patch in chosen:
        tree_for(patch, tmp_path)
    report = p.apply_to(tmp_path, chosen, lenient=True)
    # anchors are shared by no two patches of a selection, or their counts would be off
    assert not report.of(FAILED), report.message()
    assert len(report.of(CHANGED)) == len(chosen)


@pytest.mark.parametrize("name", p.patches())
def test_each_of_ours_says_why(name: str) -> None:
    patch = p.patches()[name]
    assert len(patch.why) > 40
    assert patch.upstream is None or patch.upstream.startswith("https://github.com/")


def test_a_static_buffer_put_in_by_hand_gives_way_and_that_is_said(tmp_path: Path) -> None:
    """As the write-up has it: `static` in the header, the definition in the source."""
    patch = p.patches()["column-buffer"]
    tree_for(patch, tmp_path)
    header = tmp_path / "include/caffe/layers/base_conv_layer.hpp"
    header.write_text(header.read_text().replace("  Blob<Dtype> col", "  static Blob<Dtype> col"))
    source = tmp_path / "src/caffe/layers/base_conv_layer.cpp"
    source.write_text(
        "namespace caffe {\n\ntemplate <typename Dtype>\nBlob<Dtype> BaseConvolutionLayer<Dtype>::col_buffer_;\n"
        "template <typename Dtype>\nvoid BaseConvolutionLayer<Dtype>::LayerSetUp() { col_buffer_.Reshape(shape); }\n"
    )
    [result] = p.apply_to(tmp_path, [patch]).results
    assert result.status == CHANGED
    assert "one buffer for all threads had been put in by hand, and gave way to one for each" in result.notes
    assert "  ColumnBuffer<Dtype> col_buffer_;" in header.read_text() and "static" not in header.read_text()
    assert "Blob<Dtype> Base" not in source.read_text()
    assert "}\ntemplate <typename Dtype>\nvoid Base" in source.read_text().replace("hpp\n", "}\n")
    assert [one.status for one in p.apply_to(tmp_path, [patch]).results] == [ALREADY]


def test_a_folder_that_is_no_checkout_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no Caffe"):
        p.apply_to(tmp_path, p.select("caffe", NEW))


# how SSD's header begins; its OPENCV_VERSION is a variable of make, which no compiler knows
VIDEO = """\
#if OPENCV_VERSION == 3
#include <opencv2/videoio.hpp>
#else
#include <opencv2/opencv.hpp>
#endif  // OPENCV_VERSION == 3
"""


def included(text: str, opencv: str) -> list[str]:
    """Headers of OpenCV that the compiler reads. OpenCV 2.4 numbers its parts otherwise: epoch 2, major 4."""
    parts = opencv.split(".")
    known = {"CV_MAJOR_VERSION": parts[0], "CV_VERSION_MAJOR": parts[1] if parts[0] == "2" else parts[0]}
    found, taken = [], True
    for line in text.splitlines():
        if asked := re.match(r"#if (\w+) (==|>=) (\d+)", line):
            value, wanted = int(known.get(asked[1], "0")), int(asked[3])
            taken = value == wanted if asked[2] == "==" else value >= wanted
        elif line.startswith(("#else", "#endif")):
            taken = line.startswith("#endif") or not taken
        elif taken:
            found += re.findall(r"#include <(opencv2/\S+)>", line)
    return found


@pytest.mark.parametrize("name", [name for name in distributions() if f"cpu-{name}" in rows()])
def test_ssds_video_layer_includes_only_what_is_installed(tmp_path: Path, name: str) -> None:
    target = Target(stacks()["caffe-ssd"], rows()[f"cpu-{name}"])
    header = tmp_path / "include/caffe/layers/video_data_layer.hpp"
    header.parent.mkdir(parents=True)
    header.write_text(VIDEO)
    assert included(VIDEO, "3.2") == ["opencv2/opencv.hpp"], "as it is, it asks for all modules"
    p.apply_to(tmp_path, p.select("caffe-ssd", target.versions), lenient=True)
    headers = included(header.read_text(), str(target.versions["opencv"]))
    video = "highgui" if str(target.versions["opencv"]).startswith("2.") else "videoio"
    modules = [one.removeprefix("opencv2/").removesuffix(".hpp").split("/")[0] for one in headers]
    assert modules == ["core", video]
    assert {f"libopencv-{one}-dev" for one in modules} <= set(target.distribution.build)


def test_what_may_be_missing_is_imported_inside_functions_only() -> None:
    put = " ".join(edit.replace for edit in p.patches()["lazy-imports"].edits)
    top = [line for line in put.splitlines() if line.startswith(("import ", "from "))]
    assert top == []
    assert "scikit-image" in put
