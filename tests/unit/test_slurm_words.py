"""Words: of each container runtime, of sbatch; and what Slurm's answers mean. All without a cluster."""

import json

import pytest

from infra.cluster import containers
from infra.errors import AuthError, HostError, NotFoundError, ProvisionError, QuotaError, UsageError
from provision.engines.slurm import cluster as clusters
from provision.engines.slurm import looking, submitting
from provision.engines.slurm.cluster import Cluster, Known, Partition
from provision.engines.slurm.engine import standing
from provision.engines.slurm.queue import Queued
from provision.engines.slurm.submitting import Limits

BINDS = [("/s/work", "/work", True), ("/s/data", "/data", False)]
PROGRAM = containers.inner({"LOG": "log/1.txt", "A": "b c"}, [], ["caffe", "train"])
INNER = ["/usr/bin/env", "-i", "A=b c", "LOG=log/1.txt", "sh", "-c", containers.INNER, "sh", "caffe", "train"]

WORDS = {
    "charliecloud": [
        "ch-run", "--unset-env=*", "--bind", "/s/work:/work", "--bind", "/s/data:/data", "--cd", "/work", "/i/abc",
        "--",
    ],
    "apptainer": [
        "apptainer", "exec", "--cleanenv", "--no-home", "--nv", "--bind", "/s/work:/work", "--bind", "/s/data:/data:ro",
        "--pwd", "/work", "/i/abc",
    ],
    "singularity": [
        "singularity", "exec", "--cleanenv", "--no-home", "--nv", "--bind", "/s/work:/work", "--bind",
        "/s/data:/data:ro", "--pwd", "/work", "/i/abc",
    ],
    "podman": [
        "podman", "run", "--rm", "--network", "host", "--pid", "host", "--userns", "keep-id", "--security-opt",
        "label=disable", "--device", "nvidia.com/gpu=all", "--volume", "/s/work:/work:rw", "--volume",
        "/s/data:/data:ro", "--workdir", "/work", "--rootfs", "/i/abc:O",
    ],
    "pyxis": [
        "srun", "--ntasks=1", "--container-image=/i/abc.sqsh",
        "--container-mounts=/s/work:/work:rw,/s/data:/data:ro", "--container-workdir=/work",
        "--no-container-mount-home",
    ],
}  # fmt: skip


@pytest.mark.parametrize("runtime", looking.ORDER)
def test_each_runtime_starts_the_program_in_the_image_with_its_folders(runtime: str) -> None:
    assert containers.words(runtime, "/i/abc", BINDS, 1, PROGRAM) == WORDS[runtime] + INNER


@pytest.mark.parametrize("runtime", ["apptainer", "podman"])
def test_without_gpus_none_is_asked_for(runtime: str) -> None:
    said = containers.words(runtime, "/i/abc", BINDS, 0, PROGRAM)
    assert "--nv" not in said and "nvidia.com/gpu=all" not in said


def test_the_program_sees_the_images_variables_then_its_own_then_slurms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("SECRET", "x")
    found = containers.environment(["PATH=/opt/bin", "A=1", "LD_LIBRARY_PATH=/lib"], {"A": "2"}, True)
    assert found == {
        "PATH": "/opt/bin", "A": "2", "LD_LIBRARY_PATH": "/driver:/lib", "CUDA_VISIBLE_DEVICES": "1",
    }  # fmt: skip


def test_the_nodes_driver_is_found_among_its_libraries() -> None:
    text = """2 libs found in cache
	libcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1
	libcuda.so.1 (libc6) => /usr/lib32/libcuda.so.1
	libcudart.so.11 (libc6,x86-64) => /opt/cuda/libcudart.so.11
	libnvidia-ml.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1
"""
    assert containers.driver_files(text) == {
        "libcuda.so.1": "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "libnvidia-ml.so.1": "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    }


CAMPUS = Cluster("campus", "alice@login", "gpu", "lab", "long", sbatch=("--constraint=v100",))


def test_a_job_is_queued_by_plain_words_and_the_users_own_come_last() -> None:
    said = submitting.words(CAMPUS, "digits-1.1-0", 2, Limits(1.5, 6, 90), "/s/job-%j.txt")
    assert said == [
        "sbatch", "--parsable", "--job-name=digits-1.1-0", "--comment=provision", "--nodes=1", "--ntasks=1",
        "--requeue", "--open-mode=append", "--output=/s/job-%j.txt", "--signal=B:USR1@90", "--partition=gpu",
        "--gres=gpu:2", "--time=90", "--account=lab", "--qos=long", "--constraint=v100",
    ]  # fmt: skip
    assert "--array=0-11%2" in submitting.words(CAMPUS, "sweep", 0, Limits(), "/s/x", "0-11%2")


def test_a_job_that_is_longer_than_its_partition_lets_it_be_is_refused() -> None:
    known = Known("t", "22.05", "charliecloud", "/s", "3.6", "3.6", partitions=(Partition("gpu", seconds=7200),))
    cluster = Cluster("campus", "alice@login", "gpu", known=known)
    submitting.refuse_longer(cluster, Limits(2.0))
    with pytest.raises(UsageError, match="2 hours at most, and --max-hours is 9"):
        submitting.refuse_longer(cluster, Limits(9.0))


def test_the_runner_becomes_the_batch_process() -> None:
    text = submitting.script("/s/host/abc", "/s/a b", "runs/x/control/order-001-0.json").decode()
    assert text == "#!/bin/sh\nexec python3 -u /s/host/abc/cluster '/s/a b' runs/x/control/order-001-0.json\n"


@pytest.mark.parametrize(
    ("said", "kind", "what"),
    [
        ("sbatch: error: invalid partition specified: gpu", UsageError, "has no partition gpu"),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
         AuthError, "the account lab"),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", AuthError, "the QOS long"),
        ("sbatch: error: Batch job submission failed: User's group not permitted to use this partition", AuthError,
         "use the partition gpu"),
        ("sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Job violates accounting/QOS policy (job submit limit)",
         QuotaError, "a limit for you"),
        ("sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
         UsageError, "run so long"),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", UsageError,
         "so many GPUs"),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", HostError,
         "controller is away"),
        ("sbatch: error: Batch job submission failed: Invalid job array specification", QuotaError, "so many jobs"),
        ("sbatch: error: something that nobody foresaw", HostError, "takes no job: sbatch: error: something"),
    ],
)  # fmt: skip
def test_each_refusal_is_one_message_with_its_mend(said: str, kind: type[ProvisionError], what: str) -> None:
    error = submitting.refused(CAMPUS, said)
    assert type(error) is kind and what in error.what and error.mend and "\n" not in error.what


def test_what_the_nodes_of_a_partition_say_is_told_apart_from_the_others() -> None:
    said = "\n".join([
        "gpu runtime ch-run", "gpu python 3.6", "gpu shared", "gpu gpu 0, Tesla K80, 11441, 418.67",
        "gpu runtime podman",
        "cpu srun: error: Unable to allocate resources: Invalid account", "gpux python 3.9",
    ])  # fmt: skip
    found = looking.node("gpu", said)
    assert found == looking.Node(("charliecloud",), "3.6", "Tesla K80", "418.67", True)  # podman knows no CDI there
    assert looking.node("cpu", said).problem == "srun: error: Unable to allocate resources: Invalid account"


@pytest.mark.parametrize(
    ("text", "found"), [("2:00:00", 7200), ("1-00:00:00", 86400), ("30:00", 1800), ("infinite", 0), ("n/a", 0)]
)
def test_slurms_times_are_read(text: str, found: int) -> None:
    assert looking.seconds(text) == found


def test_sinfos_partitions_are_read_and_those_that_are_down_are_left_out() -> None:
    said = "partition gpu*|gpu:v100:4|1-00:00:00|up\npartition gpu*|gpu:2|1-00:00:00|up\n"
    rows = looking._rows(said + "partition cpu|(null)|infinite|up\npartition old|gpu:8|1:00|down\n")
    assert rows == [Partition("gpu", True, 4, seconds=86400), Partition("cpu")]


@pytest.mark.parametrize(
    ("told", "attempt", "job", "word", "reason"),
    [
        ("starting", 0, Queued("7", "waiting", "PENDING", "Resources"), "queued", "Slurm says Resources"),
        ("starting", 0, Queued("7", "running", "RUNNING"), "starting", ""),
        ("running", 1, Queued("7", "running", "RUNNING"), "running", ""),
        ("interrupted", 1, Queued("7", "waiting", "PENDING", "BeginTime"), "interrupted", "Slurm says BeginTime"),
        ("running", 1, Queued("7", "waiting", "PENDING", "BeginTime"), "interrupted", "Slurm says BeginTime"),
        ("running", 1, Queued("7", "gone"), "lost", "job 7 is gone"),
        ("starting", 0, Queued("7", "gone"), "lost", "job 7 is gone"),
        ("finished", 1, Queued("7", "running", "COMPLETING"), "finished", ""),
        ("failed", 1, Queued("7", "gone"), "failed", "exit code 3"),
    ],
)
def test_the_runners_word_and_the_queues_are_one(told: str, attempt: int, job: Queued, word: str, reason: str) -> None:
    found = standing(told, attempt, "", 3 if told == "failed" else None, job, "")
    assert found.word == word and found.reason.startswith(reason)


def test_a_cluster_is_noted_and_what_is_not_given_again_stays() -> None:
    clusters.save(clusters.changed("campus", "alice@login", partition="gpu", sbatch="--mem=4G", account=None))
    again = clusters.changed("campus", "alice@login", partition=None, sbatch=None, account="lab")
    assert (again.partition, again.account, again.sbatch) == ("gpu", "lab", ("--mem=4G",))
    path = clusters.folder() / "campus.json"
    assert path.stat().st_mode & 0o777 == 0o600 and json.loads(path.read_text())["login"] == "alice@login"
    clusters.forget("campus")
    assert clusters.names() == []
    with pytest.raises(NotFoundError):
        clusters.load("campus")


@pytest.mark.parametrize(
    ("name", "login", "words"),
    [
        ("here", "alice@login", {}),
        ("campus", "alice:secret@login", {}),
        ("campus", "-oProxyCommand=x", {}),
        ("campus", "alice@login", {"partition": "a;b"}),
        ("campus", "alice@login", {"shared": "relative"}),
        ("campus", "alice@login", {"sbatch": "--array=0-9"}),
        ("campus", "alice@login", {"sbatch": "'open"}),
    ],
)
def test_what_cannot_be_a_cluster_is_refused(name: str, login: str, words: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        clusters.made(name, login, **words)


def test_no_partition_of_it_is_chosen_before_it_was_asked() -> None:
    assert CAMPUS.chosen() is None
    asked = Known("t", "22.05", "charliecloud", "/s", "3.6", "3.6", partitions=(Partition("cpu"), Partition("gpu")))
    assert Cluster("campus", "alice@login", "gpu", known=asked).chosen() == Partition("gpu")
    with pytest.raises(UsageError, match="nobody has asked"):
        clusters.ready(CAMPUS)
