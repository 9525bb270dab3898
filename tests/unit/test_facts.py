"""What a host printed becomes facts; facts become the way that GPUs are asked for."""

import dataclasses

import pytest

from infra.errors import EngineError, HostError
from provision.hosts.facts import Facts, gpu_request, parse

P3 = """uid 1000 1001
docker 20.10.24+dfsg1
runtimes io.containerd.runc.v2 nvidia runc
hook nvidia-container-runtime-hook
gpu 0, Tesla V100-SXM2-16GB, 16160, 535.183.01
gpu 1, Tesla V100-SXM2-16GB, 16160, 535.183.01
"""


def test_a_gpu_host() -> None:
    facts = parse(P3)
    assert (facts.uid, facts.gid, facts.docker, facts.hook) == (1000, 1001, "20.10.24+dfsg1", True)
    assert [gpu.index for gpu in facts.gpus] == [0, 1]
    assert facts.gpus[0].memory_mib == 16160
    assert facts.gpus[0].driver == "535.183.01"


@pytest.mark.parametrize(
    "text", ["", "Welcome!\n", "uid root root\n", "uid 0\n", "uid 0 0\ngpu 0, V100\n", "uid 0 0\ngpu"]
)
def test_a_host_whose_words_make_no_sense_is_an_error_of_the_host(text: str) -> None:
    with pytest.raises(HostError, match="the host does not say what it has"):
        parse(text)


def test_a_bare_host() -> None:
    assert parse("uid 0 0\n") == Facts(0, 0)


def test_how_gpus_are_asked_for() -> None:
    modern = parse(P3)
    assert gpu_request(modern, (0, 1)).runtime is False
    old = dataclasses.replace(modern, docker="18.09.7")
    assert gpu_request(old, (1,)).runtime is True
    assert gpu_request(modern, ()).indices == ()


def test_a_host_that_cannot_give_gpus_says_how_to_mend_it() -> None:
    bare = dataclasses.replace(parse(P3), hook=False, runtimes=("runc",))
    with pytest.raises(EngineError) as refused:
        gpu_request(bare, (0,))
    assert "container toolkit" in refused.value.mend
