"""The recipe `crfrnn` for real, on the CPU: its nets in the fork's own Caffe, a training from interruption to score.

The source is fetched from upstream; PROVISION_CRFRNN_MIRROR names a repository or folder to take it from instead.
"""

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from images.build import Image as Built
from images.build import Order, build_context, existing
from images.choose import parse
from images.render import render as render_image
from images.source import resolve
from images.stacks import stacks
from infra.shell import LocalShell
from provision.data.crfrnn import prepare
from provision.logs.caffe import Metric, Resumed
from provision.logs.progress import progress_of
from provision.net import shapes, text
from provision.net.graph import layers
from provision.net.schema import Schema
from provision.net.schema_source import fetch
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import Rendered
from provision.settings import cache_home
from tests.forks import voc_kit
from tests.forks.crfrnn_kit import infer, score
from tests.forks.place import Place, open_to_all

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]
SHELL = LocalShell()
SIDE = 96
MIRROR = os.environ.get("PROVISION_CRFRNN_MIRROR")

_BUILD = """
import json, caffe
caffe.set_mode_cpu()
net = caffe.Net("deploy.prototxt", caffe.TEST)
print(json.dumps([{key: list(blob.data.shape) for key, blob in net.blobs.items()},
                  {key: [list(blob.data.shape) for blob in blobs] for key, blobs in net.params.items()}]))
"""


@cache
def image() -> Built:
    """The fork's image for the CPU, built where it is not there yet."""
    context = render_image(parse("caffe-crfrnn:cpu-debian12"))
    order = Order(resolve(stacks()["caffe-crfrnn"], cache_home() / "sources", mirror=MIRROR))
    return existing(context, SHELL, order) or build_context(context, SHELL, print, order)


@pytest.fixture(scope="module")
def schema() -> Schema:
    return fetch("caffe-crfrnn", "git", MIRROR)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of VOC, 96 pixels wide or high, as `provision data crfrnn` prepares them."""
    folder = tmp_path_factory.mktemp("voc")
    return open_to_all(prepare(voc_kit.devkit(folder, SIDE), folder / "data", size=SIDE))


@pytest.fixture
def place(data: Path, tmp_path: Path) -> Place:
    (tmp_path / "work").mkdir()
    return Place(image().tag, tmp_path / "work", {"/data": data})


def small(data: Path, **options: object) -> Rendered:
    given = {"body": "small", "start": "none", "size": SIDE, "display": 1, "snapshot_every": 1000, **options}
    return render(load("crfrnn"), {key: str(value) for key, value in given.items()}, 0, data)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"start": "crfrnn"}, {"start": "none"}, {"classes": "car,dog", "loss": "mean"}, {"crf": "false"},
        {"start": "none", "body": "small"},
    ],
)  # fmt: skip
def test_every_net_is_of_the_forks_schema(schema: Schema, options: dict[str, str]) -> None:
    made = render(load("crfrnn"), options)
    assert list(schema.faults(text.parse(made.files["solver.prototxt"]), "SolverParameter")) == []
    for file in ("net.prototxt", "deploy.prototxt"):
        net = text.parse(made.files[file])
        assert list(schema.faults(net)) == []
        assert [one.type for one in layers(net, "TRAIN") if not schema.knows(one)] == []


@pytest.mark.parametrize("options", [{}, {"classes": "car,dog"}, {"body": "small", "start": "none"}])
def test_caffe_makes_the_net_that_we_computed(place: Place, options: dict[str, str]) -> None:
    """Shapes of all blobs and weights, in FCN-8s and the small body, with the published nets' layers and with ours."""
    made = render(load("crfrnn"), {"size": "70", **options})
    place.fill(made)
    result = place.run(["python3", "-c", _BUILD])
    assert result.code == 0, result.err
    blobs, params = json.loads(result.out.splitlines()[-1])
    found = shapes.infer(layers(text.parse(made.files["deploy.prototxt"]), "TEST"))
    for row in found.rows:
        for name, shape in zip(row.layer.tops, row.tops, strict=True):
            assert blobs[name] == list(shape or ()), name
    assert {row.layer.name: [list(one) for one in row.params] for row in found.rows if row.params} == params


def test_a_training_is_interrupted_goes_on_learns_and_is_used(place: Place, data: Path, tmp_path: Path) -> None:
    recipe, made = load("crfrnn"), small(data, iterations=300, test_every=100)
    place.fill(made)
    result, before = place.train(made.command, stop_at=10)
    assert result.code == 0, result.err
    assert recipe.stop.said in result.err
    (at,) = place.snapshots(recipe)
    assert 10 <= at < 150

    result, after = place.train(made.resumed(place.snapshots(recipe)[at]))
    assert result.code == 0, result.err
    assert [event.iteration for event in after if isinstance(event, Resumed)] == [at]
    assert progress_of(after).first_after_resume == at
    loss = [event.value for event in (*before, *after) if isinstance(event, Metric) and event.name == "loss"]
    assert np.mean(loss[-20:]) < 0.7 * np.mean(loss[:5])
    assert "Test net output #2" not in result.err

    first, last = (score(place, tmp_path, place.snapshots(recipe)[one]) for one in (at, 300))
    assert (first["iteration"], last["iteration"], last["images"]) == (at, 300, 3)
    assert last["metrics"]["mean_iou"] > first["metrics"]["mean_iou"] + 0.1
    assert last["metrics"]["pixel_accuracy"] > 0.8
    right = infer(place, tmp_path, place.snapshots(recipe)[300])
    assert min(right) > 0.6, right
