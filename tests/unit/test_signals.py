"""SIGTERM and SIGHUP undo what was begun, as Ctrl-C does."""

import signal
from collections.abc import Iterator

import pytest

from infra import signals
from provision import cli
from provision.cli import guarded


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *signals.TOLD)}
    for number in signals.TOLD:  # whoever runs these tests may ignore one (nohup)
        signal.signal(number, signal.SIG_DFL)
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


def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.end_as_ctrl_c()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
