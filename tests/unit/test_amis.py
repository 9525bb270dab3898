"""Which machine image a GPU gets."""

from pathlib import Path

import pytest

from images import gpus
from images.versions import key
from infra.errors import UsageError
from provision import amis
from provision.settings import Settings
from tests.unit.aws_region import region


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_every_gpu_has_an_image_with_a_driver_that_knows_it() -> None:
    for gpu in gpus.gpus().values():
        ami = amis.choose(Settings(), amis.family_of(gpu.name))
        assert ami.driver
        assert ami.version.startswith(ami.driver)
        if gpu.driver_last:
            assert key(ami.driver) <= key(gpu.driver_last), f"{gpu.name}: R{gpu.driver_last} is its last driver"


def test_open_kernel_modules_only_where_the_gpu_can_use_them() -> None:
    for gpu in gpus.gpus().values():
        ami = amis.choose(Settings(), gpu.family)
        assert (ami.modules == "open") == (key(gpu.sm) >= (75,)), gpu.name


def test_a_driver_that_the_image_lacks_is_named_for_the_bootstrap() -> None:
    aws = region({}, {})
    old = amis.resolve(aws.cloud, amis.choose(Settings(), "Volta"))
    assert (old.id, old.root_device, old.driver) == ("ami-canonical", "/dev/sda1", "535")
    new = amis.resolve(aws.cloud, amis.choose(Settings(), "Turing"))
    assert (new.id, new.driver) == ("ami-deeplearning", "")


def test_the_newest_image_that_we_baked_goes_first_for_all_that_share_its_base() -> None:
    aws = region({}, {}, baked=("ami-1", "ami-3", "ami-2"))
    for family in ("Turing", "Ada"):
        found = amis.resolve(aws.cloud, amis.choose(Settings(), family))
        assert (found.id, found.root_device, found.driver, found.gb) == ("ami-3", "/dev/baked", "", 150)
    assert amis.resolve(aws.cloud, amis.choose(Settings(), "Volta")).id == "ami-canonical"
    assert aws.calls["DescribeImages"] == 3  # two lookups of baked ones, and one root device


def test_the_users_images_go_before_all() -> None:
    aws = region({}, {}, baked=("ami-1",))
    one = Settings(amis={"Turing": "ami-own"})
    assert amis.resolve(aws.cloud, amis.choose(one, "Turing")).id == "ami-own"
    assert amis.resolve(aws.cloud, amis.choose(one, "Ampere")).id == "ami-1"
    every = Settings(ami="/aws/service/mine/ami-id")
    assert amis.resolve(aws.cloud, amis.choose(every, "Kepler")).id == "ami-mine"
    assert amis.choose(every, "Kepler").version == ""


def test_a_family_that_is_none_names_the_nearest() -> None:
    with pytest.raises(UsageError) as refused:
        amis.choose(Settings(amis={"Turin": "ami-1"}), "Turing")
    assert refused.value.what == "'Turin' is no GPU family (at amis.Turin)"
    assert "Turing" in refused.value.mend


def test_a_gpu_newer_than_our_data_goes_with_the_newest() -> None:
    assert amis.family_of("Rubin") == "Blackwell"
    assert amis.family_of("") == "none"


def test_a_table_that_names_no_image_is_refused_with_the_key(tmp_path: Path) -> None:
    path = tmp_path / "amis.yaml"
    path.write_text("images: {one: {parameter: ami-1}}\nfamilies: {Volta: two}\n")
    with pytest.raises(UsageError) as refused:
        amis.load(path)
    assert "families.Volta" in refused.value.what
