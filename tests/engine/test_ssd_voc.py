"""The recipe `ssd-voc` in a Caffe that is not its fork: it must be said, before anything is trained.

Its own Caffe takes a build from a source that the default tests cannot reach: tests/forks/test_ssd.py trains there.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from images.build import build
from images.choose import choose
from infra.shell import LocalShell
from provision.commands.data_boxes import boxes
from provision.data.boxes import prepare
from provision.logs.failures import explain
from provision.recipes.loading import load
from provision.recipes.rendering import render
from tests.engine.test_digits_train import Place
from tests.ssd_photos import NAMES, devkit, voc

pytestmark = pytest.mark.engine

SMALL = {"body": "small", "start": "none", "classes": ",".join(NAMES), "batch": 4}


@pytest.mark.timeout(2400)
def test_another_caffe_is_named_as_the_cause(tmp_path: Path) -> None:
    for path in list(tmp_path.parents)[:2]:
        path.chmod(0o755)
    kit = devkit(tmp_path / "kit", train=4, test=2)
    prepare(tmp_path / "data", kit / "train.txt", kit / "test.txt", kit, NAMES)
    recipe = load("ssd-voc")
    work = tmp_path / "work"
    work.mkdir()
    place = Place(build(choose("caffe-debian"), LocalShell()).tag, tmp_path / "data", work)
    made = render(recipe, SMALL, 0, tmp_path / "data")
    place.fill(made)
    result, _ = place.train(made.command)
    assert result.code != 0
    found = explain(recipe.failures, result.err.splitlines())
    assert found is not None and "not the fork" in found.what and "--image caffe-ssd" in found.mend


def test_vocs_own_photos_and_boxes_become_data(tmp_path: Path) -> None:
    root = voc()
    words = [str(tmp_path / "data"), "--root", str(root), "--json"]
    done = CliRunner().invoke(boxes, [*words, "--train", str(root / "list.txt"), "--test", str(root / "list.txt")])
    assert done.exit_code == 0, done.output
    made = json.loads((tmp_path / "data" / "data.json").read_text())
    assert (made["train"], made["test"], made["in_both"], made["bad"]) == (3, 3, 3, 0)
    found = {name: count for name, count in made["boxes"]["train"].items() if count}
    objects = "".join(path.read_text() for path in (root / "Annotations").iterdir())
    assert found == {name: objects.count(f"<name>{name}</name>") for name in found}
    assert sum(found.values()) == objects.count("<object>")
    render(load("ssd-voc"), {"body": "small", "start": "none"}, 0, tmp_path / "data")
