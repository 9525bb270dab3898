"""Images on a rented machine: built there, on its own engine, so that nothing big crosses the home line."""

import os
import subprocess
import sys

import pytest

from tests.cloud.support import Laptop

pytestmark = pytest.mark.cloud

# a target's context that takes seconds: what is tested is the way to the machine's engine and back
BUILD = """\
import sys
from images.build import build_context
from images.choose import choose
from images.render import Context, render
from provision import console
from provision.commands.image_options import Place
target = choose("caffe-debian")
base = render(target).tag
context = Context(target, (("Dockerfile", f"FROM {base}\\nUSER root\\nRUN echo far > /far\\nUSER trainer\\n"),))
with Place(on=sys.argv[1]).shell() as shell:
    print(build_context(context, shell, console.line).tag)
"""


@pytest.mark.usefixtures("image")
def test_an_image_is_built_listed_and_trained_with_on_a_machine_by_its_name(laptop: Laptop) -> None:
    laptop.ok("up", "--instance", "p3.2xlarge", "--name", "far")
    environment = {**os.environ, **laptop._environment}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, "far"], capture_output=True, text=True, env=environment, timeout=280
    )
    assert done.returncode == 0, done.stderr
    tag = done.stdout.strip()
    assert tag in laptop.ok("image", "ls", "--on", "far")
    assert tag not in laptop.ok("image", "ls")
    assert laptop.ok("ssh", "far", "--", f"docker run --rm {tag} cat /far") == "far\n"
    trained = laptop.run("train", "digits", "--on", "far", "--image", tag, "--gpus", "0", "--set", "iterations=60")
    assert trained.returncode == 0, trained.stderr
    assert f"image {tag} is there already" in trained.stderr
    missing = laptop.run("image", "check", "caffe-ssd:cpu-debian12", "--on", "far")
    assert missing.returncode == 12
    assert "provision image build caffe-ssd:cpu-debian12 --on far" in missing.stderr
