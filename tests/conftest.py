"""Tests sorted by cost. A unit or golden test cannot open a socket or start a process; engine and cloud tests need a
Docker engine: without one they skip and say so, and fail where CI=true."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

CHEAP = ("unit", "golden")

# how fast a test is says nothing on a busy machine
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")


def _kind(item: pytest.Item) -> str:
    return Path(str(item.fspath)).parent.name


@pytest.fixture(autouse=True)
def _guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cheap tests may not touch the world."""
    if _kind(request.node) not in CHEAP:
        return

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(
            "a unit test touched the world: open a socket or start a process only in engine or cloud tests"
        )

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "system", refuse)


@pytest.fixture(autouse=True)
def _day(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cheap tests ask which releases live on one day, 2026-11-29: they give the same answers in other years."""
    if _kind(request.node) in CHEAP:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795910400")


@pytest.fixture(autouse=True)
def _home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test sees or changes the settings of who runs it. The sources that dear tests build from stay in the cache."""
    home = tmp_path_factory.mktemp("home")
    for name in ("CONFIG", "STATE", *(["CACHE"] if _kind(request.node) in CHEAP else [])):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    for name in ("PROVISION_CLOUD", "PROVISION_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def _engine_problem() -> str:
    if shutil.which("docker") is None:
        return "docker is not installed: make host"
    done = subprocess.run(["docker", "version", "-f", "{{.Server.Version}}"], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"no Docker engine answers: {done.stderr.strip()}"


@pytest.fixture(scope="session", autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    dear = [item for item in request.session.items if _kind(item) not in (*CHEAP, "faults", "simulate")]
    if dear and (problem := _engine_problem()):
        if os.environ.get("CI") == "true":
            pytest.exit(f"engine and cloud tests must run where CI=true: {problem}", returncode=1)
        for item in dear:
            item.add_marker(pytest.mark.skip(reason=problem))
