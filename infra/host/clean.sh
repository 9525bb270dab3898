#!/bin/sh
# Before a machine image is made of this machine: take out what is this machine's own. Host keys, logins, the user data
# and its traces, trainings and their data, shell histories, and what would start the old end on a new machine.
# What is armed now stays armed: systemd keeps the deadline's timer, and its file stays for the next start.
#   clean.sh look     whether an image can be made; changes nothing
#   clean.sh clean
#   clean.sh undo     after a failure: let us in again, as before
#   clean.sh kept     clean, on a machine that its keeper will end: all data goes, logs too, and Docker stops. The disk is
#                     taken as it is, so nothing may write there any more. Where no keeper ends it, it ends by itself.
# Exit: 0 done, 40 not ready, 41 a training runs or is being saved
set -eu
export LC_ALL=C
root=${ROOT:-/}
aside=${ASIDE:-/run/provision/aside.tar} # in memory: no image has it
runs=var/lib/provision/runs
own="etc/ssh/ssh_host_* home/*/.ssh root/.ssh etc/machine-id etc/fstab var/lib/provision/ready opt/provision/order.json
    etc/systemd/system/*.wants/provision-*"

die() { code=$1; shift; echo "$*" >&2; exit "$code"; }
there() { for path; do [ ! -e "$path" ] && [ ! -L "$path" ] || echo "$path"; done; }

look() {
    [ -e var/lib/provision/ready ] || die 40 "its bootstrap is not done"
    running=$(docker ps --filter label=provision.run --format '{{.Label "provision.run"}}')
    [ -z "$running" ] || die 41 "a training runs: $(echo $running)"
    [ ! -s run/provision/unfinished ] || die 41 "a training is being saved"
}

clean() {
    look
    # shellcheck disable=SC2046,SC2086  # words and patterns
    tar -cf "$aside.new" $(there $own)
    mv "$aside.new" "$aside"
    docker ps -aq --filter label=provision.run | xargs -r docker rm -fv >/dev/null
    cloud-init clean --logs --seed >&2
    rm -rf "${runs:?}"/* "${runs:?}"/.[!.]* "${runs%/*}"/guard "${runs%/*}"/image* data/sets data/code var/log/journal/* var/lib/systemd/timers/stamp-provision-*
    for home in home/* root; do
        [ ! -d "$home" ] || (cd "$home" && rm -rf .ssh .aws .docker .netrc .git-credentials .*_history .lesshst .viminfo)
    done
    rm -f etc/ssh/ssh_host_* opt/provision/order.json var/lib/provision/ready etc/systemd/system/*.wants/provision-*
    : > etc/machine-id
    sed -i '\, /volumes/,d' etc/fstab
    sync
}

kept() {
    look
    systemd-run -q --on-active=40min --timer-property=AccuracySec=1s --unit provision-baked \
        systemctl start --no-block provision-deadline.service
    journalctl --relinquish-var 2>/dev/null || true # from now on it writes to memory
    clean
    systemctl stop provision-unready.timer docker.socket docker.service
    rm -rf data/* data/.[!.]*
    find var/log -type f -exec truncate -s 0 {} +
    sync
    : > run/provision/clean
}

undo() { [ ! -e "$aside" ] || tar -xf "$aside"; }

cd "$root"
"$1" </dev/null
