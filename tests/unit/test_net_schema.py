"""A fork's schema, from a caffe.proto of our own: two forks side by side, and what they cannot read."""

import tarfile
from pathlib import Path

import pytest

from infra.errors import ImageError, UsageError
from provision.net import schema_source
from provision.net.schema import Schema, compile_proto
from provision.net.text import parse

PROTO = """
syntax = "proto2";
package caffe;
enum Phase { TRAIN = 0; TEST = 1; }
message NetParameter { optional string name = 1; repeated LayerParameter layer = 2; }
message Window { optional uint32 num_output = 1; repeated uint32 pad = 2; optional bool bias_term = 3;
                 optional float scale = 4; }
message LayerParameter { optional string name = 1; optional string type = 2; repeated string bottom = 3;
                         optional Phase phase = 4; optional Window convolution_param = 5; MORE }
message SolverParameter { optional float base_lr = 1; }
"""
CPP = "namespace caffe {\nREGISTER_LAYER_CLASS(%s);\nREGISTER_LAYER_CREATOR(Convolution, Get);\n}"


def schema(stack: str, more: str = "", *types: str) -> Schema:
    return Schema(stack, "test", compile_proto(PROTO.replace("MORE", more)), frozenset(("Convolution", *types)))


def faults(text: str, more: str = "") -> list[tuple[int, str, tuple[str, ...]]]:
    return [(one.line, one.what, one.near) for one in schema("caffe", more).faults(parse(text))]


def test_a_field_that_the_fork_lacks_names_line_and_nearest() -> None:
    found = faults('layer {\n  name: "x"\n  convolution_param {\n    num_outputs: 3\n  }\n}')
    assert found == [(4, "Window has no field 'num_outputs'", ("num_output",))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: small", 'name is a text: write "small"'),
        ('layer { phase: "TEST" }', "phase cannot be 'TEST'"),
        ("layer { phase: TESTS }", "phase cannot be 'TESTS'"),
        ("layer { convolution_param: 3 }", "convolution_param is a message"),
        ("layer { convolution_param { num_output: 1.5 } }", "num_output is a whole number, not 1.5"),
        ('layer { convolution_param { scale: "1" } }', "scale is a number, not '1'"),
        ("layer { convolution_param { bias_term: maybe } }", "bias_term is true or false"),
        ("layer { name { } }", "name is no message"),
        ('name: "a" name: "b"', "name stands twice"),
    ],
)
def test_values_that_do_not_fit(text: str, said: str) -> None:
    ((_, what, _),) = faults(text)
    assert said in what


def test_what_fits_is_no_fault() -> None:
    window = "convolution_param { pad: 1 pad: 2 bias_term: 1 scale: 2 }"
    assert faults(f'name: "n" layer {{ phase: TEST bottom: "a" bottom: "b" {window} }}') == []


def test_two_forks_have_schemas_of_their_own() -> None:
    text = parse("layer { crf_param { iterations: 5 } }")
    fork = schema("caffe-crfrnn", "optional Crf crf_param = 9; message Crf { optional int32 iterations = 1; }")
    assert list(fork.faults(text)) == []
    assert [one.path for one in schema("caffe").faults(text)] == ["layer.crf_param"]


def test_a_source_tree_gives_schema_and_types(tmp_path: Path) -> None:
    for name, content in (("proto/caffe.proto", PROTO.replace("MORE", "")), ("layers/new_layer.cpp", CPP % "New"),
                          ("test/test_x.cpp", CPP % "OfATest")):  # fmt: skip
        path = tmp_path / "src" / "caffe" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    with tarfile.open(tmp_path / "tree.tar", "w") as tar:
        tar.add(tmp_path / "src", "src")
    found = schema_source.from_tar("caffe", tmp_path / "tree.tar")
    assert found.types == {"New", "Convolution"}
    assert [one.what for one in found.faults(parse("nam: 1"))] == ["NetParameter has no field 'nam'"]


def test_a_mirror_is_read_once_and_kept(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "src" / "caffe" / "proto").mkdir(parents=True)
    (tree / "src" / "caffe" / "proto" / "caffe.proto").write_text(PROTO.replace("MORE", ""))
    (tree / "src" / "caffe" / "new.cpp").write_text(CPP % "New")
    made = schema_source.fetch("caffe-ssd", None, str(tree))
    kept = schema_source.find("caffe-ssd")
    assert kept is not None and kept.descriptor == made.descriptor and kept.types == {"New", "Convolution"}


def test_a_tree_without_a_proto_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "README").write_text("nothing")
    with pytest.raises(ImageError, match=r"no src/caffe/proto/caffe\.proto"):
        schema_source.fetch("caffe", None, str(tmp_path / "tree"))


def test_a_stack_that_is_no_caffe_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="detectron"):
        schema_source.find("detectron")
