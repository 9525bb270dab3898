"""Writes net.prototxt and solver.prototxt: a small residual net with concatenated ReLU, built by provision.net.nets.

python make_net.py && provision net show net.prototxt --shape data:64,1,8,8
provision train caffe-classify --project . --set solver=solver.prototxt --on NAME
"""

from pathlib import Path

from provision.net.nets import Net, conv_block, crelu_block, residual

SOLVER = """net: "net.prototxt"
test_iter: 6
test_interval: 100
base_lr: 0.05
lr_policy: "multistep"
gamma: 0.1
stepvalue: 200
momentum: 0.9
weight_decay: 0.0005
display: 20
max_iter: 300
snapshot: 100
snapshot_prefix: "net"
random_seed: 1
"""


def build(classes: int = 10) -> Net:
    """For the digits: images of 8 x 8 in /data/train_lmdb and /data/test_lmdb."""
    net = Net("residual")
    data, label = net.data("/data/train_lmdb", 64, "TRAIN", scale=1 / 255)
    net.data("/data/test_lmdb", 60, "TEST", scale=1 / 255)
    top = crelu_block(net, data, "conv1", 16)
    top = residual(net, top, "res2", 16)
    top = residual(net, top, "res3", 32, stride=2)
    top = conv_block(net, top, "conv4", 32)
    top = net.dense(net.pool(top, "pool", how="AVE"), "score", classes)
    net.loss_and_accuracy(top, label)
    return net


if __name__ == "__main__":
    Path("net.prototxt").write_text(build().prototxt(), encoding="utf-8")
    Path("solver.prototxt").write_text(SOLVER, encoding="utf-8")
