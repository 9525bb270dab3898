"""Detectron for real, on the CPU: built by the rendered Dockerfile for Python 3.9 and 2.7, checked and tried.

The source is fetched from upstream; PROVISION_DETECTRON_MIRROR names a repository or folder to take it from instead.
"""

import os
from functools import cache

import pytest

from images.build import Image, Order, build_context, existing
from images.check import check
from images.choose import choose
from images.matrix import rows
from images.render import render
from images.source import resolve
from images.stacks import stacks
from infra import buildx
from infra.shell import LocalShell
from provision.settings import cache_home

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]
SHELL = LocalShell()
NAMES = ("detectron", "detectron-py2")

_RESUME = """
import os, sys
sys.path.insert(0, "/opt/detectron/share")
import detectron_on_cpu
detectron_on_cpu.use_cpu()
from detectron.core import config
from detectron.utils import c2, train
c2.import_detectron_ops()
config.merge_cfg_from_file("/opt/detectron/src/configs/12_2017_baselines/rpn_R-50-FPN_1x.yaml")
config.merge_cfg_from_list(["NUM_GPUS", 1, "OUTPUT_DIR", "/tmp/out"])
config.assert_and_infer_cfg(cache_urls=False)
folder = config.get_output_dir(config.cfg.TRAIN.DATASETS, training=True)
for name in ("model_iter9.pkl", "model_iter19.pkl.tmp.8f3b"):
    open(os.path.join(folder, name), "wb").close()
_, weights, start, _, _ = train.create_model()
sys.stdout.write("starts at %d from %s\\n" % (start, os.path.basename(weights)))
"""
_YAML = """
import sys
from detectron.core.config import cfg, load_cfg
from detectron.utils import env
again = load_cfg(env.yaml_dump(cfg))
sys.stdout.write("%s\\n" % (again.PIXEL_MEANS == cfg.PIXEL_MEANS).all())
env.yaml_load("!!python/object/apply:os.system [echo this ran]")
"""


@cache
def image(name: str) -> Image:
    """The CPU image of that stack, built where it is not there yet."""
    context = render(choose(name, flavour="cpu"))
    source = resolve(stacks()[name], cache_home() / "sources", mirror=os.environ.get("PROVISION_DETECTRON_MIRROR"))
    order = Order(source)
    return existing(context, SHELL, order) or build_context(context, SHELL, print, order)


def said(name: str, *words: str, stdin: str = "") -> str:
    """What the words say in the image, right or wrong, as a user that it does not know."""
    done = buildx.run_in(SHELL, image(name).tag, words, user="4321:4321", stdin=stdin)
    return f"{done.out}\n{done.err}"


@pytest.mark.parametrize("name", NAMES)
def test_every_check_passes_in_the_image(name: str) -> None:
    results = check(image(name), SHELL)
    assert {"detectron-imports", "detectron-own-tests", "detectron-inference"} <= {one.name for one in results}
    assert [one for one in results if not one.ok] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_training_does_not_resume_from_a_half_written_checkpoint(name: str) -> None:
    assert "starts at 10 from model_iter9.pkl\n" in said(name, "python", "-", stdin=_RESUME)


@pytest.mark.parametrize("name", NAMES)
def test_dumped_configurations_load_and_cannot_run_code(name: str) -> None:
    answer = said(name, "python", "-", stdin=_YAML)
    assert "True\n" in answer
    assert "a configuration cannot name os.system" in answer
    assert "this ran" not in answer.splitlines()


@pytest.mark.parametrize(("name", "most"), [("detectron", 2.6e9), ("detectron-py2", 2.0e9)])
def test_the_image_has_no_build_tools_and_is_as_small_as_its_wheel_lets_it(name: str, most: float) -> None:
    tools = "for one in cc cython gcc git make pip; do command -v $one; done; python -c 'import pip'"
    answer = said(name, "sh", "-c", tools)
    assert "/bin/" not in answer
    assert "No module named" in answer
    assert image(name).size <= most


@pytest.mark.parametrize("name", NAMES)
def test_the_image_says_what_it_is_made_of(name: str) -> None:
    found = buildx.inspect(SHELL, image(name).tag)
    assert found is not None
    assert found.labels["org.opencontainers.image.source"] == "https://github.com/facebookresearch/Detectron"
    assert found.labels["org.opencontainers.image.revision"] == stacks()[name].revision
    assert found.labels["provision.row"] == "cpu-debian11"
    assert "detectron-checkpoints" in found.labels["provision.patches"].split()


@pytest.mark.parametrize("name", NAMES)
def test_the_wheel_is_the_one_that_the_matrix_speaks_of(name: str) -> None:
    on = [rows()[row] for row in stacks()[name].rows if rows()[row].cuda and not rows()[row].index]
    assert [row.pins["torch"] for row in on] == [stacks()[name].packages["torch"]]
