"""The embedded cloud: what `--cloud local` talks to. No production code imports it.

One detached daemon for each local cloud (`python -m localcloud start`). In it:

- `emulator` runs moto's server application in this process and sets it up (types, machine images, admin);
  `ec2`, `launch`, `fleet`, `volumes`, `images`, `spot`, `quotas`, `scheduler` and `access` replace the methods of moto
  that answer otherwise than AWS does for our calls; `hardware` has types, zones and prices;
- `wsgi` stands before it: the log of calls, the daemon's own pages under /_local, errors that boto3 can read;
- `faults` makes calls fail, get lost or wait where a test asks for it; `operations` names calls and words errors;
- `machines` turns instances into system containers through `engine`, the only module that talks to Docker;
  `firewall` makes their security groups real, `disks` their volumes, `metadata` answers what they ask at
  169.254.169.254;
- `edge` stands in for `engine` where a test needs hundreds of hosts and no containers;
- `ami/` is the machine image: systemd, cloud-init, sshd; and in the full one dockerd and stand-ins for NVIDIA's tools.

`home` is a cloud's folder and how others find its daemon; `leftovers` removes what a dead daemon left.
"""
