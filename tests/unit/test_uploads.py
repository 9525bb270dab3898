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
from tests.unit.kept_kit import RUN, made

BELOW = f"runs/{RUN}/inputs/project"


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


def bring(run: Run) -> list[str]:
    said: list[str] = []
    uploads.bring(run, said.append)
    return said


def test_code_is_whole_in_s3_as_a_machine_copies_it(aws: FakeS3, code: Path) -> None:
    run = given(code)
    bring(run)
    rows = json.loads(aws.held[f"{BELOW}.json"][0])
    assert [(row["path"], row["name"]) for row in rows] == [("net/a.py", "a.py"), ("train.py", "train.py")]
    for row in rows:
        data = aws.held[f"{BELOW}/{row['path']}"][0]
        assert (row["size"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert copies.whole(run, "project") is not None
    assert aws.of("PutObject")[-1]["Key"] == f"{BELOW}.json"
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
    assert [words["Key"] for words in aws.of("PutObject")] == [f"{BELOW}/train.py", f"{BELOW}.json"]


def test_a_file_that_went_from_the_folder_goes_from_s3(aws: FakeS3, code: Path) -> None:
    run = given(code)
    aws.put(f"{BELOW}/old.py", b"x")  # of an upload that was broken off
    bring(run)
    assert f"{BELOW}/old.py" not in aws.held


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
    assert f"{BELOW}.json" not in aws.held


def test_the_users_own_prefix_in_s3_is_read_from_there(aws: FakeS3) -> None:
    run = made(data=Source("s3", "s3://lab/voc/", "/data/sets/s3-1"))
    before = len(aws.of("PutObject"))
    assert bring(run) == []
    assert len(aws.of("PutObject")) == before
