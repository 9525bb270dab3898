"""Start Caffe on a solver, whoever wrote it: paths, snapshots, device and length are made this container's.

    python3 launch.py --solver=solver.prototxt [--gpu=0,1] [--snapshot=snapshots/net_iter_200.solverstate]

What Caffe reads in the end is kept as used-solver.prototxt and used-net.prototxt. An empty solver is the recipe's own.
"""

# ruff: noqa: PTH109, PTH110, PTH120, PTH123, UP031
# (runs in images with old Pythons)

import argparse
import json
import os
import sys

os.environ.setdefault("GLOG_minloglevel", "0")

PREFIX = "snapshots/net"  # the recipe's pattern of snapshots knows it


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--solver", default="")
    parser.add_argument("--trainer", default="caffe", choices=["caffe", "python"])
    parser.add_argument("--weights", default="")
    parser.add_argument("--iterations", type=int, default=0)
    parser.add_argument("--snapshot-every", type=int, default=0)
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--factor", type=float, default=0.5)
    parser.add_argument("--gpu", default="")
    parser.add_argument("--snapshot", default="")
    return parser.parse_args()


def read(path, message):
    from google.protobuf import text_format

    with open(path) as text:
        try:
            return text_format.Merge(text.read(), message)
        except text_format.ParseError as error:
            sys.exit("launch: %s cannot be read by this Caffe: %s" % (path, error))


def write(path, message):
    from google.protobuf import text_format

    with open(path, "w") as out:
        out.write(text_format.MessageToString(message))


def nets(solver, near):
    """Rewrite the nets that the solver names, and let it name those. The first is used-net.prototxt."""
    import places

    number = 0
    for field in ("net", "train_net"):
        if solver.HasField(field):
            setattr(solver, field, _net(getattr(solver, field), near, number))
            number += 1
    for at, name in enumerate(solver.test_net):
        solver.test_net[at] = _net(name, near, number)
        number += 1
    inline = [getattr(solver, name) for name in ("net_param", "train_net_param") if solver.HasField(name)]
    for net in inline + list(solver.test_net_param):
        places.rewrite(net, near)
        number += 1
    if not number:
        sys.exit("launch: the solver names no net")


def _net(name, near, number):
    import places
    from caffe.proto import caffe_pb2

    path = places.find(name, near)
    net = read(path, caffe_pb2.NetParameter())
    places.rewrite(net, os.path.dirname(path))
    target = "used-net%s.prototxt" % ("" if number == 0 else "-%d" % (number + 1))
    write(target, net)
    return target


def adapt(solver, given):
    """Length, snapshots and device, which are not the solver's author's to say."""
    solver.max_iter = given.iterations or solver.max_iter
    every = given.snapshot_every or solver.snapshot
    solver.snapshot = min(every, solver.max_iter) or max(1, solver.max_iter // 10)
    solver.snapshot_prefix = PREFIX
    solver.ClearField("snapshot_format")
    solver.ClearField("device_id")
    solver.solver_mode = 1 if given.gpu else 0
    if not given.solver and os.path.exists("/data/data.json"):
        with open("/data/data.json") as text:
            images = json.load(text).get("test", 0)
        if images and len(solver.test_iter) == 1:
            solver.test_iter[0] = max(1, -(-images // _test_batch()))


def _test_batch():
    """The batch of the recipe's own net."""
    from caffe.proto import caffe_pb2

    return read("used-net.prototxt", caffe_pb2.NetParameter()).layer[1].data_param.batch_size


def main():
    given = arguments()
    import places
    from caffe.proto import caffe_pb2

    try:
        path = places.find(given.solver) if given.solver else "solver.prototxt"
        near = os.path.dirname(path) if given.solver else os.getcwd()
        solver = read(path, caffe_pb2.SolverParameter())
        nets(solver, near)
        weights = places.find(given.weights) if given.weights else ""
    except places.Lost as lost:
        sys.exit("launch: %s" % lost)
    adapt(solver, given)
    write("used-solver.prototxt", solver)
    paths = [one for one in ("/work", "/project", near, os.environ.get("PYTHONPATH", "")) if one]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # Python layers are imported by their modules' names
    words = ["--snapshot", given.snapshot] if given.snapshot else (["--weights", weights] if weights else [])
    if given.trainer == "python":
        gpu = ["--gpu", given.gpu] if given.gpu else []
        words += ["--window", str(given.window), "--factor", str(given.factor), *gpu]
        os.execvp(sys.executable, [sys.executable, "plateau.py", *words])
    gpu = ["-gpu", given.gpu] if given.gpu else []
    words = [word.replace("--", "-", 1) for word in words]
    os.execvp("caffe", ["caffe", "train", "-solver", "used-solver.prototxt", *gpu, *words])


if __name__ == "__main__":
    main()
