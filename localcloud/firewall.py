"""Security groups as lines for the instance's own `firewall` script: PROTOCOL FIRST-PORT LAST-PORT SOURCE.

Incoming IPv4 only: that is what our groups are made of. What no rule lets in is dropped.
"""

from collections.abc import Callable, Iterable
from typing import Any

Members = Callable[[str], list[str]]


def lines(groups: Iterable[Any], members: Members) -> str:
    """The rules of the moto groups; `members` gives the addresses of the instances in a group."""
    rules = [rule for group in groups for rule in group.ingress_rules]
    found = {line for rule in rules for line in _rule(rule, members)}
    return "".join(f"{line}\n" for line in sorted(found))


def _rule(rule: Any, members: Members) -> list[str]:
    sources = _sources(rule, members)
    if rule.ip_protocol == "-1":
        return [f"all - - {source}" for source in sources]
    if rule.ip_protocol in ("tcp", "udp"):
        return [f"{rule.ip_protocol} {rule.from_port} {rule.to_port} {source}" for source in sources]
    return []


def _sources(rule: Any, members: Members) -> list[str]:
    if rule.cidr_ipv4:
        return [rule.cidr_ipv4]
    group = (rule.source_group or {}).get("GroupId")
    return [f"{address}/32" for address in members(group)] if group else []


def groups_of(instance: Any) -> list[Any]:
    """The moto groups of an instance, given to it or to its network interfaces."""
    of_nics = [group for nic in instance.nics.values() for group in nic.group_set]
    return list({group.id: group for group in [*instance.security_groups, *of_nics]}.values())
