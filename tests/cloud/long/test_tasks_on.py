"""`score` and `infer` of a run that is in S3: on a machine, and on this laptop."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cloud.support import SHORT, Emulator, Laptop, rented, run_of
from tests.task_kit import write_code, write_digit, write_recipe

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]


@pytest.fixture(scope="module")
def host(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    home = tmp_path_factory.mktemp("tasks")
    write_recipe(home / "recipes" / "digits")
    with rented(emulator, home, "tasks") as one:
        yield one


def test_a_run_is_scored_and_used_on_a_machine_and_here(host: Laptop, tmp_path: Path) -> None:
    run = run_of(host.ok("train", "digits", "--on", "tasks", "--gpus", "0", *SHORT))
    digit = write_digit(tmp_path / "a digit.txt").encode()
    (tmp_path / "a digit.txt").rename(tmp_path / "digit.txt")

    there = json.loads(host.ok("score", run, "--on", "tasks", "--json", "--out", str(tmp_path / "there")))
    assert [one["iteration"] for one in there["scores"]] == [100, 200, 300, 400]
    assert there["scores"][-1]["metrics"]["accuracy"] > 0.8
    here = json.loads(host.ok("score", run, "--json", "--out", str(tmp_path / "here")))
    assert here["scores"] == there["scores"]

    host.ok("infer", run, str(tmp_path / "digit.txt"), "--on", "tasks", "--out", str(tmp_path / "found"))
    assert (tmp_path / "found" / "digit.json").read_bytes() == digit
    assert {path.stat().st_uid for path in (tmp_path / "found").rglob("*")} == {os.getuid()}
    left = host.ok("ssh", "tasks", "--", "ls /data/tasks; docker ps -a --format '{{.Names}}'").split()
    assert left == [f"provision-{run}-001"]  # the training's own

    assert not (tmp_path / "found" / "mine.txt").exists()

    host.ok("fetch", run, str(tmp_path / "home"))
    again = (
        "infer",
        str(tmp_path / "home"),
        str(tmp_path / "digit.txt"),
        "--on",
        "tasks",
        "--out",
        str(tmp_path / "again"),
    )
    host.ok(*again)
    assert (tmp_path / "again" / "digit.json").read_bytes() == digit


def test_a_task_has_the_code_of_this_laptop_or_what_the_training_had(host: Laptop, tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "before")
    (code / "recipes").symlink_to(host.folder / "recipes")
    run = run_of(host.ok("train", "digits", "--on", "tasks", "--gpus", "0", "--project", str(code), *SHORT))
    write_digit(tmp_path / "digit.txt")

    def said(out: str, *words: str) -> str:
        host.ok("infer", run, str(tmp_path / "digit.txt"), "--out", str(tmp_path / out), *words)
        return (tmp_path / out / "mine.txt").read_text()

    (code / "mine.py").write_text("WORD = 'after'\n")
    assert said("there", "--on", "tasks") == said("here") == "after"
    code.rename(tmp_path / "moved")
    assert said("trained", "--on", "tasks") == "before"
    assert said("moved-here", "--project", str(tmp_path / "moved")) == "after"
