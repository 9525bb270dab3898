#!/bin/sh
# Mount an EBS volume at /volumes/NAME, for the login user; a file system is made only on a blank one.
# usage: mount.sh VOLUME_ID DEVICE NAME    VOLUME_ID as vol-0123abcd, DEVICE as it was attached: /dev/sdf
# Exit: 0 mounted, 1 the disk does not come, or cannot be read or mounted
set -eu
volume=$1 device=$2 name=$3
at=/volumes/$name

die() { echo "volume $name: $*" >&2; exit 1; }
# what EC2 calls /dev/sdf is an NVMe disk with the volume's id as its serial number, or /dev/xvdf on Xen
find_disk() {
    by_id=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$(echo "$volume" | tr -d -)
    for disk in "$by_id" "$device" "/dev/xvd${device#/dev/sd}"; do
        [ ! -b "$disk" ] || { readlink -f "$disk"; return; }
    done
    return 1
}
blank() {
    blkid -p "$disk" >/dev/null && return 1 || code=$?
    [ $code = 2 ] || die "$disk holds something that is not understood (blkid: $code)"
}

if mountpoint -q "$at"; then
    echo "volume $name: at $at already"
    exit 0
fi
n=0
until disk=$(find_disk); do
    n=$((n + 1))
    [ $n -le "${WAIT_S:-60}" ] || die "no disk for $volume ($device) after ${WAIT_S:-60} s"
    sleep 1
done
# a disk that cannot be read looks blank
dd if="$disk" of=/dev/null bs=64k count=16 2>/dev/null || die "$disk cannot be read"
made=
if blank; then
    mkfs.ext4 -q -E lazy_itable_init=1 -L "$(echo "$name" | cut -c 1-16)" "$disk" </dev/null || die "mkfs failed on $disk"
    made=" (new file system)"
fi
mkdir -p "$at"
mount -o noatime "$disk" "$at" || die "$disk cannot be mounted"
chown provision:provision "$at"
line="UUID=$(blkid -p -s UUID -o value "$disk") $at ext4 noatime,nofail 0 2"
grep -qxF "$line" /etc/fstab || echo "$line" >> /etc/fstab
echo "volume $name: at $at$made"
