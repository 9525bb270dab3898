"""What `pip install .` brings, and what it says where an extra is missing."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import distribution

ROOT = Path(__file__).parent.parent.parent
EXTRAS = ("matplotlib", "lmdb", "scikit-learn", "moto", "numpy")


@pytest.mark.long
def test_a_plain_install_is_light() -> None:
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "-q",
        "--report",
        "-",
        str(ROOT),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    names = {one["metadata"]["name"].lower() for one in json.loads(done.stdout)["install"]} - {distribution.NAME}
    assert not names & set(EXTRAS)
    # cryptography wants typing-extensions below Python 3.11
    assert len(names - ({"typing_extensions", "typing-extensions"} if sys.version_info < (3, 11) else set())) <= 32


def test_the_wheel_holds_what_is_no_python(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "infra/host/guard/run.py", "infra/host/engine.sh", "infra/host/bootstrap.sh", "infra/host/deadline.sh",
        "infra/host/clean.sh", "infra/host/extend.sh", "infra/host/idle.sh", "infra/host/mount.sh",
        "infra/host/nvidia.sh", "infra/host/provision-idle.service", "infra/host/provision-idle.timer",
        "infra/aws/prices.yaml", "provision/offers/amis.yaml", "provision/account/permissions.yaml",
        "infra/host/provision-guard.service", "images/matrix.yaml", "images/gpus.yaml",
        "images/distributions.yaml", "images/stacks/caffe-debian.yaml", "images/patches/column-buffer.yaml",
        "images/context/apply_patches.py", "images/context/caffe.mk", "images/context/column_buffer.cpp",
        "images/context/column_bytes.cpp",
        "images/context/source_passes.py", "images/context/source_python.py", "images/context/source_stubs.py",
        "images/context/source_text.py",         "images/context/source_tree.py",
        "images/anchors.yaml", "images/headers.yaml",
        "images/templates/caffe-debian.Dockerfile.j2", "provision/recipes/builtin/digits/recipe.yaml",
        "provision/recipes/builtin/digits/net.prototxt.j2", "localcloud/ami/Dockerfile",
        "localcloud/instance_types.yaml",
    }  # fmt: skip
    assert wanted <= names


@pytest.mark.parametrize(
    ("module", "words", "extra"),
    [
        ("moto", ["local", "start", "--name", "none"], "local"),
        ("lmdb", ["data", "digits", "somewhere"], "data"),
    ],
)
def test_a_missing_extra_is_one_message_with_the_mend(
    tmp_path: Path, module: str, words: list[str], extra: str
) -> None:
    """The module is made unimportable for this command and its children."""
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").write_text(f"raise ModuleNotFoundError(\"No module named '{module}'\")\n")
    done = subprocess.run(
        [sys.executable, "-m", "provision", *words], capture_output=True, text=True, cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{ROOT}", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 16, done.stderr
    assert f"provision-spot[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr
