"""What `train` shows before anything is rented: the plan of `--dry-run`, and the terms of trained weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision import clouds, console, settings

if TYPE_CHECKING:
    from provision.ordering import Order, Preview


def show_plan(
    chosen: settings.Settings, order: "Order", name: str | None, kind: str | None, market: str, as_json: bool
) -> None:
    """What would train, and where; a licence that is not accepted yet is shown, not refused."""
    from provision import ordering

    found = ordering.preview(order, kind)
    if kind:
        _show_rented(chosen, order, found, kind, market, as_json)
    elif name:
        _show_there(chosen, order, name, as_json)
    else:
        _show(ordering.plain(found.recipe, found.rendered, found.image), as_json)


def _show_rented(
    chosen: settings.Settings, order: "Order", found: "Preview", kind: str, market: str, as_json: bool
) -> None:
    from provision import ordering, planning
    from provision.commands.request_table import show_request

    requests = planning.plan(clouds.resolve(chosen), chosen, planning.Wish(own_name(order.recipe), kind, market))
    if not as_json:
        _show(ordering.plain(found.recipe, found.rendered, found.image), as_json)
    show_request(requests, as_json)


def _show_there(chosen: settings.Settings, order: "Order", name: str, as_json: bool) -> None:
    from provision import machines, ordering, training

    cloud = machines.locate(clouds.resolve(chosen), name, chosen.more_regions)
    manifest = training.compose(cloud, chosen, order, machines.find(cloud, name), build=False)
    plain = ordering.plain(manifest.recipe, manifest.rendered, manifest.image)
    where = {"on": manifest.name, "type": manifest.type, "data": vars(manifest.data), "gpus": manifest.gpus}
    _show({**plain, **where}, as_json)


def _show(found: dict[str, Any], as_json: bool) -> None:
    from provision import ordering

    if as_json:
        console.emit_json(found)
        return
    on = [("on", f"{found['on']} ({found['type']})")] if "on" in found else []
    console.table("would train", ("what", "value"), [*ordering.table(found), *on])


def show_terms(order: "Order", kind: str | None) -> None:
    """Before anything is rented: whose weights it starts from, and under which terms."""
    from provision import ordering, weights

    for one in ordering.check(order, kind).rendered.weights:
        console.line(f"weights {one.file}: {weights.terms(one)}")


def own_name(recipe: str) -> str:
    """A machine's name for a training that brings its own."""
    import secrets

    return f"train-{Path(recipe).name}-{secrets.token_hex(2)}"[:40]
