#!/bin/sh
# When the machine ends itself, as systemd has it: seconds since 1970 of each timer of the deadline that stands.
systemctl list-units --plain --no-legend --state=active 'provision-deadline*.timer' | while read -r name rest; do
    date -ud "$(systemctl show -p NextElapseUSecRealtime --value "$name")" +%s
done
