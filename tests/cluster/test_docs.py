"""The commands of the clusters' page, as it has them, on the tests' cluster."""

import json
import re
from pathlib import Path

import pytest

from provision import cli
from tests.cluster.cluster_kit import until
from tests.cluster.run_kit import Bench
from tests.documents import CLUSTERS, ROOT, commands

pytestmark = pytest.mark.engine


def test_what_the_page_of_clusters_shows_can_be_typed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    here = {"alice@login.example.edu": "campus", "/scratch/alice/provision": bench.place.door.root}
    run = ""
    for words in commands((ROOT / CLUSTERS).read_text(encoding="utf-8")):
        typed = [here.get(word, run if word == "RUN" else word) for word in words[1:]]
        capsys.readouterr()
        assert cli.run(typed) == 0, (typed, capsys.readouterr().err)
        said = capsys.readouterr().out
        if "--detach" in typed:
            run = (re.findall(r"digits-\d{8}-\d{6}-[0-9a-f]{4}", said) or [run])[0]
            until(lambda: _is_training(capsys), "it trains", 300)
    assert list((tmp_path / "results").rglob("*.caffemodel"))


def _is_training(capsys: pytest.CaptureFixture[str]) -> bool:
    capsys.readouterr()
    assert cli.run(["runs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    return [(row["state"], bool(row["snapshot"])) for row in rows] == [("running", True)]
