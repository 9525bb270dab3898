"""Renting: the machine of a name, by the first of the planned requests that is served; and the undoing of a launch.

Only a lack of capacity leads on to the next region. Whatever else ends a launch early means stop paying: what was begun
is ended. A second Ctrl-C while that is under way gets the command that does it.
"""

import dataclasses
from collections.abc import Callable, Sequence

from infra.aws.session import Cloud
from infra.aws.types import Instance, SpotRequest
from infra.errors import CapacityError, KeptError, LeftoverError, NotFoundError, NotOfferedError, UnsupportedError
from provision import ending, lookups, machines, notes, planning
from provision.settings import Settings
from provision.wish import Wish

Say = Callable[[str], None]
Up = Callable[[Cloud, SpotRequest, Say], Instance]
Down = Callable[[Cloud, str | None, Say], ending.Ended]


def rent(cloud: Cloud, settings: Settings, wish: Wish, say: Say) -> tuple[Cloud, Instance]:
    """The machine of that name, ready, and the cloud with its region: the one that is there, or a new one.

    A machine that was there stays, whatever happens here.
    """
    with machines.locked(cloud, wish.name):
        kind = "" if wish.or_equivalent else wish.type
        for place in machines.places(cloud, settings.more_regions, wish.name):
            if there := machines.living(place, wish.name, kind):
                return place, machines.rejoin(place, there, say)
        return launch(cloud, settings, wish, say)


def launch(cloud: Cloud, settings: Settings, wish: Wish, say: Say) -> tuple[Cloud, Instance]:
    """A new machine in the first region that has room; CapacityError that names all where none has."""
    return first(cloud, planning.plan(cloud, settings, wish, say), say)


def first(
    cloud: Cloud, requests: Sequence[SpotRequest], say: Say, up: Up = machines.up, down: Down = ending.down
) -> tuple[Cloud, Instance]:
    """The first of the requests that is served; what the others began is ended. `up` and `down` are for tests."""
    refused: list[CapacityError] = []
    for request in requests:
        place = dataclasses.replace(cloud, region=request.region)
        if refused:
            say(f"{refused[-1].what}; trying {request.region}")
        _clear(cloud, request, say, down)
        try:
            return place, up(place, request, say)
        except KeptError:
            raise
        except CapacityError as error:
            refused.append(error)
            if not undo(place, request.name, say, down):
                raise
        except BaseException as error:
            say("stopping: ending what was begun")
            if isinstance(error, (NotOfferedError, UnsupportedError)):
                lookups.forget(place)
            undo(place, request.name, say, down)
            raise
    if len(refused) == 1:
        raise refused[0]
    raise CapacityError("; ".join(error.what for error in refused), refused[-1].mend)


def _clear(cloud: Cloud, request: SpotRequest, say: Say, down: Down) -> None:
    """End what another launch of that name began and a killed client left, as it may still show up."""
    for region in notes.regions(cloud, request.name):
        place = dataclasses.replace(cloud, region=region)
        if notes.begun(place, request.name) and not notes.takes_up(place, request):
            say(f"an earlier launch of {request.name} in {region} was cut off: ending it")
            if not undo(place, request.name, say, down):
                raise LeftoverError(f"{request.name} may be there twice, so it is not launched", "try again later")


def undo(cloud: Cloud, name: str, say: Say, down: Down = ending.down) -> bool:
    """End a machine whatever state it is in; nothing there is as good. Never hides the error that led here.

    Whether it is ended; where not, that is said. Ctrl-C gets the exact command, and goes on as Ctrl-C.
    """
    try:
        for one in down(cloud, name, say).kept:
            say(ending.kept_words(one, cloud.region))
    except NotFoundError:
        pass
    except KeyboardInterrupt:
        say(f"{name} was NOT ended; it may be billed until its deadline. End it: {down_words(cloud, name)}")
        raise
    except BaseException as error:
        say(f"{name} was NOT ended ({error}); it may be billed until its deadline: {down_words(cloud, name)}")
        return False
    say(f"nothing of {name} is left")
    return True


def down_words(cloud: Cloud, name: str) -> str:
    """The command that ends it, from any folder and with any settings."""
    return f"provision down {name} --cloud {cloud.name} --region {cloud.region}"
