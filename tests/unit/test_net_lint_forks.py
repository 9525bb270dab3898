"""A fork's schema: what it has no word for, and nets that speak another fork's words."""

from pathlib import Path

from provision.net.schema import Schema, compile_proto
from tests.unit.test_net_lint import BODY, DATA, check, only

PROTO = """
syntax = "proto2"; package caffe; enum Phase { TRAIN = 0; TEST = 1; }
message NetParameter { repeated LayerParameter layer = 1; }
message Rule { optional Phase phase = 1; }
message Some { optional string source = 1; optional uint32 batch_size = 2; optional Backend backend = 3;
               enum Backend { LMDB = 0; } }
message Dense { optional uint32 num_output = 1; }
message LayerParameter { optional string name = 1; optional string type = 2; repeated string bottom = 3;
  repeated string top = 4; repeated Rule include = 5; optional Some data_param = 6;
  optional Dense inner_product_param = 7; }
"""
TYPES = frozenset(("Data", "InnerProduct", "Accuracy", "SoftmaxWithLoss"))


def test_what_the_fork_has_no_word_for(tmp_path: Path) -> None:
    schema = Schema("caffe", "test", compile_proto(PROTO), TYPES)
    assert check(tmp_path, DATA + BODY, schema=schema).findings == ()
    slip = only(check(tmp_path, DATA + BODY.replace("num_output", "num_outputs"), schema=schema), "field")
    assert slip.line == 7 and "did you mean num_output?" in slip.mend
    kind = only(check(tmp_path, DATA + BODY.replace('"InnerProduct"', '"InerProduct"'), schema=schema), "type")
    assert kind.level == "error" and "did you mean InnerProduct?" in kind.mend


def test_what_belongs_to_another_fork_is_sent_there(tmp_path: Path) -> None:
    schema = Schema("caffe", "test", compile_proto(PROTO), TYPES)
    net = DATA + BODY.replace('type: "InnerProduct"', 'type: "MultiStageMeanfield"').replace(
        "inner_product_param { num_output: 3 }", "multi_stage_meanfield_param { num_iterations: 5 }"
    )
    found = check(tmp_path, net, schema=schema).findings
    assert {one.rule for one in found} == {"type", "field"}
    assert all("caffe-crfrnn" in one.mend for one in found)


def test_a_whole_net_of_another_fork_is_two_lines(tmp_path: Path) -> None:
    schema = Schema("caffe", "test", compile_proto(PROTO), TYPES)
    more = "".join(
        f"""layer {{ name: "n{at}" type: "PriorBox" bottom: "data" bottom: "data" top: "n{at}"
        prior_box_param {{ min_size: 9 }} }}
        layer {{ name: "q{at}" type: "Permute" bottom: "n{at}" top: "q{at}" permute_param {{ order: 0 }} own_word: 3 }}
        """
        for at in range(20)
    )
    found = [one for one in check(tmp_path, DATA + more + BODY, schema=schema).findings if one.level == "error"]
    found.sort(key=lambda one: one.rule)
    assert [one.rule for one in found] == ["field", "type"]
    assert "prior_box_param, permute_param, own_word (60 times); caffe lacks them" in found[0].what
    assert "PriorBox (20 layers), Permute (20 layers)" in found[1].what


def test_a_slip_in_a_net_of_another_fork_is_still_told(tmp_path: Path) -> None:
    schema = Schema("caffe", "test", compile_proto(PROTO), TYPES)
    norm = 'layer { name: "n" type: "Normalize" bottom: "data" top: "n" norm_param { scale_filler { value: 9 } } }'
    net = DATA + norm + BODY.replace('"data"', '"n"').replace("num_output", "num_outputs")
    found = check(tmp_path, net, schema=schema).findings
    assert any("did you mean num_output" in one.mend for one in found)


def test_words_of_two_forks_are_two_lines(tmp_path: Path) -> None:
    norm = 'layer { name: "n" type: "Normalize" bottom: "data" top: "n" norm_param { } }'
    up = 'layer { name: "up" type: "Upsample" bottom: "n" top: "up" upsample_param { scale: 2 } }'
    report = check(tmp_path, DATA + norm + up + BODY.replace('"data"', '"up"'))
    assert [(one.level, one.rule) for one in report.findings] == [("warning", "type")] * 2
    assert "the stack caffe-ssd has these, and lacks others of this net" in report.findings[0].what
    assert any("no stack has them all" in one for one in report.left_out)
