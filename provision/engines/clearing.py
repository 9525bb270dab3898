"""The keeper's ends: what the run came to, then nothing is left of its launch, somebody is told, and it is over.

Each error here is passed over: what stays is free, and `provision audit` shows it. Only a machine that cannot be ended
is not passed over: then its schedule stays, and the rest with it, and the end says so.
"""

from provision.engines.asl import Rule, State, all_, choose, is_, not_, put, rule, task, there, wait
from provision.engines.launching import ID, fresh, looked

SWEEPS, RIGHTS = 60, 40  # looks at machines that are left, and at the role's policies: it has a few
_SWEEP_S = 15
_LIVING = ["pending", "running", "shutting-down", "stopping", "stopped"]
_BUSY_S, _BUSY = 10, 30  # a group is in use as long as a machine's interface is there
_TEMPLATE = "$.in.markets[{}].fleet.LaunchTemplateConfigs[0].LaunchTemplateSpecification.LaunchTemplateName"


def _form(text: str, *paths: str) -> str:
    """An expression that fills the paths' values in."""
    return f"States.Format('{text}', {', '.join(paths)})"


_REASON = _form("{}: {}", "$.error.Error", "$.error.Cause")
# state → the word for people, the execution's error ("": it succeeds), and its cause: a text, or an expression
_RESULTS: dict[str, tuple[str, str, str]] = {
    "Done": ("$.said.state", "", ""),
    "TrainingFailed": ("failed", "TrainingFailed", "the training failed by itself; it is not tried again"),
    "EndedWithMachine": ("ended", "EndedWithMachine", _form(
        "the machine of attempt {} was ended by a person, by its deadline or by itself ({})",
        "$.turn.nnn", "$.said.reason")),
    "Unready": ("failed", "Unready", _form("two machines could not begin, for the same reason: {}", "$.said.why")),
    "Barren": ("failed", "Barren", _form("{} machines in a row brought no newer snapshot", "$.luck.dry")),
    "TooManyMachines": ("failed", "TooManyMachines", _form(
        "attempt {} was the last that this start of the run may make", "$.turn.nnn")),
    "TimeOver": ("ended", "TimeOver", _form("the run may have no machine after {}", "$.in.until")),
    "NoCapacity": ("failed", "NoCapacity", _form(
        "AWS had no machine in all of the time; at last it said {} {}", "$.fleet.codes", "$.fleet.said")),
    "Refused": ("failed", "Refused", _form("AWS refuses such a machine: {} {}", "$.fleet.codes", "$.fleet.said")),
    "Refused by an error": ("failed", "Refused", _REASON),
    "Taken": ("failed", "Taken", _form("somebody else has begun attempt {} of the run", "$.turn.nnn")),
    "Unclaimed": ("failed", "Unclaimed", _REASON),
}  # fmt: skip


def states() -> dict[str, State]:
    """The states by name: the results, Stuck, and what follows them."""
    return {**_results(), **_stuck(), **_sweep(), **_things(), **_role(), **_tell()}


def _results() -> dict[str, State]:
    return {
        name: put("$.outcome", {**_value("word", word), "error": error, **_value("cause", cause)}, "Clear")
        for name, (word, error, cause) in _RESULTS.items()
    }


def _value(key: str, text: str) -> dict[str, str]:
    return {f"{key}.$": text} if text.startswith(("$.", "States.")) else {key: text}


def _stuck() -> dict[str, State]:
    text = "{} of {} could not be ended; its two deadlines are left ({})"
    stuck = {"word": "failed", "error": "StillThere"}
    one = _form(text, ID, "$.in.launch", "$.said.state")
    some = _form(text, "'a machine'", "$.in.launch", "$.outcome.word")
    return {
        "Stuck": put("$.outcome", {**stuck, "cause.$": one}, "Tell?"),
        "Not swept": put("$.outcome", {**stuck, "cause.$": some}, "Tell?"),
    }


def _sweep() -> dict[str, State]:
    """No machine of the launch lives: neither the last, nor one whose launch's answer was lost."""
    filters = [{"Name": "tag:provision:resource", "Values.$": "States.Array($.in.launch)"},
               {"Name": "instance-state-name", "Values": _LIVING}]  # fmt: skip
    ids = {"ids.$": "$..Instances[*].InstanceId"}
    over = rule("$.at.looks", "NumericGreaterThanEquals", SWEEPS)
    return {
        "Clear": fresh("Left"),
        "Left": task(
            "ec2", "describeInstances", {"Filters": filters}, "Left?", keep=("$.left", ids), fails="Sweep on?"
        ),
        "Left?": choose("Unschedule", (there("$.left.ids[0]"), "Sweep")),
        "Sweep": task("ec2", "terminateInstances", {"InstanceIds.$": "$.left.ids"}, "Sweep on?", fails="Sweep on?"),
        "Sweep on?": choose("Sweeping", (over, "Not swept")),
        "Sweeping": looked("Swept"),
        "Swept": wait(_SWEEP_S, "Left"),
    }


def _things() -> dict[str, State]:
    def one(service: str, action: str, words: dict[str, str], then: str, again: int = 2, pause: int = 2) -> State:
        absent = {"Scheduler.ResourceNotFoundException": then} if service == "scheduler" else {}
        return task(service, action, words, then, fails=then, again=again, pause=pause, catch=absent)

    schedule = {"Name.$": "$.in.schedule.name", "GroupName.$": "$.in.schedule.group"}
    template = "deleteLaunchTemplate"
    return {
        "Unschedule": one("scheduler", "deleteSchedule", schedule, "Template"),
        "Template": one("ec2", template, {"LaunchTemplateName.$": _TEMPLATE.format(0)}, "Another template?"),
        "Another template?": choose("Group", (there(_TEMPLATE.format(1)), "Another template")),
        "Another template": one("ec2", template, {"LaunchTemplateName.$": _TEMPLATE.format(1)}, "Group"),
        "Group": one("ec2", "deleteSecurityGroup", {"GroupName.$": "$.in.launch"}, "To the rights", _BUSY, _BUSY_S),
    }


def _role() -> dict[str, State]:
    """The role that machines of the launch have, and its profile: both have the launch's name."""

    def one(action: str, words: dict[str, str], then: str) -> State:
        absent = {"Iam.NoSuchEntityException": then}
        return task("iam", action, words, then, fails=then, again=4, pause=3, catch=absent)

    role, profile = {"RoleName.$": "$.in.launch"}, {"InstanceProfileName.$": "$.in.launch"}
    right = {**role, "PolicyName.$": "$.rights.names[0]"}
    over = rule("$.at.looks", "NumericGreaterThanEquals", RIGHTS)
    return {
        "To the rights": fresh("Rights"),
        "Rights": task("iam", "listRolePolicies", role, "Rights?", keep=("$.rights", {"names.$": "$..PolicyNames[*]"}),
                       fails="Out of profile"),
        "Rights?": choose("Out of profile", (over, "Out of profile"), (there("$.rights.names[0]"), "Right")),
        "Right": task("iam", "deleteRolePolicy", right, "One right less", fails="Out of profile",
                      catch={"Iam.NoSuchEntityException": "One right less"}),  # it went, and the answer was lost
        "One right less": looked("Rights"),
        "Out of profile": one("removeRoleFromInstanceProfile", {**role, **profile}, "Profile"),
        "Profile": one("deleteInstanceProfile", profile, "Role"),
        "Role": one("deleteRole", role, "Tell?"),
    }  # fmt: skip


def _tell() -> dict[str, State]:
    """Somebody is told, with what to type next; then the execution ends as the run did."""

    def telling(form: str, *paths: str) -> State:
        words = {
            "TopicArn.$": "$.in.notify", "Subject.$": _form("provision: {}", "$.outcome.word"),
            "Message.$": _form(form, "$.in.run", "$.outcome.word", *paths),
        }  # fmt: skip
        return task("sns", "publish", words, "Well?", fails="Well?")

    good: Rule = is_("$.outcome.error", "")
    wanted = not_(is_("$.in.notify", ""))
    return {
        "Tell?": choose("Well?", (all_(wanted, good), "Tell"), (wanted, "Tell why")),
        "Tell": telling("{}: {}. {}", "$.in.typed.well"),
        "Tell why": telling("{}: {}. {}. {}", "$.outcome.cause", "$.in.typed.ill"),
        "Well?": choose("Failed", (good, "Output")),
        "Output": put("$", {"word.$": "$.outcome.word"}, "Well"),
        "Well": {"Type": "Succeed"},
        "Failed": {"Type": "Fail", "ErrorPath": "$.outcome.error", "CausePath": "$.outcome.cause"},
    }
