"""Data and code come straight to the run's folder in S3, as a machine would have copied them there."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from infra.errors import AuthError, RunError
from provision.runs import copies, inputs, uploads
from provision.runs.manifest import Source
from provision.runs.store import Run
from tests.unit.fake_aws import Refused
from tests.unit.fake_s3 import FakeS3
from tests.unit.kept_kit import DIGEST, RUN, made

INPUTS = f"runs/{RUN}/inputs/"


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    return FakeS3()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    (folder / "net").mkdir(parents=True)
    (folder / "train.py").write_text("print(1)")
    (folder / "net" / "a.py").write_text("a = 1")
    (folder / ".provisionignore").write_text("*.log\n")
    (folder / "x.log").write_text("not sent")
    return folder


def given(code: Path) -> Run:
    """A run whose user gave this folder as its code."""
    run = made()
    inputs.give(run, None, str(code))
    return run


def base(run: Run) -> str:
    """Where the copy of the run's code is."""
    return copies.below(run, "project").rstrip("/")


def bring(run: Run) -> list[str]:
    said: list[str] = []
    uploads.bring(run, said.append)
    return said


def test_code_is_whole_in_s3_as_a_machine_copies_it(aws: FakeS3, code: Path) -> None:
    run = given(code)
    bring(run)
    below, index = base(run), aws.held[f"{base(run)}.json"][0]
    assert below.rpartition("-")[2] == hashlib.sha256(index).hexdigest()[:16]
    rows = json.loads(index)
    assert [(row["path"], row["name"]) for row in rows] == [("net/a.py", "a.py"), ("train.py", "train.py")]
    for row in rows:
        data = aws.held[f"{below}/{row['path']}"][0]
        assert (row["size"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert copies.whole(run, "project") is not None
    assert aws.of("PutObject")[-1]["Key"] == f"{below}.json"
    assert not any("x.log" in key for key in aws.held)


def test_what_is_whole_there_is_not_read_from_the_laptop_again(aws: FakeS3, code: Path) -> None:
    run = given(code)
    bring(run)
    for path in code.rglob("*.py"):
        path.unlink()
    aws.calls.clear()
    assert bring(run) == ["project: in the run's folder in S3"]
    assert not aws.of("PutObject")


def test_after_a_kill_only_the_rest_is_sent(aws: FakeS3, code: Path) -> None:
    run = given(code)
    put = aws.answers["PutObject"]

    def failing(words: dict[str, Any]) -> Any:
        if words["Key"].endswith("train.py"):
            raise Refused("AccessDenied")
        return put(words)

    aws.answers["PutObject"] = failing
    with pytest.raises(AuthError):
        bring(run)
    assert copies.whole(run, "project") is None
    aws.answers["PutObject"] = put
    aws.calls.clear()
    bring(run)
    assert [words["Key"] for words in aws.of("PutObject")] == [f"{base(run)}/train.py", f"{base(run)}.json"]


def test_a_file_that_went_from_the_folder_goes_from_s3(aws: FakeS3, code: Path) -> None:
    first = given(code)
    bring(first)
    aws.put(f"{base(first)}/old.py", b"x")  # what the index does not name
    del aws.held[f"{base(first)}.json"]  # an upload that was broken off
    bring(run := given(code))
    assert base(run) == base(first) and f"{base(run)}/old.py" not in aws.held
    assert f"{base(run)}.json" in aws.held


def test_other_code_lies_beside_the_copy_of_before_and_changes_nothing_of_it(aws: FakeS3, code: Path) -> None:
    bring(first := given(code))
    before = {key: held for key, held in aws.held.items() if key.startswith(INPUTS)}
    (code / "train.py").write_text("print(2)")
    bring(second := given(code))
    assert base(first) != base(second)
    assert {key: aws.held[key] for key in before} == before


def test_the_run_is_not_written_to_before_somebody_keeps_it(aws: FakeS3, code: Path) -> None:
    """The manifest in S3 names what it named, until this one is sure that nobody else goes on with the run."""
    run = made(project=Source("folder", "/home/me/old", "/data/sets/old-1"))
    manifest = f"runs/{RUN}/manifest.json"
    before = aws.held[manifest]
    inputs.give(run, None, str(code))
    bring(run)
    assert aws.held[manifest] == before
    run.use_image("caffe:2", DIGEST)  # it was built again: this is written, and no more
    assert Run(run.store, RUN).manifest.image == "caffe:2"
    assert Run(run.store, RUN).manifest.project.value == "/home/me/old"
    assert run.manifest.project.value == str(code) and run.manifest.image == "caffe:2"
    inputs.settle(run)
    assert Run(run.store, RUN).manifest == run.manifest
    assert copies.whole(Run(run.store, RUN), "project") is not None


def test_a_folder_that_changes_meanwhile_is_not_called_whole(
    aws: FakeS3, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = given(code)
    entry = uploads._entry

    def changing(folder: Path, path: str) -> dict[str, Any]:
        (code / "new.py").write_text("new")
        return entry(folder, path)

    monkeypatch.setattr(uploads, "_entry", changing)
    with pytest.raises(RunError, match="changed while they were sent"):
        bring(run)
    assert not [key for key in aws.held if key.startswith(INPUTS) and key.endswith(".json")]


def test_the_users_own_prefix_in_s3_is_read_from_there(aws: FakeS3) -> None:
    run = made(data=Source("s3", "s3://lab/voc/", "/data/sets/s3-1"))
    before = len(aws.of("PutObject"))
    assert bring(run) == [] and run.manifest.data.copy == ""
    assert len(aws.of("PutObject")) == before
