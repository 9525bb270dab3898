"""SIGTERM and SIGHUP undo what was begun, as Ctrl-C does."""

import signal
from collections.abc import Iterator

import pytest

from infra import signals
from infra.aws.session import Cloud
from provision import cli
from provision.cli import guarded
from provision.machines import rent
from provision.machines.down import Ended


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *signals.TOLD)}
    for number in signals.TOLD:  # whoever runs these tests may ignore one (nohup)
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what runs in its background ignore it
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_is_an_interrupt_with_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int
) -> None:
    undone: list[str] = []

    def works(_: list[str]) -> int:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            undone.append("machine")
            raise
        return 0

    monkeypatch.setattr(cli, "_call", works)
    signals.end_as_ctrl_c()
    assert guarded(["up"]) == code
    assert undone == ["machine"]
    said = capsys.readouterr().err.strip()
    assert said == "provision: interrupted" + ("" if number == signal.SIGINT else f" by {number.name}")


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("then", [signal.SIGTERM, signal.SIGHUP])
def test_what_undoes_the_work_is_not_cut_off_by_another_one(first: signal.Signals, then: signal.Signals) -> None:
    """A shell and the kernel may both tell that the terminal is closed; Ctrl-C still cuts it off."""
    signals.end_as_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(first)
    signal.raise_signal(then)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_first_signal_waits_until_what_is_being_undone_is_undone(number: signal.Signals) -> None:
    """An error began the undoing; a cancelled job's signal comes into it."""
    signals.end_as_ctrl_c()
    steps: list[str] = []
    with pytest.raises(signals.Told) as told, signals.held(), signals.held():
        signal.raise_signal(number)
        steps.append("undone")
    assert (steps, told.value.number) == (["undone"], number)
    signal.raise_signal(number)  # what that has begun to undo is not cut off either


def test_a_launch_is_undone_whole_when_a_signal_comes_into_that() -> None:
    signals.end_as_ctrl_c()
    said: list[str] = []

    def down(*_: object, **__: object) -> Ended:
        signal.raise_signal(signal.SIGTERM)
        said.append("ended")
        return Ended("us-east-1", {})

    with pytest.raises(signals.Told):
        rent.undo(Cloud("aws", "us-east-1"), "lab", "provision-lab-01234567", said.append, down)
    assert said == ["ended", "nothing of lab is left"]


def test_ctrl_c_cuts_off_what_is_being_undone() -> None:
    signals.end_as_ctrl_c()
    with pytest.raises(KeyboardInterrupt), signals.held():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it goes on")


def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.end_as_ctrl_c()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
