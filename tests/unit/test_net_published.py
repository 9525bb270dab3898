"""Nets that everybody knows, written down anew, against the counts that were published for them."""

from provision.net import graph
from provision.net.nets import Net, conv_block
from provision.net.shapes import Inferred, infer
from provision.net.text import parse
from tests.unit.test_net_shapes import conv, layer


def seen(text: str) -> Inferred:
    found = infer(graph.layers(parse(text), "TEST"))
    assert found.whole and found.params_known and found.macs_known and not any(row.odd for row in found.rows)
    return found


def chain(side: int, rows: list[tuple[str, str]]) -> str:
    """Layers one behind the other, from a colour picture of that side."""
    text, top = f'input: "data" input_dim: 1 input_dim: 3 input_dim: {side} input_dim: {side}\n', "data"
    for number, (kind, words) in enumerate(rows):
        text += layer(kind, words, top, f"b{number}", f"l{number}")
        top = f"b{number}"
    return text


def pool(words: str) -> tuple[str, str]:
    return "Pooling", f"pooling_param {{ {words} }}"


def convs(*rows: tuple[int, str]) -> list[tuple[str, str]]:
    return [("Convolution", conv(f"num_output: {outputs} {words}")) for outputs, words in rows]


def dense(*outputs: int) -> list[tuple[str, str]]:
    return [("InnerProduct", f"inner_product_param {{ num_output: {count} }}") for count in outputs]


def test_alexnet() -> None:
    small = pool("kernel_size: 3 stride: 2")
    rows = [
        *convs((96, "kernel_size: 11 stride: 4")), small, *convs((256, "kernel_size: 5 pad: 2 group: 2")), small,
        *convs((384, "kernel_size: 3 pad: 1"), (384, "kernel_size: 3 pad: 1 group: 2"),
               (256, "kernel_size: 3 pad: 1 group: 2")), small, *dense(4096, 4096, 1000),
    ]  # fmt: skip
    assert seen(chain(227, rows)).params == 60_965_224


def test_vgg16() -> None:
    half, same = pool("kernel_size: 2 stride: 2"), "kernel_size: 3 pad: 1"
    blocks = [[*convs(*[(outputs, same)] * times), half] for outputs, times in
              ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))]  # fmt: skip
    found = seen(chain(224, [*(row for block in blocks for row in block), *dense(4096, 4096, 1000)]))
    assert found.params == 138_357_544 and round(found.macs / 1e9, 1) == 15.5


def bottleneck(net: Net, top: str, name: str, inner: int, stride: int, project: bool) -> str:
    """Three convolutions beside a shortcut, of four times the channels of the middle one."""
    shortcut = top
    if project:
        shortcut = net.norm(net.conv(top, f"{name}/p", inner * 4, 1, stride=stride, bias=False))
    first = conv_block(net, conv_block(net, top, f"{name}/a", inner, 1, stride=stride), f"{name}/b", inner)
    return net.relu(net.add((shortcut, net.norm(net.conv(first, f"{name}/c", inner * 4, 1, bias=False))), name))


def test_resnet50_learns_what_is_published_and_keeps_the_rest() -> None:
    net = Net("resnet")
    top = net.pool(conv_block(net, net.inputs((1, 3, 224, 224)), "conv1", 64, 7, stride=2), "pool1", 3)
    for stage, (inner, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            top = bottleneck(net, top, f"res{stage}{block}", inner, 2 if stage and not block else 1, not block)
    net.dense(net.pool(top, "pool5", how="AVE"), "fc", 1000)
    found = seen(net.prototxt())
    assert found.learned == 25_557_032
    norms = [row for row in found.rows if row.layer.type == "BatchNorm"]
    assert len(norms) == 53 and found.kept == sum(2 * row.tops[0][1] + 1 for row in norms if row.tops[0])
    assert found.kept == 53_173
