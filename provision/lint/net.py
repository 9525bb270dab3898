"""What is wrong with a net or a solver before it costs anything: a table of rules, each a plain function.

A rule looks at a `Case` and yields findings. An error is what Caffe stops for or what spoils the training without a
word; a warning is what is seldom meant. What could not be checked, and how it could be, is told as well.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.errors import UsageError
from provision.lint.case import Case, source_of
from provision.lint.finding import Finding
from provision.net import graph, text
from provision.net.graph import PHASES
from provision.net.schema import Schema
from provision.net.shape_kit import Shape
from provision.net.text import Message


@dataclass(frozen=True)
class NetReport:
    """All findings in the order of file and line, and the checks that were left out, each with how to have it."""

    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]

    @property
    def errors(self) -> int:
        return sum(finding.level == "error" for finding in self.findings)


def lint(
    file: Path, schema: Schema | None = None, data: Path | None = None, given: Mapping[str, Shape] | None = None
) -> NetReport:
    """Check a net, or a solver and the nets that it names. `data` is the folder that is /data in the training.

    UsageError where a file cannot be read, or is neither of the two.
    """
    from provision.lint import rules_data, rules_layers, rules_net, rules_solver
    from provision.lint.records import records

    message = text.read(file)
    if not is_solver(message):
        cases = [Case(str(file), message, None, "", schema, given or {}, records(message, data))]
        before: list[Finding] = []
    else:
        nets, before = rules_solver.nets_of(file, message)
        cases = [
            Case(str(path), net, message, str(file), schema, given or {}, records(net, data), stages)
            for path, net, stages in nets
        ]
        before += rules_solver.findings(str(file), message, schema, [case.net for case in cases])
    found = [
        finding
        for case in cases
        for rule in (*rules_net.RULES, *rules_layers.RULES, *rules_data.RULES)
        for finding in rule(case)
    ]
    found = sorted(dict.fromkeys([*before, *found]), key=lambda finding: (finding.where, finding.line, finding.rule))
    return NetReport(tuple(found), tuple(_left_out(cases, schema, data)))


def is_solver(message: Message) -> bool:
    """Whether the text is a solver's, not a net's. UsageError where it is neither."""
    keys = {field.name for field in message.fields}
    if keys & {"layer", "layers", "input"}:
        return False
    if keys & {"net", "train_net", "base_lr", "max_iter", "net_param"}:
        return True
    raise UsageError("neither a net nor a solver: it has no layers, and no base_lr", "name a .prototxt of either")


def _left_out(cases: Iterable[Case], schema: Schema | None, data: Path | None) -> Iterator[str]:
    if schema is None:
        yield "unknown fields and types of layers (no fork's schema is here): --stack STACK --source git|debian"
    databases = any(source_of(layer) for case in cases for layer in graph.every(case.net))
    if databases and data is None:
        yield "labels against num_output, and what depends on the databases' shapes: --data DIR"
    elif databases and not any(case.records for case in cases):
        yield f"labels against num_output: none of the databases that the net names is in {data}"
    unknown = [
        row.layer.name
        for case in cases
        for phase in PHASES
        for row in case.inferred[phase].rows
        if row.layer.source and None in row.tops[:1]
    ]
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        yield f"shapes behind {names}: --shape BLOB:N,C,H,W" + ("" if data else " or --data DIR")
