"""Prototxts as editors leave them: marks and encodings are read, what is no prototxt is named, slips have a mend."""

import gzip
from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.cli import run
from provision.lint.net import lint
from provision.net.text import parse, read, write

NET = """name: "t"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 6 } }
"""
STRANGE = [b"\xef\xbb\xbf" + NET.encode(), NET.encode("utf-16"), NET.encode("utf-16-le"), NET.encode("utf-16-be")]


@pytest.mark.parametrize("content", STRANGE)
def test_a_text_that_caffe_cannot_read_is_shown_told_and_saved_anew(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, new = tmp_path / "net.prototxt", tmp_path / "new.prototxt"
    net.write_bytes(content)
    assert write(read(net)) == write(parse(NET))
    (found,) = lint(net).findings
    assert (found.level, found.rule) == ("error", "encoding") and "net upgrade" in found.mend
    assert run(["net", "upgrade", str(net), str(new)]) == 0
    assert "into plain UTF-8" in capsys.readouterr().out
    assert new.read_bytes() == NET.encode() and lint(new).findings == ()


def test_a_solver_tells_the_encoding_of_its_nets_too(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_bytes(STRANGE[0])
    (tmp_path / "solver.prototxt").write_text('net: "net.prototxt"')
    found = [one for one in lint(tmp_path / "solver.prototxt").findings if one.rule == "encoding"]
    assert [Path(one.where).name for one in found] == ["net.prototxt"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x0a\x04LeNe\x12\x00\x1a\x01\x00", "is binary (a caffemodel"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x89PNG\r\n\x1a\n", "is a picture"),
        (gzip.compress(NET.encode(), mtime=0), "is a gzip archive"),
        (b"\n<!DOCTYPE html>\n<html>", "is a web page"),
    ],
)
def test_what_is_no_prototxt_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_bytes(content)
    with pytest.raises(UsageError, match=r"not a prototxt") as caught:
        read(tmp_path / "net.prototxt")
    assert said in str(caught.value) and caught.value.mend


@pytest.mark.parametrize(
    ("slip", "mend"),
    [
        ("name: \u201ct\u201d", "plain quotes"),
        ("name = 3", "write :"),
        ("// words\nname: 3", "begins with #"),
        ("base_lr: 0,01", "0.01"),
        ("base_lr: +1", "leave the +"),
        ("base_lr:\u00a01", "plain blank"),
        ("```\nname: 3", "leave the lines"),
    ],
)
def test_a_slip_has_its_mend(slip: str, mend: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(slip)
    assert mend in str(caught.value.mend)


@pytest.mark.parametrize("path", [r"C:\Users\me", r"D:\data\lists", r"C:\u12"])
def test_a_path_of_windows_is_no_text(path: str) -> None:
    with pytest.raises(UsageError, match="has no meaning in") as caught:
        parse(f'net: "{path}"')
    assert "write /" in caught.value.mend
    assert parse('net: "a\\\\b \\u00e9 \\U0001f600 \\?"').text("net") == "a\\b \u00e9 \U0001f600 ?"
