"""Data in S3 and on machines, for real: `data sync` both ways and onto a machine, `data … --on NAME`."""

import json
import os
from collections.abc import Iterator

import pytest

from tests.cloud.support import Emulator, Laptop

pytestmark = pytest.mark.cloud
LARGE = os.urandom(1 << 20) * 150  # goes and comes in parts


@pytest.fixture
def bucket(emulator: Emulator) -> Iterator[str]:
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket="users-data")
    yield "users-data"
    for one in s3.list_objects_v2(Bucket="users-data").get("Contents", []):
        s3.delete_object(Bucket="users-data", Key=one["Key"])
    s3.delete_bucket(Bucket="users-data")


def keys(emulator: Emulator, bucket: str) -> dict[str, int]:
    found = emulator.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return {one["Key"]: one["Size"] for one in found}


def lines(laptop: Laptop, *words: str) -> list[tuple[str, str]]:
    told = json.loads(laptop.ok("data", "sync", *words, "--json"))
    return [(one["action"], one["path"]) for one in told["changes"]]


def test_a_folder_goes_to_s3_and_comes_back(emulator: Emulator, laptop: Laptop, bucket: str) -> None:
    home = laptop.folder / "set"
    (home / "a").mkdir(parents=True)
    (home / "a" / "one.txt").write_text("1")
    (home / "large.bin").write_bytes(LARGE)
    place = f"s3://{bucket}/voc"
    assert lines(laptop, "set", place, "--dry-run") == [("upload", "a/one.txt"), ("upload", "large.bin")]
    assert keys(emulator, bucket) == {}
    said = laptop.ok("data", "sync", "set", place)
    assert "copied 2 files, 157.3 MB" in said
    assert keys(emulator, bucket) == {"voc/a/one.txt": 1, "voc/large.bin": len(LARGE)}
    head = emulator.client("s3").head_object(Bucket=bucket, Key="voc/large.bin")
    assert head["ETag"].strip('"').endswith("-3")  # of 64 MiB
    assert lines(laptop, "set", place) == []

    assert lines(laptop, place, "back") == [("download", "a/one.txt"), ("download", "large.bin")]
    assert (laptop.folder / "back" / "large.bin").read_bytes() == LARGE
    assert lines(laptop, place, "back") == []
    os.utime(laptop.folder / "back" / "large.bin")  # touched, and not changed: its ETag is held against it
    assert lines(laptop, place, "back") == []

    (home / "a" / "one.txt").write_text("22")
    (home / "large.bin").unlink()
    assert lines(laptop, "set", place, "--delete") == [("upload", "a/one.txt"), ("delete", "large.bin")]
    assert keys(emulator, bucket) == {"voc/a/one.txt": 2}
    assert lines(laptop, place, "back", "--delete") == [("download", "a/one.txt"), ("delete", "large.bin")]
    assert [str(path.relative_to(laptop.folder / "back")) for path in sorted((laptop.folder / "back").rglob("*"))] == [
        "a", "a/one.txt",
    ]  # fmt: skip
    missing = laptop.run("data", "sync", "set", "s3://no-such-bucket-here/x")
    assert missing.returncode == 17
    assert "NoSuchBucket" in missing.stderr


@pytest.mark.usefixtures("image")
def test_a_machine_fetches_by_itself_and_works_on_it(emulator: Emulator, laptop: Laptop, bucket: str) -> None:
    s3 = emulator.client("s3")
    whole = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "shirt"}],
    }
    s3.put_object(Bucket=bucket, Key="vg/set.json", Body=json.dumps(whole).encode())
    s3.put_object(Bucket=bucket, Key="private/other.json", Body=b"{}")
    laptop.ok("up", "--instance", "p3.2xlarge", "--name", "far")

    told = json.loads(laptop.ok("data", "sync", f"s3://{bucket}/vg", "--on", "far", "--json"))
    assert (told["files"], told["folder"].startswith("/data/sets/s3-")) == (1, True)
    assert laptop.ok("ssh", "far", "--", f"ls {told['folder']}") == "set.json\n"
    iam = emulator.client("iam")
    role = next(one["RoleName"] for one in iam.list_roles()["Roles"] if one["Path"].startswith("/provision/us"))
    # for no longer than it takes; what it begins with it keeps
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["machine"]

    target = f"{told['folder']}/set.json"
    done = laptop.run("data", "coco-check", target, "--on", "far", "--num-classes", "2", "--json")
    assert done.returncode == 2, done.stderr
    found = json.loads(done.stdout)
    assert [one["what"] for one in found["findings"] if "segmentation" in one["what"]]
    fixed = laptop.run("data", "coco-check", target, "--on", "far", "--fix", "/data/sets/mended.json")
    assert fixed.returncode == 2, fixed.stderr
    assert "1 polygons taken from the box" in fixed.stderr
    assert laptop.ok("data", "coco-check", "/data/sets/mended.json", "--on", "far")
    assert laptop.ok("ssh", "far", "--", "stat -c %U /data/sets/mended.json") == "provision\n"
    assert laptop.ok("ssh", "far", "--", "docker ps -aq") == ""
    wrong = laptop.run("data", "coco-check", "/data/none.json", "--on", "far")
    assert wrong.returncode == 2
    assert "/data/none.json cannot be read" in wrong.stderr
