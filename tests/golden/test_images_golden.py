"""A dozen telling targets render to the very bytes that are kept here: a change of a template or of the data can
then be read as a change of Dockerfiles. `python -m tests.golden.test_images_golden` writes them anew."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from images.choose import parse, targets
from images.render import Context, render
from images.target import Target
from provision.commands.image import image

HERE = Path(__file__).parent
REFRESH = "if the change is meant: python -m tests.golden.test_images_golden"
KEPT = ("Dockerfile", "Makefile.config")

TELLING = {
    "caffe-debian:cpu-debian11": "Debian's own package",
    "caffe:cpu-debian12": "compiled, CPU",
    "caffe:cpu-ubuntu16.04": "Python 2, an old compiler",
    "caffe:cuda8.0-cudnn5.1-ubuntu14.04": "NVIDIA's packages where apt knows no signed-by; no NCCL",
    "caffe-crfrnn:cuda9.0-cudnn7.6-ubuntu16.04": "two repositories of NVIDIA's with a key each",
    "caffe:cuda10.1-cudnn7.6-ubuntu18.04": "packages fetched one by one",
    "caffe-ssd:cuda11.2-cudnn8.1-ubuntu16.04": "NVIDIA's tag that lacks NCCL",
    "caffe:cuda11.8-cudnn8.7-debian12": "Debian's toolkit with wheels of NVIDIA's",
    "caffe:cuda11.8-cudnn8.7-ubuntu20.04": "a plain Ubuntu with the last cuDNN for a K80",
    "caffe:cuda13.0-cudnn9.14-ubuntu24.04": "C++17",
    "cuda:cuda12.4-cudnn9.1-debian13": "CUDA and nothing else",
    "cuda:cuda12.4-cudnn9.1-ubuntu22.04-apt": "what stands in for a tag of NVIDIA's",
    "detectron:cuda10.2-cudnn7.6-debian11": "PyTorch's wheel",
    "detectron:cuda11.3-cudnn8.2-debian11": "a wheel out of PyTorch's own index, by checksum",
    "detectron-py2:cuda10.1-cudnn7.6-debian11": "Python 2.7",
    "tools:cpu-debian12": "our own source, no Caffe",
}


def kept(context: Context) -> dict[str, str]:
    return {name: text for name, text in context.files if name in KEPT}


def folder(context: Context) -> Path:
    return HERE / context.target.stack.name / context.target.variant.id


@pytest.mark.parametrize("name", TELLING)
def test_a_target_renders_to_what_is_kept(name: str) -> None:
    context = render(parse(name))
    wanted = {path.name: path.read_bytes().decode() for path in folder(context).glob("*")}
    assert kept(context) == wanted, REFRESH


def test_nothing_is_kept_that_is_not_rendered() -> None:
    there = {str(path.relative_to(HERE)) for path in HERE.glob("*/*") if "__pycache__" not in str(path)}
    assert there == {name.replace(":", "/") for name in TELLING}, REFRESH


def test_the_command_writes_the_same_bytes_for_every_target(tmp_path: Path) -> None:
    for out in ("once", "twice"):
        done = CliRunner().invoke(image, ["render", "--all", "--out", str(tmp_path / out)])
        assert done.exit_code == 0, done.output
    once, twice = (
        {
            str(path.relative_to(tmp_path / out)): path.read_bytes()
            for path in (tmp_path / out).rglob("*")
            if path.is_file()
        }
        for out in ("once", "twice")
    )
    assert once == twice
    assert {name.replace(":", "/") + "/Dockerfile" for name in (one.name for one in targets())} <= set(once)
    for name in TELLING:
        path = f"{name.replace(':', '/')}/Dockerfile"
        assert once[path] == (HERE / path).read_bytes()


@pytest.mark.parametrize("target", list(targets()), ids=lambda target: target.name)
def test_every_dockerfile_keeps_the_rules(target: Target) -> None:
    text = render(target).dockerfile
    assert "# syntax=" not in text, "a frontend would be fetched from a registry"
    assert "\r" not in text and text.endswith("\n")
    assert "apt-get" not in text, "a release past its end is found only by apt_install"
    last = text.rpartition("\nFROM ")[2]
    assert f"\nUSER {'0:0' if target.stack.name == 'cuda' else '1000:1000'}\n" in last
    assert f"STOPSIGNAL {target.stack.stop_signal}" in last
    if target.stack.name.startswith("caffe"):
        assert target.stack.stop_signal == "SIGINT", "Caffe loses its work on SIGTERM"
    source = re.search(r"\nFROM (\S+) AS source\n", text)
    assert source is None or source[1] == "debian:bookworm", "an old release's git and TLS reach no server of today"
    assert "docker-clean" not in text, "who builds on it wants no archives in its layers"
    caches = set(re.findall(r"id=provision-(\S+?)-ccache,", text))
    assert caches <= {target.variant.distribution}, "a cache is for one ccache's version"
    assert all(f" {name} " not in text for name in ("gnupg", "apt-transport-https")), "no old release talks TLS"


def refresh() -> None:
    for name in TELLING:
        context = render(parse(name))
        folder(context).mkdir(parents=True, exist_ok=True)
        for file, text in kept(context).items():
            (folder(context) / file).write_bytes(text.encode())


if __name__ == "__main__":
    refresh()
