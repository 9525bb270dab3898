"""The guard: what keeps a training's work when its machine dies. Runs on the host as root, with Python 3.6+ alone.
It travels as the folder /opt/provision/guard, file by file without comments (`infra.host.script`).

Every turn it pushes what is new of each run to the run's prefix in S3: log and complete snapshots. On the spot notice
(or power-off) it tells the container to save and end as the recipe says, pushes the rest and marks the run
interrupted. Its credentials are the instance's role, which may touch its runs' prefixes alone.

A run's folder here is /var/lib/provision/runs/ID; its run.json tells all that the guard must know:
    id, bucket, prefix, region, endpoint, attempt, container, snapshots {pattern, parts, keep}, stop {signal,
    timeout, said}, outputs [globs], push_seconds, instance, resumed_from (iteration, 0: from nothing), power_off_after
In S3, below the prefix: log/ATTEMPT-OFFSET (pieces of the log), snapshots/ITERATION/FILE, and last
snapshots/ITERATION/complete.json, without which a snapshot does not exist; outputs/FILE; state.json.

A half-written snapshot must never count: a set is pushed if it was closed while its container ran, or if that
ended well. One thread pushes; another sees the notice and tells the trainings, so that no upload hides it.

Of complete snapshots the newest `keep` stay. complete.json goes first: one that is half deleted is no snapshot. A newer
one is in S3 before an older one goes, so that there is always one to resume from.
"""
