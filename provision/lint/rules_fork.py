"""Rules that hold a net against the fork of Caffe that is to read it: types of layers, fields and their values.

Where the net speaks another fork's words (`provision.net.forks`), that fork is named once, in place of each word.
"""

from collections.abc import Iterable, Iterator

from infra.border import nearest
from provision.lint.case import Case, Rule
from provision.lint.finding import Finding
from provision.net import forks, upgrade
from provision.net.forks import Fork
from provision.net.graph import Layer
from provision.net.schema import Fault, like
from provision.net.text import Word

_SHOWN = 5


def types(case: Case) -> Iterator[Finding]:
    """Types that the fork has no layer for; without a schema, that neither BVLC's Caffe nor the named stack has."""
    known = case.schema.types if case.schema else forks.BVLC | types_of(case.stack)
    unknown: dict[str, list[Layer]] = {}
    for layer in case.every:
        if layer.type and layer.type not in known and not _unquoted(layer):
            unknown.setdefault(layer.type, []).append(layer)
    for fork in forks.of_net(case.net) if unknown else ():
        own = {kind: unknown.pop(kind) for kind in list(unknown) if kind in fork.types}
        if own:
            yield _of_fork(case, fork, own)
    for kind, layers in unknown.items():
        today = upgrade.new_type(Word(kind))
        near = (today,) if today in known else like(kind, known) or tuple(nearest(kind, known, 1))
        mend = f"did you mean {' or '.join(near)}?" if near else ""
        who = f"{case.schema.stack} has no layer" if case.schema else "no Caffe known here has a layer"
        for layer in layers:
            what = f"{layer.name}: {who} of type {kind}"
            yield case.finding("error" if case.schema else "warning", "type", layer.line, what,
                               "Caffe stops: Unknown layer type", mend, fold=kind)  # fmt: skip


def _unquoted(layer: Layer) -> bool:
    """Whether its type is a word where a text is meant, which is told as such."""
    return not layer.old and isinstance(layer.message.one("type"), Word)


def types_of(stack: str) -> frozenset[str]:
    """The types of layers that a stack's fork has beside BVLC's, as far as they are known without its source."""
    return frozenset().union(*(fork.types for fork in forks.FORKS if stack and fork.stack == stack))


def _of_fork(case: Case, fork: Fork, own: dict[str, list[Layer]]) -> Finding:
    """That the net is another fork's, by the layers that tell."""
    named = _listed(f"{kind} ({len(layers)} layers)" if len(layers) > 1 else kind for kind, layers in own.items())
    line = min(layers[0].line for layers in own.values())
    stack = case.schema.stack if case.schema else case.stack
    lacks = f"{stack} lacks them" if stack else "no stack here has them"
    if fork.stack and not stack:
        lacks = f"the stack {fork.stack} has these, and lacks others of this net"
    what = f"layers of {fork.name} ({fork.source}): {named}; {lacks}"
    why = "Caffe stops: Unknown layer type" if case.schema else "BVLC's Caffe stops: Unknown layer type"
    mend = f"take the stack that has them: --stack {fork.stack}" if fork.stack else f"build {fork.source} for it"
    if fork.stack and not stack:
        mend = f"see what it lacks: --stack {fork.stack}"
    return case.finding("error" if case.schema else "warning", "type", line, what, why, mend, fold=fork.name)


def fields(case: Case) -> Iterator[Finding]:
    """Fields and values that the fork's caffe.proto lacks; another fork's are told at once."""
    if case.schema is None:
        return
    why = f"{case.schema.stack} refuses the whole file: Error parsing text-format"
    foreign: dict[str, tuple[Fork, list[Fault]]] = {}
    others = [fork for fork in forks.of_net(case.net) if fork.stack != case.schema.stack]
    for fault in case.schema.faults(case.net):
        fork = _fork_of(fault, others, case.schema.stack)
        if fork is not None:
            foreign.setdefault(fork.name, (fork, []))[1].append(fault)
            continue
        mend = f"did you mean {' or '.join(fault.near)}?" if fault.near else ""
        yield case.finding("error", "field", fault.line, fault.what, why, mend, fold=fault.what)
    for fork, faults in foreign.values():
        names = _listed(dict.fromkeys(_name(fault) for fault in faults))
        what = f"fields of {fork.name} ({fork.source}): {names}{_times(len(faults))}; {case.schema.stack} lacks them"
        mend = f"take the stack that has them: --stack {fork.stack}" if fork.stack else f"build {fork.source} for it"
        yield case.finding("error", "field", faults[0].line, what, why, mend, fold=fork.name)


def _fork_of(fault: Fault, others: Iterable[Fork], stack: str) -> Fork | None:
    """The fork whose word it is: one that has the field, else, where nothing like it is known, the net's own fork."""
    having = [fork for fork in forks.with_field(_name(fault)) if fork.stack != stack or not stack]
    mine = [fork for fork in others if fork in having]
    if having:
        return (mine or having)[0]
    unknown = "has no field" in fault.what and (not fault.near or _name(fault).endswith("_param"))
    return next(iter(others), None) if unknown else None


def _name(fault: Fault) -> str:
    return fault.path.rpartition(".")[2]


def _listed(names: Iterable[str]) -> str:
    all_names = list(names)
    return ", ".join(all_names[:_SHOWN]) + (f" and {len(all_names) - _SHOWN} more" if len(all_names) > _SHOWN else "")


def _times(count: int) -> str:
    return f" ({count} times)" if count > 1 else ""


RULES: tuple[Rule, ...] = (fields, types)
