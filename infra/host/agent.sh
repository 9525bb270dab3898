#!/bin/sh
# Session Manager's agent sleeps for five minutes and more when it finds no role at its start, and the role comes a
# little after the machine: once it is there, the agent starts anew. Ends by itself after ten minutes.
# https://github.com/aws/amazon-ssm-agent (core/hibernation)
here=http://169.254.169.254/latest
for _ in $(seq 120); do
    token=$(curl -sfm 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $here/api/token) &&
        curl -sfm 2 -o /dev/null -H "X-aws-ec2-metadata-token: $token" $here/meta-data/iam/security-credentials/ &&
        break
    sleep 5
done
systemctl -q restart amazon-ssm-agent.service 2>/dev/null ||
    systemctl restart snap.amazon-ssm-agent.amazon-ssm-agent.service
