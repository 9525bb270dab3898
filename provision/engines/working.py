"""The keeper's states from an order to what comes next: work, the free end, end, fence, the last word, again or not."""

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
    retry,
    rule,
    task,
    there,
    wait,
)
from provision.engines.launching import ID, STATE, UNSAID, fresh, look, looked

BEAT_S = 900  # a machine that is silent for so long after its order is ended; less than SHORTEST_S
FREE_LOOKS = 15  # of 4 s
END_LOOKS = 40  # twelve of 5 s, then of 30 s: a quarter of an hour
WORD_BYTES = 150_000  # of state.json; an answer of 256 KiB would end the execution
_FREE_S, _END_S, _LATER_S, _SOON = 4, 5, 30, 12
_LONG_S, _HALF_S = 100, 50  # of the two minutes of a notice
SPOT = "spot interruption"
FINAL = ("finished", "failed", "stopped", "interrupted")
_AGAIN = "attempt {} of {} was {}, and another machine is asked for: nothing is to be done. {}"
_MUTE = "the machine ended itself without a word: what it begins with (host/ in the bucket) may be missing or damaged"
_GONE = ("shutting-down", "terminated")
_PARTED = "$.before.is[0].StateReason.Code"


def states() -> dict[str, State]:
    """The states by name, from Work on. Done, TrainingFailed, EndedWithMachine, Unready, Barren, TooManyMachines,
    TimeOver and Stuck are ends; Attempt is the next turn."""
    return {**_work(), **_free(), **_end(), **_word(), **_next(), **_more()}


def _work() -> dict[str, State]:
    """The order with the task's token; the state ends with the machine's word, or with its silence."""
    order = task("s3", "putObject.waitForTaskToken", {
        "Bucket.$": "$.in.bucket", "Key.$": f"States.Format('{{}}control/{{}}', $.in.prefix, {ID})",
        "Body": {"number.$": "$.turn.nnn", "token.$": "$$.Task.Token"}, "ContentType": "application/json",
    }, "Said?", fails="Silent")  # fmt: skip
    order |= {"ResultPath": "$.said", "HeartbeatSeconds": BEAT_S, "TimeoutSecondsPath": "$.limit.seconds"}
    order["Retry"] = [retry(["S3.S3Exception", "S3.SdkClientException"], 2, 2)]  # a new token; never after silence
    del order["TimeoutSeconds"]
    known = all_(there("$.said.state"), is_("$.said.state", *FINAL, "unready"))
    lost = {**UNSAID, "state": "lost"}
    return {
        "Work": order,
        "Said?": choose("Unheard", (known, "Heard")),
        "Heard": put("$.said", {"is.$": "States.JsonMerge($.unsaid, $.said, false)"}, "Taken in"),
        "Taken in": put("$.said", {f"{key}.$": f"$.said.is.{key}" for key in UNSAID}, "Bake?"),
        "Unheard": put("$.said", {**lost, "reason": "it said what is no word"}, "Before"),
        "Silent": put("$.said", {**lost, "reason.$": "$.error.Error"}, "Before"),
    }


def _spot() -> Rule:
    return all_(is_("$.said.state", "interrupted"), like("$.said.reason", SPOT))


def _free() -> dict[str, State]:
    """Of a machine that is younger than an hour AWS takes nothing, if AWS ends it: so it is let to.

    The machine says how many seconds its notice leaves: most of them pass in one wait, the rest in short looks, so that
    few events are spent and the next machine is asked for at once.
    """
    free = all_(_spot(), rule("$.said.free", "BooleanEquals", True))
    over = rule("$.at.looks", "NumericGreaterThanEquals", FREE_LOOKS)
    return {
        "Free?": choose("Before", (free, "A free hour")),
        "A free hour": fresh("How long?"),
        "How long?": choose("Let AWS end it", (_leaves(_LONG_S), "Nearly two minutes"), (_leaves(_HALF_S), "A minute")),
        "Nearly two minutes": wait(_LONG_S, "Is it ended?"),
        "A minute": wait(_HALF_S, "Is it ended?"),
        "Let AWS end it": wait(_FREE_S, "Is it ended?"),
        "Is it ended?": look("Ended by AWS?", "$.seen", "Before"),
        "Ended by AWS?": choose("Not yet", (all_(there(STATE), is_(STATE, *_GONE)), "Before"), (over, "Before")),
        "Not yet": looked("Let AWS end it"),
        "Before": look("To the end", "$.before", "Unseen"),
        "Unseen": put("$.before", {"is": []}, "To the end"),
    }


def _leaves(seconds: int) -> Rule:
    """Whether the machine's notice left it so many seconds when it said its word."""
    return all_(rule("$.said.left", "IsNumeric", True), rule("$.said.left", "NumericGreaterThanEquals", seconds))


def _end() -> dict[str, State]:
    """End the machine, and look until it is gone: there is one at most that has an order."""
    ended = task("ec2", "terminateInstances", {"InstanceIds.$": f"States.Array({ID})"}, "Gone", fails="Gone")
    alive = all_(there(STATE), not_(is_(STATE, "terminated")))
    stuck = rule("$.at.looks", "NumericGreaterThanEquals", END_LOOKS)
    late = rule("$.at.looks", "NumericGreaterThanEquals", _SOON)
    return {
        "To the end": fresh("End"),
        "End": ended,
        "Gone": look("Gone?", "$.seen", "Gone unknown"),
        "Gone unknown": put("$.seen", {"is": [{"State": {"Name": "unknown"}}]}, "Gone?"),
        "Gone?": choose("Final?", (all_(alive, stuck), "Stuck"), (alive, "Going")),
        "Going": looked("How?"),
        "How?": choose("Until gone", (not_(is_(STATE, "shutting-down")), "End again"), (late, "Until gone, later")),
        "Until gone": wait(_END_S, "Gone"),
        "Until gone, later": wait(_LATER_S, "Gone"),
        "End again": wait(_LATER_S, "End"),
    }


def _word() -> dict[str, State]:
    """The last word of a machine that was silent: the guard's in state.json, if it is of this machine and attempt. What
    says no end says at least which snapshot the machine brought."""
    file = {"Bucket.$": "$.in.bucket", "Key.$": "States.Format('{}state.json', $.in.prefix)",
            "Range": f"bytes=0-{WORD_BYTES - 1}"}  # fmt: skip
    last = all_(_its_own(), rule("$.word.is.state", "IsString", True), is_("$.word.is.state", *FINAL))
    saved = {"iteration.$": "$.word.is.iteration"}  # the newest snapshot that it brought, as of its last minute
    end = {"number.$": "$.turn.number", "instance.$": ID, "word.$": "$.said.state",
           "reason.$": "$.said.reason", "time.$": moment(NOW)}  # fmt: skip
    ended = {"Bucket.$": "$.in.bucket", "Key.$": "States.Format('{}ends/{}.json', $.in.prefix, $.turn.nnn)",
             "Body": end, "ContentType": "application/json"}  # fmt: skip
    return {
        "Final?": choose("Word", (is_("$.said.state", *FINAL), "Ended"), (is_("$.said.state", "unready"), "Why")),
        "Why": put("$.said", {**{f"{key}.$": f"$.said.{key}" for key in UNSAID}, "reason.$": "$.said.why"}, "Ended"),
        "Word": task("s3", "getObject", file, "Readable?", keep=("$.word", {"is.$": "States.StringToJson($.Body)"}),
                     catch={"S3.NoSuchKeyException": "Ended"}, fails="Ended"),
        "Readable?": choose("Ended", (there("$.word.is.state"), "Parse")),
        "Parse": put("$.word", {"is.$": "States.JsonMerge($.unsaid, $.word.is, false)"}, "Its?"),
        "Its?": choose("Ended", (last, "Adopt"), (_its_own(), "Credit")),
        "Adopt": put("$.said", {**UNSAID, "state.$": "$.word.is.state", "reason.$": "$.word.is.reason", **saved},
                     "Ended"),
        "Credit": put("$.said", {**UNSAID, "state.$": "$.said.state", "reason.$": "$.said.reason", **saved}, "Ended"),
        "Ended": task("s3", "putObject", ended, "Next?", fails="Next?"),
    }  # fmt: skip


def _its_own() -> Rule:
    """Whether state.json, as it was read last, is of this machine and attempt."""
    return all_(
        there("$.word.is.instance"),
        rule("$.word.is.attempt", "IsNumeric", True),
        rule("$.word.is.attempt", "NumericEqualsPath", "$.turn.number"),
        rule("$.word.is.instance", "IsString", True),
        rule("$.word.is.instance", "StringEqualsPath", ID),
    )


def _next() -> dict[str, State]:
    """What an attempt's end means. AWS's reasons for an end: Client.… is a person, a deadline or the machine itself."""
    theirs = like(_PARTED, "Server.*")
    ours = like(_PARTED, "Client.*")
    off = all_(is_("$.said.state", "interrupted"), not_(theirs))
    itself = like(_PARTED, "Client.InstanceInitiatedShutdown")
    never = all_(is_("$.said.state", "lost"), itself, not_(_its_own()))
    mute = {**UNSAID, "state": "unready", "why": _MUTE}
    same = rule("$.said.why", "StringEqualsPath", "$.luck.why")
    newer = all_(rule("$.said.iteration", "IsNumeric", True),
                 rule("$.said.iteration", "NumericGreaterThanPath", "$.luck.newest"))  # fmt: skip
    return {
        "Next?": choose(
            "Newer?",
            (is_("$.said.state", "finished", "stopped"), "Done"),
            (is_("$.said.state", "failed"), "TrainingFailed"),
            (is_("$.said.state", "unready"), "Same?"),
            (_spot(), "Newer?"),
            (never, "Mute"),
            (any_(ours, off), "EndedWithMachine"),
        ),
        "Mute": put("$.said", mute, "Same?"),
        "Same?": choose("Remember", (all_(not_(is_("$.luck.why", "")), same), "Unready")),
        "Remember": put("$.luck", {"newest.$": "$.luck.newest", "dry.$": more("$.luck.dry"), "why.$": "$.said.why"},
                        "More?"),
        "Newer?": choose("Dry", (newer, "Progress")),
        "Progress": put("$.luck", {"newest.$": "$.said.iteration", "dry": 0, "why": ""}, "More?"),
        "Dry": put("$.luck", {"newest.$": "$.luck.newest", "dry.$": more("$.luck.dry"), "why.$": "$.luck.why"},
                   "More?"),
    }  # fmt: skip


def _more() -> dict[str, State]:
    turn = {
        "index.$": more("$.turn.index"), "number.$": more("$.turn.number"), "chosen": False,
        "nnn.$": f"States.ArrayGetItem($.in.numbers, {more('$.turn.index')})",
    }  # fmt: skip
    telling = {
        "TopicArn.$": "$.in.notify", "Subject.$": "States.Format('provision: {}', $.said.state)",
        "Message.$": f"States.Format('{_AGAIN}', $.turn.nnn, $.in.run, $.said.state, $.in.typed.again)",
    }  # fmt: skip
    return {
        "More?": choose(
            "Again",
            (rule("$.luck.dry", "NumericGreaterThanEqualsPath", "$.in.barren"), "Barren"),
            (rule("$.turn.index", "NumericGreaterThanEqualsPath", "$.many.last"), "TooManyMachines"),
            (rule(NOW, "TimestampGreaterThanEqualsPath", "$.in.until"), "TimeOver"),
            (not_(is_("$.in.notify", "")), "Tell of it"),
        ),
        "Tell of it": task("sns", "publish", telling, "Again", fails="Again"),
        "Again": put("$.turn", turn, "Attempt"),
    }  # fmt: skip
