#!/bin/sh
# What a machine does first with what its bundle brought: units to their place, its host key to S3. Then its bootstrap.
set -eu
umask 022
# shellcheck source=/dev/null  # idle_every, kept, via: written by the user data
. /opt/provision/settings
for unit in /opt/provision/units/*; do
    # shellcheck disable=SC2154
    sed "s/EVERY/$idle_every/" "$unit" > "/etc/systemd/system/${unit##*/}"
done
# a laptop may wait for it, and looks at the rest over SSH; of a kept machine `guard begin` tells it
# shellcheck disable=SC2154
[ "$kept" = 1 ] || python3 /opt/provision/guard key &
# Session Manager's agent sleeps for five minutes and more when it finds no role at its start, and the role may come a
# little after the machine; it is there by now. https://github.com/aws/amazon-ssm-agent (core/hibernation)
# shellcheck disable=SC2154
[ "$via" != ssm ] || systemctl -q --no-block restart amazon-ssm-agent.service 2>/dev/null ||
    systemctl --no-block restart snap.amazon-ssm-agent.amazon-ssm-agent.service || true
# One that could not be prepared waits for who looks at it, and ends by itself (bootstrap.sh). A keeper never looks.
# shellcheck disable=SC2154
sh /opt/provision/bootstrap.sh || [ "$kept" = 0 ]
