#!/bin/sh
# The end of this machine, armed before anything else: at that time systemd powers it off, and EC2 terminates it
# (InstanceInitiatedShutdownBehavior=terminate). Needs no network, no credentials and no laptop. It runs once, before
# Docker: to read all units anew (daemon-reload) under a running container takes its GPUs, so `provision extend` never
# does. A machine that has not become ready in 45 minutes ends as well, unless somebody types there.
# usage: deadline.sh "2026-11-20 18:40:00 UTC"
set -eu
units=/etc/systemd/system
timer=provision-deadline.timer
off="systemctl start --no-block provision-deadline.service"
put() { # NAME LINE...
    name=$1
    shift
    printf '%s\n' "$@" > "$units/$name.new"
    mv "$units/$name.new" "$units/$name"
}
# The first line tells for which launch it was written: `provision extend` stays in force when this runs again,
# and a machine image that was made of an extended machine brings no old end along.
if ! grep -qsx "# launched to end at $1" $units/$timer; then
    put provision-deadline.service '[Unit]' DefaultDependencies=no '[Service]' Type=oneshot \
        "ExecStart=/bin/sh -c 'systemctl poweroff --no-block; sleep 180; systemctl poweroff -ff'"
    put $timer "# launched to end at $1" '[Timer]' "OnCalendar=$1" AccuracySec=1s Persistent=true
    rm -f /var/lib/systemd/timers/stamp-$timer /var/lib/provision/ready
    unready='ConditionPathExists=!/var/lib/provision/ready'
    put provision-unready.service '[Unit]' $unready '[Service]' Type=oneshot \
        "ExecStart=/bin/sh -c 'find /dev/pts -amin -10 -name \"[0-9]*\" | grep -q . || $off'" || true
    put provision-unready.timer '[Unit]' $unready '[Timer]' OnStartupSec=45min OnUnitActiveSec=1min AccuracySec=1s || true
fi
# as `systemctl enable` would, which reads all units anew as well
mkdir -p $units/timers.target.wants
ln -sf $units/provision-deadline.timer $units/provision-unready.timer $units/timers.target.wants/
systemctl daemon-reload
systemctl start --no-block $timer
# a time that has passed before it was ever armed would never come
at=$(sed -n 's/^OnCalendar=//p' $units/$timer)
[ "$(date -ud "$at" +%s)" -gt "$(date +%s)" ] || $off
systemctl start --no-block provision-unready.timer
