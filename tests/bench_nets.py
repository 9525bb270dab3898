"""`make bench`, nets: what `net lint` takes beside `net show`, on one net in one run, and how that grows with the net.

The net is generated: bottlenecks as ResNet-152 has them (3, 8, 36 and 3), with batch norms, data and a loss. Both read
the file and infer its shapes; `lint` does so in the training and in the test.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from provision.lint.net import lint
from provision.net import graph, text
from provision.net.nets import Net, conv_block
from provision.net.shapes import infer

ROUNDS = 7


def bottlenecks(counts: tuple[int, ...]) -> str:
    """A residual net for 224 x 224 pictures, as prototxt."""
    net = Net("bottlenecks")
    top, label = net.data("/data/train_lmdb", 8, "TRAIN", means=(104, 117, 123), crop=224)
    net.data("/data/val_lmdb", 8, "TEST", means=(104, 117, 123), crop=224)
    top = net.pool(conv_block(net, top, "stem", 64, 7, stride=2), "pool", 3)
    for stage, count in enumerate(counts):
        for number in range(count):
            name, stride, outputs = f"res{stage}/{number}", 2 if stage and not number else 1, 64 << stage
            inner = conv_block(net, conv_block(net, top, f"{name}/a", outputs, 1), f"{name}/b", outputs, stride=stride)
            last = net.norm(net.conv(inner, f"{name}/c", outputs * 4, 1, bias=False))
            side = top
            if not number:
                side = net.norm(net.conv(top, f"{name}/side", outputs * 4, 1, stride=stride, bias=False))
            top = net.relu(net.add((last, side), name))
    net.loss_and_accuracy(net.dense(net.pool(top, "mean", how="AVE"), "score", 1000), label)
    return net.prototxt()


def show(file: Path) -> None:
    """What `net show` does before it prints."""
    net = text.read(file)
    infer(graph.layers(net, "TRAIN"))


def seconds(work: Callable[[Path], object], file: Path) -> float:
    """CPU seconds: the median of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work(file)
        taken.append(time.process_time() - begun)
    return statistics.median(taken)


def rows() -> Iterator[dict[str, object]]:
    from tests.bench import row

    with tempfile.TemporaryDirectory() as folder:
        file, long = Path(folder) / "net.prototxt", Path(folder) / "long.prototxt"
        file.write_text(bottlenecks((3, 8, 36, 3)))
        long.write_text(bottlenecks((12, 32, 144, 12)))
        ours = seconds(lint, file)
        yield row("net lint, 152 layers that learn", ours, "CPU s", "net show", seconds(show, file))
        yield row("net lint, a net four times as long", seconds(lint, long), "CPU s", "four short ones", 4 * ours)
