#!/bin/sh
# Who gets a token of the metadata service: the host and what shares its network, and no container; and whether the
# service answers without a token. One line each: `host=200`. 000: no answer.
at=http://169.254.169.254/latest
ask="-s -m 5 -o /dev/null -w %{http_code}"
token="-X PUT -H X-aws-ec2-metadata-token-ttl-seconds:60 $at/api/token"
curl=$(command -v curl) || { echo "there is no curl" >&2; exit 1; }
# an image of one program, made of the host's own
{ echo "$curl"; ldd "$curl" | grep -o '/[^ ]*'; } | tar -ch -T - 2>/dev/null |
    docker import - provision-probe >/dev/null || exit 1
echo "host=$(curl $ask $token)"
echo "old=$(curl $ask $at/meta-data/instance-id)"
echo "shared=$(docker run --rm --network host provision-probe $curl $ask $token)"
echo "container=$(docker run --rm provision-probe $curl $ask $token)"
docker rmi -f provision-probe >/dev/null 2>&1
exit 0
