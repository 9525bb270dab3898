"""Where a run's data comes from on this laptop."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.errors import UsageError
from provision.runs.inputs import _prepared, data_source, project_source
from provision.runs.manifest import Source


def test_trainings_that_start_at_once_prepare_their_data_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: _prepared("digits"), range(4)))
    assert set(found) == {tmp_path / "provision" / "data" / "digits"}
    assert (found[0] / "train_lmdb" / "data.mdb").stat().st_size > 0
    assert not list((tmp_path / "provision" / "data").glob("*.part"))


def test_what_the_user_gives_goes_before_the_recipes_own(tmp_path: Path) -> None:
    assert data_source("digits", None).kind == "prepared"
    assert data_source("digits", "s3://bucket/set").value == "s3://bucket/set/"
    given = data_source("digits", str(tmp_path))
    assert (given.kind, given.value) == ("folder", str(tmp_path))
    assert given.folder.startswith("/data/sets/")
    assert data_source("", None) == Source()
    with pytest.raises(UsageError):
        project_source(str(tmp_path / "nowhere"))
