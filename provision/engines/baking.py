"""The keeper's states between a training's end and its machine's: that machine becomes a machine image, where it had to
install its driver and nobody has made one meanwhile.

It costs the run nothing but minutes: whatever fails here, the machine is ended as ever, and the run's word stays. What
is there of an image that is not whole is taken away again. The image's name is the same for all runs that would make
it, and AWS gives a name once: of two machines that come to this at once one makes the image, the other is refused. So
an image is looked for by its name together with the run that makes it.
"""

from collections.abc import Mapping, Sequence

from provision.engines.asl import NOW, Rule, State, all_, choose, is_, not_, put, rule, task, there, wait
from provision.engines.launching import ID, fresh, looked

LOOKS, LOOK_S = 120, 10  # twenty minutes in all
SOON = 4  # looks after which an image that is not there will not come
PIECES = 8  # snapshots of a half image; a machine has one disk
MAKING, MADE, UNMADE = "Bake", "Baked", "Unbaked"  # those that the run's time line tells
AFTER = "Free?"
_STATE = "$.image.states[0]"
_OURS = {"Name": "tag:provision:run", "Values.$": "States.Array($.in.run)"}
_FAILED = ("failed", "error", "invalid", "deregistered", "disabled")


def states() -> dict[str, State]:
    """The states by name. It begins with Bake?, and goes on with AFTER in any case."""
    return {**_whether(), **_make(), **_undo()}


def _whether() -> dict[str, State]:
    """A machine that has been cleaned for it says so with its word: it is fit for nothing else any more."""
    asked = all_(not_(is_("$.in.bake.label", "")), is_("$.said.state", "finished"), rule("$.said.clean", *_TRUE))
    late = rule(NOW, "TimestampGreaterThanEqualsPath", "$.in.bake.until")
    same: list[dict[str, object]] = [
        {"Name": "tag:provision:baked", "Values.$": "$.in.bake.families"},
        {"Name": "tag:provision:driver", "Values.$": "States.Array($.in.bake.driver)"},
        {"Name": "state", "Values": ["available", "pending"]},
    ]
    return {
        "Bake?": choose(AFTER, (all_(asked, not_(late)), "Baked already?")),
        "Baked already?": _look(same, "Any image?", "To the end of it"),
        "Any image?": choose(MAKING, (there("$.image.ids[0]"), "To the end of it")),
        "To the end of it": put("$.image", {"ids": [], "states": []}, AFTER),
    }


_TRUE = ("BooleanEquals", True)


def _look(filters: Sequence[Mapping[str, object]], then: str, fails: str, again: int = 1) -> State:
    kept = {"ids.$": "$..ImageId", "states.$": "$..State"}
    words = {"Owners": ["self"], "Filters": list(filters)}
    return task("ec2", "describeImages", words, then, keep=("$.image", kept), fails=fails, again=again)


def _make() -> dict[str, State]:
    """AWS takes the disk as it is, without a restart: a machine that starts anew would look for its order again."""
    words = {
        "InstanceId.$": ID, "Name.$": "$.in.bake.label", "Description.$": "$.in.bake.about", "NoReboot": True,
        "TagSpecifications.$": "$.in.bake.tags",
    }  # fmt: skip
    mine = [{"Name": "name", "Values.$": "States.Array($.in.bake.label)"}, _OURS]
    here = there(_STATE)
    return {
        # whether it was made is told by a look: an answer may be lost, and a second call is refused then
        MAKING: task("ec2", "createImage", words, "To the image", fails="To the image", again=1),
        "To the image": fresh("Image"),
        "Image": _look(mine, "Image?", "Image on?", again=0),  # it is asked again in any case
        "Image?": choose(
            "Image on?", (all_(here, is_(_STATE, "available")), MADE), (all_(here, is_(_STATE, *_FAILED)), UNMADE)
        ),
        "Image on?": choose(
            "Imaging",
            (_over(LOOKS), UNMADE),
            (all_(_over(SOON), not_(there("$.image.ids[0]"))), UNMADE),
        ),
        "Imaging": looked("Later"),
        "Later": wait(LOOK_S, "Image"),
        MADE: put("$.image", {"ids": [], "states": []}, AFTER),
    }


def _over(looks: int) -> Rule:
    return rule("$.at.looks", "NumericGreaterThanEquals", looks)


def _undo() -> dict[str, State]:
    """The half image, then its snapshots: AWS lets none go that an image has."""
    pieces = {"OwnerIds": ["self"], "Filters": [
        {"Name": "tag:Name", "Values.$": "States.Array($.in.bake.label)"}, _OURS]}  # fmt: skip
    ids = {"ids.$": "$..SnapshotId"}
    image, piece = {"ImageId.$": "$.image.ids[0]"}, {"SnapshotId.$": "$.pieces.ids[0]"}
    return {
        UNMADE: fresh("Any half?"),
        "Any half?": choose("Pieces", (there("$.image.ids[0]"), "Half")),
        "Half": task("ec2", "deregisterImage", image, "Pieces", fails="Pieces"),
        "Pieces": task("ec2", "describeSnapshots", pieces, "Pieces?", keep=("$.pieces", ids), fails="To the end of it"),
        "Pieces?": choose("To the end of it", (_over(PIECES), "To the end of it"), (there("$.pieces.ids[0]"), "Piece")),
        "Piece": task("ec2", "deleteSnapshot", piece, "One piece less", fails="One piece less"),
        "One piece less": looked("Pieces"),
    }
