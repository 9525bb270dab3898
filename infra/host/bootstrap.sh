#!/bin/sh
# Makes a fresh instance ready for containers. Idempotent: looks first, then does what is missing.
# Progress goes to /run/provision/progress, which `provision up` shows, and to the console, which AWS shows also of a
# machine that nobody can reach; the last line is "ready" or "failed …". One that failed ends ten minutes after.
set -eu
umask 022
run=/run/provision lib=/var/lib/provision
mkdir -p $run $lib/runs /data
# what root believes lies where only root writes: the user's, and so any container's, are the runs alone
install -d -m 700 $lib/guard
rm -f $lib/ready
# shellcheck source=/dev/null  # gpus, driver, kept, toolkit_repository, toolkit_key: written by the user data
. /opt/provision/settings
say() {
    echo "$*" >> $run/progress
    echo "provision: $*" 2>/dev/null > /dev/console || true
}
why=
failed() {
    say "failed: ${why:-exit code $1 near: $doing}"
    tail -n 20 $run/errors 2>/dev/null > /dev/console || true
    systemd-run -q --on-active=10min --on-unit-active=1min --timer-property=AccuracySec=1s --unit provision-failed \
        systemctl start provision-unready.service || true
}
# shellcheck disable=SC2154  # the trap assigns it
trap 'code=$?; [ $code = 0 ] || failed $code' EXIT
die() { why=$1; exit 1; }
# a script of ours: what it prints is progress, the last line of its errors is the reason
script() {
    {
        code=0
        sh "$@" 2> $run/errors || code=$?
        echo $code > $run/code
    } | while read -r line; do say "$line"; done
    cat $run/errors >&2
    code=$(cat $run/code)
    [ "$code" = 0 ] || { why=$(tail -n 1 $run/errors); exit "$code"; }
}

doing="upgrades"
# one of docker or the driver kills trainings
for unit in apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service; do
    systemctl -q --no-block stop $unit || true
    systemctl -q mask $unit || true
done

doing="instance storage"
# EC2's own disks (not EBS) are fast and empty: data lives on one that nobody uses, or where the AMI mounted them
unused() {
    lsblk -dpno NAME,MODEL | awk '/Amazon EC2 NVMe Instance Storage/ { print $1 }' | while read -r disk; do
        [ "$(lsblk -no NAME,MOUNTPOINT "$disk" | wc -w)" != 1 ] || { echo "$disk"; break; }
    done
}
storage() {
    from=/opt/dlami/nvme
    if mountpoint -q $from; then
        mount --bind $from /data
    else
        from=$(unused) && [ -n "$from" ] && mkfs.ext4 -q -F -E lazy_itable_init=1 "$from" &&
            mount -o noatime "$from" /data
    fi && say "instance storage: $from on /data"
}
mountpoint -q /data || storage 2>/dev/null ||
    ! lsblk -dno MODEL 2>/dev/null | grep -q "NVMe Instance Storage" || say "instance storage: none usable"
chown root:root $lib # the guard's notes are in there
chown provision:provision /data $lib/runs

doing="attempt"
# a machine that starts itself fetches its image meanwhile
# shellcheck disable=SC2154
[ "$kept" = 0 ] || systemctl enable -q --now --no-block provision-attempt.service

doing="docker"
# Containers' cgroups are Docker's own: where systemd makes them, whoever lets it read its units anew (daemon-reload; a
# package, a snap) takes the GPUs out of all containers that run. https://github.com/NVIDIA/nvidia-container-toolkit/issues/48
config=/etc/docker/daemon.json
mkdir -p "${config%/*}"
[ -s $config ] || echo {} > $config
python3 -c 'import json, sys
known = json.load(open(sys.argv[1]))
known["exec-opts"] = ["native.cgroupdriver=cgroupfs"]
json.dump(known, open(sys.argv[1], "w"))' $config
script /opt/provision/engine.sh --no-buildx
[ "$(docker info -f '{{.CgroupDriver}}')" = cgroupfs ] || systemctl restart docker
usermod -aG docker provision
say "docker: $(docker version -f '{{.Server.Version}}')"

doing="guard"
systemctl daemon-reload
systemctl enable -q --now provision-guard.service

doing="nvidia"
# shellcheck disable=SC2154
[ "$gpus" = 0 ] || script /opt/provision/nvidia.sh "$gpus" "$driver" "$toolkit_repository" "$toolkit_key"

doing="the end"
systemctl -q is-active 'provision-deadline*.timer' || die "no end of this machine is armed"
say "end: armed"
systemctl enable -q --now provision-idle.timer
touch $lib/ready
say ready
