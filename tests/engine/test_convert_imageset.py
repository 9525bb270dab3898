"""Databases of pictures next to Caffe's own tools, as Debian packs them: the same records, the same mean, and Caffe
trains from them."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from images.build import build
from images.choose import choose
from infra.shell import LocalShell, Result
from provision.data.backends import reader
from provision.data.convert import Order, convert
from provision.data.mean import mean
from provision.data.pictures import Shape
from tests.unit import data_kit as kit

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]
SHELL = LocalShell()
CASES: dict[str, tuple[str, Shape, str]] = {
    "raw": ("", Shape(), "lmdb"),
    "raw-resized": ("--resize_height=48 --resize_width=64", Shape(resize=(48, 64)), "lmdb"),
    "gray": ("--gray --resize_height=50 --resize_width=50", Shape(resize=(50, 50), gray=True), "lmdb"),
    "own-bytes": ("--encoded", Shape(encode="auto"), "lmdb"),
    "jpg-resized": (
        "--encoded --encode_type=jpg --resize_height=256 --resize_width=256",
        Shape(resize=(256, 256), encode="jpg"),
        "lmdb",
    ),
    "jpg-gray": ("--encode_type=jpg --gray", Shape(gray=True, encode="jpg"), "lmdb"),
    "jpg-of-all": ("--encode_type=jpg", Shape(encode="jpg"), "lmdb"),
    "png-resized": (
        "--encode_type=png --resize_height=90 --resize_width=70",
        Shape(resize=(90, 70), encode="png"),
        "lmdb",
    ),
    "leveldb": (
        "--backend=leveldb --encode_type=jpg --resize_height=80 --resize_width=80",
        Shape(resize=(80, 80), encode="jpg"),
        "leveldb",
    ),
}


@dataclass
class Bench:
    """A folder that containers see as /work, with pictures in /work/set."""

    work: Path
    image: str

    def caffe(self, script: str) -> Result:
        user = f"{os.getuid()}:{os.getgid()}" if os.getuid() else "12345:12345"
        words = ["docker", "run", "--rm", "--init", "--network", "none", "--user", user]
        words += ["-v", f"{self.work}:/work", "-w", "/work", self.image, "sh", "-euc", script]
        return SHELL.run(words, check=False)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Sixty photographs of different sizes, JPEG and PNG, color and gray, with classes, and one file that is none."""
    work = tmp_path_factory.mktemp("bench")
    for path in (work, *list(work.parents)[:2]):
        path.chmod(0o755)
    (work / "set" / "sub").mkdir(parents=True)
    lines = []
    for number in range(60):
        name = f"sub/{number:03d}.{'png' if number % 5 == 4 else 'JPEG' if number % 5 == 3 else 'jpg'}"
        picture = kit.cutting(number, 100 + number % 3 * 41, 120 + number % 4 * 33)
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if number % 7 == 6 else picture
        data = cv2.imencode(f".{name[-3:] if name.endswith('png') else 'jpg'}", picture)[1]
        (work / "set" / name).write_bytes(data.tobytes())
        lines.append(f"{name} {number % 10}")
    (work / "set/none.jpg").write_text("no picture")
    kit.write(work / "list.txt", *lines[:30], "none.jpg 3", *lines[30:])
    for path in (work, *work.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    yield Bench(work, build(choose("caffe-debian"), SHELL).tag)


@pytest.fixture(scope="module")
def theirs(bench: Bench) -> Path:
    """What convert_imageset makes of all cases, in one container."""
    script = "umask 0; mkdir caffe; " + "; ".join(
        f"convert_imageset {flags} set/ list.txt caffe/{name}" for name, (flags, _, _) in CASES.items()
    )
    made = bench.caffe(script)
    assert made.code == 0, made.err[-3000:]
    return bench.work / "caffe"


def records(folder: Path) -> list[tuple[bytes, bytes]]:
    base = reader(folder)
    try:
        return list(base.items())
    finally:
        base.close()


def ours(bench: Bench, name: str) -> Path:
    _, shape, backend = CASES[name]
    order = Order(bench.work / "list.txt", bench.work / "ours" / name, root=bench.work / "set", backend=backend)
    made = convert(replace(order, shape=shape))
    assert (made.records, made.bad) == (60, 1)
    return order.out


@pytest.mark.parametrize("name", CASES)
def test_records_are_convert_imagesets(bench: Bench, theirs: Path, name: str) -> None:
    mine, other = records(ours(bench, name)), records(theirs / name)
    assert [key for key, _ in mine] == [key for key, _ in other]
    assert len(mine) == 60
    differ = [key.decode() for (key, value), (_, wanted) in zip(mine, other, strict=True) if value != wanted]
    assert differ == []


@pytest.mark.parametrize("name", ["raw-resized", "jpg-resized", "leveldb"])
def test_the_mean_is_compute_image_means(bench: Bench, theirs: Path, name: str) -> None:
    backend = CASES[name][2]
    made = bench.caffe(f"umask 0; compute_image_mean --backend={backend} caffe/{name} {name}.binaryproto")
    assert made.code == 0, made.err[-3000:]
    mean(ours(bench, name), bench.work / f"{name}.ours")
    assert (bench.work / f"{name}.ours").read_bytes() == (bench.work / f"{name}.binaryproto").read_bytes()


NET = """
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.0039 }
        data_param { source: "SOURCE" batch_size: 20 backend: BACKEND } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
PIXELS = """
layer { name: "data" type: "Data" top: "data" transform_param { scale: 0.0039 }
        data_param { source: "pairs/images_lmdb" batch_size: 1 backend: LMDB } }
layer { name: "label" type: "Data" top: "label" data_param { source: "pairs/labels_lmdb" batch_size: 1 backend: LMDB } }
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
        convolution_param { num_output: 21 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
        loss_param { ignore_label: 255 } }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 max_iter: 60 display: 10 random_seed: 1 '
SOLVER += 'solver_mode: CPU snapshot_prefix: "x" snapshot_after_train: false average_loss: 5'


def opened(folder: Path) -> Path:
    """The same folder, for all to write: who reads a database locks it in its folder."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    return folder


def losses(bench: Bench, net: str) -> list[float]:
    """Train, and what the loss was every ten iterations."""
    for name, text in (("net.prototxt", net), ("solver.prototxt", SOLVER)):
        kit.write(bench.work / name, text)
    made = bench.caffe("caffe train -solver solver.prototxt")
    assert made.code == 0, made.err[-3000:]
    return [float(one) for one in re.findall(r"\] Iteration \d+ .*, loss = (\S+)", made.err)]


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_caffe_learns_from_it(bench: Bench, backend: str) -> None:
    """Cuttings of one photo against those of the other."""
    for number in range(200):
        folder = bench.work / "two" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:03d}.jpg"), kit.cutting(number))
    out = bench.work / f"two_{backend}"
    convert(Order(bench.work / "two", out, backend=backend, shape=Shape(resize=(24, 32)), shuffle=True))
    found = losses(bench, NET.replace("SOURCE", opened(out).name).replace("BACKEND", backend.upper()))
    assert found[0] > 0.4 > 0.2 > found[-1]


def test_caffe_learns_from_pairs(bench: Bench) -> None:
    """Where the sky of a cutting ends, by brightness; the padding is ignored."""
    for number in range(0, 40, 2):
        picture = kit.cutting(number)
        name = f"{number:03d}"
        (bench.work / "photos").mkdir(exist_ok=True)
        cv2.imwrite(str(bench.work / f"photos/{name}.jpg"), picture)
        bright = (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) > 128).astype(np.uint8)
        kit.label_picture(bench.work / f"classes/{name}.png", bright * 15)
    convert(Order(bench.work / "photos", bench.work / "pairs", labels=bench.work / "classes", shape=Shape(pad=96)))
    opened(bench.work / "pairs")
    found = losses(bench, PIXELS)
    assert found[0] > 1.5 > 0.8 > found[-1]


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_a_conversion_that_is_killed_leaves_nothing_half(tmp_path: Path, backend: str) -> None:
    names = kit.jpegs(tmp_path / "set", 3000, 60, 80)
    kit.write(tmp_path / "set/list.txt", *(f"{name} {number % 5}" for number, name in enumerate(names)))
    words = [sys.executable, "-m", "provision", "data", "lmdb", "set/list.txt", "db", "--backend", backend]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    one = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    part = tmp_path / ".db.part"
    while one.poll() is None and not _holds_some(part):
        time.sleep(0.002)
    one.send_signal(signal.SIGKILL)
    one.communicate()
    assert one.returncode == -signal.SIGKILL, shlex.join(words)
    assert not (tmp_path / "db").exists()
    assert part.exists()
    again = subprocess.run([*words, "--resume"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "going on after " in again.stderr
    convert(Order(tmp_path / "set/list.txt", tmp_path / "whole", backend=backend))
    assert records(tmp_path / "db") == records(tmp_path / "whole")
    assert not part.exists()


def _holds_some(part: Path) -> bool:
    """Whether a first batch of 1000 is on the disk, some 16 MB."""
    return sum(path.stat().st_size for path in part.glob("*") if path.is_file()) > 20_000_000
