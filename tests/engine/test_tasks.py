"""`infer`, `score` and `time` for real: Caffe in its image, on a folder as `fetch` leaves it, without any cloud."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from images.build import build
from images.choose import choose
from infra.shell import LocalShell
from provision.data.digits import prepare
from provision.recipes.rendering import render
from provision.runs.manifest import Manifest, Source, plain
from tests.engine.test_digits_train import Place
from tests.task_kit import write_code, write_digit, write_recipe

pytestmark = pytest.mark.engine
SHELL = LocalShell()


def provision(folder: Path, *words: str, code: int = 0) -> str:
    """The command as a user runs it, with no way to AWS: its standard output, or what it says where it fails."""
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_EC2_METADATA_DISABLED": "true", "XDG_CACHE_HOME": str(folder / "cache"),
               "XDG_STATE_HOME": str(folder / "state")}  # fmt: skip
    env = {**os.environ, **nothing, "COLUMNS": "160"}
    line = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(folder), sys.executable, "-m", "provision", *words]
    done = SHELL.run(line, check=False, env=env)
    assert done.code == code, done.err
    return done.out if code == 0 else done.err


def note_of_the_start(home: Path, manifest: Path, data: Path) -> None:
    """What the laptop that started the run keeps of it: the manifest's sum, and that its user gave this folder."""
    note = home / "state" / "provision" / "runs" / "aws" / "1" / "us-east-1" / "digits-1.json"
    note.parent.mkdir(parents=True)
    sums = [hashlib.sha256(manifest.read_bytes()).hexdigest()]
    note.write_text(json.dumps({"sums": sums, "folders": [str(data)]}))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/digits-1, as `provision fetch --every-snapshot` leaves it, data, and a digit as a text."""
    home = tmp_path_factory.mktemp("tasks")
    for path in (home, *list(home.parents)[:2]):
        path.chmod(0o755)
    image = build(choose("caffe-debian"), SHELL)
    recipe = write_recipe(home / "recipes" / "digits")
    made = render(recipe, {"iterations": 400, "snapshot_every": 200, "test_every": 400})
    work = home / "digits-1"
    work.mkdir()
    data = prepare(home / "data")
    place = Place(image.tag, data, work)
    place.fill(made)
    result, _ = place.train(made.command)
    assert result.code == 0, result.err
    manifest = Manifest(
        "digits-1", "2026-01-01", recipe, made, "caffe-debian", image.tag, image.digest,
        Source("folder", str(data), "/data/sets/x"), Source(), 0, "box", "p3.8xlarge", "spot", "us-east-1",
    )  # fmt: skip
    (work / "manifest.json").write_text(json.dumps(plain(manifest)))
    note_of_the_start(home, work / "manifest.json", data)
    (home / "label").write_text(write_digit(home / "digit.txt"))
    return home


@pytest.mark.timeout(2400)
def test_every_snapshot_is_scored_drawn_and_not_scored_twice(trained: Path) -> None:
    out = json.loads(provision(trained, "score", "digits-1", "--data", "data", "--json"))
    assert [one["iteration"] for one in out["scores"]] == [200, 400]
    first, last = (one["metrics"]["accuracy"] for one in out["scores"])
    assert 0.3 < first <= 1 and last > 0.9
    assert (trained / "digits-1-score" / "score.png").read_bytes().startswith(b"\x89PNG")
    results = list((trained / "digits-1-score").rglob("*"))
    assert {path.stat().st_uid for path in results} == {os.getuid()}
    stamp = (trained / "digits-1-score" / "000000200" / "score.json").stat().st_mtime_ns
    table = provision(trained, "score", "digits-1", "--data", "data")
    assert f"{last:.4f}" in table and "best accuracy" in table
    assert (trained / "digits-1-score" / "000000200" / "score.json").stat().st_mtime_ns == stamp


@pytest.mark.timeout(2400)
def test_a_task_has_the_users_code(trained: Path) -> None:
    write_code(trained / "code", "mine")
    provision(trained, "infer", "digits-1", "digit.txt", "--project", "code", "--out", "with-code")
    assert (trained / "with-code" / "mine.txt").read_text() == "mine"
    assert "--project nowhere is not a folder" in provision(
        trained, "infer", "digits-1", "digit.txt", "--project", "nowhere", "--out", "other", code=2
    )


@pytest.mark.timeout(2400)
def test_a_net_is_used_on_what_the_user_gives(trained: Path) -> None:
    provision(trained, "infer", "digits-1", "digit.txt", "--out", "found")
    assert (trained / "found" / "digit.json").read_text() == (trained / "label").read_text()
    assert (trained / "digits-1" / "snapshots" / "digits_iter_400.caffemodel").stat().st_size > 0
    assert not list((trained / "cache" / "provision" / "tasks").iterdir())


@pytest.mark.timeout(2400)
def test_a_folder_of_this_laptop_is_not_mounted_because_a_manifest_names_it(trained: Path) -> None:
    """The run was started elsewhere, as far as this laptop knows."""
    note = next((trained / "state").rglob("digits-1.json"))
    kept = note.rename(trained / "kept.json")
    try:
        said = provision(trained, "infer", "digits-1", "digit.txt", "--out", "unfound", code=13)
        assert "Caffe cannot open the data" in said
    finally:
        kept.rename(note)


@pytest.mark.timeout(2400)
def test_a_failure_is_explained_and_leaves_nothing(trained: Path) -> None:
    (trained / "empty").mkdir(exist_ok=True)
    said = provision(trained, "score", "digits-1", "--data", "empty", "--out", "no", code=13)
    assert "Caffe cannot open the data" in said and "provision data digits" in said
    assert "Traceback" not in said
    assert not any(path.is_file() for path in (trained / "no").rglob("*"))


@pytest.mark.timeout(2400)
def test_times_are_those_of_every_layer(trained: Path) -> None:
    timed = json.loads(provision(trained, "time", "digits-1", "--sort", "total", "--json"))
    assert {one["layer"] for one in timed["layers"]} == {
        "digits", "conv1", "relu1", "conv2", "relu2", "pool2", "ip1", "relu3", "ip2", "loss",
    } | {one["layer"] for one in timed["layers"] if "split" in one["layer"]}  # fmt: skip
    assert timed["iterations"] == 3 and timed["forward_backward_ms"] > 0
    totals = [one["total_ms"] for one in timed["layers"]]
    assert totals == sorted(totals, reverse=True)

    (trained / "mine.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }\n'
        'layer { name: "my conv" type: "Convolution" bottom: "x" top: "y" '
        'convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }\n'
    )
    table = provision(trained, "time", "mine.prototxt", "--iterations", "2", "--phase", "TEST")
    assert "my conv" in table and "average of 2 iterations" in table
