"""Which image a training uses: a target's name, or a tag as `image ls` shows it."""

import pytest

from images.choose import parse
from infra.errors import UsageError
from provision import runimage


def test_a_targets_name_is_its_target() -> None:
    assert runimage.planned("caffe-debian").tag == parse("caffe-debian").tag
    assert runimage.target_of("caffe:cuda11.8-cudnn8.7-debian12@V100").gpus == ("V100",)


def test_a_tag_is_kept_as_it_is_and_its_target_known() -> None:
    tag = "provision/caffe:cuda11.8-cudnn8.7-debian12-0123456789ab-devel"
    found = runimage.planned(tag)
    assert found.tag == tag
    assert found.target.name == "caffe:cuda11.8-cudnn8.7-debian12"


@pytest.mark.parametrize("words", ["cafe", "provision/cafe:cpu-debian12-0123456789ab", "caffe:cpu-debian21"])
def test_what_is_not_there_names_the_nearest(words: str) -> None:
    with pytest.raises(UsageError) as error:
        runimage.target_of(words)
    assert "caffe" in error.value.mend or "cpu-debian12" in error.value.mend
