"""A run that AWS keeps, in the fakes: its bucket, its request, and what AWS answers on the way."""

import io
import tarfile
from collections.abc import Iterator
from typing import Any

from infra.aws.s3 import S3
from infra.aws.types import InstanceType, Offer, SpotRequest
from provision.recipes.loading import load
from provision.recipes.rendering import render
from provision.runs.manifest import Manifest, RunSettings, Source
from provision.runs.store import Run
from tests.unit.fake_aws import CLOUD
from tests.unit.fake_s3 import NAME, OURS

RUN = "digits-20261120-120000-abcd"
DIGEST = "sha256:" + "5" * 64
TAG = "provision/caffe-debian:cpu-debian11-2cd65b45c4db"


def made(data: Source = Source(), project: Source = Source(), **settings: Any) -> Run:  # noqa: B008 - frozen
    """The run, written to the bucket of the newest fake S3."""
    run = Run(S3(CLOUD, NAME, OURS), RUN)
    recipe = load("digits")
    run.write_manifest(
        Manifest(
            RUN, "2026-11-20", recipe, render(recipe), "caffe-debian:cpu-debian11", TAG, DIGEST, data, project, 0,
            "lab", "p2.xlarge", "spot", "us-east-1", RunSettings(ports=(8888,), own_machine=True, **settings),
        )
    )  # fmt: skip
    run.checked = True
    return run


def request(**more: Any) -> SpotRequest:
    """A request for one p2.xlarge."""
    offer = Offer(InstanceType("p2.xlarge", 4, 61000, "K80", 1, 12000), "us-east-1a", "subnet-1", 0.3, 0.9)
    words: dict[str, Any] = {
        "name": "lab", "token": "0123456789abcdef", "cloud": "fake", "region": "us-east-1", "offers": (offer,),
        "image": "ami-1", "root_device": "/dev/sda1", "market": "spot", "disk_gb": 100, "max_hours": 24.0,
        "idle_minutes": 30.0, "address": "203.0.113.9", "own_run": True, "tags": {"provision:name": "lab"},
    }  # fmt: skip
    return SpotRequest(**{**words, **more})


class Engine:
    """The laptop's Docker engine, with one image: the files of its archive, by name; of a link, what it leads to."""

    def __init__(self, files: dict[str, bytes | str], digest: str = DIGEST) -> None:
        self.files, self.digest = files, digest
        self.saved = 0

    def image(self, tag: str) -> tuple[str, int] | None:
        return self.digest, sum(len(data) for data in self.files.values())

    def has_image(self, digest: str) -> bool:
        return digest == self.digest

    def archive(self, tag: str) -> Iterator[bytes]:
        self.saved += 1
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in self.files.items():
                entry = tarfile.TarInfo(name)
                if isinstance(data, str):
                    entry.type, entry.linkname = tarfile.SYMTYPE, data
                    tar.addfile(entry)
                else:
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
        text = out.getvalue()
        yield from (text[at : at + 1000] for at in range(0, len(text), 1000))
