"""One container, asked for by docker's command line or by its SDK: the same comes of it."""

from infra.containers import Bind, ContainerSpec, GpuRequest, Rights, cli_words, sdk_words

SPEC = ContainerSpec(
    "digits-1", "caffe", ("train", "--gpu=0"), "1:2", (Bind("/data", "/in", True), Bind("/out", "/out")), "/work",
    labels={"provision.run": "digits-1"}, environment={"A": "b c"}, ports=(8888,), stop_signal="SIGINT", shm_mib=64,
)  # fmt: skip


def with_gpus(runtime: bool) -> ContainerSpec:
    return ContainerSpec("n", "i", ("x",), "1:1", gpus=GpuRequest((0, 2), runtime))


def test_the_command_line_and_the_sdk_say_the_same() -> None:
    assert cli_words(SPEC, "--rm", "--network", "none") == [
        "docker", "run", "--rm", "--network", "none", "--name", "digits-1", "--user", "1:2", "--init",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "4096",
        "--shm-size", "64m", "--workdir", "/work", "--stop-signal", "SIGINT",
        "--label", "provision.run=digits-1",
        "--mount", "type=bind,source=/data,target=/in,readonly", "--mount", "type=bind,source=/out,target=/out",
        "--publish", "127.0.0.1:8888:8888", "--env", "HOME=/tmp", "--env", "A=b c", "caffe", "train", "--gpu=0",
    ]  # fmt: skip
    assert sdk_words(SPEC) == {
        "image": "caffe", "command": ["train", "--gpu=0"], "name": "digits-1", "detach": True, "init": True,
        "user": "1:2", "working_dir": "/work", "labels": {"provision.run": "digits-1"},
        "environment": {"HOME": "/tmp", "A": "b c"}, "volumes": ["/data:/in:ro", "/out:/out:rw"],
        "ports": {"8888/tcp": ("127.0.0.1", 8888)}, "stop_signal": "SIGINT", "shm_size": "64m",
        "cap_drop": ["ALL"], "cap_add": [], "security_opt": ["no-new-privileges"], "pids_limit": 4096,
    }  # fmt: skip


def test_gpus_are_asked_for_by_the_toolkits_hook_or_by_the_older_runtime() -> None:
    assert cli_words(with_gpus(False))[-4:-2] == ["--gpus", '"device=0,2"']
    request = sdk_words(with_gpus(False))["device_requests"][0]
    assert (request.device_ids, request.capabilities) == (["0", "2"], [["gpu"]])
    older = cli_words(with_gpus(True))
    assert older[-4:-2] == ["--runtime", "nvidia"] and "NVIDIA_VISIBLE_DEVICES=0,2" in older
    words = sdk_words(with_gpus(True))
    assert (words["runtime"], words["environment"]["NVIDIA_VISIBLE_DEVICES"]) == ("nvidia", "0,2")
    assert "device_requests" not in words


def test_more_rights_are_said_one_by_one_and_then_programs_can_take_them() -> None:
    """Not being root, a program takes a capability from a file: no-new-privileges would forbid that."""
    more = ContainerSpec("n", "i", ("x",), "1:1", rights=Rights(("SYS_NICE", "IPC_LOCK"), 0))
    said = cli_words(more)
    assert said[said.index("--cap-drop") :][:6] == [
        "--cap-drop",
        "ALL",
        "--cap-add",
        "SYS_NICE",
        "--cap-add",
        "IPC_LOCK",
    ]
    assert not {"--security-opt", "--pids-limit"} & set(said)
    words = sdk_words(more)
    assert words["cap_drop"] == ["ALL"] and words["cap_add"] == ["SYS_NICE", "IPC_LOCK"]
    assert words["security_opt"] == [] and words["pids_limit"] == -1


def test_without_rights_of_ours_there_are_dockers() -> None:
    own = ContainerSpec("n", "i", ("x",), "1:1", rights=None)
    assert not {"--cap-drop", "--security-opt", "--pids-limit"} & set(cli_words(own))
    assert not {"cap_drop", "security_opt", "pids_limit"} & set(sdk_words(own))
