"""One cluster for all tests of a session, and a place of its own on it for each test."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cluster_kit
from tests.cluster.cluster_kit import Cluster
from tests.cluster.run_kit import Bench

BASES = {"bookworm": "debian:bookworm", "trixie": "debian:trixie"}  # Slurm 22.05 and 24.11


@pytest.fixture(scope="session", params=sorted(BASES))
def slurm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_kit.started(tmp_path_factory.mktemp("keys"), cluster_kit.image(BASES[request.param])) as cluster:
        yield cluster


@pytest.fixture
def home(slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose ~/.ssh leads to the cluster, as a user's does."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    (folder / ".ssh" / "known_hosts").write_text(slurm.known_hosts.read_text())
    config = f"Host campus\n  HostName {slurm.ip}\n  User {cluster_kit.USER}\n  IdentityFile {slurm.key}\n"
    (folder / ".ssh" / "config").write_text(config)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def bench(slurm: Cluster, home: Path) -> Iterator[Bench]:
    """A place of the test's own on the cluster; images are shared, as they are among a user's runs."""
    with Bench.opened(slurm, f"/shared/alice/{secrets.token_hex(4)}") as made:
        yield made
