"""An image on its way to a cluster: once for each id, in pieces, whole or not used."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import baseimage
from infra.docker_engine import open_local
from infra.errors import HostError
from infra.slurm_door import Door
from infra.ssh_folder import SshFolder
from provision.engines.slurm import image
from tests.cluster.cluster_kit import docker
from tests.cluster.run_kit import Bench

pytestmark = pytest.mark.engine
TAG = "provision-test-small:cluster"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A small image with a layer that takes a file away; its id."""
    baseimage.ensure("debian:bookworm")
    text = "FROM debian:bookworm\nRUN echo one > /one && echo two > /two\n"
    text += "RUN rm /two && mkdir /closed && chmod 0 /closed\n"
    folder = tmp_path_factory.mktemp("small")
    (folder / "Dockerfile").write_text(text + 'ENV GREETING="hello you"\n')
    docker("build", "-q", "-t", TAG, str(folder))
    yield json.loads(docker("inspect", TAG))[0]["Id"]
    docker("rmi", TAG, check=False)


@pytest.fixture
def place(bench: Bench) -> SshFolder:
    """The test's own place, without the images that the others share."""
    bench.slurm.alice("rm", f"{bench.place.door.root}/images")
    return bench.place


class Watched(Door):
    """A door that notes from where pieces of a file are sent, and whose line breaks for good after `most` of them."""

    def __init__(self, bench: Bench, most: int = 1 << 30) -> None:
        super().__init__(bench.place.door.shell, bench.place.door.root)
        self.most, self.sent = most, list[object]()

    def ask(self, word: str, *given: object, data: bytes = b"", again: bool = True) -> tuple[Any, bytes]:
        if word == "grown":
            if len(self.sent) >= self.most:
                raise HostError("the line broke")
            self.sent.append(given[1])
        return super().ask(word, *given, data=data, again=again)


def test_an_image_that_broke_off_goes_on_where_it_was_and_is_used_when_it_is_whole(
    place: SshFolder, bench: Bench, small: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    engine = open_local()
    with pytest.raises(HostError, match="the line broke"):
        image.bring(SshFolder(Watched(bench, 2), "campus"), engine, TAG, small, "charliecloud")
    assert not image.is_there(place, small, "charliecloud")
    part = next(stored for stored in place.objects("images/") if stored.key.endswith(".part"))
    assert part.size == 16 << 20
    again = Watched(bench)
    assert image.bring(SshFolder(again, "campus"), engine, TAG, small, "charliecloud") > 16 << 20
    assert again.sent[0] == part.size  # what was there is not sent again
    assert image.is_there(place, small, "charliecloud")
    assert image.bring(place, engine, TAG, small, "charliecloud") == 0
    folder = f"{place.door.root}/images/{image.name_of(small)}"
    words = f"USER=alice ch-run --unset-env='*' {folder} -- /bin/cat /one"
    assert bench.slurm.alice("srun", "-p", "gpu", "sh", "-c", words).strip() == "one"
    assert "two" not in bench.slurm.alice("ls", folder).split()
    note = place.read_json(f"images/{image.name_of(small)}.json")
    assert "GREETING=hello you" in note["env"]
    assert [stored.key for stored in place.objects("images/") if stored.key.endswith((".part", ".tar.gz"))] == []


def test_a_half_unpacked_image_is_not_used_and_is_made_whole(place: SshFolder, bench: Bench, small: str) -> None:
    name = image.name_of(small)
    bench.slurm.alice(
        "sh", "-c", f"mkdir -p {place.door.root}/images/{name}/bin; echo x > {place.door.root}/images/{name}/one"
    )
    assert not image.is_there(place, small, "charliecloud")
    image.bring(place, open_local(), TAG, small, "charliecloud")
    assert bench.slurm.alice("cat", f"{place.door.root}/images/{name}/one").strip() == "one"


def test_data_crosses_the_line_once_and_what_is_missing_of_it_comes_again(bench: Bench, tmp_path: Path) -> None:
    from provision.engines.slurm import data

    folder = tmp_path / "set"
    (folder / "below").mkdir(parents=True)
    for number in range(5):
        (folder / "below" / f"{number}.txt").write_text(str(number) * 100)
    (folder / "large").write_bytes(b"x" * (9 << 20))
    said: list[str] = []
    key = data.bring(bench.place, folder, "data", said.append)
    assert data.bring(bench.place, folder, "data", said.append) == key
    assert said[0].startswith("data: 6 files") and "already" in said[1]
    root = f"{bench.place.door.root}/{key}"
    assert bench.slurm.alice("sh", "-c", f"cat {root}/below/3.txt; stat -c %s {root}/large").endswith(f"{9 << 20}\n")
    bench.slurm.alice("rm", f"{root}/large", f"{root}.json")
    assert data.bring(bench.place, folder, "data", said.append) == key
    assert "9.4 MB sent" in said[2]
