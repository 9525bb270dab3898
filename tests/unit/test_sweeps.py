"""Sweeps: which runs they make, what is refused, how they stand, and which is the best."""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from infra.errors import NotFoundError, UsageError
from infra.folder import Folder
from provision.cli import run
from provision.commands import sweep as sweep_command
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.recipes.spec import Option, to_dict
from provision.runs import sweeps
from provision.runs.manifest import Manifest, Source
from provision.runs.store import AnyRun
from provision.runs.sweeps import Asked, Result, Sweep

RECIPE = load("digits")


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "here", ("here", "-", "-"))


def base() -> Manifest:
    return Manifest(
        "digits-1", "2026-01-01", RECIPE, render(RECIPE), "caffe", "caffe:1", "sha256:1", Source(), Source(), 0, "here",
        "laptop", "", "",
    )  # fmt: skip


def made(options: Mapping[str, list[Option]], repeat: int = 1, at_once: int = 2) -> Sweep:
    return sweeps.make(base(), {"LANG": "C"}, sweeps.expand(RECIPE, options, repeat), at_once)


def test_every_combination_is_trained_with_every_seed() -> None:
    found = sweeps.expand(RECIPE, {"learning_rate": ["0.01", "0.02"], "batch": ["16", "32"]}, 2)
    assert found == [
        {"learning_rate": rate, "batch": batch, "random_seed": seed}
        for rate in (0.01, 0.02) for batch in (16, 32) for seed in (1, 2)
    ]  # fmt: skip
    assert sweeps.expand(RECIPE, {}, 1) == [{}]


@pytest.mark.parametrize(
    ("options", "repeat", "what"),
    [
        ({"learning_rat": ["1"]}, 1, "no option 'learning_rat'"),
        ({"learning_rate": ["fast"]}, 1, "learning_rate"),
        ({"learning_rate": ["0.1", "0.10"]}, 1, "the same value twice"),
        ({"random_seed": ["1", "2"]}, 2, "--repeat chooses random_seed"),
        ({"batch": [str(number) for number in range(1, 200)]}, 60, "11940 runs"),
    ],
)
def test_what_cannot_be_a_sweep_is_refused(options: dict[str, list[Option]], repeat: int, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        sweeps.expand(RECIPE, options, repeat)


def test_a_recipe_without_a_seed_is_not_repeated() -> None:
    plain = {key: value for key, value in to_dict(RECIPE).items() if key != "templates"}
    plain["options"] = {key: value for key, value in plain["options"].items() if key != "random_seed"}
    unseeded = msgspec.convert({**plain, "templates": RECIPE.templates}, type(RECIPE))
    with pytest.raises(UsageError, match="no option random_seed or seed"):
        sweeps.expand(unseeded, {}, 2)


def test_each_run_has_a_manifest_of_its_own() -> None:
    sweep = made({"learning_rate": ["0.01", "0.02"]}, 2)
    assert len({item.run for item in sweep.items}) == 4
    assert sweep.varied == ("learning_rate", "random_seed")
    last = sweeps.manifest_of(sweep, sweep.items[-1])
    assert last.id == sweep.items[-1].run
    assert last.rendered.options["learning_rate"] == 0.02
    assert last.rendered.options["random_seed"] == 2
    assert last.rendered.environment["LANG"] == "C"
    assert "base_lr: 0.02" in last.rendered.files["solver.prototxt"]
    assert last.rendered.files != sweeps.manifest_of(sweep, sweep.items[0]).rendered.files


def test_a_sweep_is_written_and_found_again(place: Folder) -> None:
    sweep = made({"batch": ["16"]}, 3)
    sweeps.write(place, sweep)
    again = sweeps.find(place, sweep.id)
    assert again.items == sweep.items
    assert sweeps.manifest_of(again, again.items[2]).rendered == sweeps.manifest_of(sweep, sweep.items[2]).rendered
    with pytest.raises(NotFoundError, match="no sweep 'other'") as refused:
        sweeps.find(place, "other")
    assert sweep.id in refused.value.mend or "sweep" in refused.value.mend


def test_how_a_sweep_stands_costs_what_has_changed(place: Folder) -> None:
    """Of a thousand runs, of which 990 have ended, only those are read that have begun and have not."""
    sweep = made({}, 1000)
    sweeps.write(place, sweep)
    known = {item.run: Result("finished") for item in sweep.items[:990]}
    sweeps.write_ended(place, sweep.id, known)
    for item in sweep.items[988:992]:
        run = AnyRun(place, item.run)
        place.write(run.key("state.json"), json.dumps({"state": "running", "attempt": 1}).encode())
    read: list[str] = []

    class Counted(Folder):
        def read(self, key: str) -> bytes | None:
            read.append(key)
            return super().read(key)

    counted = Counted(place.root, place.where)
    words = sweeps.words(counted, sweeps.find(counted, sweep.id), sweeps.ended(counted, sweep.id))
    assert [word for word in words.values() if word != "finished"] == ["running"] * 2 + ["waiting"] * 8
    assert len(read) == 4


def test_the_best_is_named_first() -> None:
    found = {
        "bad": Result("finished", score="accuracy", value=0.5, loss=0.1),
        "none": Result("waiting"),
        "good": Result("finished", score="accuracy", value=0.9, loss=0.2),
        "loss": Result("running", loss=0.3),
    }
    assert sweeps.best_first(found) == ["good", "bad", "loss", "none"]
    errors = {"high": Result("finished", score="error_rate", value=0.9), "low": Result("finished", score="error_rate",
              value=0.1)}  # fmt: skip
    assert sweeps.best_first(errors) == ["low", "high"]


def test_a_wrong_value_of_any_run_is_known_before_the_first_begins() -> None:
    sweep = made({"batch": ["16", "32"]})
    sweeps.check(sweep)
    texts = {**sweep.base["recipe"]["templates"], "more.prototxt.j2": "{{ nothing_of_that_name }}"}
    broken = {**sweep.base, "recipe": {**sweep.base["recipe"], "templates": texts}}
    with pytest.raises(UsageError):
        sweeps.check(msgspec.structs.replace(sweep, base=broken))


# the command


def test_a_sweep_by_a_file_and_by_flags_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("options: {learning_rate: [0.01, 0.02], batch: 16}\nrepeat: 2\nat_once: 3\n")
    by_file = sweep_command.asked_for(path, (), None, None)
    by_flags = sweep_command.asked_for(None, ("learning_rate=0.01,0.02", "batch=16"), 2, 3)
    both = sweep_command.asked_for(path, ("batch=32",), None, 1)
    assert expanded(by_file) == expanded(by_flags)
    assert (by_file.at_once, by_flags.at_once, both.at_once, both.repeat) == (3, 3, 1, 2)
    assert {one["batch"] for one in expanded(both)} == {32}


def expanded(asked: Asked) -> list[dict[str, Option]]:
    lists = {key: one if isinstance(one, list) else [one] for key, one in asked.options.items()}
    return sweeps.expand(RECIPE, lists, asked.repeat)


def test_a_sweep_elsewhere_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sweep", "digits", "--on", "lab", "--set", "batch=16,32"]) == 2
    assert "a sweep trains on this laptop or a cluster, and not on lab" in capsys.readouterr().err
