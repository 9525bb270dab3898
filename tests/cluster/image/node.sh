#!/bin/sh
# Become the controller with its login door (`node.sh login`) or a compute node (`node.sh compute`). /etc/slurm is the
# cluster's, shared by all; the munge key is there, too.
set -e
for gpu in 0 1; do mknod -m 666 "/dev/nvidia$gpu" c 1 3 2>/dev/null || true; done
install -o munge -g munge -m 400 /etc/slurm/munge.key /etc/munge/munge.key
mkdir -p /run/munge /var/lib/slurm/ctld /var/lib/slurm/d
chown munge:munge /run/munge
su -s /bin/sh munge -c "/usr/sbin/munged --force"
if [ "$1" = login ]; then
    ssh-keygen -q -A
    /usr/sbin/sshd
    rm -f /usr/local/bin/nvidia-smi  # a login node has no GPU
    exec slurmctld -D
fi
exec slurmd -D
