"""An image out of S3: pieces side by side and in order, bounded, gone on with where they broke; nothing but what the
index says reaches Docker."""

import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from infra.host.guard import image, imds, pieces, s3
from tests.unit.test_guard import Answer, http_error

CONFIG = b'{"config": 1}'
ID = "sha256:" + hashlib.sha256(CONFIG).hexdigest()
FILES = {
    "blobs/sha256/" + "a" * 64: b"layer " * 5000,
    "config.json": CONFIG,
    "empty": b"",
    "noise": hashlib.sha256(b"x").digest() * 400,
    "manifest.json": b"[]",
}
WANTED = {"id": ID, "tag": "caffe:1", "index": f"images/sha256/{ID[7:]}.json"}


class Short(Answer):
    """An answer that breaks off after so many bytes, or that waits first."""

    def __init__(self, data: bytes, cut: int | None, **headers: str) -> None:
        super().__init__(data if cut is None else data[:cut], **headers)


class Place(s3.Bucket):
    """S3 in a dictionary that gives ranges. `troubles`: by key, what its next answers are: an error, or after how many
    bytes they break off. Counts what is open at once."""

    def __init__(self, files: dict[str, bytes] = FILES) -> None:
        super().__init__(imds.Metadata(), "b", "us-east-1")
        self.objects: dict[str, bytes] = {}
        self.troubles: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[str], None] = lambda key: None
        blobs = []
        for name, data in files.items():
            packed = gzip.compress(data, 1, mtime=0)
            key = f"images/blobs/{hashlib.sha256(packed).hexdigest()}.gz"
            self.objects[key] = packed
            digest = hashlib.sha256(data).hexdigest()
            blobs.append({"name": name, "size": len(data), "sha256": digest, "packed": len(packed), "key": key})
        self.index: dict[str, Any] = {"id": ID, "tag": "caffe:1", "config": "config.json", "blobs": blobs}
        self.publish()

    def publish(self) -> None:
        self.objects[WANTED["index"]] = json.dumps(self.index).encode()

    def key(self, name: str) -> str:
        return next(str(blob["key"]) for blob in self.index["blobs"] if blob["name"] == name)

    def call(self, method, key, query="", body=None, more=()):  # type: ignore[no-untyped-def]
        span = dict(more).get("range", "")
        self.asked.append((key, span))
        self.before(key)
        trouble = self.troubles[key].pop(0) if self.troubles.get(key) else None
        if isinstance(trouble, Exception):
            raise trouble
        if key not in self.objects:
            raise http_error(404)
        data = self.objects[key]
        if not span:
            return Answer(data)
        first, last = (int(word) for word in re.findall(r"\d+", span))
        if first >= len(data):
            raise http_error(416)
        return Short(data[first : last + 1], trouble, Content_Range=f"bytes {first}-{last}/{len(data)}")


class Docker:
    """An engine that keeps what it is given to load, when that is whole."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.tags: dict[str, str] = {}
        self.loaded: dict[str, bytes] = {}
        self.gives = ID
        self.code = 0
        self.given = 0  # bytes, of a tar that was not whole as well

    def words(self, words: list[str]) -> tuple[int, str]:
        if words[:3] == ["docker", "image", "inspect"]:
            return (0, words[-1]) if words[-1] in self.ids else (1, "No such image")
        assert words[:2] == ["docker", "tag"]
        self.tags[words[3]] = words[2]
        return 0, ""

    def load(self, chunks: Iterable[bytes]) -> tuple[int, str]:
        parts: list[bytes] = []
        for chunk in chunks:
            parts.append(chunk)
            self.given += len(chunk)
        data = b"".join(parts)
        if self.code:
            return self.code, "some words\nwrite /layer: no space left on device"
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for entry in tar:
                found = tar.extractfile(entry) if entry.isfile() else None
                self.loaded[entry.name] = found.read() if found else entry.linkname.encode()
        self.ids.add(self.gives)
        return 0, ""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PAUSE_S", 0.001)
    monkeypatch.setattr(pieces, "PATIENCE_S", 0.0)
    monkeypatch.setattr(pieces, "PIECE", 4000)


def bring(place: Place, docker: Docker, folder: Path, ready: Callable[[], None] = lambda: None) -> None:
    image.Image(place, WANTED, str(folder / "image"), docker.words, docker.load).bring(ready)


@pytest.mark.parametrize("piece", [100, 4000, 1 << 20])
def test_docker_is_given_each_file_as_it_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(pieces, "PIECE", piece)
    place, docker = Place(), Docker()
    bring(place, docker, tmp_path)
    assert docker.loaded == FILES
    assert docker.tags == {"caffe:1": ID}
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_same_content_are_each_given(tmp_path: Path) -> None:
    files = {"a": b"same", "b": b"same", "config.json": CONFIG}
    place, docker = Place(files), Docker()
    place.index["blobs"].append({"name": "link", "link": "a"})
    place.publish()
    bring(place, docker, tmp_path)
    assert docker.loaded == {**files, "link": b"a"}


def test_an_image_that_is_there_is_not_fetched(tmp_path: Path) -> None:
    place, docker = Place(), Docker()
    docker.ids.add(ID)
    bring(place, docker, tmp_path)
    assert (place.asked, docker.tags) == ([], {"caffe:1": ID})


def test_an_engine_that_names_images_by_their_configuration_may_have_another_id(tmp_path: Path) -> None:
    """By the word of an index that is known by its sum: who may write the bucket could name another configuration."""
    place, docker = Place(), Docker()
    wanted = {**WANTED, "id": "sha256:" + "1" * 64}
    place.index["id"] = wanted["id"]
    place.publish()
    digest = hashlib.sha256(place.objects[WANTED["index"]]).hexdigest()
    for wrong in ({}, {"sum": "0" * 64}):
        with pytest.raises(image.Unusable):
            image.Image(place, {**wanted, **wrong}, str(tmp_path / "image"), docker.words, docker.load).bring(
                lambda: None
            )
        assert docker.tags == {}
    wanted["sum"] = digest
    image.Image(place, wanted, str(tmp_path / "image"), docker.words, docker.load).bring(lambda: None)
    assert docker.tags == {"caffe:1": ID}


@pytest.mark.parametrize("name", ["noise", "config.json"])
def test_a_piece_that_breaks_off_goes_on_where_it_broke(tmp_path: Path, name: str) -> None:
    place, docker = Place(), Docker()
    key = place.key(name)
    place.troubles[key] = [10, http_error(503), ConnectionResetError(), 5, http_error(403)]
    bring(place, docker, tmp_path)
    assert docker.loaded == FILES
    assert [int(span[6:].split("-")[0]) for asked, span in place.asked if asked == key][:6] == [0, 10, 10, 10, 15, 15]


def test_what_another_guard_had_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    place, docker = Place(), Docker()
    key = place.key("noise")
    place.troubles[key] = [100]
    coming = pieces.Pieces(place, image.index_of(place, WANTED)[0], str(tmp_path / "image"))
    with pytest.raises(ConnectionError):
        coming.connection(next(piece for piece in coming.left if piece.key == key), 0)
    (tmp_path / "image/another-images").write_bytes(b"x")
    place.asked.clear()
    bring(place, docker, tmp_path)
    assert docker.loaded == FILES
    assert min(int(span[6:].split("-")[0]) for asked, span in place.asked if asked == key) == 100


def test_no_more_than_its_bound_is_on_the_disk_while_docker_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "AHEAD", 9000)
    noise = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(1500))
    place, docker = Place({"noise": noise, "config.json": CONFIG}), Docker()
    most: list[int] = []

    def waiting() -> None:
        """Docker is not there yet: pieces come until there is no more room."""
        until, size = time.monotonic() + 60, 0
        while size < 8000:
            size = sum(path.stat().st_size for path in (tmp_path / "image").iterdir())
            assert time.monotonic() < until
        time.sleep(0.2)
        most.append(sum(path.stat().st_size for path in (tmp_path / "image").iterdir()))

    bring(place, docker, tmp_path, waiting)
    assert 8000 <= most[0] <= 9000
    assert docker.loaded["noise"] == noise


def test_pieces_come_side_by_side(tmp_path: Path) -> None:
    """The first waits until a second is on its way."""
    place, docker = Place(), Docker()
    second = threading.Event()

    def before(asked: str) -> None:
        if asked.startswith("images/blobs/"):
            if len(place.asked) > 2:  # beside the index
                second.set()
            assert second.wait(60)

    place.before = before
    bring(place, docker, tmp_path)
    assert docker.loaded == FILES


# what cannot be


def unusable(place: Place, tmp_path: Path, docker: Docker | None = None) -> str:
    docker = docker or Docker()
    with pytest.raises(image.Unusable) as error:
        bring(place, docker, tmp_path)
    assert docker.loaded == {} or docker.gives != ID
    assert list(tmp_path.iterdir()) == []
    return str(error.value)


def test_a_missing_index_or_blob_is_told_in_the_same_words_each_time(tmp_path: Path) -> None:
    place = Place()
    del place.objects[WANTED["index"]]
    assert unusable(place, tmp_path) == "the image's index cannot be had from S3 (404)"
    for name in ("noise", "empty"):
        place = Place()
        del place.objects[place.key(name)]
        assert unusable(place, tmp_path) == "a part of the image cannot be had from S3 (404)"
    place.troubles[WANTED["index"]] = [http_error(403)] * 9
    assert unusable(place, tmp_path) == "the image's index cannot be had from S3 (403)"


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.update(id="sha256:" + "2" * 64),
        lambda index: index.pop("blobs"),
        lambda index: index["blobs"][0].update(name="../x"),
        lambda index: index["blobs"][0].update(name="/x"),
        lambda index: index["blobs"][0].update(key="runs/r/x"),
        lambda index: index["blobs"][0].update(key="images/blobs/../../x.gz"),
        lambda index: index["blobs"][0].update(packed=0),
        lambda index: index["blobs"][0].update(size="many"),
        lambda index: index.update(blobs=[[]]),
    ],
)
def test_an_index_that_makes_no_sense_is_damaged(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    place = Place()
    change(place.index)
    place.publish()
    assert unusable(place, tmp_path) == "the image's index in S3 is damaged"
    place.objects[WANTED["index"]] = b"<html>"
    assert unusable(place, tmp_path) == "the image's index in S3 is damaged"


@pytest.mark.parametrize("kind", ["another file", "no gzip", "cut short", "longer", "a bomb"])
def test_a_blob_that_is_not_what_the_index_says_never_reaches_docker_whole(tmp_path: Path, kind: str) -> None:
    place, docker = Place(), Docker()
    key = place.key("noise")
    packed = place.objects[key]
    place.objects[key] = {
        "another file": gzip.compress(FILES["noise"][::-1], 1, mtime=0),
        "no gzip": b"x" * len(packed),
        "cut short": packed[:-9],
        "longer": packed + gzip.compress(b"more"),
        "a bomb": gzip.compress(bytes(50_000_000)),
    }[kind]
    for blob in place.index["blobs"]:
        blob["packed"] = len(place.objects[blob["key"]])
    place.publish()
    assert unusable(place, tmp_path, docker) == "a part of the image in S3 is damaged"
    assert docker.ids == set()
    assert docker.given < 1_000_000  # though it was given twice what came before the damage
    firsts = [asked for asked, span in place.asked if asked == key and span.startswith("bytes=0-")]
    assert len(firsts) == 2  # perhaps it was damaged on its way


def test_a_blob_that_is_damaged_on_its_way_is_fetched_once_more(tmp_path: Path) -> None:
    place, docker = Place(), Docker()
    key, good = place.key("noise"), Place().objects[place.key("noise")]
    seen: list[str] = []

    def damage(asked: str) -> None:
        if asked == key:
            seen.append(asked)
            first_time = len(seen) <= -(-len(good) // 4000)
            place.objects[key] = good[:-1] + b"?" if first_time else good

    place.before = damage
    bring(place, docker, tmp_path)
    assert docker.loaded == FILES


def test_an_image_of_another_id_is_refused(tmp_path: Path) -> None:
    docker = Docker()
    docker.gives = "sha256:" + "3" * 64
    assert unusable(Place(), tmp_path, docker) == "what the image's index in S3 names is another image"


def test_what_docker_refuses_is_said_by_its_last_words(tmp_path: Path) -> None:
    docker = Docker()
    docker.code = 1
    with pytest.raises(OSError, match="docker load: write /layer: no space left on device"):
        bring(Place(), docker, tmp_path)
