"""Which image a training uses: a target's name, or a tag as `image ls` shows it."""

import json

import pytest

from images.choose import parse
from images.render import render
from infra.errors import UsageError
from infra.shell import LocalShell, Result, Words
from provision.hosts import image


def test_a_targets_name_is_its_target() -> None:
    assert image.planned("caffe-debian").tag == render(parse("caffe-debian")).tag
    assert image.target_of("caffe:cuda11.8-cudnn8.7-debian12@V100").gpus == ("V100",)


def test_a_tag_is_kept_as_it_is_and_its_target_known() -> None:
    tag = "provision/caffe:cuda11.8-cudnn8.7-debian12-0123456789ab-devel"
    found = image.planned(tag)
    assert found.tag == tag
    assert found.target.name == "caffe:cuda11.8-cudnn8.7-debian12"


@pytest.mark.parametrize("words", ["cafe", "provision/cafe:cpu-debian12-0123456789ab", "caffe:cpu-debian21"])
def test_what_is_not_there_names_the_nearest(words: str) -> None:
    with pytest.raises(UsageError) as error:
        image.target_of(words)
    assert "caffe" in error.value.mend or "cpu-debian12" in error.value.mend


class Engine(LocalShell):
    """An engine that has one image under any tag, with these labels."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels

    def run(self, words: Words, **more: object) -> Result:
        return Result(0, json.dumps([{"Id": "sha256:1", "Size": 5, "Config": {"Labels": self.labels}}]))


@pytest.mark.parametrize("suffix", ["", "-devel", "-runtime-nopython"])
def test_an_image_is_taken_only_if_it_was_built_as_its_tag_says(suffix: str) -> None:
    wanted = image.planned(f"provision/caffe:cpu-debian12-0123456789ab{suffix}")
    found = image._at(Engine({"provision.context": "0123456789ab"}), wanted)
    assert found is not None and (found.tag, found.digest) == (wanted.tag, "sha256:1")
    for labels in ({"provision.context": "ba9876543210"}, {"provision.context": ""}, {}):
        assert image._at(Engine(labels), wanted) is None
