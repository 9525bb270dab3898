"""The embedded cloud: what `--cloud local` talks to. No production code imports it.

One detached daemon for each local cloud (`python -m localcloud start`). In it:

- `emulator` runs moto's server application in this process and sets it up (types, machine image, admin);
  `ec2`, `spot` and `access` replace the few methods of moto that answer otherwise than AWS does for our calls;
- `wsgi` stands before it: the log of calls, the daemon's own pages under /_local, errors that boto3 can read;
- `machines` turns instances into system containers through `engine`, the only module that talks to Docker;
  `firewall` makes their security groups real, `metadata` answers what they ask at 169.254.169.254;
- `ami/` is the machine image: systemd, cloud-init, sshd, dockerd, and stand-ins for NVIDIA's tools.

`home` is a cloud's folder and how others find its daemon; `leftovers` removes what a dead daemon left.
"""
