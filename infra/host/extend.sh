#!/bin/sh
# Move the end of this machine; says the time that holds now. At every moment one end is armed: the new one, under a
# name of its own, before the old one is stopped; also when this is killed. The file is for the next boot.
# No unit file is read anew (daemon-reload): that takes the GPUs from containers that run, where systemd makes their
# cgroups. usage: extend.sh "2026-11-21 18:40:00 UTC"    Exit: 0 done, 2 not a time to come (nothing changed), 3 not armed
set -eu
export LC_ALL=C TZ=UTC
end=provision-deadline
file=/etc/systemd/system/$end.timer
armed() { date -ud "$(systemctl show -p NextElapseUSecRealtime --value "$new")" +%s; }

# `date` takes an empty word for midnight
s=$([ -n "${1:-}" ] && date -ud "$1" +%s 2>/dev/null) || { echo "not a time: ${1:-}" >&2; exit 2; }
at=$(date -ud "@$s" '+%Y-%m-%d %H:%M:%S UTC')
[ "$s" -gt "$(date +%s)" ] || { echo "$at has passed" >&2; exit 2; }

exec 9< /etc/systemd/system # two at once would stop each other's
flock 9
new=$end-$s.timer
systemctl is-active -q "$new" || systemd-run -q --on-calendar="$at" --timer-property=AccuracySec=1s --unit "$end-$s" \
    systemctl start --no-block $end.service || true
[ "$(armed)" = "$s" ] || { echo "the end of this machine could not be moved to $at" >&2; exit 3; }
sed "s/^OnCalendar=.*/OnCalendar=$at/" $file > $file.new
mv $file.new $file
for old in $(systemctl list-units --plain --no-legend --state=active "$end*.timer" | sed 's/ .*//'); do
    [ "$old" = "$new" ] || systemctl stop "$old"
done
# whoever sets an end looks after a machine that is not ready
[ -e /var/lib/provision/ready ] || systemctl stop provision-unready.timer provision-failed.timer 2>/dev/null || true
echo "ends at $at"
