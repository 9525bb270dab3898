"""`provision recipe …` and `train --dry-run`: what a user sees of recipes, without AWS, Docker or any machine."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from provision import settings
from provision.cli import run
from provision.net import text
from provision.recipes.checking import problems
from provision.recipes.loading import load, names
from provision.recipes.rendering import render
from provision.runs import weights

LICENSED = """
weights:
  - {file: net.caffemodel, url: "http://up/net", licence: for research, non_commercial: true, size: 1500000}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is an empty project."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; its exit code and what it printed."""

    def provision(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        out = capsys.readouterr()
        return code, out.out, out.err

    return provision


def recipe_yaml(project: Path, name: str = "mine") -> Path:
    return project / "recipes" / name / "recipe.yaml"


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_new_recipe_is_right_at_once_and_says_what_comes_next(said: Any, project: Path) -> None:
    code, out, _ = said("recipe", "new", "mine", "--dry-run")
    assert (code, list(project.iterdir())) == (0, [])
    assert "would make recipes/mine: recipe.yaml, solver.prototxt.j2, net.prototxt.j2" in out
    assert said("recipe", "new", "mine")[0] == 0
    assert said("recipe", "check", "mine") == (0, "mine: nothing is wrong\n", "")
    made = render(load("mine", project), {"hidden": 8}, gpus=2)
    assert made.command[-2:] == ("-gpu", "0,1")
    layers = text.parse(made.files["net.prototxt"]).messages("layer")
    [hidden] = [one for one in layers if one.text("name") == "hidden"]
    assert hidden.get("inner_product_param.num_output") == 8
    assert [path.name for path in (project / "recipes").iterdir()] == ["mine"]  # nothing half-made


def test_one_made_from_another_is_its_copy_under_the_new_name(said: Any, project: Path) -> None:
    assert said("recipe", "new", "mine", "--from", "digits")[0] == 0
    ours, mine = load("digits"), load("mine", project)
    assert mine.name == "mine"
    assert mine.templates == ours.templates
    assert "# Caffe saves a snapshot" in recipe_yaml(project).read_text()  # comments stay
    assert said("recipe", "check", "mine")[0] == 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["Bad Name"], "'Bad Name' is not a name"),
        (["mine"], "recipes/mine is there already"),
        (["other", "--from", "digitz"], "there is no recipe 'digitz'"),
    ],
)
def test_what_new_refuses(said: Any, project: Path, words: list[str], what: str) -> None:
    said("recipe", "new", "mine")
    code, _, err = said("recipe", "new", *words)
    assert code == 2
    assert what in err
    assert [path.name for path in (project / "recipes").iterdir()] == ["mine"]


def test_ls_shows_ours_and_the_projects_what_it_hides_and_what_is_wrong(said: Any, project: Path) -> None:
    said("recipe", "new", "mine")
    said("recipe", "new", "digits", "--from", "digits")
    said("recipe", "new", "torn")
    recipe_yaml(project, "torn").write_text("name: torn\n")
    rows = {row["recipe"]: row for row in json.loads(said("recipe", "ls", "--json")[1])}
    assert (rows["mine"]["ours"], rows["mine"]["hides_ours"]) == (False, False)
    assert (rows["digits"]["ours"], rows["digits"]["hides_ours"]) == (False, True)
    assert rows["mine"]["stack"] == "caffe-debian"
    assert "missing required field" in rows["torn"]["wrong"]
    assert "_new" not in rows
    code, out, _ = said("recipe", "ls")
    assert code == 0
    assert "the project's, hides ours" in out
    assert "WRONG" in out


def test_show_tells_all_of_a_recipe_and_its_files_filled_in(said: Any, project: Path) -> None:
    said("recipe", "new", "mine")
    recipe_yaml(project).write_text(
        recipe_yaml(project).read_text() + LICENSED + "tasks: {time: {command: [caffe, time], about: how fast}}\n"
    )
    code, out, _ = said("recipe", "show", "mine", "--set", "batch=8", "--gpus", "2", "--files")
    assert code == 0
    shown = " ".join(out.split())
    for words in (
        "option batch 8 (default: 32)", "the newest 3 stay", "for research — not for commercial use", "http://up/net",
        "provision time how fast caffe time", "Caffe cannot open the data", "-gpu 0,1", "batch_size: 8",
        "solver_mode: GPU",
    ):  # fmt: skip
        assert words in shown
    raw = json.loads(said("recipe", "show", "mine", "--json", "--set", "batch=8")[1])
    assert raw["options"]["batch"] == 32
    assert raw["rendered"]["options"]["batch"] == 8
    assert raw["weights"][0]["non_commercial"] is True
    assert raw["rendered"]["files"] == ["net.prototxt", "snapshots/.keep", "solver.prototxt"]


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        ("recipe.yaml", "stack:", "stak:", "unknown field 'stak'"),
        ("recipe.yaml", "name: mine", "name: other", "name 'other' is not the folder's"),
        ("recipe.yaml", "stack: caffe-debian", "stack: cafe-debian", "did you mean caffe-debian"),
        ("recipe.yaml", "data: digits", "data: digit", "'digit' is prepared by nobody → did you mean digits?"),
        ("recipe.yaml", "signal: SIGINT", "signal: SIGNIT", "did you mean SIGINT"),
        ("recipe.yaml", "folders: [snapshots]", "folders: []", "nobody makes the folder of snapshot_prefix"),
        ("net.prototxt.j2", "{{ hidden }}", "{{ hiden }}", "'hiden' is undefined"),
        ("net.prototxt.j2", "{{ batch }}", "${BATCH}", "${BATCH} is left unresolved (line 7)"),
        ("net.prototxt.j2", 'layer { name: "relu"', 'layer name: "relu"', "net.prototxt:"),
        (
            "solver.prototxt.j2",
            'net: "net.prototxt"',
            'net: "nett.prototxt"',
            "'nett.prototxt' is none of",
        ),
    ],
)
def test_check_finds(said: Any, project: Path, file: str, old: str, new: str, what: str) -> None:
    said("recipe", "new", "mine")
    change(project / "recipes/mine" / file, old, new)
    code, out, _ = said("recipe", "check", "mine")
    assert code == 2
    [line] = out.splitlines()
    assert what in line
    code, out, _ = said("recipe", "check", "recipes/mine", "--json")
    assert code == 2
    assert len(json.loads(out)) == 1


@pytest.mark.parametrize("name", names())
def test_our_own_recipes_have_nothing_wrong(name: str) -> None:
    assert problems(name) == []


def test_check_says_several_things_at_once(said: Any, project: Path) -> None:
    said("recipe", "new", "mine")
    change(recipe_yaml(project), "timeout: 60", "timeout: 0")
    change(recipe_yaml(project), "keep: 3", "keep: -3")
    code, out, _ = said("recipe", "check", "mine")
    assert code == 2
    assert len(out.splitlines()) == 2


def test_a_dry_run_needs_no_machine_no_aws_and_no_docker(said: Any) -> None:
    """Sockets and processes are refused to unit tests."""
    said("recipe", "new", "mine")
    code, out, err = said("train", "mine", "--gpus", "2", "--dry-run", "--json", "--set", "batch=8")
    assert code == 0, err
    found = json.loads(out)
    assert found["recipe"] == "mine"
    assert found["options"]["batch"] == 8
    assert found["command"][:2] == ["caffe", "train"]
    assert found["image"].startswith("provision/caffe-debian:")
    assert (found["plan"], found["weights"]) == ({}, [])
    assert found["files"] == ["net.prototxt", "snapshots/.keep", "solver.prototxt"]


def test_variables_are_added_to_the_recipes_or_come_in_their_place(said: Any, project: Path) -> None:
    said("recipe", "new", "mine", "--from", "digits")
    words = ("train", "mine", "--dry-run", "--env", "OPENBLAS_NUM_THREADS=4", "--env", "NOTE=a = b")
    assert json.loads(said(*words, "--json")[1])["environment"] == {"OPENBLAS_NUM_THREADS": "4", "NOTE": "a = b"}
    assert re.search(r"environment +OPENBLAS_NUM_THREADS=4\s+environment +NOTE=a = b", said(*words)[1])
    assert re.search(r"environment +OPENBLAS_NUM_THREADS=1\b", said("recipe", "show", "mine")[1])


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("NOTHING", "--env NOTHING: no value"),
        ("HOME=/data", "--env HOME is set by provision"),
        ("NVIDIA_VISIBLE_DEVICES=0", "--gpus N takes GPUs that nobody uses"),
        ("AWS_SECRET_ACCESS_KEY=x", "no place for a secret"),
        ("A B=c", "'A B' is no variable's name"),
    ],
)
def test_variables_that_no_training_has(said: Any, word: str, what: str) -> None:
    code, _, err = said("train", "digits", "--dry-run", "--env", word)
    assert code == 2
    assert what in err


def test_gpus_mean_an_image_with_cuda_where_the_stack_has_one(said: Any, project: Path) -> None:
    said("recipe", "new", "mine")
    change(recipe_yaml(project), "stack: caffe-debian", "stack: caffe")
    images = {}
    for gpus in (0, 4):
        found = json.loads(said("train", "mine", "--gpus", str(gpus), "--dry-run", "--json")[1])
        images[found["gpus"]] = found["image"]
    assert ":cpu-" in images[0]
    assert ":cuda" in images[4]
    found = json.loads(said("train", "digits", "--gpus", "4", "--image", "caffe", "--dry-run", "--json")[1])
    assert (":cuda" in found["image"], found["gpus"]) == (True, 4)  # a stack, whoever names it
    code, out, _ = said("train", "mine", "--gpus", "4", "--dry-run", "--image", "caffe:cpu-debian12")
    assert code == 0
    assert re.search(r"GPUs +0\b", out)


def test_weights_are_shown_in_a_dry_run_and_refused_before_a_machine_is_rented(
    said: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said("recipe", "new", "mine")
    recipe_yaml(project).write_text(recipe_yaml(project).read_text() + LICENSED)
    [row] = json.loads(said("train", "mine", "--dry-run", "--json")[1])["weights"]
    assert (row["file"], row["non_commercial"], row["checksum"]) == ("net.caffemodel", True, "pinned at first use")
    weights.pin("http://up/net", "a" * 64, 1500000)
    code, out, _ = said("train", "mine", "--dry-run")
    assert code == 0
    assert "net.caffemodel, 1.5 MB from http://up/net; licence: for research — not for commercial use" in out
    assert "sha256 pinned on 20" in out

    refused = said("train", "mine", "--instance", "p3.8xlarge")
    assert refused[0] == 2
    assert "for research — not for commercial use" in refused[2]
    assert "--accept-licence net.caffemodel" in refused[2]

    def no_cloud(*_: object) -> None:
        raise AssertionError("here a machine would be rented")

    monkeypatch.setattr("provision.clouds.resolve", no_cloud)
    with pytest.raises(AssertionError, match="rented"):
        said("train", "mine", "--instance", "p3.8xlarge", "--accept-licence", "net.caffemodel")
    settings.home().mkdir(parents=True, exist_ok=True)
    (settings.home() / "settings.yaml").write_text("accept_licences: [net.caffemodel]\n")
    with pytest.raises(AssertionError, match="rented"):
        said("train", "mine", "--instance", "p3.8xlarge")
