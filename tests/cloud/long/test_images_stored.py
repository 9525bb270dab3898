"""The image of a run that needs no laptop: kept in S3 while the run needs it, deleted when somebody says so, and
brought again by a resume."""

import json

import pytest

from tests.cloud.kept_kit import killed_after_the_id
from tests.cloud.support import Emulator, Laptop, runs_bucket

pytestmark = pytest.mark.cloud
ENDLESS = ("--set", "iterations=5000000", "--set", "snapshot_every=500", "--set", "test_every=100000")


def held(emulator: Emulator) -> list[str]:
    """The keys of all images in the bucket."""
    pages = emulator.client("s3").get_paginator("list_objects_v2").paginate(
        Bucket=runs_bucket(emulator), Prefix="images/"
    )  # fmt: skip
    return [row["Key"] for page in pages for row in page.get("Contents", [])]


def test_an_image_is_kept_for_its_run_forgotten_and_brought_again(laptop: Laptop, emulator: Emulator) -> None:
    run = killed_after_the_id(laptop, "train", "digits", "--instance", "p3.2xlarge", "--detach", *ENDLESS).trains()
    [image] = [row for row in json.loads(laptop.ok("image", "stored", "--json")) if run.run in row["needed"]]
    assert image["run"] == run.run and image["bytes"] > 10_000_000
    refused = laptop.run("image", "forget", image["tag"])
    assert refused.returncode == 13 and f"provision stop {run.run}" in refused.stderr
    before = held(emulator)
    assert laptop.run("image", "forget", "--unused", "0", "--force").returncode == 0 and held(emulator) == before

    assert "is stopped" in laptop.ok("stop", run.run)
    assert "would go" in laptop.ok("image", "forget", image["tag"], "--dry-run") and held(emulator) == before
    assert "deleted 1 image" in laptop.ok("image", "forget", image["image"][7:19])
    index = f"images/sha256/{image['image'].removeprefix('sha256:')}.json"
    assert index in before and index not in held(emulator)

    laptop.ok("resume", run.run, "--detach", timeout=900)
    assert index in held(emulator)
    run.trains(2)
    run.resumed_well(2)
    assert "is stopped" in laptop.ok("stop", run.run)
    assert emulator.nothing_left(), emulator.leftovers()
    [cost] = json.loads(laptop.ok("cost", "--json"))["images"]
    [shown] = [row for row in json.loads(laptop.ok("audit", "--json"))["findings"] if row["kind"] == "images in S3"]
    assert cost["bytes"] > 10_000_000 and shown["verdict"] == "kept" and shown["dollars_an_hour"] > 0
