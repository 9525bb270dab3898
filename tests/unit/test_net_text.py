"""Prototxt as a tree: what is read, where it stands, what is wrong with it, and back."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infra.errors import UsageError
from provision.net.text import Field, Message, Value, Word, parse, write

NET = """# a comment
name: "small" ;
layer {  # another
  name: 'conv' type: "Convolution"
  param { lr_mult: 1 }, param < lr_mult: 2.5e-1f >
  convolution_param { num_output: 0x10 kernel_size: [3, 5] bias_term: false }
}
input_dim: -1
source: "a\\"b" 'c' "\\n\\101"
"""


def test_values_are_read_as_what_they_are() -> None:
    net = parse(NET)
    (layer,) = net.messages("layer")
    assert net.text("name") == "small"
    assert net.one("input_dim") == -1
    assert net.text("source") == 'a"bc\nA'
    assert [one.one("lr_mult") for one in layer.messages("param")] == [1, 0.25]
    assert layer.get("convolution_param.num_output") == 16
    assert layer.sub("convolution_param").ints("kernel_size") == [3, 5]
    assert layer.sub("convolution_param").flag("bias_term", True) is False
    assert layer.get("pooling_param.pool", "none") == "none"


def test_every_field_knows_its_place() -> None:
    net = parse(NET)
    assert [(one.name, one.line, one.column) for one in net.fields] == [
        ("name", 2, 1), ("layer", 3, 1), ("input_dim", 8, 1), ("source", 9, 1)
    ]  # fmt: skip
    assert net.messages("layer")[0].line == 3
    assert net.messages("layer")[0].line_of("convolution_param") == 6


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ('layer {\n  name: "x"\n', "3:1", "{ of line 1 is not closed"),
        ('name: "x\n', "1:7", "does not end on its line"),
        ("a: 1 }", "1:6", "'}'"),
        ("name small", "1:6", "followed by 'small'"),
        ("layer {\n  source: ${PATH}\n}", "2:11", "${PATH} is left unresolved"),
        ("a: {{ batch }}", "1:5", "field's name is expected"),
        ("a: %", "1:4", "'%' has no meaning"),
        ("a:", "1:3", "the end"),
        ("a: 64b: 3", "1:4", "64b is no number"),
        ("a: 1e", "1:4", "1e is no number"),
        ("a: 08", "1:4", "08 begins with 0"),
        ("a: 00.5", "1:4", "00.5 begins with 0"),
        ("a: 1,, b: 2", "1:6", "a field's name is expected"),
        ("a: [1, 2,]", "1:10", "a value is expected"),
        ("a: [1 2]", "1:7", "'2' in a list"),
        ("a [1]", "1:3", "followed by '['"),
    ],
)
def test_errors_name_line_and_column(text: str, place: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, "net.prototxt")
    assert caught.value.what.startswith(f"net.prototxt:{place}: ")
    assert said in caught.value.what


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
SCALARS: st.SearchStrategy[Value] = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12),
    st.from_regex(r"[A-Z][A-Z_]{0,6}", fullmatch=True).map(Word),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False),
)
TREES: st.SearchStrategy[Value] = st.recursive(
    SCALARS, lambda inner: st.lists(st.builds(Field, NAMES, inner), max_size=4).map(lambda one: Message(tuple(one)))
)


@given(st.lists(st.builds(Field, NAMES, TREES), max_size=5))
@example([Field("inf", Message(())), Field("nan", 1)])
def test_what_is_written_is_read_again(fields: list[Field]) -> None:
    again = parse(write(Message(tuple(fields))))
    assert _plain(again) == _plain(Message(tuple(fields)))


def _plain(value: Value) -> object:
    if isinstance(value, Message):
        return [(one.name, _plain(one.value)) for one in value.fields]
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return (isinstance(value, Word), str(value))
