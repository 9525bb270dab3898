#!/bin/sh
# Swap on this machine's disk: a file of so many GB, or none for 0. A second call with the same size changes nothing.
# It stays over a reboot. usage: swap.sh GB
set -eu
file=/var/provision.swap
gb=$1
off() {
    swapoff $file 2>/dev/null || true
    rm -f $file
    sed -i "\|^$file |d" /etc/fstab
}
[ "$gb" -gt 0 ] || { off; echo "no swap of ours"; exit 0; }
if [ "$(stat -c %s $file 2>/dev/null)" = $((gb * 1073741824)) ] && grep -q "^$file " /proc/swaps; then
    echo "$gb GB of swap are there"
    exit 0
fi
free=$(df -Pk /var | awk 'NR == 2 { print int($4 / 1048576) }')
[ "$free" -gt $((gb + 2)) ] || { echo "the disk has $free GB free, too few for $gb GB of swap" >&2; exit 3; }
off
# written, not reserved: swap must have no holes, and not all file systems' reserved blocks count as written
dd if=/dev/zero of=$file bs=1M count=$((gb * 1024)) status=none
chmod 600 $file
mkswap -q $file 2>/dev/null || mkswap $file > /dev/null
swapon $file || { off; echo "this machine takes no swap file (a container cannot)" >&2; exit 4; }
echo "$file none swap sw 0 0" >> /etc/fstab
echo "$gb GB of swap"
