"""What is rented for a training ends with it, with Ctrl-C and with its failure; not where nothing is heard of it."""

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra import signals
from infra.aws.session import Cloud
from infra.aws.types import Instance
from infra.errors import AuthError, RunError, UnheardError
from provision.clouds import Session
from provision.commands import paid as paying
from provision.commands.paid import Paid, stops_paying
from provision.machines import rent
from provision.settings import Settings
from provision.training import stop
from provision.training.recover import Another

SESSION = Session(Cloud("aws", "us-east-1"), Settings())


def machine(id: str = "i-1", own: bool = True) -> Instance:
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    tags = {"provision:resource": f"provision-lab-{id}", **({"provision:own-run": "yes"} if own else {})}
    return Instance(id, "lab", "running", "p3.8xlarge", "a", "spot", None, at, tags)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def undo(cloud: Cloud, name: str, launch: str, say: Any) -> bool:
        found.append(f"end {launch}")
        return True

    monkeypatch.setattr(rent, "undo", undo)
    monkeypatch.setattr(stop, "stop", lambda *_: found.append("save") or "stopped")
    return found


def fails(paid: Paid, error: BaseException) -> None:
    with pytest.raises(type(error)), stops_paying(paid):
        paid.run = cast(Any, SimpleNamespace(id="digits-1"))
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), signals.Told(15), signals.Told(1)], ids=["INT", "TERM", "HUP"])
def test_ctrl_c_and_its_kin_save_and_end_what_was_rented(done: list[str], error: BaseException) -> None:
    fails(Paid(SESSION, machine(), own=True), error)
    assert done == ["save", "end provision-lab-i-1"]


def test_a_failure_ends_what_was_rented(done: list[str]) -> None:
    fails(Paid(SESSION, machine(), own=True), RunError("diverged"))
    assert done == ["end provision-lab-i-1"]


def test_where_nothing_is_heard_nothing_is_ended(done: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    fails(Paid(SESSION, machine(), own=True), UnheardError("nothing was heard"))
    assert done == []
    assert "lab powers off by itself after the training" in capsys.readouterr().err


def test_a_machine_that_was_there_stays(done: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    fails(Paid(SESSION, machine(own=False), own=False), AuthError("x"))
    assert done == []
    assert "lab still runs and is billed; end it: provision down lab" in capsys.readouterr().err


def test_after_a_replacement_it_is_the_new_one_that_ends(done: list[str]) -> None:
    paid = Paid(SESSION, machine(), own=True)
    paid.moved(Another(machine("i-2"), rented=True))
    fails(paid, KeyboardInterrupt())
    assert done == ["save", "end provision-lab-i-2"]


def test_another_machine_of_that_name_is_not_ended_for_the_run(done: list[str]) -> None:
    paid = Paid(SESSION, machine(), own=True)
    paid.moved(Another(machine("i-9", own=False)))
    fails(paid, KeyboardInterrupt())
    assert done == ["save"]


def test_the_budget_of_one_machine_is_not_given_to_each(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr("provision.training.through.see_through", lambda *words: given.append(words[3]) or "finished")
    paid = Paid(SESSION, machine(), own=True, run=cast(Any, SimpleNamespace(id="digits-1")))
    order = paying_order({"budget": 20.0, "max_price": 4.0}, {"type": "g5.12xlarge"})
    assert paying.see_through(paid, order) == "finished"
    assert given == [paying_order({"max_price": 4.0}, {"type": "g5.12xlarge"}, True)]


def paying_order(settings: dict[str, Any], wish: dict[str, Any], own: bool | None = None) -> Any:
    from provision.training.recover import Order

    return Order(settings, wish, own)
