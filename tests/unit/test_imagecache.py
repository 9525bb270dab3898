"""The cache of saved images helps, and never stands in the way of the sending."""

import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from infra import docker_engine
from provision.hosts import image_cache

IMAGE = [bytes([at]) * 300_000 for at in range(4)]


class Docker:
    """An engine that counts how often it saves."""

    def __init__(self) -> None:
        self.saves = 0

    def save(self, tag: str) -> Iterator[bytes]:
        self.saves += 1
        yield from IMAGE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "provision" / "images"


def chunks(docker: Docker, digest: str = "sha256:aa") -> Iterator[bytes]:
    return image_cache.chunks(cast(docker_engine.Docker, docker), "caffe:1", digest)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_second_host_gets_it_from_the_cache(folder: Path) -> None:
    docker = Docker()
    assert b"".join(chunks(docker)) == b"".join(chunks(docker)) == b"".join(IMAGE)
    assert docker.saves == 1
    assert names(folder) == ["aa.tar.gz"]


def test_two_trainings_at_once_do_not_mix(folder: Path) -> None:
    """The part of another process is left alone, and so is one of this process for the same image."""
    folder.mkdir(parents=True)
    (folder / "aa.tar.gz.1.part").write_bytes(b"another's")
    docker = Docker()
    first, second = chunks(docker), chunks(docker)
    begun = [next(first), next(second)]
    assert begun[0] + b"".join(first) == begun[1] + b"".join(second) == b"".join(IMAGE)
    assert names(folder) == ["aa.tar.gz", "aa.tar.gz.1.part"]
    assert (folder / "aa.tar.gz").read_bytes() == b"".join(IMAGE)
    assert (folder / "aa.tar.gz.1.part").read_bytes() == b"another's"


def test_a_reader_that_stops_early_leaves_no_half_file(folder: Path) -> None:
    reader = chunks(Docker())
    next(reader)
    assert len(names(folder)) == 1
    reader.close()  # type: ignore[attr-defined]
    assert names(folder) == []


def test_a_full_cache_disk_does_not_break_the_sending(folder: Path) -> None:
    """The kernel refuses to let the file grow, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        got = b"".join(chunks(Docker()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert got == b"".join(IMAGE)
    assert names(folder) == []


def test_a_cache_that_cannot_be_made_does_not_break_the_sending(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    assert b"".join(chunks(Docker())) == b"".join(IMAGE)


def test_the_two_newest_and_no_dead_part_are_kept(folder: Path) -> None:
    folder.mkdir(parents=True)
    ages = {"x.tar.gz": 300, "y.tar.gz": 200, "z.tar.gz": 100, "x.tar.gz.7.part": 200_000, "y.tar.gz.8.part": 50}
    for name, age in ages.items():
        (folder / name).write_text("saved")
        os.utime(folder / name, (time.time() - age,) * 2)
    b"".join(chunks(Docker()))
    assert names(folder) == ["aa.tar.gz", "y.tar.gz.8.part", "z.tar.gz"]


def test_pruning_takes_what_another_pruned_in_the_same_moment(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "gone.tar.gz").symlink_to("nowhere")  # listed, and not there when it is looked at
    for name in ("x", "y"):
        (folder / f"{name}.tar.gz").write_text("saved")
    b"".join(chunks(Docker()))
    assert "aa.tar.gz" in names(folder)
