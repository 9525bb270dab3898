"""The guard: what keeps a training's work when its machine dies. Runs on the host as root, with Python 3.6+ alone.
A laptop brings it over SSH to /opt/provision/guard, file by file without comments (`provision.files.guard`).

Every turn it pushes what is new of each run to the run's prefix in S3: log and complete snapshots. On the spot notice
(or power-off) it tells the containers to save and end as their recipes say, pushes the rest and marks the runs
interrupted. Its credentials are the instance's role, which may touch its runs' prefixes alone.

What it knows is in a folder of root's, /var/lib/provision/guard/RUN (notes.py): the plan, its memory of each attempt,
and whether somebody asked for a stop. The plan tells all of a run:
    id, bucket, prefix, region, endpoint, owner, attempt, container, snapshots {pattern, parts, keep}, stop {signal,
    timeout, said}, outputs [globs], push_seconds, instance, machine, resumed_from (iteration, 0: from nothing)
and `there`, the files that were there before this attempt began. A run's own folder, /var/lib/provision/runs/RUN, is
its container's to write: it has data, of which nothing is believed (files.py).

A machine that starts itself brings it in its bundle, and makes the attempt by `begin` (begin.py, steps.py), with no
laptop: order.py is its word with the keeper of the run. Where that makes a machine image of it at its end, bake.py has
it cleaned first.

In S3, below the prefix: log/ATTEMPT-OFFSET (pieces of the log), snapshots/ITERATION-ATTEMPT/FILE, and last
snapshots/ITERATION-ATTEMPT/complete.json, without which a snapshot does not exist; outputs/FILE; state.json, which is
written anew each minute (`seen`). All of it carries the tag by which the bucket's rule deletes old objects; while a run
goes on, and when it ends, the guard copies what is a day old onto itself.

A half-written snapshot must never count: a set is pushed if it was closed while its container ran, or if that
ended well. Each run has a thread that pushes; another sees the notice and tells the trainings: no upload hides it, and
nothing that one run has or does holds up another.

Of complete snapshots the newest `keep` stay. complete.json goes first: one that is half deleted is no snapshot. A newer
one is in S3 before an older one goes, so that there is always one to resume from.
"""
