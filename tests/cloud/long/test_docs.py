"""Every command in README and docs is run, in order, against a local cloud: `$ provision …` in blocks and in tables."""

import re
import subprocess
import tarfile
import time

import pytest

from tests.cloud.support import Laptop, interrupt, until
from tests.documents import ROOT, RUN, commands
from tests.engine import caffe_kit

pytestmark = pytest.mark.cloud


@pytest.mark.parametrize("name", RUN)
def test_the_commands_of(name: str, laptop: Laptop) -> None:
    (laptop.folder / "project").mkdir()
    (laptop.folder / "project" / "net.prototxt").write_text("name: 'net'\n")
    if "my-caffe" in (ROOT / name).read_text():
        with tarfile.open(caffe_kit.source().tar) as tree:  # type: ignore[arg-type]
            tree.extractall(laptop.folder / "my-caffe")
    run, sweep, clouds = "", "", []
    for words in commands((ROOT / name).read_text()):
        assert words[0] == "provision", words
        words = [{"RUN": run, "SWEEP": sweep}.get(word, word) for word in words[1:]]
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
        if words[0] == "sweep":
            begun = re.match(r"sweep (\S+):", out)
            sweep = begun[1] if begun else sweep
    for cloud in clouds:
        left = ["docker", "ps", "-aq", "--filter", f"label=provision.local={cloud}"]
        assert subprocess.run(left, capture_output=True, text=True, check=True).stdout == "", cloud
