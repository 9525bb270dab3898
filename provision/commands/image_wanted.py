"""Which image is meant: of a target, up to which stage, from which source, under which lock."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision import console

if TYPE_CHECKING:
    from images.build import Order, Stage
    from images.lock import Lock
    from images.patches import ColumnBuffer
    from images.render import Context
    from images.source import Source
    from images.target import Target
    from infra.shell import Shell


@dataclass(frozen=True)
class Locking:
    """Which lock is used: the project's own if it has one, the lock in a file, or none."""

    file: Path | None = None
    none: bool = False

    def of(self, target: "Target") -> "Lock | None":
        from images import lock

        if self.none:
            return None
        return lock.load(self.file, target) if self.file else lock.find(target)


@dataclass(frozen=True)
class Wanted:
    """Which image of a target: up to which stage, from which source, with which column buffer, held to which lock."""

    stage: "Stage" = "runtime"
    debian: bool = False
    mirror: str | None = None
    column_buffer: "ColumnBuffer" = "ours"
    locking: Locking = Locking()

    def context(self, target: "Target") -> "Context":
        from images.render import render

        return render(target, column_buffer=self.column_buffer, lock=self.locking.of(target))

    def source(self, target: "Target", shell: "Shell") -> "Source":
        from images.source import resolve
        from provision.settings import cache_home

        folder = cache_home() / "sources"
        return resolve(target.stack, folder, debian=self.debian, mirror=self.mirror, shell=shell, on_line=console.line)

    def order(self, target: "Target", shell: "Shell") -> "Order":
        from images.build import Order

        return Order(self.source(target, shell), self.stage)


def with_driver(wish: "dict[str, Any]") -> "dict[str, Any]":
    """The wish. For an AWS type without a named driver, it gets the driver that a machine of the type will have."""
    if not wish["instance"] or wish["driver"]:
        return wish
    from provision import settings
    from provision.offers import compatibility

    return {**wish, "driver": compatibility.driver_of(settings.load(), wish["instance"]) or None}
