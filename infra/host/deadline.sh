#!/bin/sh
# The end of this machine, armed before anything else: at that time systemd powers it off, and EC2 terminates it
# (InstanceInitiatedShutdownBehavior=terminate). Needs no network, no credentials and no laptop.
# usage: deadline.sh "2026-11-20 18:40:00 UTC"
set -eu
units=/etc/systemd/system
if [ ! -e $units/provision-deadline.timer ]; then
    printf '[Timer]\nOnCalendar=%s\nAccuracySec=1s\nPersistent=true\n[Install]\nWantedBy=timers.target\n' "$1" \
        > $units/provision-deadline.timer
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=%s\n' \
        "/bin/sh -c 'systemctl poweroff --no-block; sleep 180; systemctl poweroff -ff'" \
        > $units/provision-deadline.service
fi
systemctl daemon-reload
systemctl enable -q provision-deadline.timer
systemctl start --no-block provision-deadline.timer
