"""Follow a run from anywhere: its log and its state as they stand in its folder.

Nothing that goes on is given up for one odd answer: a machine that AWS does not know for a moment, credentials that
expired and come back, a line that is down. What is waited out is said, and bounded.
"""

from collections.abc import Callable, Iterator

from infra.aws.session import Cloud
from infra.errors import ProvisionError, UnheardError
from provision import console
from provision.console import Say
from provision.runs import log, standing
from provision.runs.log import Joint, Piece
from provision.runs.manifest import GOING, Word
from provision.runs.patience import PASSING, Clock, Patience
from provision.runs.standing import Keeper, Standing
from provision.runs.store import AnyRun

State = Callable[[AnyRun], Standing]

_LOOK_AT_INSTANCE_S = 3.0
PATIENCE_S = 3600.0
_SILENT_S = standing.SILENT.total_seconds()
_REPLACED_S = 900.0  # of silence, after which another machine takes the place of one that was rented for the run
_LONGEST_LOOK_S = 60.0  # of the time between two looks so much counts as silence: this laptop may have been away


class Watch:
    """How the newest attempt of a run stands, look by look, until it has ended.

    `word` is how it stands; `silent` whether its own machine has been silent for so long that it counts as lost, for
    which `replaces` says that somebody would put another in its place. `state` tells how a run stands that has no
    machine of EC2's; then there is no `cloud`. `told` gets
    what each look found.
    """

    def __init__(
        self, cloud: Cloud | None, run: AnyRun, *, replaces: bool = False, say: Say = console.line,
        clock: Clock | None = None, state: State | None = None, told: Callable[[Standing], object] = lambda _: None,
    ) -> None:  # fmt: skip
        self.cloud, self.run, self.replaces, self.say = cloud, run, replaces, say
        self._state, self.told = state, told
        self.clock = clock or Clock()
        self.word: Word = "starting"
        self.silent = False
        self._looked_at: float | None = None  # at the machine
        self._unknown: list[float] = []  # when EC2 did not know the machine, since it last did
        self._heard: tuple[object, ...] | None = None
        self._silence = 0.0
        self._last: float | None = None
        self._told = False
        self._keeper: Keeper | None = None

    def look(self) -> bool:
        """Look once; whether the attempt has ended. The errors of AWS pass through."""
        at = self.clock.now()
        ask = self._looked_at is None or at - self._looked_at > _LOOK_AT_INSTANCE_S
        now = self._glance(ask)
        if ask:
            self._looked_at, self._keeper = at, now.keeper
            self._listen(now, at)
            self.told(now)
        if self.silent:
            self.word = "lost"
        elif ask or now.word not in GOING:
            self.word = self._sure(now, at)
        return self.word not in GOING

    def _glance(self, ask: bool) -> Standing:
        if self._state is not None:
            return self._state(self.run)
        assert self.cloud is not None
        return standing.glance(self.cloud, self.run, machine=ask, keeper=self._keeper)

    def _sure(self, now: Standing, at: float) -> Word:
        """The run's word; a machine that EC2 does not know is lost only after several looks."""
        if not now.unknown:
            self._unknown = []
            return now.word
        self._unknown.append(at)
        sure = len(self._unknown) >= standing.LOOKS and at - self._unknown[0] >= standing.LOOKS_S
        return "lost" if sure else now.said

    def _listen(self, now: Standing, at: float) -> None:
        """Count how long the guard has been silent, by this laptop's clock and only while this could hear it."""
        heard = (now.state.attempt, now.state.state, now.state.seen)
        speaks = now.said != "starting" and not now.state.seen  # an earlier version's, which writes no times
        begins = now.kept and now.said == "starting"  # its keeper looks for a machine, or that fetches the image
        if heard != self._heard or speaks or begins or now.attempt is None or now.word not in GOING:
            if self._told:
                self.say(f"{self.run.id} is heard again")
            self._heard, self._silence, self._told = heard, 0.0, False
        elif self._last is not None:
            self._silence += min(at - self._last, _LONGEST_LOOK_S)
        self._last = at
        self._say_silence(now)

    def _say_silence(self, now: Standing) -> None:
        if self._silence < _SILENT_S:
            return
        own = self.replaces and now.machine is not None and now.machine.record.own_run
        if not self._told:
            self._told = True
            self.say(_silence_words(self.run, now, own, self._state is None))
        self.silent = own and self._silence >= _REPLACED_S


def _silence_words(run: AnyRun, now: Standing, own: bool, on_machine: bool) -> str:
    hint = run.store.hint
    if not on_machine:
        return f"{run.id}: nobody has answered for {_SILENT_S / 60:.0f} minutes; how it stands: {hint('runs')}"
    name = now.attempt.name if now.attempt else run.manifest.name
    what = (
        f"{run.id}: nobody has answered for {_SILENT_S / 60:.0f} minutes. The machine or its guard hangs, or cannot "
        "reach S3; what it trains now is not saved, and it is billed."
    )
    if now.kept:
        return f"{what} Its keeper ends it then, and goes on elsewhere."
    if own:
        return f"{what} Another takes its place after {_REPLACED_S / 60:.0f} minutes."
    return f"{what} Look: {hint(f'ssh {name}')}; end it: {hint(f'down {name}')}"


def pieces(watch: Watch, after: str = "", pause: float = 1.0) -> Iterator[Piece]:
    """The pieces of the log behind the piece `after`, as they come, until this attempt has ended; `watch` then knows
    how it stands.

    A laptop's connection or its credentials may fail for a while: the training goes on meanwhile, and so does this.
    UnheardError after `PATIENCE_S` s without one good answer.
    """
    run = watch.run
    patience = Patience(watch.cloud, PATIENCE_S, watch.say, watch.clock)
    while True:
        try:
            ended = watch.look()
            for piece in log.read(run, run.log_pieces(after)):
                patience.heard()
                after = piece.key
                yield piece
        except PASSING as error:
            bear(run, patience, error, 5 * pause)
            continue
        patience.heard()
        if ended:
            return
        watch.clock.sleep(pause)


def bear(run: AnyRun, patience: Patience, error: ProvisionError, pause: float) -> None:
    """Wait out what may pass; UnheardError once the patience is over: the run may go on."""
    try:
        patience.bear(error, pause)
    except PASSING as last:
        raise UnheardError(
            f"nothing was heard of {run.id} for {PATIENCE_S / 60:.0f} minutes: {last.what}",
            f"it may go on without this laptop; follow it: {run.store.hint(f'logs {run.id} -f')}",
        ) from last


def show(cloud: Cloud | None, run: AnyRun, on_text: Callable[[bytes], None], state: State | None = None) -> Word:
    """Hand over the log as it grows; returns how the run stands at the end. `state` as `Watch` takes it. UnheardError
    as `pieces`."""
    joint, watch = Joint(), Watch(cloud, run, state=state)
    for piece in pieces(watch):
        on_text(joint.join(piece))
    return watch.word
