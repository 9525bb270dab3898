#!/bin/sh
# Makes a fresh instance ready for containers. Idempotent: looks first, then does what is missing.
# Progress goes to /run/provision/progress, which `provision up` shows; the last line is "ready" or "failed …".
set -eu
mkdir -p /run/provision /var/lib/provision/runs /data
say() { echo "$*" >> /run/provision/progress; }
trap 'code=$?; [ $code = 0 ] || say "failed: exit code $code near: $doing"' EXIT

doing="instance storage"
# EC2's own disks (not EBS) are fast and empty at every launch: data lives there where there is one
store=$(lsblk -dpno NAME,MODEL 2>/dev/null | awk '/Amazon EC2 NVMe Instance Storage/ { print $1; exit }')
if [ -n "$store" ] && ! mountpoint -q /data; then
    say "instance storage: $store on /data"
    mkfs.ext4 -q -F -E lazy_itable_init=1 "$store"
    mount -o noatime "$store" /data
fi
chown provision:provision /data /var/lib/provision /var/lib/provision/runs

doing="docker"
docker version >/dev/null 2>&1 || say "docker: installing"
sh /opt/provision/engine.sh --no-buildx
usermod -aG docker provision
say "docker: $(docker version -f '{{.Server.Version}}')"

doing="guard"
systemctl daemon-reload
systemctl enable -q --now provision-guard.service
say "guard: watching for the spot notice"
say ready
