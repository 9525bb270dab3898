"""The recipe `ssd-voc` on the fork's own Caffe: data as its own tool makes it, training to a stated score, an
interruption, scores of every snapshot, boxes on pictures.

The fork's source comes from its repository, or from a mirror that PROVISION_SSD_MIRROR names.
"""

import json
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import lmdb
import numpy
import pytest
from PIL import Image

from images.build import Image as Built
from images.build import Order, build_context, existing
from images.choose import parse
from images.render import render as rendered_image
from images.source import resolve
from images.stacks import stacks
from infra.shell import LocalShell
from provision.data import annotated
from provision.data.boxes import prepare
from provision.data.voc import CLASSES
from provision.logs.caffe import Resumed
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import Recipe, Rendered
from provision.runs.manifest import Manifest, Source, plain
from provision.settings import cache_home
from tests.engine.test_digits_train import Place
from tests.ssd_photos import NAMES, devkit, voc

SHELL = LocalShell()
ITERATIONS = 600
WANTED_MAP = 0.7
OPTIONS = {
    "body": "small", "start": "none", "size": 128, "classes": ",".join(NAMES), "batch": 16, "iterations": ITERATIONS,
    "learning_rate": 0.02, "mirror": False, "augment": False, "test_every": 200, "snapshot_every": 200, "display": 10,
    "threshold": 0.4,
}  # fmt: skip


@pytest.fixture(scope="session")
def image() -> Built:
    context = rendered_image(parse("caffe-ssd:cpu-debian12"))
    source = resolve(stacks()["caffe-ssd"], cache_home() / "sources", mirror=os.environ.get("PROVISION_SSD_MIRROR"))
    order = Order(source)
    return existing(context, SHELL, order) or build_context(context, SHELL, print, order)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with boxes, and the data made of them."""
    folder = tmp_path_factory.mktemp("ssd")
    for path in (folder, *list(folder.parents)[:2]):
        path.chmod(0o755)
    kit = devkit(folder / "kit", train=300, test=60)
    prepare(folder / "data", kit / "train.txt", kit / "test.txt", kit, NAMES)
    return folder


@pytest.fixture(scope="session")
def trained(image: Built, home: Path) -> tuple[Path, Recipe, Rendered, list[int]]:
    """A run's folder: stopped by SIGINT on its way, resumed, and trained to its end. And where it was resumed."""
    recipe = load("ssd-voc")
    made = render(recipe, OPTIONS, 0, home / "data")
    work = home / "ssd-1"
    work.mkdir()
    place = Place(image.tag, home / "data", work)
    place.fill(made)
    result, _ = place.train(made.command, stop_at=50)
    assert result.code == 0 and recipe.stop.said in result.err, result.err[-2000:]
    (at,) = place.snapshots(recipe)
    result, events = place.train(made.resumed(place.snapshots(recipe)[at]))
    assert result.code == 0, result.err[-2000:]
    (work / "log.txt").write_text(result.err)
    _manifest(work, recipe, made, image, home / "data")
    return work, recipe, made, [at, *(event.iteration or 0 for event in events if isinstance(event, Resumed))]


def _manifest(work: Path, recipe: Recipe, made: Rendered, image: Built, data: Path) -> None:
    manifest = Manifest(
        "ssd-1", "2026-01-01", recipe, made, "caffe-ssd", image.tag, image.digest,
        Source("folder", str(data), "/data/sets/x"), Source(), 0, "box", "p3.2xlarge", "spot", "us-east-1",
    )  # fmt: skip
    (work / "manifest.json").write_text(json.dumps(plain(manifest)))


def provision(folder: Path, *words: str) -> str:
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "160"}
    line = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(folder), sys.executable, "-m", "provision", *words]
    done = SHELL.run(line, check=False, env=env)
    assert done.ok, done.err
    return done.out


@pytest.mark.timeout(3600)
def test_records_are_those_of_the_forks_own_tool(image: Built, home: Path) -> None:
    _convert(image, home, "data/labelmap.prototxt", "kit", "kit/train.txt", "theirs")
    assert _records(home / "data" / "train_lmdb") == _records(home / "theirs")


@pytest.mark.timeout(3600)
def test_coordinates_that_are_no_whole_numbers_are_lost_to_the_forks_tool_alone(image: Built, home: Path) -> None:
    """What the data's documentation says of it, and why it is not used."""
    root = home / "voc"
    shutil.copytree(voc(), root)
    (home / "map.prototxt").write_text(annotated.labelmap(CLASSES[1:]))
    _convert(image, home, "map.prototxt", "voc", "voc/list.txt", "lost")
    prepare(home / "kept", root / "list.txt", root / "list.txt", root, CLASSES[1:])
    ours, theirs = _records(home / "kept" / "train_lmdb"), _records(home / "lost")
    assert [key for key, _ in ours] == [key for key, _ in theirs]
    nowhere = struct.pack("<Bf", 1 << 3 | 5, 0) + struct.pack("<Bf", 2 << 3 | 5, 0) + struct.pack("<Bf", 3 << 3 | 5, 0)
    assert all(nowhere in value for _, value in theirs) and not any(nowhere in value for _, value in ours)


def _convert(image: Built, home: Path, labels: str, root: str, images: str, out: str) -> None:
    words = ["docker", "run", "--rm", "--network", "none", "--user", f"{os.getuid()}:{os.getgid()}"]
    words += ["-v", f"{home}:/home/x", image.tag, "convert_annoset", "--anno_type=detection"]
    words += [
        "--encoded",
        "--encode_type=jpg",
        f"--label_map_file=/home/x/{labels}",
        f"/home/x/{root}/",
        f"/home/x/{images}",
        f"/home/x/{out}",
    ]
    SHELL.run(words)


def _records(folder: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn:
        return list(txn.cursor())


@pytest.mark.timeout(3600)
def test_training_goes_on_where_it_was_interrupted(trained: tuple[Path, Recipe, Rendered, list[int]]) -> None:
    work, _, _, (at, resumed) = trained
    assert at == resumed and 50 <= at < 200
    assert f"Iteration {ITERATIONS}, Testing net" in (work / "log.txt").read_text()


@pytest.mark.timeout(3600)
def test_every_snapshot_is_scored_and_the_last_finds_the_objects(
    trained: tuple[Path, Recipe, Rendered, list[int]], home: Path
) -> None:
    out = json.loads(provision(home, "score", "ssd-1", "--data", str(home / "data"), "--json"))
    scores = {one["iteration"]: one["metrics"] for one in out["scores"]}
    assert {200, 400, ITERATIONS} <= set(scores)
    assert scores[ITERATIONS]["mAP"] >= WANTED_MAP
    assert scores[ITERATIONS]["mAP"] > scores[min(scores)]["mAP"]
    assert set(scores[ITERATIONS]["per_class"]) == set(NAMES)
    assert (home / "ssd-1-score" / "score.png").is_file()
    said = (trained[0] / "log.txt").read_text().split(f"Iteration {ITERATIONS}, Testing net")[1]
    solvers = float(said.split("mAP = ")[1].split()[0])  # the fork's own count, all classes being there
    assert scores[ITERATIONS]["mAP"] == pytest.approx(solvers, abs=0.01)


@pytest.mark.timeout(3600)
def test_objects_are_found_where_they_are(trained: tuple[Path, Recipe, Rendered, list[int]], home: Path) -> None:
    (home / "some").mkdir()
    for number in range(6):
        name = f"test_{number:04d}.jpg"
        (home / "some" / name.replace("_", " ")).write_bytes((home / "kit" / name).read_bytes())
    (home / "some" / "notes.txt").write_text("no image")
    provision(home, "infer", "ssd-1", "some", "--out", "found")
    results = json.loads((home / "found" / "detections.json").read_text())
    assert [one["image"] for one in results] == [f"test {number:04d}.jpg" for number in range(6)]
    hits = wanted = 0
    for one in results:
        truth = _truth(home / "kit" / one["image"].replace(" ", "_").replace(".jpg", ".xml"))
        wanted += len(truth)
        hits += sum(any(_overlap(box, found["box"]) > 0.5 and name == found["class"] for found in one["objects"])
                    for name, box in truth)  # fmt: skip
        picture = numpy.asarray(Image.open(home / "found" / f"{one['image']}.png"))
        assert picture.shape == (128, 128, 3)
    assert hits >= wanted / 2


def _truth(path: Path) -> list[tuple[str, list[float]]]:
    from xml.etree import ElementTree

    return [
        (
            str(one.findtext("name")),
            [float(one.findtext(f"bndbox/{key}") or 0) for key in ("xmin", "ymin", "xmax", "ymax")],
        )
        for one in ElementTree.parse(path).findall("object")
    ]


def _overlap(a: Any, b: Any) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (both - width * height))


@pytest.mark.timeout(3600)
def test_both_bodies_are_timed_without_data(image: Built, home: Path) -> None:
    small = ("--set", "body=small", "--set", "start=none", "--set", "batch=2")
    for more, layer in ((small, "conv6"), (("--set", "batch=1"), "conv4_3_norm")):
        words = ("time", "ssd-voc", *more, "--image", image.tag, "--iterations", "1", "--json")
        timed = json.loads(provision(home, *words))
        by_layer = {one["layer"]: one for one in timed["layers"]}
        assert by_layer[layer]["forward_ms"] > 0 and by_layer["loss"]["forward_ms"] > 0
