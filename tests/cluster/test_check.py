"""What a cluster has, and each thing that would keep a training from running there: one message, and its mend."""

import pytest

from infra.errors import DiskError, HostError, HostKeyError, UsageError
from infra.ssh_folder import SshFolder
from provision.engines.slurm import cluster as clusters
from provision.engines.slurm import looking
from tests.cluster.cluster_kit import NODES, Cluster
from tests.cluster.run_kit import Bench

pytestmark = pytest.mark.engine


def test_a_cluster_says_what_it_has(bench: Bench) -> None:
    known = bench.known.known
    assert known is not None and known.runtime == "charliecloud" and known.slurm.startswith("2")
    assert [(one.name, one.gpus, one.gpu, one.driver, one.seconds) for one in known.partitions] == [
        ("gpu", 2, "Tesla V100-SXM2-16GB", "470.256.02", 7200),
        ("urgent", 2, "Tesla V100-SXM2-16GB", "470.256.02", 7200),
    ]
    assert known.free > 0 and not known.accounting


def _check(slurm: Cluster, **words: str) -> None:
    noted = clusters.made("campus", "campus", **words)
    door = clusters.door(noted)
    try:
        looking.check(noted, door)
    finally:
        door.close()


@pytest.mark.parametrize("partition", ["nowhere", "closed"])
def test_a_partition_that_is_not_there_or_not_for_the_user_is_named(
    home: object, slurm: Cluster, partition: str
) -> None:
    with pytest.raises(UsageError, match=f"no partition {partition}") as found:
        _check(slurm, partition=partition, shared="/shared/alice/check")
    assert "it has gpu, urgent" in found.value.mend


def test_without_a_container_runtime_the_mend_names_two(home: object, slurm: Cluster) -> None:
    for node in NODES:
        slurm.at(node, "chmod", "000", "/usr/bin/ch-run")
        slurm.at(node, "mv", "/usr/bin/ch-run", "/usr/bin/ch-run.away")
    try:
        with pytest.raises(HostError, match="no container runtime") as found:
            _check(slurm, shared="/shared/alice/check")
        assert "apptainer or charliecloud" in found.value.mend
    finally:
        for node in NODES:
            slurm.at(node, "mv", "/usr/bin/ch-run.away", "/usr/bin/ch-run")
            slurm.at(node, "chmod", "755", "/usr/bin/ch-run")


def test_a_folder_that_the_nodes_do_not_see_or_others_may_write_is_refused(home: object, slurm: Cluster) -> None:
    with pytest.raises(HostError, match="do not see /home/alice/provision"):
        _check(slurm)  # here a home is a node's own
    slurm.alice("mkdir", "-p", "-m", "777", "/shared/alice/open")
    with pytest.raises(HostError, match="others may write"):
        _check(slurm, shared="/shared/alice/open")
    with pytest.raises(HostError, match="refuses"):
        _check(slurm, shared="/root/provision")


def test_an_unknown_host_key_is_refused_before_anything_is_sent(home: object, slurm: Cluster, tmp_path: object) -> None:
    from pathlib import Path

    (Path.home() / ".ssh" / "known_hosts").write_text("")
    with pytest.raises(HostKeyError, match="not in"):
        _check(slurm, shared="/shared/alice/check")


def test_a_login_without_python_is_told(home: object, slurm: Cluster) -> None:
    slurm.at("login", "sh", "-c", "mv /usr/bin/python3 /usr/bin/python3.away")
    try:
        with pytest.raises(HostError, match="no python3"):
            _check(slurm, shared="/shared/alice/check")
    finally:
        slurm.at("login", "sh", "-c", "mv /usr/bin/python3.away /usr/bin/python3")


def test_a_full_file_system_is_one_message_and_leaves_no_object(bench: Bench) -> None:
    slurm = bench.slurm
    slurm.at("login", "sh", "-c", "mkdir -p /small && mount -t tmpfs -o size=1m,mode=777 tmpfs /small")
    noted = clusters.made("campus", "campus", shared="/small/p")
    place = SshFolder(clusters.door(noted), "campus")
    try:
        place.write("a", b"x")
        with pytest.raises(DiskError, match="no room on campus"):
            place.write("b", b"x" * (2 << 20))
        assert [stored.key for stored in place.objects("")] == ["a"]
    finally:
        place.door.close()
        slurm.at("login", "umount", "-l", "/small")


def test_a_line_that_breaks_is_taken_up_again(bench: Bench) -> None:
    bench.place.write("a", b"1")
    bench.slurm.at("login", "sh", "-c", "pkill -u alice sshd; pkill -u alice python3; true")
    assert bench.place.read("a") == b"1"
    assert bench.place.write_new("b", b"2")
