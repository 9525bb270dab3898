#!/bin/sh
# What a machine that starts itself does first with what its bundle brought: units to their place. Then its bootstrap.
set -eu
umask 022
# shellcheck source=/dev/null  # idle_every: written by the user data
. /opt/provision/settings
for unit in /opt/provision/units/*; do
    # shellcheck disable=SC2154
    sed "s/EVERY/$idle_every/" "$unit" > "/etc/systemd/system/${unit##*/}"
done
exec sh /opt/provision/bootstrap.sh
