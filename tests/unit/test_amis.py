"""Which machine image a GPU gets."""

from pathlib import Path

import pytest

from images import gpus
from images.fits import unknown_to
from images.versions import key
from infra.errors import UsageError
from provision.offers import ami_lookup, amis
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
        assert unknown_to(ami.version, gpu) is None


def test_the_newest_driver_of_the_list_is_the_tables() -> None:
    for ami in amis.table().values():
        assert not ami.releases or ami.releases[max(ami.releases)] == ami.version


@pytest.mark.parametrize(
    ("about", "driver"),
    [
        ("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20250505", "570.133.20"),
        ("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20260119", "580.105.08"),
        ("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20261120", "595.91.07"),
        ("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20240101", ""),  # older than all that is known
        ("Some AMI 20261120\nNVIDIA driver version: 610.43.02", "610.43.02"),
        ("", "595.91.07"),
    ],
)
def test_the_driver_is_read_out_of_what_aws_says_of_the_image(about: str, driver: str) -> None:
    assert amis.driver_in(amis.choose(Settings(), "Ada"), about) == driver


def test_a_driver_that_we_install_is_not_read_out_of_the_image() -> None:
    assert amis.driver_in(amis.choose(Settings(), "Volta"), "ubuntu-jammy-22.04-amd64-server-20261120") == "535.183"


def test_an_image_of_the_users_own_has_the_driver_that_its_description_tells() -> None:
    own = amis.choose(Settings(ami="ami-own"), "Ada")
    assert amis.driver_in(own, "mine") == ""
    assert amis.driver_in(own, "mine, driver 580.105.08") == "580.105.08"


def test_a_share_of_a_gpu_needs_a_machine_image_of_the_users_own() -> None:
    assert amis.family_of("L4", "g6f.large") == "vGPU" and amis.family_of("L4", "g6.xlarge") == "Ada"
    with pytest.raises(UsageError, match="GRID driver"):
        amis.choose(Settings(), "vGPU")
    assert amis.choose(Settings(amis={"vGPU": "ami-grid"}), "vGPU").parameter == "ami-grid"


def test_open_kernel_modules_only_where_the_gpu_can_use_them() -> None:
    for gpu in gpus.gpus().values():
        ami = amis.choose(Settings(), gpu.family)
        assert (ami.modules == "open") == (key(gpu.sm) >= (75,)), gpu.name


def test_a_driver_that_the_image_lacks_is_named_for_the_bootstrap() -> None:
    aws = region({}, {})
    old = ami_lookup.resolve(aws.cloud, amis.choose(Settings(), "Volta"))
    assert (old.id, old.root_device, old.driver) == ("ami-canonical", "/dev/sda1", "535")
    new = ami_lookup.resolve(aws.cloud, amis.choose(Settings(), "Turing"))
    assert (new.id, new.driver, new.version) == ("ami-deeplearning", "", "595.91.07")


def test_the_newest_image_that_we_baked_goes_first_for_all_that_share_its_base() -> None:
    aws = region({}, {}, baked=("ami-1", "ami-3", "ami-2"))
    for family in ("Turing", "Ada"):
        found = ami_lookup.resolve(aws.cloud, amis.choose(Settings(), family))
        assert (found.id, found.root_device, found.driver, found.gb) == ("ami-3", "/dev/baked", "", 150)
    assert ami_lookup.resolve(aws.cloud, amis.choose(Settings(), "Volta")).id == "ami-canonical"
    assert aws.calls["DescribeImages"] == 3  # two lookups of baked ones, and one root device


def test_that_there_is_no_baked_image_is_asked_again_where_a_keeper_may_have_made_one() -> None:
    aws = region({}, {})
    volta, turing = (amis.choose(Settings(), family) for family in ("Volta", "Turing"))
    for ami in (volta, turing, volta, turing):
        ami_lookup.resolve(aws.cloud, ami)
    assert aws.calls["DescribeImages"] == 5  # three lookups of baked ones, and two root devices


def test_the_users_images_go_before_all() -> None:
    aws = region({}, {}, baked=("ami-1",))
    one = Settings(amis={"Turing": "ami-own"})
    assert ami_lookup.resolve(aws.cloud, amis.choose(one, "Turing")).id == "ami-own"
    assert ami_lookup.resolve(aws.cloud, amis.choose(one, "Ampere")).id == "ami-1"
    every = Settings(ami="/aws/service/mine/ami-id")
    assert ami_lookup.resolve(aws.cloud, amis.choose(every, "Kepler")).id == "ami-mine"
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
