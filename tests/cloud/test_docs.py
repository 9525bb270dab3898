"""Every command in README and docs is run: `$ provision …` lines in order, against a local cloud."""

import re
import shlex
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.cloud.support import ROOT, Laptop, interrupt, until
from tests.engine import caffe_kit

pytestmark = [pytest.mark.cloud, pytest.mark.usefixtures("image")]

DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# run by `make demo`'s own test, or by whoever runs these tests
ELSEWHERE = {"make demo", "make test"}


def commands(text: str) -> list[list[str]]:
    """The words of each command in a ```console block."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.S)
    return [shlex.split(line[2:]) for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_other_blocks_hold_only_what_is_run_elsewhere() -> None:
    for name in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.S):
            found = {line.split("#")[0].strip() for line in block.splitlines() if line.strip()}
            assert found <= ELSEWHERE, f"{name} has commands that no test runs: {found - ELSEWHERE}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_commands_of(name: str, laptop: Laptop) -> None:
    (laptop.folder / "project").mkdir()
    (laptop.folder / "project" / "net.prototxt").write_text("name: 'net'\n")
    if "my-caffe" in (ROOT / name).read_text():
        with tarfile.open(caffe_kit.source().tar) as tree:  # type: ignore[arg-type]
            tree.extractall(laptop.folder / "my-caffe")
    run, clouds = "", []
    for words in commands((ROOT / name).read_text()):
        assert words[0] == "provision", words
        words = [run if word == "RUN" else word for word in words[1:]]
        if words[0] == "forward":
            process = laptop.start(*words)
            until(process, "Ctrl-C ends it")
            interrupt(process)
            assert process.wait(30) == 130
            continue
        if words[:3] == ["local", "start", "--name"]:
            clouds.append(words[3])
        out = laptop.ok(*words, timeout=1800)
        if words[0] in ("train", "resume"):
            started = re.search(r"run (\S+)", out)
            run = started[1] if started else run
            time.sleep(4 if "--detach" in words else 0)  # let it write a line of its log
    for cloud in clouds:
        left = ["docker", "ps", "-aq", "--filter", f"label=provision.local={cloud}"]
        assert subprocess.run(left, capture_output=True, text=True, check=True).stdout == "", cloud


def test_no_document_holds_a_gap() -> None:
    for name in DOCUMENTS:
        assert not re.findall(r"(?m)^[A-Z]{4,}$", (ROOT / name).read_text()), name


def test_the_readme_shows_what_the_demo_prints(tmp_path: Path) -> None:
    """Its steps in the README are those of the demo as it is."""
    from provision import story

    shown = (ROOT / "README.md").read_text()
    source = Path(story.__file__).read_text()
    for step in re.findall(r'story\.type\("([^"]+)"', source):
        assert re.search(rf"^{re.escape(step)}\s+\d", shown, re.M), f"the README's demo output has no step {step!r}"
    assert "NOT SO" not in shown


def test_every_exit_code_is_listed() -> None:
    from infra.errors import ProvisionError

    readme = (ROOT / "README.md").read_text()
    kinds = [ProvisionError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    for kind in kinds:
        assert re.search(rf"\| {kind.exit_code} \|", readme), f"{kind.__name__} ({kind.exit_code}) is not in the README"


def test_every_command_is_in_the_docs() -> None:
    from provision.cli import _COMMANDS

    said = "".join((ROOT / name).read_text() for name in DOCUMENTS)
    for name in set(_COMMANDS) - {"demo"}:
        assert f"$ provision {name}" in said, name
