"""The laptop's image comes to S3 whole, once, and what a killed upload has sent is not sent again."""

import gzip
import hashlib
import json
import random
from pathlib import Path
from typing import Any, cast

import pytest

from infra.aws import s3_parts
from infra.aws.s3 import S3
from infra.docker_engine import Docker
from infra.errors import AuthError, CloudError, EngineError, RunError
from provision.engines import images_s3
from tests.unit.fake_aws import CLOUD, Refused
from tests.unit.fake_s3 import NAME, OURS, FakeS3, body
from tests.unit.kept_kit import DIGEST, TAG, Engine

MANIFEST = json.dumps([{"Config": "abc.json", "RepoTags": [TAG], "Layers": ["1/layer.tar"]}]).encode()
FILES: dict[str, bytes | str] = {
    "abc.json": b"{}",
    "1/layer.tar": random.Random(1).randbytes(50_000),  # does not get smaller
    "2/layer.tar": b"a" * 50_000,
    "manifest.json": MANIFEST,
}
INDEX = f"images/sha256/{DIGEST.removeprefix('sha256:')}.json"


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    for name in ("CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    return FakeS3()


def send(engine: Engine) -> int:
    return images_s3.send(cast(Docker, engine), S3(CLOUD, NAME, OURS), TAG, DIGEST)


def index(aws: FakeS3) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(aws.held[INDEX][0])
    return found


def written(aws: FakeS3) -> list[str]:
    return [given["Key"] for given in aws.of("PutObject")]


def test_each_file_of_the_archive_is_a_blob_of_its_own_and_the_index_comes_last(aws: FakeS3, tmp_path: Path) -> None:
    sent = send(Engine(FILES))
    found = index(aws)
    assert (found["id"], found["tag"], found["config"]) == (DIGEST, TAG, "abc.json")
    assert [blob["name"] for blob in found["blobs"]] == list(FILES)
    for blob in found["blobs"]:
        packed = aws.held[blob["key"]][0]
        data = gzip.decompress(packed)
        assert data == FILES[blob["name"]]
        assert (blob["size"], blob["packed"]) == (len(data), len(packed))
        assert blob["sha256"] == hashlib.sha256(data).hexdigest()
        assert blob["key"] == f"images/blobs/{hashlib.sha256(packed).hexdigest()}.gz"
    assert written(aws)[-1] == INDEX
    assert sent == sum(blob["packed"] for blob in found["blobs"])
    assert not any(path.is_file() for path in tmp_path.joinpath("CACHE").rglob("*"))  # nothing stays in the cache


def test_a_second_time_nothing_is_sent_and_nothing_saved(aws: FakeS3) -> None:
    engine = Engine(FILES)
    send(engine)
    before = len(aws.of("PutObject"))
    assert send(engine) == 0
    assert len(aws.of("PutObject")) == before
    assert engine.saved == 1


def test_a_layer_that_another_image_has_brought_is_not_sent_again(aws: FakeS3) -> None:
    send(Engine(FILES))
    before = len(aws.of("PutObject"))
    other = Engine({**FILES, "abc.json": b'{"other": 1}'}, "sha256:" + "6" * 64)
    images_s3.send(cast(Docker, other), S3(CLOUD, NAME, OURS), TAG, other.digest)
    assert len(aws.of("PutObject")) - before == 2  # its configuration and its index


def test_after_a_kill_the_rest_is_sent(aws: FakeS3) -> None:
    """The layer's upload fails for good: what came before it stays, and the next command brings the rest."""
    put, refuse = aws.answers["PutObject"], True

    def failing(given: dict[str, Any]) -> Any:
        if refuse and len(body(given)) > 40_000:
            raise Refused("AccessDenied")
        return put(given)

    aws.answers["PutObject"] = failing
    with pytest.raises(AuthError):
        send(Engine(FILES))
    assert INDEX not in aws.held
    there = set(aws.held)
    refuse = False
    aws.calls.clear()
    send(Engine(FILES))
    assert INDEX in aws.held
    assert not there & set(written(aws))


def test_a_large_layer_goes_on_part_by_part(aws: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_parts, "PART", 10_000)
    take, broken = aws.answers["UploadPart"], True

    def part(given: dict[str, Any]) -> Any:
        if broken and given["PartNumber"] == 4:
            raise Refused("AccessDenied")
        return take(given)

    aws.answers["UploadPart"] = part
    with pytest.raises(AuthError):
        send(Engine(FILES))
    [(key, parts)] = aws.parts.items()
    before = set(parts)
    assert before and 4 not in before
    broken = False
    aws.calls.clear()
    send(Engine(FILES))
    again = {given["PartNumber"] for given in aws.of("UploadPart")}
    assert 4 in again and not again & before
    assert gzip.decompress(aws.held[key][0]) == FILES["1/layer.tar"]
    assert not aws.parts


def test_a_layer_that_somebody_deleted_is_sent_again(aws: FakeS3) -> None:
    """Else each machine of each run would find that it cannot begin, until the index goes, too."""
    send(Engine(FILES))
    key = next(blob["key"] for blob in index(aws)["blobs"] if blob["name"] == "2/layer.tar")
    del aws.held[key]
    aws.calls.clear()
    send(Engine(FILES))
    assert key in aws.held
    assert set(written(aws)) == {key, INDEX}
    engine = Engine(FILES)
    assert send(engine) == 0 and engine.saved == 0


@pytest.mark.parametrize("operation", ["ListParts", "UploadPart", "CompleteMultipartUpload"])
def test_two_that_send_the_same_layer_at_once_both_have_it(
    aws: FakeS3, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """The second one goes on with the first one's upload, which that puts together in the middle."""
    monkeypatch.setattr(s3_parts, "PART", 10_000)
    send(Engine(FILES))
    key = next(blob["key"] for blob in index(aws)["blobs"] if blob["name"] == "1/layer.tar")
    whole = aws.held.pop(key)[0]
    before = dict(index(aws))
    del aws.held[INDEX]
    aws.parts[key] = {1: whole[:10_000]}

    def over(given: dict[str, Any]) -> Any:
        aws.put(key, whole)
        raise Refused("NoSuchUpload")

    aws.answers[operation] = over
    send(Engine(FILES))
    assert index(aws) == before
    assert aws.held[key][0] == whole


def test_an_upload_that_is_gone_and_left_nothing_is_an_error(aws: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_parts, "PART", 10_000)
    aws.answers["UploadPart"] = Refused("NoSuchUpload")
    with pytest.raises(CloudError):
        send(Engine(FILES))
    assert INDEX not in aws.held


def test_a_part_that_is_another_is_sent_again(aws: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_parts, "PART", 10_000)
    send(Engine(FILES))
    key = next(blob["key"] for blob in index(aws)["blobs"] if blob["name"] == "1/layer.tar")
    whole = aws.held.pop(key)[0]
    del aws.held[INDEX]
    aws.parts[key] = {1: whole[:10_000], 2: b"something else"}
    aws.calls.clear()
    send(Engine(FILES))
    sent = {given["PartNumber"] for given in aws.of("UploadPart")}
    assert 1 not in sent and 2 in sent
    assert aws.held[key][0] == whole


def test_a_link_of_an_older_engine_is_the_file_that_it_leads_to(aws: FakeS3) -> None:
    send(Engine({**FILES, "3/layer.tar": "../2/layer.tar"}))
    blobs = {blob["name"]: blob for blob in index(aws)["blobs"]}
    assert blobs["3/layer.tar"] == {**blobs["2/layer.tar"], "name": "3/layer.tar"}


@pytest.mark.parametrize(
    "files",
    [{**FILES, "3/layer.tar": "../9/layer.tar"}, {"abc.json": b"{}"}, {"manifest.json": b"[]"}],
    ids=["a link to nothing", "no manifest", "an empty manifest"],
)
def test_an_archive_that_makes_no_sense_gets_no_index(aws: FakeS3, files: dict[str, bytes | str]) -> None:
    with pytest.raises(EngineError, match="archive of the image is broken"):
        send(Engine(files))
    assert INDEX not in aws.held


def test_another_image_under_that_tag_is_not_taken(aws: FakeS3) -> None:
    with pytest.raises(RunError, match="has no image provision/caffe-debian"):
        send(Engine(FILES, "sha256:" + "7" * 64))
    assert not aws.of("PutObject")


def test_an_index_that_somebody_else_wrote_is_not_vouched_for(aws: FakeS3) -> None:
    """The laptop's own sum of it goes into the capsule; another index, or one of another laptop, gets none."""
    store = S3(CLOUD, NAME, OURS)
    assert images_s3.vouched(store, DIGEST) == ""
    send(Engine(FILES))
    assert images_s3.vouched(store, DIGEST) == hashlib.sha256(aws.held[INDEX][0]).hexdigest()
    aws.put(INDEX, json.dumps({**index(aws), "config": "evil.json"}).encode())
    assert images_s3.vouched(store, DIGEST) == ""
    aws.calls.clear()
    assert send(Engine(FILES)) == 0  # no blob crosses the line for it
    assert written(aws) == [INDEX] and index(aws)["config"] == "abc.json"
    assert images_s3.vouched(store, DIGEST)


@pytest.mark.parametrize("told", [10, 60_000, 100_000, 900_000])
def test_no_more_is_shown_as_done_than_there_is(aws: FakeS3, monkeypatch: pytest.MonkeyPatch, told: int) -> None:
    """The engine says less of an image than its archive has: much less where the layers lie packed."""
    shown: list[tuple[int, int]] = []
    monkeypatch.setattr(images_s3.Bar, "at", lambda self, count, total: shown.append((count, total)))
    engine = Engine(FILES)
    monkeypatch.setattr(engine, "image", lambda _: (DIGEST, told))
    send(engine)
    whole = sum(len(data) for data in FILES.values())
    assert [one for one in shown if one[1] and one[0] > one[1]] == []
    assert shown[-1] == (whole, whole)
    assert told > whole or (0 in {total for _, total in shown} or whole in {total for _, total in shown})
