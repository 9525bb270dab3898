#!/bin/sh
# The end of this machine, armed before anything else: at that time systemd powers it off, and EC2 terminates it
# (InstanceInitiatedShutdownBehavior=terminate). Needs no network, no credentials and no laptop.
# usage: deadline.sh "2026-11-20 18:40:00 UTC"
set -eu
units=/etc/systemd/system
timer=$units/provision-deadline.timer
# The first line tells for which launch it was written: `provision extend` stays in force when this runs again,
# and a machine image that was made of an extended machine brings no old end along.
if ! grep -qsx "# launched to end at $1" $timer; then
    printf '# launched to end at %s\n[Timer]\nOnCalendar=%s\nAccuracySec=1s\nPersistent=true\n[Install]\n%s\n' \
        "$1" "$1" WantedBy=timers.target > $timer.new
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=%s\n' \
        "/bin/sh -c 'systemctl poweroff --no-block; sleep 180; systemctl poweroff -ff'" \
        > $units/provision-deadline.service
    mv $timer.new $timer
    rm -f /var/lib/systemd/timers/stamp-provision-deadline.timer
fi
systemctl daemon-reload
systemctl enable -q provision-deadline.timer
systemctl start --no-block provision-deadline.timer
# a time that has passed before it was ever armed would never come
at=$(sed -n 's/^OnCalendar=//p' $timer)
[ "$(date -ud "$at" +%s)" -gt "$(date +%s)" ] || systemctl start --no-block provision-deadline.service
