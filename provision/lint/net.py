"""What is wrong with a net or a solver before it costs anything: a table of rules, each a plain function.

A rule looks at a file (`Case`), at a net in a state in which Caffe builds it (`Built`), or at training and test side by
side, and yields findings. An error is what Caffe stops for or what spoils the training without a word; a warning is
what is seldom meant. What could not be checked, and how it could be, is told as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from provision.lint import (
    rules_data,
    rules_fillers,
    rules_fork,
    rules_labelmap,
    rules_layers,
    rules_net,
    rules_norm,
    rules_pairs,
    rules_scores,
    rules_solver,
    rules_specs,
    rules_ssd,
    rules_styles,
    rules_text,
)  # fmt: skip
from provision.lint.case import Built, BuiltRule, Case, Rule, source_of
from provision.lint.finding import Finding
from provision.lint.records import records
from provision.lint.states import Named, is_solver, of_net, of_solver
from provision.net import forks, graph, text
from provision.net.forks import Fork
from provision.net.schema import Schema
from provision.net.shape_kit import Shape
from provision.net.text import Message

__all__ = ["NetReport", "Read", "check", "is_solver", "lint", "read"]

_OF_FILES: tuple[Rule, ...] = (
    *rules_text.RULES,
    *rules_styles.RULES,
    *rules_specs.FILE_RULES,
    *rules_fillers.FILE_RULES,
    *rules_fork.RULES,
)
_OF_BUILT: tuple[BuiltRule, ...] = (
    *rules_net.RULES, *rules_layers.RULES, *rules_specs.RULES, *rules_fillers.RULES, *rules_norm.RULES,
    *rules_ssd.RULES, *rules_labelmap.RULES, *rules_scores.RULES, *rules_data.RULES,
)  # fmt: skip
_ANYWHERE = frozenset(("phase", "output", "norm", "loss", "unread", "test"))  # rules whose words name the state


@dataclass(frozen=True)
class Read:
    """A file that is checked: a net, or a solver with the nets that it names and what is wrong with their names."""

    file: Path
    solver: Message | None
    nets: tuple[Named, ...]
    wrong: tuple[Finding, ...] = ()

    @property
    def forks(self) -> list[Fork]:
        """The forks of Caffe whose words the nets speak, by their types and fields."""
        return list(dict.fromkeys(fork for named in self.nets for fork in forks.of_net(named.net)))

    @property
    def stack(self) -> str:
        """The stack that reads the nets: caffe for plain ones, empty where no stack has their forks' words."""
        if not (found := self.forks):
            return "caffe"
        foreign = {layer.type for named in self.nets for layer in graph.every(named.net) if forks.with_type(layer.type)}
        return next((fork.stack for fork in found if foreign <= fork.types), "")


@dataclass(frozen=True)
class NetReport:
    """All findings in the order of file and line, and the checks that were left out, each with how to have it."""

    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]

    @property
    def errors(self) -> int:
        return sum(finding.level == "error" for finding in self.findings)


def read(file: Path) -> Read:
    """A net, or a solver and its nets. UsageError where a file cannot be read, or is neither of the two."""
    message = text.read(file)
    if not is_solver(message):
        return Read(file, None, (Named(str(file), message, of_net(message)),), tuple(rules_text.encodings([file])))
    nets, wrong = of_solver(file, message)
    files = dict.fromkeys((file, *(Path(net.file) for net in nets)))
    return Read(file, message, tuple(nets), (*wrong, *rules_text.encodings(files)))


def lint(
    file: Path, schema: Schema | None = None, data: Path | None = None, given: Mapping[str, Shape] | None = None,
    stack: str | None = None,
) -> NetReport:  # fmt: skip
    """Read a file and check it. UsageError as `read` and `check` raise it."""
    return check(read(file), schema, data, given, stack)


def check(
    found: Read, schema: Schema | None = None, data: Path | None = None, given: Mapping[str, Shape] | None = None,
    stack: str | None = None,
) -> NetReport:  # fmt: skip
    """Check what was read. `schema` is the fork's that is to read it, `stack` that fork (None: the one whose words the
    nets speak), `data` the folder that is /data in the training. UsageError where a database holds no pictures."""
    stack = found.stack if stack is None else stack
    cases = [
        Case(net.file, net.net, found.solver, schema, given or {}, records(net.net, data), net.states, stack)
        for net in found.nets
    ]
    all_found = [*found.wrong]
    if found.solver is not None:
        all_found += rules_solver.findings(str(found.file), found.solver, schema, cases)
    for case in cases:
        all_found += [finding for rule in _OF_FILES for finding in rule(case)]
        all_found += _of_states(case)
    all_found += rules_pairs.findings(cases)
    key = {finding: (finding.where, finding.line, finding.rule) for finding in all_found}
    return NetReport(tuple(sorted(key, key=key.__getitem__)), tuple(_left_out(found, cases, schema, data, stack)))


def _of_states(case: Case) -> Iterator[Finding]:
    """What the rules find in each state; what is so in some states only is said to be of these."""
    found: dict[Finding, list[Built]] = {}
    for built in case.built:
        for finding in dict.fromkeys(finding for rule in _OF_BUILT for finding in rule(built)):
            found.setdefault(finding, []).append(built)
    for finding, where in found.items():
        others = [built for built in case.built if built not in where]
        if others and finding.rule not in _ANYWHERE:
            states = " and ".join(dict.fromkeys(str(built.state) for built in where))
            finding = replace(finding, what=f"{finding.what} (in {states})")
        yield finding


def _left_out(
    found: Read, cases: Sequence[Case], schema: Schema | None, data: Path | None, stack: str
) -> Iterator[str]:
    if schema is None:
        speaks = " and ".join(f"{fork.name} ({fork.source})" for fork in found.forks)
        if stack:
            how = f"--stack {stack} --source {'git|debian' if stack == 'caffe' else 'git'}"
            yield f"unknown fields and types of layers (no fork's schema is here): {how}"
        else:
            yield f"unknown fields: the net has words of {speaks}, and no stack has them all"
    databases = any(source_of(layer) for case in cases for layer in case.every)
    if databases and data is None:
        yield "labels against num_output, and what depends on the databases' shapes: --data DIR"
    elif databases and not any(case.records for case in cases):
        yield f"labels against num_output: none of the databases that the net names is in {data}"
    unknown = [
        row.layer.name
        for case in cases
        for built in case.built
        for row in built.inferred.rows
        if row.layer.source and None in row.tops[:1] and not row.odd
    ]
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        yield f"shapes behind {names}: --shape BLOB:N,C,H,W" + ("" if data else " or --data DIR")
