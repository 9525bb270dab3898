#!/bin/sh
# Move the end of this machine; says the time that holds now. At every moment one end is armed: the old one until
# systemd has read the new file, and the new one from then on; also when this is killed, or the machine reboots.
# usage: extend.sh "2026-11-21 18:40:00 UTC"    Exit: 0 done, 2 not a time to come (nothing changed), 3 not armed
set -eu
export LC_ALL=C TZ=UTC
timer=/etc/systemd/system/provision-deadline.timer
armed() { date -ud "$(systemctl show -p NextElapseUSecRealtime --value provision-deadline.timer)" +%s; }

# `date` takes an empty word for midnight
s=$([ -n "${1:-}" ] && date -ud "$1" +%s 2>/dev/null) || { echo "not a time: ${1:-}" >&2; exit 2; }
at=$(date -ud "@$s" '+%Y-%m-%d %H:%M:%S UTC')
[ "$s" -gt "$(date +%s)" ] || { echo "$at has passed" >&2; exit 2; }

sed "s/^OnCalendar=.*/OnCalendar=$at/" $timer > $timer.new
mv $timer.new $timer
systemctl daemon-reload
systemctl start provision-deadline.timer
[ "$(armed)" = "$s" ] || { echo "the end of this machine could not be moved to $at" >&2; exit 3; }
echo "ends at $at"
