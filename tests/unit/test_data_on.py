"""`provision data … --on NAME`: the same words, in a container on the machine; what it prints comes home apart."""

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from images.choose import choose
from images.render import render
from infra.errors import EngineError
from infra.shell import Result
from infra.ssh import SshShell
from provision.cli import run
from provision.hosts import tools

_FACTS = "uid 1001 1002\ndocker 24.0.5\n"


class Machine:
    """A machine that has the image. `answer` is what the container's command leaves, `lines` what it prints."""

    where = "lab"

    def __init__(self, answer: Result, lines: Sequence[str] = ()) -> None:
        self.answer, self.lines = answer, lines
        self.ran: list[list[str]] = []

    def run(self, words: Sequence[str], *, check: bool = True, on_line: Any = None, **_: Any) -> Result:
        self.ran.append(list(words))
        if words[:3] == ["docker", "image", "inspect"]:
            context = render(choose("tools"))
            labels = {"provision.context": context.hash}
            return Result(0, json.dumps([{"Id": "sha256:1", "Config": {"Labels": labels}, "Size": 1}]))
        if on_line is None:
            return Result(0, _FACTS)
        for line in self.lines:
            on_line(line)
        return self.answer


def there(machine: Machine, *words: str) -> int:
    return tools.run(cast(SshShell, machine), words)


def test_the_container_sees_the_data_alone_as_the_login_user() -> None:
    machine = Machine(Result(0))
    assert there(machine, "data", "coco-check", "/data/a.json") == 0
    words = machine.ran[-1]
    tag = render(choose("tools")).tag
    assert words[-5:] == [tag, "provision", "data", "coco-check", "/data/a.json"]
    assert words[words.index("--user") + 1] == "1001:1002"
    assert [words[at + 1] for at, word in enumerate(words) if word == "--mount"] == [
        "type=bind,source=/data,target=/data"
    ]
    assert words[words.index("--workdir") + 1] == "/data/sets"
    assert words[words.index("--label") + 1].startswith("provision.run=data-")  # or the idle machine would end
    assert ["mkdir", "-p", "/data/sets"] in machine.ran


def test_what_happens_and_the_result_come_home_apart(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(Result(2), ["  reading: 10 of 20", "provision: wrong", "\x01", "{", '  "a": 1', "}"])
    assert there(machine, "data", "coco-check", "/data/a.json", "--json") == 2
    said = capsys.readouterr()
    assert json.loads(said.out) == {"a": 1}
    assert said.err == "  reading: 10 of 20\nprovision: wrong\n"


def test_docker_itself_refuses() -> None:
    with pytest.raises(EngineError, match="docker on lab did not start"):
        there(Machine(Result(125)), "data", "get")


def test_ctrl_c_stops_the_container() -> None:
    class Interrupted(Machine):
        def run(self, words: Sequence[str], *, check: bool = True, on_line: Any = None, **more: Any) -> Result:
            if on_line is not None:
                super().run(words)
                raise KeyboardInterrupt
            return super().run(words, **more)

    machine = Interrupted(Result(0))
    with pytest.raises(KeyboardInterrupt):
        there(machine, "data", "get", "voc2012")
    name = machine.ran[-2][machine.ran[-2].index("--name") + 1]
    assert machine.ran[-1] == ["docker", "stop", "--time", "30", name]


@pytest.mark.parametrize(
    ("words", "there_words"),
    [
        (["get", "voc2012"], "data get voc2012"),
        (["get", "voc2012", "/data/sets/voc", "--keep"], "data get --keep voc2012 /data/sets/voc"),
        (["coco-check", "/data/a b.json", "--images", "/data/i", "--all", "--num-classes", "39"],
         "data coco-check --images /data/i --all --num-classes 39 '/data/a b.json'"),
        (["visual-genome", "--objects", "/data/o.json", "--images", "/data/i.json", "/data/out.json", "--flat",
          "--val-fraction", "0.1", "--classes", "clothing"],
         "data visual-genome --objects /data/o.json --images /data/i.json --val-fraction 0.1 --flat /data/out.json"),
    ],
)  # fmt: skip
def test_the_words_are_the_same_there(words: list[str], there_words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", *words, "--on", "lab", "--cloud", "local:x", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"would run on lab: provision {there_words}\n"


@pytest.mark.parametrize("path", ["a.json", "/home/me/a.json", "/data/../etc/a.json", "/database/a.json"])
def test_paths_are_the_machines_below_its_data(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "coco-check", path, "--on", "lab"]) == 2
    assert f"below /data, and {path} is not" in capsys.readouterr().err


def test_an_image_holds_the_source_that_runs_here() -> None:
    files = dict(render(choose("tools")).files)
    assert "own/provision/commands/data_on.py" in files
    assert "own/infra/errors.py" in files
    assert "own/provision/data/clothing.yaml" in files
    assert not [name for name in files if name.endswith(".pyc") or "localcloud" in name]
    assert files["own/provision/__init__.py"] == ""
