"""The keeper's states from the start to a machine: claim a number, ask for one, know it, note it, arm its end."""

from infra.aws.errors import codes_of
from infra.errors import (
    AuthError,
    CapacityError,
    NotOfferedError,
    PriceError,
    QuotaError,
    ThrottledError,
    UnsupportedError,
)
from provision.engines.asl import (
    NOW,
    Rule,
    State,
    all_,
    any_,
    choose,
    is_,
    like,
    moment,
    more,
    not_,
    put,
    rule,
    task,
    there,
    wait,
)

MOST_ASKS = 400  # each is 13 of the 25,000 events that an execution may have
SHORTEST_S = 1000  # AWS wants a task's time limit to be longer than its heartbeat; the machine has its own ends
KNOWN_LOOKS = 24  # a machine that was launched a moment ago is not known everywhere yet
_LOOK_S = 5
_FRESH_ASKS = 3  # from then on a template that is not found is gone, and no longer too new to be known everywhere
ID = "$.fleet.got[0].InstanceIds[0]"
MACHINE = "$.seen.is[0]"
STATE = f"{MACHINE}.State.Name"
ATTEMPT = "States.Format('{}attempts/{}.json', $.in.prefix, $.turn.nnn)"
# what a machine or a file says, where it does not say it
UNSAID = {"state": "", "reason": "", "why": "", "iteration": 0, "free": False, "left": 0, "attempt": 0, "instance": "",
          "number": 0, "launch": "", "clean": False}  # fmt: skip
SEEN = {"is.$": "$..Instances[*]"}


def states() -> dict[str, State]:
    """The states by name. It begins with Begin, and goes on with Coming; Refused, NoCapacity, TimeOver and Taken are
    ends, and Trouble is a machine that did not come to work."""
    return {**_claim(), **_ask(), **_again(), **_know()}


def _claim() -> dict[str, State]:
    record = {
        "number.$": "$.turn.number", "instance": "", "name.$": "$.in.name", "zone": "", "started.$": moment(NOW),
        "resumed_from.$": "$.luck.newest", "gpus.$": "$.in.gpus", "chosen.$": "$.turn.chosen",
        "made_by.$": "$.in.made_by", "terms": None, "launch.$": "$.in.launch",
    }  # fmt: skip
    ours = all_(
        there("$.claimed.by.launch"),
        rule("$.claimed.by.launch", "StringEqualsPath", "$.in.launch"),
        there("$.claimed.by.number"),
        rule("$.claimed.by.number", "NumericEqualsPath", "$.turn.number"),
    )
    where = {"Bucket.$": "$.in.bucket", "Key.$": ATTEMPT}
    return {
        "Begin": put("$", {
            "in.$": "$",
            "many": {"waits.$": "States.ArrayLength($.waits)", "markets.$": "States.ArrayLength($.markets)",
                     "last.$": more("States.ArrayLength($.numbers)", -1)},
            "turn": {"index": 0, "number.$": "$.number", "nnn.$": "States.ArrayGetItem($.numbers, 0)",
                     "chosen.$": "$.first.chosen"},
            "luck": {"newest.$": "$.first.resumed_from", "dry": 0, "why": ""},
            "ask": {"tries": 0}, "at": {"market": 0, "looks": 0}, "unsaid": UNSAID, "said": UNSAID,
            "before": {"is": []}, "error": {}, "fleet": {"got": [], "codes": "", "said": ""},
        }, "Long?"),
        "Long?": choose("As given", (rule("$.in.seconds", "NumericLessThan", SHORTEST_S), "Longer")),
        "As given": put("$.limit", {"seconds.$": "$.in.seconds"}, "Attempt"),
        "Longer": put("$.limit", {"seconds": SHORTEST_S}, "Attempt"),
        "Attempt": put("$.attempt", record, "Claim"),
        "Claim": task("s3", "putObject", {**where, "Body.$": "$.attempt", "IfNoneMatch": "*",
                                          "ContentType": "application/json"}, "First", fails="Whose"),
        "Whose": task("s3", "getObject", where, "Ours?", keep=("$.claimed", {"by.$": "States.StringToJson($.Body)"}),
                      fails="Unclaimed"),
        "Ours?": choose("Taken", (ours, "First")),
    }  # fmt: skip


def _ask() -> dict[str, State]:
    over = rule(NOW, "TimestampGreaterThanEqualsPath", "$.in.until")
    done = rule("$.ask.tries", "NumericGreaterThanEquals", MOST_ASKS)
    spot = rule("$.ask.market.market", "StringEquals", "spot")
    return {
        "First": put("$.at", {"market": 0, "looks": 0}, "Market"),
        "Market": put("$.ask", {"tries.$": more("$.ask.tries"), "wait": 0, "seconds": 0,
                                "market.$": "States.ArrayGetItem($.in.markets, $.at.market)"}, "May ask?"),
        "May ask?": choose("Ask on demand", (over, "TimeOver"), (done, "NoCapacity"), (spot, "Ask spot")),
        "Ask spot": _fleet("SpotOptions"),
        "Ask on demand": _fleet("OnDemandOptions"),
        "Got?": choose("New token", (there(ID), "Know"), (_fatal(), "Refused"), (_used(), "Next market")),
        "Lost?": choose("Same token", (_refused(), "Refused by an error"), (_used(), "Next market")),
    }  # fmt: skip


def _fleet(options: str) -> State:
    """CreateFleet. A refused fleet has launched nothing and its answer is repeated for its token, so the next one has
    another token; where the answer was lost, the token stays."""
    kept = ("Type", "TargetCapacitySpecification", "LaunchTemplateConfigs", "TagSpecifications", options)
    words = {f"{key}.$": f"$.ask.market.fleet.{key}" for key in kept}
    token = {"ClientToken.$": "States.Format('{}-{}-{}', $.in.token, $.turn.nnn, $.ask.tries)"}
    answer = {
        "got.$": "$..Instances[*]",
        "codes.$": "States.JsonToString($..Errors[*].ErrorCode)",
        "said.$": "States.JsonToString($..Errors[*].ErrorMessage)",
    }
    return task("ec2", "createFleet", {**words, **token}, "Got?", keep=("$.fleet", answer), fails="Lost?", again=4,
                pause=5)  # fmt: skip


def _fatal() -> Rule:
    """Refusals that waiting does not change. AWS's codes stand in `$.fleet.codes` as a list in JSON."""
    hopeless = _codes(*codes_of(AuthError, UnsupportedError))
    passing = _codes(*codes_of(CapacityError, PriceError, QuotaError, ThrottledError))
    nowhere = all_(_codes(*codes_of(NotOfferedError)), not_(passing))
    gone = all_(rule("$.ask.wait", "NumericGreaterThanEquals", _FRESH_ASKS),
                rule("$.fleet.codes", "StringMatches", "*.NotFound*"))  # fmt: skip
    return any_(hopeless, nowhere, gone)


def _codes(*codes: str) -> Rule:
    return any_(*(rule("$.fleet.codes", "StringMatches", f'*"{code}"*') for code in codes))


def _refused() -> Rule:
    """An error of EC2's own that waiting does not change: its cause has the status, and no code. A full quota and a
    lack of capacity may come this way, too."""
    status = like("$.error.Cause", *(f"*Status Code: {status}*" for status in (400, 401, 403)))
    return all_(status, not_(like("$.error.Cause", "*xceeded*", "*limit*", "*nsufficient*", "*apacity*")))


def _used() -> Rule:
    return rule("$.ask.wait", "NumericGreaterThanEqualsPath", "$.many.waits")


def _again() -> dict[str, State]:
    later = {
        "wait.$": more("$.ask.wait"), "market.$": "$.ask.market",
        "seconds.$": "States.ArrayGetItem($.in.waits, $.ask.wait)",
    }  # fmt: skip
    some = rule("$.at.market", "NumericLessThanPath", "$.many.markets")
    return {
        "New token": put("$.ask", {"tries.$": more("$.ask.tries"), **later}, "Wait"),
        "Same token": put("$.ask", {"tries.$": "$.ask.tries", **later}, "Wait"),
        "Wait": wait("$.ask.seconds", "May ask?"),
        "Next market": put("$.at", {"market.$": more("$.at.market"), "looks": 0}, "Any market?"),
        "Any market?": choose("NoCapacity", (some, "Market")),
    }


def look(then: str, where: str, fails: str) -> State:
    """How the machine stands; one that is not known is no error, and is not there."""
    words = {"Filters": [{"Name": "instance-id", "Values.$": f"States.Array({ID})"}]}
    return task("ec2", "describeInstances", words, then, keep=(where, SEEN), fails=fails)


def fresh(then: str) -> State:
    """Count looks from 0."""
    return put("$.at", {"market.$": "$.at.market", "looks": 0}, then)


def looked(then: str) -> State:
    """Count one look at the machine."""
    return put("$.at", {"market.$": "$.at.market", "looks.$": more("$.at.looks")}, then)


def _know() -> dict[str, State]:
    terms = {"launched.$": moment(f"{MACHINE}.LaunchTime"), "budget.$": "$.in.budget", "hourly.$": "$.in.hourly"}
    kept = ("number", "name", "started", "resumed_from", "gpus", "chosen", "made_by", "launch")
    record = {
        **{f"{key}.$": f"$.attempt.{key}" for key in kept},
        "instance.$": ID, "zone.$": f"{MACHINE}.Placement.AvailabilityZone", "terms": terms,
    }  # fmt: skip
    schedule = {
        "Name.$": "$.in.schedule.name", "GroupName.$": "$.in.schedule.group",
        "ScheduleExpression.$": "$.in.schedule.expression", "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"}, "ActionAfterCompletion": "DELETE",
        "Target": {"Arn.$": "$.in.schedule.target", "RoleArn.$": "$.in.schedule.role",
                   "Input.$": "States.JsonToString($.machine)"},
    }  # fmt: skip
    note = {"Bucket.$": "$.in.bucket", "Key.$": ATTEMPT, "Body.$": "$.attempt", "ContentType": "application/json"}
    return {
        "Know": look("Known?", "$.seen", "Trouble"),
        "Known?": choose(
            "Unknown",
            (all_(there(STATE), is_(STATE, "pending", "running")), "Machine"),
            (all_(there(STATE), is_(STATE, "shutting-down", "terminated")), "Ended at once"),
            (there(STATE), "Strange"),
            (rule("$.at.looks", "NumericGreaterThanEquals", KNOWN_LOOKS), "Strange"),
        ),
        "Unknown": looked("Soon"),
        "Soon": wait(_LOOK_S, "Know"),
        "Ended at once": choose("New token", (_used(), "Next market")),
        "Strange": put("$.error", {"Error": "Know: no machine that starts", "Cause": ""}, "Trouble"),
        "Machine": put("$.machine", {"InstanceIds.$": f"States.Array({ID})"}, "Place"),
        "Place": put("$.attempt", record, "Note"),
        "Note": task("s3", "putObject", note, "Arm", fails="Trouble"),
        "Arm": task("scheduler", "createSchedule", schedule, "Coming", fails="Trouble",
                    catch={"Scheduler.ConflictException": "Move"}),
        "Move": task("scheduler", "updateSchedule", schedule, "Coming", fails="Trouble"),
        "Trouble": put("$.said", {**UNSAID, "state": "unready", "why.$": "$.error.Error", "reason.$": "$.error.Error"},
                       "Unseen"),
    }  # fmt: skip
