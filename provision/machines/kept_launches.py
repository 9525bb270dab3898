"""Launches that a keeper makes, for runs that need no laptop: in which regions this laptop has begun such a run.

No machine has notes here, as nobody of this laptop saw it begin; `ls`, `down` and `audit` look into its region, too.

    instances/CLOUD/ACCOUNT/REGION/.kept/LAUNCH: the run's end
"""

from datetime import datetime, timedelta, timezone

from infra.aws.session import Cloud
from infra.keys import write_private
from provision.machines import note_folders
from provision.offers import cache

_LEFT = timedelta(days=1)  # what a keeper could not end has gone by then


def note(cloud: Cloud, launch: str, ends: datetime) -> None:
    """Remember that something of that launch may be in the cloud's region until then; what is over is forgotten."""
    place = note_folders.of_cloud(cloud.name) / cache.account(cloud) / cloud.region / note_folders.KEPT
    for mark in place.glob("*"):
        try:
            over = datetime.fromisoformat(mark.read_text()) + _LEFT < datetime.now(timezone.utc)
        except (OSError, ValueError, TypeError):
            over = True
        if over:
            mark.unlink(missing_ok=True)
    write_private(place / launch, ends.isoformat())
