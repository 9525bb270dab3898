"""A net as a picture: what stands in it, and that nothing lies over anything."""

import errno
import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import pytest

from infra.errors import DiskError, UsageError
from provision.net import graph
from provision.net.draw import save, svg
from provision.net.nets import Net, conv_block, residual
from provision.net.scene import Scene, lay_out
from provision.net.shapes import infer
from provision.net.text import parse


def scene(net: Net, title: str = "net") -> Scene:
    return lay_out(infer(graph.layers(parse(net.prototxt()), "TRAIN")), title)


def deep(blocks: int) -> Net:
    net = Net("deep")
    top = conv_block(net, net.inputs((1, 3, 32, 32)), "conv1", 8)
    for number in range(blocks):
        top = residual(net, top, f"res{number}", 8, stride=2 if number == 1 else 1)
    net.dense(net.pool(top, "pool", how="AVE"), "score", 10)
    return net


def test_layers_in_place_share_a_box_with_their_counts() -> None:
    found = {box.lines[0]: box.lines[1:] for box in scene(deep(1)).boxes}
    assert found["conv1"] == (
        "Convolution 3x3 + BatchNorm + Scale + ReLU", "1 x 8 x 32 x 32", f"{8 * 27 + 16} parameters + 17 kept"
    )  # fmt: skip
    assert found["res0"] == ("Eltwise SUM + ReLU", "1 x 8 x 32 x 32")
    assert "conv1/relu" not in found


def test_no_box_lies_over_another_and_all_are_inside() -> None:
    found = scene(deep(34))  # 34 blocks of two: with projections a hundred and five layers with weights, or in place
    assert len(found.boxes) > 100
    for one, other in combinations(found.boxes, 2):
        apart_x = abs(one.x - other.x) - (one.width + other.width) / 2
        apart_y = abs(one.y - other.y) - (one.height + other.height) / 2
        assert max(apart_x, apart_y) > 0, (one.lines, other.lines)
    for box in found.boxes:
        assert box.width / 2 < box.x < found.width - box.width / 2
        assert box.height / 2 < box.y < found.height - box.height / 2


def test_lines_run_downwards_past_the_boxes_between() -> None:
    found = scene(deep(3))
    boxes = {box.lines[0]: box for box in found.boxes}
    for line in found.lines:
        assert [y for _, y in line] == sorted(y for _, y in line)
    skip = max((line for line in found.lines if abs(line[-1][0] - boxes["res2"].x) < 1), key=len)
    assert len(skip) >= 4  # the shortcut bends around the two convolutions
    for name in ("res2/a", "res2/b"):
        box = boxes[name]
        assert all(abs(x - box.x) > box.width / 2 for x, _ in skip[1:-1])


def test_the_svg_can_be_read_and_says_it_all() -> None:
    text = svg(scene(deep(2), "deep <net>"))
    ElementTree.fromstring(text)
    assert "deep &lt;net&gt;" in text and ">res1/shortcut<" in text
    assert len(re.findall("<rect", text)) == len(scene(deep(2)).boxes) + 1


@pytest.mark.parametrize(("name", "begins"), [("net.png", b"\x89PNG"), ("net.svg", b"<svg"), ("net.pdf", b"%PDF")])
def test_pictures_are_of_the_kind_that_is_asked(name: str, begins: bytes, tmp_path: Path) -> None:
    save(scene(deep(1)), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_strange_format_or_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.gif"):
        save(scene(deep(1)), tmp_path / "net.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        save(scene(deep(1)), tmp_path / "file" / "net.svg")


def test_a_picture_that_cannot_be_finished_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    def full(self: Figure, place: Path, **more: object) -> None:
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    monkeypatch.setattr(Figure, "savefig", full)
    (tmp_path / "net.png").write_text("before")
    with pytest.raises(DiskError, match=r"net\.png cannot be written"):
        save(scene(deep(1)), tmp_path / "net.png")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("net.png", "before")]
