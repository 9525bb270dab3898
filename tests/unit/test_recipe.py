"""Recipes: what is refused with which words, and what a recipe becomes."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.containers import Rights
from infra.errors import UsageError
from provision.logs.failures import explain
from provision.recipes import spec
from provision.recipes.loading import load, names
from provision.recipes.planners import table
from provision.recipes.rendering import fill, render, split_sets
from provision.recipes.spec import Recipe, Rendered, Weights, complete_snapshots, from_dict, to_dict

PLAIN = """
name: toy
about: a toy
stack: caffe-debian
command: [caffe, train, -solver, solver.prototxt, "-iterations={{ steps }}"]
options: {steps: 10, rate: 0.5, fast: false, mode: plain}
files: [solver.prototxt.j2, notes.txt]
folders: [snaps]
gpu: [-gpu, "{{ gpu_list }}"]
environment: {STEPS: "{{ steps }} of {{ gpus }}", MODE: as it is}
resume: [-snapshot, "{snapshot}.solverstate"]
stop: {signal: SIGINT, timeout: 5, said: stopped}
snapshots: {pattern: 'snaps/toy_iter_(?P<iteration>\\d+)\\.(?P<part>\\w+)', parts: [caffemodel, solverstate]}
failures: [{match: "out of (memory|mind)", what: too big, mend: be small}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes" / "toy"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(PLAIN)
    (folder / "solver.prototxt.j2").write_text("max_iter: {{ steps }}\nbase_lr: {{ rate }}\n")
    (folder / "notes.txt").write_text("as {{ it }} is\n")
    return tmp_path


def change(project: Path, old: str, new: str) -> Path:
    path = project / "recipes/toy/recipe.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return project


def test_files_and_command_are_filled_in(project: Path) -> None:
    made = render(load("toy", project), {"steps": "25", "rate": 2})
    assert made.files == {
        "snaps/.keep": "",
        "solver.prototxt": "max_iter: 25\nbase_lr: 2.0\n",
        "notes.txt": "as {{ it }} is\n",
    }
    assert made.command == ("caffe", "train", "-solver", "solver.prototxt", "-iterations=25")
    assert made.options == {"steps": 25, "rate": 2.0, "fast": False, "mode": "plain"}
    assert made.environment == {"STEPS": "25 of 0", "MODE": "as it is"}


def test_gpus_and_resume_add_words(project: Path) -> None:
    made = render(load("toy", project), gpus=3)
    assert made.command[-2:] == ("-gpu", "0,1,2")
    assert made.resumed("snaps/toy_iter_5")[-4:] == ("-gpu", "0,1,2", "-snapshot", "snaps/toy_iter_5.solverstate")


def test_both_survive_json(project: Path) -> None:
    recipe = load("toy", project)
    made = render(recipe, {"fast": "yes"})
    assert from_dict(json.loads(json.dumps(to_dict(recipe))), Recipe) == recipe
    assert from_dict(json.loads(json.dumps(to_dict(made))), Rendered) == made


def test_manifest_that_was_bent_is_refused_with_its_key(project: Path) -> None:
    raw = to_dict(load("toy", project))
    raw["stop"]["timeout"] = "long"
    with pytest.raises(UsageError, match=r"run-1: .*at stop.timeout"):
        from_dict(raw, Recipe, "run-1")


def test_project_before_ours_and_a_folder_by_its_path(project: Path) -> None:
    assert {"digits", "toy"} <= set(names(project))
    assert load(str(project / "recipes/toy")) == load("toy", project)
    (project / "recipes/toy").rename(project / "recipes/digits")
    assert load("digits", project).about == "a toy"
    assert load("digits").about != "a toy"


def test_unknown_recipe_names_the_nearest(project: Path) -> None:
    with pytest.raises(UsageError, match="no recipe 'digit'") as caught:
        load("digit", project)
    assert caught.value.mend == "did you mean digits?"
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="no recipe 'Digits!'"):
        load("Digits!", project)
    with pytest.raises(UsageError, match=r"holds no recipe\.yaml"):
        load(str(project), project)


@pytest.mark.parametrize(
    ("old", "new", "what", "mend"),
    [
        ("stack:", "stak:", "unknown field 'stak'", "did you mean stack"),
        ("{signal:", "{singal:", r"unknown field 'singal' \(at stop\)", "did you mean signal"),
        ("about: a toy", "about: 9.10", r"got 'float' \(at about\)", "quotes"),
        ("[caffe, train", "[caffe, 7", r"got 'int' \(at command\[1\]\)", "quotes"),
        ("about: a toy\n", "", "missing required field 'about'", ""),
        ("name: toy", "name: My Toy", "name 'My Toy'", "a-z"),
        ("signal: SIGINT", "signal: SIGNIT", "stop.signal 'SIGNIT'", "SIGINT"),
        ("timeout: 5", "timeout: 0", "stop.timeout", ""),
        ("{snapshot}", "{snapshots}", r"resume has \{snapshots\}", "{snapshot}"),
        ("?P<part>", "?P<piece>", "no group 'part'", "(?P<part>"),
        (r"(?P<part>\w+)", "(", "no regular expression", ""),
        ("(memory|mind)", "(memory", r"failures\[0\]\.match is no regular", ""),
        ("about: a toy", "about: a toy\nmetrics: jsn", "no format 'jsn' of metrics", "json"),
        ("about: a toy", "about: a toy\nmetrics: 'regex:loss=(.*)'", "names no number", "(?P<loss>"),
        ("notes.txt]", "../../secret]", "outside the recipe's folder", ""),
        ("notes.txt]", "nots.txt]", "'nots.txt' cannot be read", ""),
        ("folders: [snaps]", "folders: [/etc]", "'/etc' is outside", ""),
        ("rate: 0.5", "rate: 1e-3", "YAML reads 1e-3 as a text", "0.001"),
        ("rate: 0.5", "gpus: 1", "options.gpus", "another name"),
        ("name: toy", "name: [toy", "is not usable YAML", ""),
        ("MODE: as", "MY-MODE: as", "'MY-MODE' is no variable's name", "letters"),
        ("MODE: as", "LOG: as", "environment.LOG is set by provision", "saved"),
        ("MODE: as", "WANDB_API_KEY: as", "no place for a secret", "only you may read"),
        ("MODE: as it is", "THREADS: 4", r"got 'int' \(at environment\[\.\.\.\]\)", "quotes"),
        ("gpu:", "container: {pids: -1}\ngpu:", r"pids must not be below 0; 0: any number \(at container\)", ""),
        ("gpu:", "container: {capabilities: [SYS_ADMIN]}\ngpu:", "'SYS_ADMIN' is none that a training may have", ""),
    ],
)
def test_wrong_recipes_are_one_message(project: Path, old: str, new: str, what: str, mend: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        load("toy", change(project, old, new))
    assert mend in caught.value.mend
    assert "recipe.yaml" in caught.value.what


WEIGHTS = """
weights:
  - {file: a.caffemodel, url: "http://up/a", licence: BSD, when: {mode: fine}}
  - {file: b.caffemodel, url: "https://up/b", licence: mine, non_commercial: true, when: {mode: strict, steps: 10}}
tasks:
  infer: {command: [python3, infer.py, "{snapshot}.caffemodel", "{{ mode }}"], gpu: ["--gpu={{ gpu_list }}"]}
  score: {command: [python3, score.py, "{snapshot}.caffemodel"], every_snapshot: true}
"""


def with_more(project: Path, text: str = WEIGHTS) -> Path:
    path = project / "recipes/toy/recipe.yaml"
    path.write_text(path.read_text() + text)
    return project


def test_tasks_and_the_weights_that_the_options_ask_for_are_rendered(project: Path) -> None:
    recipe = load("toy", with_more(project))
    made = render(recipe, {"mode": "fine"}, gpus=2)
    assert [one.file for one in made.weights] == ["a.caffemodel"]
    assert made.tasks["infer"].command == ("python3", "infer.py", "{snapshot}.caffemodel", "fine", "--gpu=0,1")
    assert made.tasks["score"].every_snapshot
    assert render(recipe).weights == ()
    assert render(recipe).tasks["infer"].command[-1] == "plain"
    assert [one.file for one in render(recipe, {"mode": "strict"}).weights] == ["b.caffemodel"]
    assert from_dict(json.loads(json.dumps(to_dict(made))), Rendered) == made


@pytest.mark.parametrize(
    ("old", "new", "what", "mend"),
    [
        ("infer:", "inver:", "tasks.inver is no task", "infer"),
        ('"{{ mode }}"]', '"{{ mod }}"]', "tasks.infer: 'mod' is undefined", "mode"),
        ("--gpu={{ gpu_list }}", "--gpu={{ gpu }}", "tasks.infer: 'gpu' is undefined", "gpus"),
        ('score.py, "{snapshot}', 'score.py, "{iteration}', r"tasks.score has \{iteration\}", "{snapshot}"),
        ('[python3, score.py, "{snapshot}.caffemodel"]', "[]", "tasks.score.command is empty", "words"),
        ("a.caffemodel, url", "x/a.caffemodel, url", "'x/a.caffemodel' is not a file's name", ""),
        ("http://up/a", "up/a", "weights a.caffemodel: url 'up/a'", "http"),
        ("licence: BSD", "licence: ' '", "licence is empty", "terms"),
        ("licence: BSD", "licence: BSD, sha256: abc", "'abc' is not 64 hex digits", "pinned"),
        ("licence: BSD", "licence: BSD, size: -1", "size must not be below 0", ""),
        ("{mode: fine}", "{mod: fine}", "when.mod is no option", "mode"),
        ("steps: 10}}", "steps: '10'}}", "when.steps is '10', and the option is a whole number", "default is 10"),
    ],
)
def test_wrong_tasks_and_weights(project: Path, old: str, new: str, what: str, mend: str) -> None:
    change(with_more(project), old, new)
    with pytest.raises(UsageError, match=what) as caught:
        load("toy", project)
    assert mend in caught.value.mend


def test_two_files_of_one_name_need_options_that_exclude_each_other(project: Path) -> None:
    change(with_more(project), "b.caffemodel", "a.caffemodel")
    assert [one.url for one in render(load("toy", project), {"mode": "strict"}).weights] == ["https://up/b"]
    change(project, "mode: strict, ", "")
    with pytest.raises(UsageError, match=r"a\.caffemodel is there twice for the same options"):
        load("toy", project)


def test_a_container_has_no_capability_and_few_processes_unless_the_recipe_says_otherwise(project: Path) -> None:
    assert load("toy", project).container.rights == Rights((), 4096)
    more = load("toy", change(project, "gpu:", "container: {capabilities: [SYS_NICE], pids: 20000}\ngpu:"))
    assert more.container.rights == Rights(("SYS_NICE",), 20000)
    assert from_dict(to_dict(more), Recipe) == more
    bent = {**to_dict(more), "container": {"capabilities": ["SYS_MODULE"]}}
    with pytest.raises(UsageError, match="'SYS_MODULE' is none that a training may have"):
        from_dict(bent, Recipe)
    before = {key: value for key, value in to_dict(more).items() if key != "container"}
    assert from_dict(before, Recipe).container.rights == Rights(), "a run that began before there was the key"


def test_how_many_snapshots_stay_is_a_number_from_0_on(project: Path) -> None:
    change(project, "parts: [caffemodel, solverstate]", "parts: [caffemodel, solverstate], keep: 3")
    assert load("toy", project).snapshots.keep == 3
    with pytest.raises(UsageError, match=r"snapshots\.keep must not be below 0"):
        load("toy", change(project, "keep: 3", "keep: -1"))


def test_a_plan_that_is_not_there_names_the_nearest(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.PLANNERS, "double", double)
    with pytest.raises(UsageError, match="plan 'doubel'") as caught:
        load("toy", with_more(project, "plan: doubel\n"))
    assert "double" in caught.value.mend


def double(options: Mapping[str, spec.Option], gpus: int, data: Path | None) -> spec.Plan:
    """A planner for the tests: twice the steps for each GPU; it wants data that has a size."""
    if gpus and data is None:
        raise UsageError("the data's size is not known", "give --data")
    twice = int(options["steps"]) * 2
    start = Weights(file=f"{twice}.pkl", url="https://up/x", licence="none")
    return spec.Plan({"twice": twice}, {"plan.txt": f"{twice}\n"}, {"steps, doubled": twice}, [start])


def test_a_plan_gives_values_files_and_rows_and_may_refuse(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(table.PLANNERS, "double", double)
    task = 'plan: double\ntasks: {time: {command: [x, "{{ twice }}"]}}\n'
    recipe = load("toy", with_more(project, task))
    made = render(recipe, {"steps": 4}, gpus=1, data=tmp_path)
    assert made.plan == {"steps, doubled": 8}
    assert [one.file for one in made.weights] == ["8.pkl"]
    assert made.files["plan.txt"] == "8\n"
    assert made.tasks["time"].command == ("x", "8")
    with pytest.raises(UsageError, match="the data's size is not known"):
        render(recipe, gpus=1)


def test_a_command_may_find_its_snapshot_itself(project: Path) -> None:
    """As Detectron does: the snapshot is put back where it was, and the command stays the same."""
    change(project, 'resume: [-snapshot, "{snapshot}.solverstate"]', "resume: []")
    pattern = "'train/.+/model_iter(?P<iteration>\\d+)\\.(?P<part>pkl)'"
    change(project, "'snaps/toy_iter_(?P<iteration>\\d+)\\.(?P<part>\\w+)'", pattern)
    change(project, "parts: [caffemodel, solverstate]", "parts: [pkl]")
    recipe = load("toy", project)
    [one] = complete_snapshots(recipe, ["train/a:b/generalized_rcnn/model_iter19.pkl"])
    assert (one.iteration, one.stem) == (19, "train/a:b/generalized_rcnn/model_iter19")
    assert render(recipe).resumed(one.stem) == render(recipe).command


def test_resume_needs_snapshots(project: Path) -> None:
    path = project / "recipes/toy/recipe.yaml"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("snapshots")))
    with pytest.raises(UsageError, match="resume without snapshots"):
        load("toy", project)


def test_a_recipe_without_snapshots_has_none(project: Path) -> None:
    path = project / "recipes/toy/recipe.yaml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith(("snapshots", "resume"))))
    assert complete_snapshots(load("toy", project), ["snaps/toy_iter_5.caffemodel", ""]) == []


@pytest.mark.parametrize(
    ("template", "what", "mend"),
    [
        ("max_iter: {{ stepps }}", "solver.prototxt.j2: 'stepps' is undefined", "steps"),
        ("max_iter: {{ steps", "solver.prototxt.j2", ""),
        ("a: 1\nsource: '${DATA}'", r"\$\{DATA\} is left unresolved \(line 2\)", "{{ name }}"),
        ("source: '{{ '{{ DATA }}' }}'", r"\{\{ DATA \}\} is left unresolved", ""),
        ("source: '<YOUR_DATA_PATH>/x'", "<YOUR_DATA_PATH> is left unresolved", ""),
        ("source: '<path to lmdb>'", "<path to lmdb> is left unresolved", ""),
        ("lr: {{ rate / 0 }}", "division by zero", ""),
    ],
)
def test_placeholders_that_cannot_be_filled(project: Path, template: str, what: str, mend: str) -> None:
    (project / "recipes/toy/solver.prototxt.j2").write_text(template)
    with pytest.raises(UsageError, match=what) as caught:
        render(load("toy", project))
    assert mend in caught.value.mend


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("plain.prototxt", "source: '${DATA}'", True),
        ("plain.yaml", "a: <DATA_PATH>", True),
        ("list.txt.j2", "${ROOT}/a.jpg 1", True),
        ("run.sh", "echo ${HOME}", False),
        ("run.sh.j2", "echo ${HOME} {{ steps }}", False),
        ("tool.py", "print(f'{{x}} <path>')", False),
        ("plain.prototxt", "foo < bar: 'path' > include < phase: TRAIN >", False),
    ],
)
def test_placeholders_are_looked_for_where_they_mean_nothing_else(
    project: Path, name: str, text: str, wrong: bool
) -> None:
    (project / "recipes/toy" / name).write_text(text)
    recipe = load("toy", change(project, "notes.txt]", f"notes.txt, {name}]"))
    if wrong:
        with pytest.raises(UsageError, match=f"toy: {name}: .* is left unresolved"):
            render(recipe)
    else:
        assert name.removesuffix(".j2") in render(recipe).files


@pytest.mark.parametrize(
    ("given_words", "what", "mend"),
    [
        (["steps=many"], "'many' is not a whole number", "default is 10"),
        (["steps=1.5"], "not a whole number", ""),
        (["rate=fast"], "not a number", ""),
        (["rate=nan"], "not a number", ""),
        (["fast=perhaps"], "not true or false", ""),
        (["step=3"], "no option 'step'", "did you mean steps"),
        (["steps"], "--set steps: no value", "--set steps=VALUE"),
    ],
)
def test_wrong_options(project: Path, given_words: list[str], what: str, mend: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        render(load("toy", project), split_sets(given_words))
    assert mend in caught.value.mend


def test_a_value_may_hold_an_equals_sign() -> None:
    assert split_sets(["mode=a=b", "x= 1 "]) == {"mode": "a=b", "x": "1"}


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text())
def test_options_given_as_text_are_what_was_meant(steps: int, rate: float, fast: bool, mode: str) -> None:
    options = {"steps": 1, "rate": 1.0, "fast": True, "mode": ""}
    toy = Recipe(name="toy", about="", stack="", command=("x",), options=options)
    given_values = {"steps": str(steps), "rate": repr(rate), "fast": str(fast), "mode": mode}
    assert fill(toy, given_values) == {"steps": steps, "rate": rate, "fast": fast, "mode": mode}


def test_only_whole_snapshots_count_newest_last(project: Path) -> None:
    paths = [
        "snaps/toy_iter_1000.solverstate",
        "snaps/toy_iter_1000.caffemodel",
        "snaps/toy_iter_200.caffemodel",
        "snaps/toy_iter_200.solverstate",
        "snaps/toy_iter_3000.caffemodel",
        "snaps/.keep",
        "solver.prototxt",
        "other/snaps/toy_iter_9.caffemodel",
    ]
    found = complete_snapshots(load("toy", project), paths)
    assert [(one.iteration, one.stem) for one in found] == [(200, "snaps/toy_iter_200"), (1000, "snaps/toy_iter_1000")]
    assert found[-1].paths == ("snaps/toy_iter_1000.caffemodel", "snaps/toy_iter_1000.solverstate")


def test_known_failures_are_explained(project: Path) -> None:
    recipe = load("toy", project)
    found = explain(recipe.failures, ["all is well", "F1 the net is out of mind"])
    assert found is not None and found.mend == "be small"
    assert explain(recipe.failures, ["all is well"]) is None
