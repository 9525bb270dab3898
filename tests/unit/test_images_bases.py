"""Where images start: which packages, keys and checksums the Dockerfiles name for each kind of base."""

import re

import msgspec
import pytest

from images.choose import choose, parse, targets
from images.matrix import Variant, rows
from images.render import render
from images.stacks import stacks
from images.target import Target
from images.versions import key

# https://forums.developer.nvidia.com/t/notice-cuda-linux-repository-key-rotation/212772 and the key itself
NEW_KEY = "EB693B3035CD5710E231E123A4B469963BF863CC"
OLD_KEY = "AE09FE4BBD223A84B2CCFCE3F60F4B3D7FA2AF80"
# Ubuntu 26.04's tree has one of its own, as public installers name it (chef cookbooks among them)
KEY_2604 = "14BAFBC7562AD710CA04E69905FBB6DA60DF8A40"
# trees that the notice does not name, and which so were left with the old key
OLD_TREES = {"ubuntu1404", "ubuntu1710"}


def of_kind(kind: str) -> list[Variant]:
    return [row for row in rows().values() if row.base_kind == kind]


def dockerfile(row: str, stack: str = "cuda", **change: tuple[str, ...]) -> str:
    changed = msgspec.structs.replace(stacks()[stack], **change)
    return render(Target(changed, rows()[row])).dockerfile


def stage(text: str, name: str) -> str:
    """The instructions of one stage."""
    found = re.search(rf"(?ms)^FROM \S+ AS {re.escape(name)}\n(.*?)(?=^FROM |\Z)", text)
    assert found, f"no stage {name}"
    return found[1]


def packages(text: str) -> set[str]:
    """What apt is asked for with an exact version."""
    return set(re.findall(r"^ +([a-z0-9][a-z0-9.+-]*=\S+) \\$", text, re.MULTILINE))


@pytest.mark.parametrize("row", of_kind("nvidia-apt"), ids=lambda row: row.id)
def test_ubuntu_gets_the_very_packages_of_the_row(row: Variant) -> None:
    text = dockerfile(row.id)
    pinned = {f"{name}={version}" for name, version in row.pins.items()}
    assert packages(stage(text, "base")) == pinned
    assert packages(stage(text, "runtime-base")) <= pinned
    assert not [one for one in packages(stage(text, "runtime-base")) if "-dev" in one]
    for name in row.pins:
        assert re.search(rf"apt-mark hold .*{re.escape(name)}\b", stage(text, "base"))


def trees(text: str) -> list[tuple[str, ...]]:
    """What the stage `nvidia` reads: repository, tree, key file and fingerprint."""
    where = r"https\S+/compute/(\S+)/repos/(\S+)/x86_64"
    found = re.findall(rf"--tree {where} {where}/(\w+)\.pub (\w+) ", stage(text, "nvidia"))
    assert all(one[:2] == one[2:4] for one in found), "a tree and its key are of one place"
    return [(*one[:2], *one[4:]) for one in found]


def fetched(text: str) -> set[str]:
    """The pins that are taken out of NVIDIA's lists."""
    return set(
        re.findall(
            r"(?m)^ +([a-z][a-z0-9-]*=\S+?)(?: \\)?$", stage(text, "nvidia").partition("nvidia_repo.py /nvidia")[2]
        )
    )


@pytest.mark.parametrize("row", of_kind("nvidia-apt"), ids=lambda row: row.id)
def test_a_repository_is_believed_for_its_own_key_and_no_other(row: Variant) -> None:
    text = dockerfile(row.id)
    assert "apt-key" not in text and "--allow-unauthenticated" not in text
    assert trees(text)[0][0] == "cuda"
    for repository, tree, file, fingerprint in trees(text):
        old = repository == "machine-learning" or tree in OLD_TREES
        new = ("60DF8A40", KEY_2604) if tree == "ubuntu2604" else ("3bf863cc", NEW_KEY)
        assert (file, fingerprint) == (("7fa2af80", OLD_KEY) if old else new)
        assert tree == row.trees.get(repository, row.distribution.replace(".", ""))


@pytest.mark.parametrize("row", of_kind("nvidia-apt"), ids=lambda row: row.id)
def test_an_old_release_fetches_nothing_of_nvidias_itself(row: Variant) -> None:
    # NVIDIA/nvidia-docker#714: Ubuntu 14.04's TLS has no cipher in common with today's servers
    text = dockerfile(row.id)
    assert re.search(r"(?m)^FROM debian:bookworm AS nvidia$", text)
    for name in ("base", "runtime-base"):
        there = stage(text, name)
        assert "https://" not in there and "curl" not in there
        assert "--mount=type=bind,from=nvidia,source=/nvidia,target=/nvidia" in there
        listed = there.index("echo 'deb [trusted=yes] file:/nvidia ./' > /etc/apt/sources.list.d/nvidia.list")
        gone = there.index("rm -f /etc/apt/sources.list.d/nvidia.list")
        assert listed < there.index("apt_install") < there.index("apt-mark hold") < gone


def test_cuda_9_2_on_ubuntu_18_04_comes_from_the_trees_that_nvidia_took_it_from() -> None:
    # NVIDIA's Dockerfile end-of-life/9.2/ubuntu1804/base
    found = trees(dockerfile("cuda9.2-cudnn7.6-ubuntu18.04"))
    assert [one[:2] for one in found] == [("cuda", "ubuntu1710"), ("machine-learning", "ubuntu1604")]


@pytest.mark.parametrize(
    ("row", "loose", "learning"),
    [
        ("cuda10.1-cudnn7.6-ubuntu18.04", {"libcudnn7", "libcudnn7-dev", "libnccl-dev", "libnccl2"}, False),
        ("cuda9.0-cudnn7.6-ubuntu16.04", set(), True),
        ("cuda10.2-cudnn7.6-ubuntu18.04", set(), True),
        ("cuda10.2-cudnn8.6-ubuntu18.04", set(), False),
        ("cuda11.8-cudnn8.7-ubuntu20.04", set(), False),
        ("cuda11.1-cudnn8.0-ubuntu16.04-apt", {"libnccl-dev", "libnccl2"}, False),
        ("cuda12.4-cudnn9.1-ubuntu22.04-apt", set(), False),
    ],
)
def test_what_nvidia_moved_comes_from_where_it_is(row: str, loose: set[str], learning: bool) -> None:
    text = dockerfile(row)
    alone = re.findall(r"--loose https\S+/([a-z0-9-]+)_\S+_amd64\.deb [0-9a-f]{64} ", stage(text, "nvidia"))
    assert set(alone) == loose
    pins = rows()[row].pins
    assert fetched(text) == {f"{name}={version}" for name, version in pins.items() if name not in loose}
    assert ("machine-learning" in [one[0] for one in trees(text)]) == learning


def test_a_known_checksum_is_the_one_that_nvidia_gives() -> None:
    text = dockerfile("cuda10.1-cudnn7.6-ubuntu18.04")
    # NVIDIA's Dockerfile end-of-life/10.1/ubuntu1804/devel/cudnn7
    known = "07d73672d03836126050e5b78b1a5199fabaa5a540b924903acba00cbfe81848"
    assert f"/libcudnn7_7.6.5.32-1+cuda10.1_amd64.deb {known} " in text


@pytest.mark.parametrize("row", of_kind("debian-cuda"), ids=lambda row: row.id)
def test_debian_gets_cudnn_and_nccl_from_wheels_by_checksum(row: Variant) -> None:
    text = dockerfile(row.id)
    wheels = {name for name in row.pins if name.startswith(("nvidia-cudnn-", "nvidia-nccl-"))}
    assert len(wheels) == 2
    asked = dict(re.findall(r"'([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}'", stage(text, "nvidia")))
    assert asked == {name: row.pins[name] for name in wheels}
    assert "--require-hashes" in text
    assert packages(stage(text, "base")) == {f"{name}={row.pins[name]}" for name in set(row.pins) - wheels}
    runtime = set(row.runtime) - wheels
    assert packages(stage(text, "runtime-base")) == {f"{name}={row.pins[name]}" for name in runtime}
    assert "contrib non-free" in stage(text, "base") and "contrib non-free" in stage(text, "runtime-base")


def test_debians_toolkit_brings_no_driver_of_its_own() -> None:
    base = stage(dockerfile("cuda11.8-cudnn8.7-debian12"), "base")
    stands = base.index("Provides: libcuda.so.1 (= 999), libnvidia-ml.so.1 (= 999)")
    assert stands < base.index("nvidia-cuda-toolkit=")


def test_a_stack_leaves_out_libraries_that_it_never_opens() -> None:
    pattern = "/opt/nvidia/lib/libcudnn_adv*"
    text = dockerfile("cuda11.8-cudnn8.7-debian12", leave_out=(pattern, "/usr/share/man/*"))
    assert f"rm -f {pattern};" in stage(text, "runtime-base")
    assert pattern not in stage(text, "base"), "who compiles may want all"
    assert "rm -f /usr/share/man" not in text


@pytest.mark.parametrize("row", of_kind("official"), ids=lambda row: row.id)
def test_nvidias_own_tag_must_hold_what_the_row_says(row: Variant) -> None:
    text = dockerfile(row.id)
    assert f"FROM {row.base} AS base" in text and f"FROM {row.base_runtime} AS runtime-base" in text
    for name, version in row.pins.items():
        assert f"{name})\" = '{version}'" in stage(text, "base")
    for name in row.runtime:
        assert f"{name})\" = '{row.pins[name]}'" in stage(text, "runtime-base")
    assert "developer.download.nvidia.com" not in text, "the tag brings all"
    assert "ENTRYPOINT []" in text, "NVIDIA's prints a banner into the output"


@pytest.mark.parametrize("row", of_kind("official"), ids=lambda row: row.id)
@pytest.mark.parametrize("name", ["base", "runtime-base"])
def test_stale_lists_go_before_anything_reads_them(row: Variant, name: str) -> None:
    first = stage(dockerfile(row.id), name)
    aside = first.index("for one in /etc/apt/sources.list.d/cuda*.list /etc/apt/sources.list.d/nvidia-ml.list; do")
    assert 'mv "$one" "$one.disabled"' in first[aside:], "who builds on it can have it back"
    assert "apt_install" not in first[:aside]


@pytest.mark.parametrize(
    "row", [row for row in rows().values() if row.distribution == "ubuntu14.04"], ids=lambda r: r.id
)
def test_trusty_drops_the_archive_of_subscribers_in_every_stage_that_starts(row: Variant) -> None:
    text = dockerfile(row.id, "caffe")
    starts = re.findall(r"(?m)^FROM ubuntu:14.04 AS (\S+)\n(.*)", text)
    assert {name for name, _ in starts} >= {"base", "runtime-base"}
    assert all(line == "RUN rm -f /etc/apt/sources.list.d/ubuntu-esm-infra-trusty.list" for _, line in starts)


def test_a_cpu_row_starts_from_its_distribution_and_nothing_else() -> None:
    text = dockerfile("cpu-debian12", "caffe")
    assert stage(text, "base").split("\n\n")[0].strip() == ""
    assert "nvidia" not in text.lower().replace("/opt/nvidia", "")


@pytest.mark.parametrize("name", [target.name for target in targets() if "ubuntu24.04" in target.name])
def test_the_user_that_ubuntu_24_04_has_makes_room_for_ours(name: str) -> None:
    text = render(parse(name)).dockerfile
    made = [one.start() for one in re.finditer("groupadd --gid 1000", text)]
    gone = [one.start() for one in re.finditer("if getent passwd ubuntu > /dev/null; then userdel -r ubuntu; fi", text)]
    assert made and len(made) == len(gone)
    assert all(before < after for before, after in zip(gone, made, strict=True))


@pytest.mark.parametrize("stack", ["caffe", "caffe-crfrnn", "caffe-ssd"])
def test_gcc_finds_thrust_from_cuda_13_on(stack: str) -> None:
    for row in rows().values():
        if row.base_kind in ("official", "nvidia-apt", "debian-cuda"):
            files = dict(render(Target(stacks()[stack], row)).files)
            found = re.search(r"(?m)^INCLUDE_DIRS := .* /opt/cuda-for-caffe/include/cccl$", files["Makefile.config"])
            assert bool(found) == (key(str(row.cuda)) >= (13,)), row.id


def test_what_is_on_hold_is_not_asked_for_again() -> None:
    script = dict(render(parse("caffe:cuda11.8-cudnn8.7-ubuntu20.04")).files)["install_caffe.sh"]
    held = script.index("apt-mark showhold | sed 's/:amd64$//' > /tmp/held")
    assert held < script.index("grep -vxF -f /tmp/held | sort -u") < script.index('> "$prefix/packages"')


@pytest.mark.parametrize("name", ["detectron", "detectron-py2"])
def test_detectrons_images_name_their_least_driver_too(name: str) -> None:
    target = choose(name, flavour="cuda")
    text = render(target).dockerfile
    for one in ("devel", "runtime"):
        assert f'NVIDIA_REQUIRE_CUDA="driver>={target.variant.driver_min}"' in stage(text, one)
    assert "NVIDIA" not in render(choose(name, flavour="cpu")).dockerfile


def test_pytorchs_own_wheel_is_taken_by_checksum_and_from_its_own_index() -> None:
    text = render(parse("detectron:cuda11.3-cudnn8.2-debian11")).dockerfile
    made = stage(text, "dependencies")
    # NixOS/nixpkgs, pkgs/development/python-modules/pytorch/binary-hashes.nix:
    # sha256-w8UJDh4b5cgDu7ZSvDoKzNH4hiXEyRfvpycNOg+wJOg=
    assert "torch==1.10.0+cu113 --hash=sha256:c3c5090e1e1be5c803bbb652bc3a0accd1f88625c4c917efa7270d3a0fb024e8" in made
    assert "--require-hashes --extra-index-url https://download.pytorch.org/whl/cu113 " in made
    assert "torch==1.10.2" not in text
    usual = render(parse("detectron:cuda10.2-cudnn7.6-debian11")).dockerfile
    assert "torch==1.10.2 --hash=sha256:" in usual and "download.pytorch.org" not in usual


@pytest.mark.parametrize("kind", ["nvidia-apt", "debian-cuda"])
def test_a_driver_that_is_too_old_is_refused_by_the_container_runtime(kind: str) -> None:
    for row in of_kind(kind):
        text = dockerfile(row.id)
        for name in ("base", "runtime-base"):
            assert f'NVIDIA_REQUIRE_CUDA="driver>={row.driver_min}"' in stage(text, name)
            assert 'NVIDIA_VISIBLE_DEVICES="all" NVIDIA_DRIVER_CAPABILITIES="compute,utility"' in stage(text, name)


def test_the_program_of_the_cuda_stack_has_code_for_the_gpus_asked_for() -> None:
    target = Target(stacks()["cuda"], rows()["cuda11.8-cudnn8.7-debian12"], ("K80", "H100"))
    text = render(target).dockerfile
    assert set(re.findall(r"code=(\w+)", text)) == {"sm_37", "sm_90", "compute_90"}
    assert "-ccbin g++-11" in text and "-DUSE_CUDNN -DUSE_NCCL" in text


def test_without_nccl_nothing_asks_for_it() -> None:
    text = dockerfile("cuda8.0-cudnn5.1-ubuntu14.04")
    assert "nccl" not in text.lower().replace("cudnn and nccl", "")


def test_no_dockerfile_keeps_a_secret_or_trusts_blindly() -> None:
    for target in targets():
        text = render(target).dockerfile
        for word in ("apt-key", "keyserver", "--insecure", "curl -k", "trusted-host", "# syntax="):
            assert word not in text, f"{target.name}: {word}"
        for line in text.splitlines():
            if "/run/secrets/" in line:
                assert line.lstrip().startswith("if [ -s /run/secrets/"), f"{target.name}: {line}"
