"""What a run's log tells people: a bar while it trains, and why it failed."""

from collections import deque
from collections.abc import Callable

from infra.aws.session import Cloud
from infra.errors import RunError
from provision import console
from provision.files.bar import TrainingBar
from provision.logs import diagnose, progress, read
from provision.logs.cause import Cause, Diagnosis, Facts
from provision.logs.events import Metric
from provision.logs.lost import Lost
from provision.logs.metrics.asked import AUTO, Asked
from provision.logs.progress import Progress
from provision.logs.reader import Parser
from provision.logs.text import Cleaner, whole_lines
from provision.runs import follow, log
from provision.runs.log import Joint, Piece
from provision.runs.manifest import Word
from provision.runs.patience import Clock
from provision.runs.standing import Standing
from provision.runs.store import AnyRun

_NO_END = ("learning", "symptom")  # of a training that ended, these do not tell why


class Follower:
    """Follows one run over all its attempts, drawing its progress.

    `stop` is called once, when the log shows that the training is lost for good (`provision.logs.lost`): it should save
    the work and end the training. `follow` then raises the diagnosis as a RunError, so that whatever is paid for can be
    ended. `replaces`: whoever follows puts another machine in the place of one that hangs; `silent` then tells that the
    attempt's does. `told` gets how the run stands, look by look.
    """

    def __init__(
        self, stop: Callable[[], object] | None = None, *, replaces: bool = False,
        told: Callable[[Standing], object] = lambda _: None, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self._replaces, self._tell, self._clock = replaces, told, clock
        self.silent = False
        self._parser, self._cleaner = Parser(), Cleaner()
        self.progress = Progress()
        self._joint = Joint()
        self._rest = b""
        self._after = ""
        self._stop = stop
        self._told = False
        self._shown = 0  # iteration
        self._lost = Lost()

    @property
    def iteration(self) -> int:
        return self.progress.iteration

    def follow(self, cloud: Cloud | None, run: AnyRun, state: follow.State | None = None) -> Word:
        """Until this attempt has ended; how the run stands then. `state` as `follow.Watch` takes it. RunError where it
        was stopped for it diverged, UnheardError where nothing is heard of it for too long."""
        bar = TrainingBar()
        watch = follow.Watch(cloud, run, replaces=self._replaces, state=state, told=self._tell, clock=self._clock)
        if not self._after:
            self._parser = Parser(asked=log.asked(run))
        try:
            for piece in follow.pieces(watch, self._after):
                self.take(piece, bar)
        finally:
            bar.close()
        self.check(run)
        self.silent = watch.silent
        return watch.word

    def check(self, run: AnyRun) -> None:
        """RunError where the training was stopped for it diverged."""
        if self._stop is not None and self._lost.what:
            raise failure(run)

    def take(self, piece: Piece, bar: TrainingBar) -> None:
        """The next piece of the log."""
        self._after = piece.key
        lines, end, self._rest = (self._rest + self._joint.join(piece)).rpartition(b"\n")
        for event in self._parser.read(self._cleaner.clean(lines + end)):
            self.progress = progress.fold(self.progress, event)
            self._lost.feed(event)
            if isinstance(event, Metric) and self._advances(event):
                bar.show(self.progress.iteration, self.progress.max_iter or 0, self.progress.words())
            if self._stop is not None and self._lost.what:
                self._say_and_stop(self._lost.what)

    def _advances(self, event: Metric) -> bool:
        """Whether a number is worth another look at the bar: the loss, or the first of another iteration."""
        before, self._shown = self._shown, self.progress.iteration
        return (event.phase, event.name) == ("solver", "loss") or self._shown != before

    def _say_and_stop(self, what: str) -> None:
        if not self._told:
            self._told = True
            console.line(f"{what}: stopping it")
            assert self._stop is not None
            self._stop()


def facts(run: AnyRun) -> Facts:
    """What a diagnosis knows about a run besides its log."""
    state, manifest = run.state(), run.manifest
    gpus = f"{manifest.gpus} GPU(s) of a {manifest.type}" if manifest.gpus else f"no GPU of a {manifest.type}"
    return Facts(
        state.state, state.exit_code, state.out_of_memory,
        f"the image is {manifest.image}, with {gpus}", manifest.recipe.failures,
    )  # fmt: skip


def diagnosis(run: AnyRun, asked: Asked = AUTO) -> Diagnosis:
    """What went wrong in the run's last attempt, of several ranks in each; and how those before ended."""
    with read.spooled(run.id, log.text(run), log.asked(run, asked)) as whole:
        return diagnose.diagnose(whole, facts(run))


def reason(run: AnyRun) -> str:
    """Why a run failed, in half a sentence: by its recipe's known failures, or ours; "" where the log tells nothing
    that is known, and where the run has not failed."""
    cause = _end(run) if run.state().state == "failed" else None
    return cause.what if cause is not None and cause.name != "unknown" else ""


def _end(run: AnyRun) -> Cause | None:
    """What ended the run; None where nothing tells."""
    return next((cause for cause in diagnosis(run).causes if cause.kind not in _NO_END), None)


def failure(run: AnyRun) -> RunError:
    """The error that says why the run failed: by the diagnosis, else by the log's last lines."""
    hint = run.store.hint
    cause = _end(run)
    more = f"more: {hint(f'diagnose {run.id}')}"
    if cause is not None and cause.name != "unknown":
        return RunError(f"{run.id} failed: {cause.what}{_shown(cause)}", f"{''.join(cause.mends[:1])}\n    {more}")
    lines = (line for text in whole_lines(log.text(run)) for line in text.splitlines())
    tail = deque(lines, maxlen=8)
    end = "\n".join("    " + line.decode(errors="replace") for line in tail)
    if cause is not None:
        return RunError(f"{run.id} failed: {cause.what}{_shown(cause)}\n{end}", more)
    code = run.state().exit_code
    return RunError(f"{run.id} failed with exit code {code}\n{end}", f"the whole log: {hint(f'logs {run.id}')}")


def _shown(cause: Cause) -> str:
    """The line that shows the cause, and where it happened."""
    line = f"\n    line {cause.line}: {cause.text}" if cause.line else ""
    return line + (f"\n    where: {cause.place}" if cause.place else "")
