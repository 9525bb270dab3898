"""Patches on small trees of each vintage, in our own words: what Caffe and its forks looked like from 2014 to 2020."""

import re
from pathlib import Path

import pytest

from images import patches as p
from images.context.apply_patches import ALREADY, CHANGED, FAILED, SKIPPED, Result

CUDNN = "include/caffe/util/cudnn.hpp"
BASE = "include/caffe/layers/base_conv_layer.hpp"
VISION = "include/caffe/vision_layers.hpp"
BLOB = "include/caffe/blob.hpp"
CONV = "src/caffe/layers/base_conv_layer.cpp"


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def apply(root: Path, name: str) -> Result:
    """The one patch, applied; where it applies, a second time changes nothing."""
    [result] = p.apply_to(root, [p.patches()[name]], lenient=True).results
    if result.status == CHANGED:
        before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        [again] = p.apply_to(root, [p.patches()[name]], lenient=True).results
        assert again.status == ALREADY
        assert {path: path.read_bytes() for path in before} == before
    return result


# ---- cuDNN

HEADER = "#include <cudnn.h>\n\nnamespace caffe {\n\nnamespace cudnn {\n"
OLD_CONVOLUTION = (
    "  CUDNN_CHECK(cudnnSetConvolution2dDescriptor(*conv,\n      p, q, s, t, 1, 1, CUDNN_CROSS_CORRELATION));\n"
)
GUARDED = (
    "#if CUDNN_VERSION_MIN(6, 0, 0)\n"
    "  CUDNN_CHECK(cudnnSetConvolution2dDescriptor(*conv, p, q, s, t, 1, 1, MODE, dataType<Dtype>::type));\n"
    "#else\n" + OLD_CONVOLUTION + "#endif\n"
)


@pytest.mark.parametrize("include", ["#include <cudnn.h>", '#include "cudnn.h"'])
def test_a_convolution_of_before_cudnn_6_gets_a_type_to_compute_in(tmp_path: Path, include: str) -> None:
    put(tmp_path, {CUDNN: HEADER.replace("#include <cudnn.h>", include) + OLD_CONVOLUTION})
    assert apply(tmp_path, "cudnn-calls").status == CHANGED
    text = (tmp_path / CUDNN).read_text()
    assert "CUDNN_CROSS_CORRELATION CAFFE_COMPUTE_TYPE(caffe::cudnn::dataType<Dtype>::type))" in text
    assert '#include <cudnn.h>\n#include "caffe/util/cudnn_calls.hpp"\n' in text


def test_a_convolution_that_asks_for_the_version_itself_stays(tmp_path: Path) -> None:
    put(tmp_path, {CUDNN: HEADER + GUARDED})
    assert apply(tmp_path, "cudnn-calls").status == SKIPPED
    assert GUARDED in (tmp_path / CUDNN).read_text()


def test_every_old_call_has_a_home(tmp_path: Path) -> None:
    """What trees of 2015 and 2016 call, which cuDNN 8 has no longer."""
    put(tmp_path, {CUDNN: HEADER + OLD_CONVOLUTION})
    apply(tmp_path, "cudnn-calls")
    header = (tmp_path / "include/caffe/util/cudnn_calls.hpp").read_text()
    for call in (
        "cudnnAddTensor", "cudnnSetFilter4dDescriptor", "cudnnSetFilterNdDescriptor", "cudnnSetPooling2dDescriptor",
        "cudnnSetPoolingNdDescriptor", "cudnnActivationForward", "cudnnActivationBackward",
        "cudnnConvolutionBackwardFilter", "cudnnConvolutionBackwardData",
    ):  # fmt: skip
        assert f"inline cudnnStatus_t {call}(" in header
    for name in ("AddTensor_v3", "ConvolutionBackwardFilter_v3", "SetPooling2dDescriptor_v4", "ActivationForward_v4"):
        assert f"#define cudnn{name} cudnn{name[:-3]}\n" in header


def test_a_tree_of_cudnn_1_is_refused_with_what_to_do(tmp_path: Path) -> None:
    put(tmp_path, {CUDNN: HEADER + "inline void f(cudnnTensor4dDescriptor_t* d);\n"})
    result = apply(tmp_path, "cudnn-calls")
    assert result.status == FAILED
    assert "of cuDNN 1 (2014)" in result.notes[0] and "Leave USE_CUDNN out" in result.notes[0]


def test_a_tree_without_cudnn_needs_no_patch_of_it(tmp_path: Path) -> None:
    put(tmp_path, {"src/caffe/net.cpp": "int x;\n", "Makefile": "all:\n"})
    assert {apply(tmp_path, name).status for name in ("cudnn8", "cudnn-calls")} == {SKIPPED}


# ---- the column buffer

OF_2015 = {
    VISION: '#include "caffe/blob.hpp"\nclass Base {\n  Blob<Dtype> col_buffer_;\n};\n',
    CONV: "void f() { col_buffer_.Reshape(1, 2, 3, 4); im2col(col_buffer_.mutable_cpu_data()); }\n",
}
OF_2016 = {
    BASE: OF_2015[VISION],
    BLOB: "  inline const vector<int>& shape() const { return shape_; }\n",
    CONV: "void f() { col_buffer_.Reshape(col_buffer_shape_); im2col(col_buffer_.mutable_cpu_data()); }\n",
}


@pytest.mark.parametrize(
    ("files", "header", "reshape"),
    [
        ({**OF_2015, BLOB: "int num() const;\n"}, VISION, "buffer->num() != shape_[0]"),
        (OF_2015 | {BLOB: OF_2016[BLOB]}, VISION, "buffer->shape() != shape_"),
        (OF_2016, BASE, "buffer->shape() != shape_"),
        (
            {
                VISION: OF_2015[VISION],
                BLOB: "int num() const;\n",
                "src/caffe/layers/conv_layer.cpp": "void f() { x = col_buffer_.mutable_cpu_diff(); }\n",
                "src/caffe/layers/conv_layer.cu": "void g() { x = col_buffer_.mutable_gpu_diff(); }\n",
            },
            VISION,
            "buffer->num() != shape_[0]",
        ),
    ],
    ids=["2-D, Blobs of four dimensions", "2-D, N-D Blobs", "N-D", "before the base class"],
)
def test_the_column_buffer_fits_every_vintage(tmp_path: Path, files: dict[str, str], header: str, reshape: str) -> None:
    put(tmp_path, files)
    assert apply(tmp_path, "column-buffer").status == CHANGED
    assert "  ColumnBuffer<Dtype> col_buffer_;\n" in (tmp_path / header).read_text()
    assert reshape in (tmp_path / "src/caffe/util/column_buffer.cpp").read_text()
    for name in (CONV, "src/caffe/layers/conv_layer.cpp"):  # what uses it stays as it was
        if name in files:
            assert (tmp_path / name).read_text() == files[name]


@pytest.mark.parametrize(
    ("files", "because"),
    [
        ({BASE: "  shared_ptr<Blob<Dtype> > shared_col_buffer_;\n  Blob<Dtype> col_buffer_;\n"}, "OpenCL"),
        ({BASE: "  TBlob<Ftype> col_buffer_;\n"}, "NVIDIA 0.16 and 0.17"),
        ({BASE: "  vector<int> s;\n", CONV: "x = &col_buffer_mt_[n];\n"}, "threads of OpenMP"),
        ({BASE: "  Blob<Dtype> unrolled_;\n", CONV: "unrolled_.Reshape(s);\n"}, "no column buffer of the name"),
    ],
)
def test_where_it_cannot_be_shared_the_reason_is_that_trees_own(
    tmp_path: Path, files: dict[str, str], because: str
) -> None:
    put(tmp_path, files)
    result = apply(tmp_path, "column-buffer")
    assert result.status == FAILED
    assert because in result.notes[0] and "--col-buffer none" in result.notes[0]


def test_a_layer_that_uses_the_buffer_in_a_way_not_known_stops_the_patch(tmp_path: Path) -> None:
    put(tmp_path, OF_2016 | {"src/caffe/layers/my_conv_layer.cpp": "y = this->col_buffer_.cpu_data();\n"})
    result = apply(tmp_path, "column-buffer")
    assert result.status == FAILED and "src/caffe/layers/my_conv_layer.cpp uses col_buffer_, too" in result.notes[0]


def test_a_layer_with_a_buffer_of_its_own_does_not(tmp_path: Path) -> None:
    mine = {
        "include/caffe/layers/my_layer.hpp": "class My {\n  Blob<Dtype> col_buffer_;\n};\n",
        "src/caffe/layers/my_layer.cu": "x = col_buffer_.gpu_data();\n",
        "src/caffe/layers/other_layer.cpp": "// not like col_buffer_\n",
    }
    put(tmp_path, OF_2016 | mine)
    assert apply(tmp_path, "column-buffer").status == CHANGED
    assert (tmp_path / "include/caffe/layers/my_layer.hpp").read_text() == mine["include/caffe/layers/my_layer.hpp"]


def test_what_an_earlier_release_patched_is_left_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, {BASE: "  Blob<Dtype>& column_buffer();\n", CONV: "x = column_buffer().cpu_data();\n"})
    result = apply(tmp_path, "column-buffer")
    assert result.status == SKIPPED and "already" in result.notes[0]


# ---- passes over all sources


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("cv::resize(a, b, c, 0, 0, CV_INTER_NN);", "cv::resize(a, b, c, 0, 0, cv::INTER_NEAREST);"),
        ("v.push_back(CV_IMWRITE_JPEG_QUALITY);", "v.push_back(cv::IMWRITE_JPEG_QUALITY);"),
        ("cap.get(CV_CAP_PROP_FRAME_COUNT)", "cap.get(cv::CAP_PROP_FRAME_COUNT)"),
        ("cv::cvtColor(a, b, CV_BGR2YCrCb);", "cv::cvtColor(a, b, cv::COLOR_BGR2YCrCb);"),
        ("CV_THRESH_BINARY_INV | CV_THRESH_OTSU", "cv::THRESH_BINARY_INV | cv::THRESH_OTSU"),
        ("CV_LOAD_IMAGE_UNCHANGED", "cv::IMREAD_UNCHANGED"),
        ("CV_FOURCC('M', 'J', 'P', 'G')", "cv::VideoWriter::fourcc('M', 'J', 'P', 'G')"),
        ("cv::Mat m(1, 2, CV_8UC3); CV_MAJOR_VERSION", "cv::Mat m(1, 2, CV_8UC3); CV_MAJOR_VERSION"),
    ],
)
def test_opencvs_old_names_are_replaced_in_any_file(tmp_path: Path, before: str, after: str) -> None:
    files = {f"{folder}/of_the_fork{end}": before for folder, end in (("src/caffe/util", ".cpp"), ("tools", ".cu"))}
    put(tmp_path, files | {"3rdparty/x.cpp": before})
    apply(tmp_path, "opencv4")
    assert [(tmp_path / name).read_text() for name in files] == [after, after]
    assert (tmp_path / "3rdparty/x.cpp").read_text() == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("std::max(margin - sqrt(d.cpu_data()[i]), 0.0);", "std::max(margin - sqrt(d.cpu_data()[i]), Dtype(0.0));"),
        ("std::max(margin - sqrt(d), Dtype(0.0));", "std::max(margin - sqrt(d), Dtype(0.0));"),
        ("std::max(f(x) / 1000.0, 0.0);", "std::max(f(x) / 1000.0, 0.0);"),  # a double already
    ],
)
def test_the_maximum_of_a_float_and_zero_has_one_type(tmp_path: Path, before: str, after: str) -> None:
    put(tmp_path, {"src/caffe/layers/a_layer.cpp": before})
    apply(tmp_path, "float-max")
    assert (tmp_path / "src/caffe/layers/a_layer.cpp").read_text() == after


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ("#include <vector>\nuint32_t a;\n", ["stdint.h"]),
        ("#include <cstdint>\nuint32_t a;\n", []),
        ("#include <vector>\nfloat a = std::numeric_limits<float>::max(); std::sort(b, c);\n", ["algorithm", "limits"]),
        ("#include <vector>\n// std::sort(b, c);\n", []),
    ],
)
def test_standard_headers_are_named_where_they_are_used(tmp_path: Path, before: str, added: list[str]) -> None:
    name = "src/caffe/util/a.cpp"
    put(tmp_path, {name: before})
    apply(tmp_path, "std-headers")
    text = (tmp_path / name).read_text()
    assert re.findall(r"#include <([\w.]+)>  // for gcc 11 and newer\n", text) == added
    assert text.replace("  // for gcc 11 and newer", "").endswith(before)


def test_a_header_is_put_inside_the_guard_and_outside_conditions(tmp_path: Path) -> None:
    name = "include/caffe/a.hpp"
    guard = "#ifndef CAFFE_A_HPP_\n#define CAFFE_A_HPP_\n#ifdef USE_OPENCV\n#include <opencv2/core/core.hpp>\n#endif\n"
    put(tmp_path, {name: guard + "#include <vector>\nint64_t a;\n#endif  // CAFFE_A_HPP_\n"})
    apply(tmp_path, "std-headers")
    assert (tmp_path / name).read_text().index("stdint.h") > len(guard)


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("LIBRARIES += protobuf boost_system boost_filesystem m", "LIBRARIES += protobuf boost_filesystem m"),
        ("\tlmdb boost_system hdf5_hl hdf5 m", "\tlmdb boost_thread hdf5_hl hdf5 m"),
        ("LIBRARIES += protobuf boost_system m hdf5_hl", "LIBRARIES += protobuf boost_thread m hdf5_hl"),
        (
            "LIBRARIES += boost_system glog gflags protobuf boost_filesystem m",
            "LIBRARIES += glog gflags protobuf boost_filesystem m",
        ),
    ],
)
def test_boosts_empty_library_goes_from_makefiles_of_each_year(tmp_path: Path, line: str, after: str) -> None:
    put(tmp_path, {"Makefile": line + "\n"})
    apply(tmp_path, "boost-system")
    assert (tmp_path / "Makefile").read_text() == after + "\n"


def test_a_limit_of_protobuf_keeps_its_first_argument_wherever_it_is(tmp_path: Path) -> None:
    put(tmp_path, {"src/caffe/mine.cpp": "in->SetTotalBytesLimit(most(1, 2), 5);\nin->SetTotalBytesLimit(7);\n"})
    apply(tmp_path, "protobuf-limit")
    assert (tmp_path / "src/caffe/mine.cpp").read_text() == (
        "in->SetTotalBytesLimit(most(1, 2));\nin->SetTotalBytesLimit(7);\n"
    )


# ---- Python 2's names in pycaffe


def pycaffe(root: Path, code: str) -> str:
    """The module as the patch leaves it."""
    put(root, {"python/caffe/pycaffe.py": code, "python/caffe/_caffe.cpp": "BOOST\n"})
    apply(root, "python3")
    return (root / "python/caffe/pycaffe.py").read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("for a, b in self.blobs.iteritems(): pass\n", "for a, b in self.blobs.items(): pass\n"),
        ("x = net.params.itervalues()\n", "x = net.params.values()\n"),
        ("for i in xrange(3): print(i)  # xrange\n", "for i in range(3): print(i)  # xrange\n"),
        (
            "from itertools import izip_longest\nizip_longest(a)\n",
            "from itertools import zip_longest\nzip_longest(a)\n",
        ),
        ("print 'xrange', xrange(2)\n", "print 'xrange', range(2)\n"),
    ],
)
def test_python_2s_names_in_pycaffe_become_those_of_both(tmp_path: Path, before: str, after: str) -> None:
    assert pycaffe(tmp_path, before) == after


@pytest.mark.parametrize(
    "code",
    [
        "for a in six.iteritems(b): pass\n",
        "try:\n    xrange\nexcept NameError:\n    xrange = range\nxrange(2)\n",
        "from itertools import zip_longest as izip_longest\nizip_longest(a)\n",
        "'''xrange(2)'''\nx.xrange(2)\n",
        "x = '''no end\n",
    ],
)
def test_what_a_module_of_pycaffe_defines_or_says_in_a_text_stays(tmp_path: Path, code: str) -> None:
    assert pycaffe(tmp_path, code) == code


@pytest.mark.parametrize(
    "code",
    [("import skimage.io\nfrom scipy.ndimage import zoom\nfrom skimage.transform import resize\n\n\n"
     "def f(im_std, im):\n    img = skimage.img_as_float(im)\n    a = resize(im_std, 1)\n    b = zoom(im, 1)\n"),
     ("import skimage.io\nimport skimage.transform\n\n\ndef f(im):\n    img = skimage.img_as_float(im)\n"
     "    return skimage.transform.resize(im, 2)\n")],
)  # fmt: skip
def test_scikit_image_is_imported_late_in_each_vintage(tmp_path: Path, code: str) -> None:
    put(tmp_path, {"python/caffe/io.py": code})
    assert apply(tmp_path, "lazy-imports").status == CHANGED
    text = (tmp_path / "python/caffe/io.py").read_text()
    assert not re.search(r"(?m)^(import|from) (skimage|scipy)", text) and "_skimage().transform.resize(im" in text


def test_a_pycaffe_of_before_that_module_needs_no_late_import(tmp_path: Path) -> None:
    put(tmp_path, {"python/caffe/pycaffe.py": "x = 1\n", "src/caffe/a.cpp": "int x;\n"})
    assert apply(tmp_path, "lazy-imports").status == SKIPPED


# ---- Makefiles


@pytest.mark.parametrize(
    "line",
    [
        "CXXFLAGS += -MMD -MP -std=c++14", "COMMON_FLAGS += -DNDEBUG -O2 -std=c++11",
        "CXXFLAGS += $(COMMON_FLAGS) $(WARNINGS) -std=gnu++0x", "\t$(Q)$(CXX) -std=c++11 -shared -o $@",
    ],
)  # fmt: skip
def test_a_makefile_asks_for_no_older_language(tmp_path: Path, line: str) -> None:
    kept = "# -std=c++11\nMATLAB_CXXFLAGS := -std=c++11\nX := -std=c++17\n"
    put(tmp_path, {"Makefile": kept + line + "\n"})
    assert apply(tmp_path, "cxx-standard").status == CHANGED
    assert (tmp_path / "Makefile").read_text() == kept + re.sub(r"-std=\S+", "$(STANDARD)", line) + "\n"


def test_a_makefile_that_has_its_flags_in_a_comment_too_is_patched_where_it_counts(tmp_path: Path) -> None:
    flags = "COMMON_FLAGS += $(foreach includedir,$(INCLUDE_DIRS),-I$(includedir))\n"
    put(tmp_path, {"Makefile": "A := 1\n#" + flags + flags})
    assert apply(tmp_path, "glog-export").status == CHANGED
    expected = "A := 1\n#" + flags + "COMMON_FLAGS += -DGLOG_USE_GLOG_EXPORT\n" + flags
    assert (tmp_path / "Makefile").read_text() == expected
    libraries = "LIBRARIES += glog boost_system boost_filesystem m\n"
    put(tmp_path, {"Makefile": "#" + libraries + libraries})
    assert apply(tmp_path, "boost-system").status == CHANGED
    assert "boost_system" not in (tmp_path / "Makefile").read_text()


# ---- the column buffer beside layers of a fork's own


@pytest.mark.parametrize(("name", "fits"), [("LocalLayer", True), ("OtherLayer", False)])
def test_a_layer_that_declares_a_buffer_of_its_own_in_any_header_keeps_it(
    tmp_path: Path, name: str, fits: bool
) -> None:
    custom = f"class {name} : public Layer<Dtype> {{\n  Blob<Dtype> col_buffer_;\n}};\n"
    code = "template <typename Dtype>\nvoid LocalLayer<Dtype>::f() { col_buffer_.Reshape(1); }\n"
    put(tmp_path, OF_2016 | {"include/caffe/custom_layers.hpp": custom, "src/caffe/layers/local_layer.cpp": code})
    assert apply(tmp_path, "column-buffer").status == (CHANGED if fits else FAILED)
