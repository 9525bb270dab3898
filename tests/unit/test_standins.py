"""Types that do the work of another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import gpus
from images.versions import key
from provision.offers.equivalents import by_need, cheapest_first, stand_ins, words


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("p3.8xlarge", ["g4dn.12xlarge", "g5.12xlarge", "g6.12xlarge"]),
        ("p2.xlarge", ["g4dn.xlarge", "g5.xlarge", "g6.xlarge"]),
        ("p3.16xlarge", ["g4dn.metal", "p4d.24xlarge", "g5.48xlarge"]),
        ("g3.8xlarge", ["g7.12xlarge", "g7e.12xlarge"]),  # no older ones come in twos
        ("p2.16xlarge", ["p3dn.24xlarge", "g4dn.metal", "p4d.24xlarge"]),  # none has sixteen: eight
        ("p6-b300.48xlarge", []),
        ("t3.large", []),
    ],
)
def test_the_nearest_architecture_comes_first(name: str, first: list[str]) -> None:
    assert [one.name for one in stand_ins(name)][:3] == first


@given(st.sampled_from(sorted(gpus.aws_types())))
def test_a_stand_in_is_rented_and_is_no_less(name: str) -> None:
    asked = gpus.aws_types()[name]
    for one in stand_ins(name):
        assert one.listed
        assert one.gpu != asked.gpu
        assert one.gpu_mib >= asked.gpu_mib
        assert key(gpus.gpu(one.gpu).sm) >= key(gpus.gpu(asked.gpu).sm)


@given(st.integers(1, 20), st.floats(0, 300))
def test_a_need_is_met_with_as_few_gpus_as_it_takes(count: int, memory: float) -> None:
    found = by_need(count, memory)
    assert len({one.count for one in found}) <= 1
    assert all(one.count >= count and one.gpu_mib * 2**20 >= memory * 0.999e9 for one in found)


@pytest.mark.parametrize(
    ("count", "memory", "names"),
    [
        (4, 16, ["g4dn.12xlarge", "g5.12xlarge", "g6.12xlarge", "g6e.12xlarge", "g7.24xlarge", "g7e.24xlarge"]),
        # 24 GB are 22888 MiB
        (1, 24, ["g5.xlarge", "g6.xlarge", "g6e.xlarge", "p5.4xlarge", "g7.2xlarge", "g7e.2xlarge"]),
        (1, 2, ["g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g6e.xlarge", "p5.4xlarge", "g7.2xlarge", "g7e.2xlarge"]),
        (3, 48, ["g6e.12xlarge", "g7e.24xlarge"]),
        (9, 1, []),
    ],
)
def test_by_need(count: int, memory: float, names: list[str]) -> None:
    assert [one.name for one in by_need(count, memory)] == names


def test_the_cheapest_are_named_and_one_without_a_price_last() -> None:
    types = stand_ins("p3.8xlarge")
    prices = {"g6.12xlarge": 1.0, "g4dn.12xlarge": 2.0, "g5.12xlarge": None}
    assert [one.name for one in cheapest_first(types, prices)][:2] == ["g6.12xlarge", "g4dn.12xlarge"]
    assert words(types, prices) == (
        "g6.12xlarge (4 × L4 22 GiB, $1.000/h), g4dn.12xlarge (4 × T4 16 GiB, $2.000/h), g5.12xlarge (4 × A10G 22 GiB)"
    )
