"""The facts' own command, run here with a stand-in for what a host may have."""

import os
from pathlib import Path

import pytest

from infra.shell import LocalShell
from provision.hosts.facts import _LOOK, parse


@pytest.mark.parametrize(
    ("said", "gpus"),
    [
        ("0, Tesla V100-SXM2-16GB, 16160, 535.183.01", 1),
        ("0, NVIDIA GH200, [N/A], 550.54", 1),
        ("No devices were found", 0),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 0),
    ],
)
def test_what_nvidia_smi_says_is_gpus_or_none(tmp_path: Path, said: str, gpus: int) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    tool.chmod(0o755)
    done = LocalShell().run(["sh", "-c", _LOOK], check=False, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    facts = parse(done.out)
    assert len(facts.gpus) == gpus
    assert (facts.uid, facts.gid) == (os.getuid(), os.getgid())
    assert facts.docker
