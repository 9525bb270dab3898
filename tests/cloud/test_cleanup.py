"""Each clean-up step counts: with any one taken out, something is left, and both `down` and the emulator say so."""

from collections.abc import Callable
from typing import Any

import pytest

from infra.aws.ec2 import Ec2
from infra.aws.iam import Iam
from infra.errors import LeftoverError
from provision import clouds, ending, settings
from tests.cloud.support import Emulator, Laptop

pytestmark = pytest.mark.cloud


def nothing(*_: Any, **__: Any) -> None:
    """A clean-up step that was taken out."""


@pytest.mark.parametrize(
    ("owner", "step", "kinds"),
    [
        (Ec2, "terminate", {"instances", "volumes", "containers", "docker volumes"}),
        (Ec2, "delete_group", {"groups"}),
        (Iam, "delete_role", {"roles", "profiles"}),
    ],
)
def test_a_clean_up_step_that_is_taken_out_is_noticed(
    laptop: Laptop, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, owner: type, step: str, kinds: set[str]
) -> None:
    laptop.ok("up", "--instance", "p2.xlarge", "--name", "kept")
    cloud = clouds.resolve(settings.load(cloud=f"local:{emulator.name}"))
    real: Callable[..., None] = ending.prove
    monkeypatch.setattr(ending, "prove", lambda *words, **_: real(*words, timeout=2.0))
    with monkeypatch.context() as without:
        without.setattr(owner, step, nothing)
        if step == "terminate":
            without.setattr(Ec2, "delete_group", nothing)  # it would wait for the machine that is still there
        with pytest.raises(LeftoverError) as refused:
            ending.down(cloud, "kept", nothing)
    assert "not everything is gone" in refused.value.what
    left = {kind for kind, ids in emulator.leftovers().items() if ids}
    assert kinds <= left
