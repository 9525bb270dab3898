"""What can be taken out, for the command line: `mutations` itself needs the product."""

MUTATIONS = (
    "templates stay",
    "groups stay",
    "schedules stay",
    "roles stay",
    "volumes stay",
    "no undo",
    "no terminate",
    "no deadline",
    "no lock",
    "no budget",
    "old snapshot",
    "gives up",
    "deaf guard",
    "ends at once",
    "no snapshots",
    "no signal",
)
