"""Renting: the machine of a name, by the first of the planned requests that is served; and the undoing of a launch.

Only a lack of capacity leads on to the next region. Whatever else ends a launch early means stop paying: what was begun
is ended. A second Ctrl-C while that is under way gets the command that does it.
"""

import dataclasses
from collections.abc import Callable, Sequence

from infra import signals
from infra.aws.session import Cloud
from infra.aws.types import Instance, SpotRequest
from infra.errors import CapacityError, KeptError, LeftoverError, NotFoundError, NotOfferedError, UnsupportedError
from provision.clouds import Session
from provision.console import Say
from provision.machines import down as ending
from provision.machines import find, journal, late
from provision.machines import up as machines
from provision.machines.finish import finish
from provision.offers import cache, plan
from provision.offers.requirements import Requirements

Up = Callable[[Cloud, SpotRequest, Say], Instance]
Down = Callable[..., ending.Ended]


def rent(session: Session, wish: Requirements) -> tuple[Cloud, Instance]:
    """The machine of that name, ready, and the cloud with its region: the one that is there, or a new one.

    UsageError where a machine of that name is there and of another type, or another's. Where it is of the type that is
    asked for it is made ready, with the errors of `up.rejoin`, and stays, whatever happens here. Else the errors of
    `launch`.
    """
    with find.locked(session.cloud, wish.name):
        kind = "" if wish.or_equivalent else wish.type
        for place in find.places(session.cloud, session.settings.more_regions, wish.name):
            finish(place, session.say)
            if there := find.living(place, wish.name, kind):
                return place, machines.rejoin(place, there, session.say)
        return launch(session, wish)


def launch(session: Session, wish: Requirements) -> tuple[Cloud, Instance]:
    """A new machine in the first region that has room, and the cloud with that region.

    The errors of `plan.plan` before anything is done. Then CapacityError that names all regions where none has room,
    LeftoverError where an earlier launch of that name cannot be ended, and those of `up.up`. What was begun is ended,
    but for the machine of a KeptError.
    """
    return first(session.cloud, plan.plan(session, wish), session.say)


def first(
    cloud: Cloud, requests: Sequence[SpotRequest], say: Say, up: Up = machines.up, down: Down = ending.down
) -> tuple[Cloud, Instance]:
    """The first of the requests that is served; what the others began is ended. `up` and `down` are for tests.

    CapacityError that names all regions where none is served, LeftoverError, and the errors of `up.up`.
    """
    refused: list[CapacityError] = []
    for request in requests:
        place = dataclasses.replace(cloud, region=request.region)
        if refused:
            say(f"{refused[-1].what}; trying {request.region}")
        _clear(cloud, request, say, down)
        noted = journal.write_intent(place, request)
        try:
            return place, up(place, noted, say)
        except KeptError:
            raise
        except CapacityError as error:
            refused.append(error)
            if not undo(place, noted.name, noted.launch, say, down):
                raise
        except BaseException as error:
            say("stopping: ending what was begun")
            if isinstance(error, (NotOfferedError, UnsupportedError)):
                cache.forget(place)
            undo(place, noted.name, noted.launch, say, down)
            raise
    if len(refused) == 1:
        raise refused[0]
    raise CapacityError("; ".join(error.what for error in refused), refused[-1].mend)


def _clear(cloud: Cloud, request: SpotRequest, say: Say, down: Down) -> None:
    """End what another launch of that name began and a killed client left, as it may still show up."""
    for region in journal.regions(cloud, request.name):
        place = dataclasses.replace(cloud, region=region)
        launch = journal.begun(place, request.name)
        if launch and not journal.takes_up(place, request):
            say(f"an earlier launch of {request.name} in {region} was cut off: ending it")
            if not undo(place, request.name, launch, say, down):
                raise LeftoverError(f"{request.name} may be there twice, so it is not launched", "try again later")


def undo(cloud: Cloud, name: str, launch: str, say: Say, down: Down = ending.down) -> bool:
    """End what one launch ("": any of this laptop's of that name) began, in whatever state it is; whether it is ended.

    Nothing of it is as good. Another machine of that name stays as it is.

    It raises no error, so as not to hide the one that led here: what goes wrong is said. Ctrl-C gets the exact command,
    and goes on as Ctrl-C; SIGTERM and SIGHUP wait until it is done.
    """
    with signals.held():
        return _undone(cloud, name, launch, say, down)


def _undone(cloud: Cloud, name: str, launch: str, say: Say, down: Down) -> bool:
    by_hand = cloud.hint(f"down {name}")
    try:
        done = down(cloud, name, say, launch=launch)
        for line in [ending.kept_words(thing, cloud.region) for thing in done.kept] + [*map(late.words, done.unseen)]:
            say(line)
    except NotFoundError:
        pass
    except KeyboardInterrupt:
        say(f"{name} was NOT ended; it may be billed until its deadline. End it: {by_hand}")
        raise
    except BaseException as error:
        say(f"{name} was NOT ended ({error}); it may be billed until its deadline: {by_hand}")
        return False
    say(f"nothing of {name} is left")
    return True
