#!/bin/sh
# Makes a fresh instance ready for containers. Idempotent: looks first, then does what is missing.
# Progress goes to /run/provision/progress, which `provision up` shows; the last line is "ready" or "failed …".
set -eu
mkdir -p /run/provision /var/lib/provision/runs /data
progress=/run/provision/progress
rm -f /var/lib/provision/ready
# shellcheck source=/dev/null  # gpus, driver, toolkit_repository, toolkit_key: written by the user data
. /opt/provision/settings
say() { echo "$*" >> $progress; }
why=
# shellcheck disable=SC2154  # the trap assigns it
trap 'code=$?; [ $code = 0 ] || say "failed: ${why:-exit code $code near: $doing}"' EXIT
# a script of ours: what it prints is progress, the last line of its errors is the reason
script() {
    code=0
    sh "$@" >> $progress 2> /run/provision/errors || code=$?
    cat /run/provision/errors >&2
    [ $code = 0 ] || { why=$(tail -n 1 /run/provision/errors); exit $code; }
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
chown provision:provision /data /var/lib/provision /var/lib/provision/runs

doing="docker"
script /opt/provision/engine.sh --no-buildx
usermod -aG docker provision
say "docker: $(docker version -f '{{.Server.Version}}')"

doing="nvidia"
# shellcheck disable=SC2154
[ "$gpus" = 0 ] || script /opt/provision/nvidia.sh "$gpus" "$driver" "$toolkit_repository" "$toolkit_key"

doing="guard"
systemctl daemon-reload
systemctl enable -q --now provision-guard.service
say "guard: watching for the spot notice"
touch /var/lib/provision/ready
systemctl enable -q --now provision-idle.timer
say ready
