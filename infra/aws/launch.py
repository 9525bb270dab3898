"""Launching: the security group and the template of one launch, and CreateFleet with an override for each offer.

Everything is tagged in the call that creates it. The client token makes a call that is made again the same launch, also
from another process after a crash. No role comes along: IAM takes seconds to tell EC2 of a fresh one, so the running
instance gets it (`Ec2.associate`).
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from infra.aws.ec2 import Ec2
from infra.aws.errors import code_of, explained
from infra.aws.fleet import PASSES, fleet_words, launched, marks, may_pass, template_data, verdict
from infra.aws.session import Cloud, client
from infra.aws.types import Instance, SpotRequest
from infra.errors import CapacityError, CloudError

_PATIENCE_S = 30.0


class Launcher:
    """Launches into one region."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self.cloud = cloud
        self._ec2 = Ec2(cloud)
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self.cloud, "ec2")

    def launch(self, request: SpotRequest, user_data: bytes, say: Callable[[str], None]) -> Instance:
        """Launch at the best of the offers. The same request again gives the same instance.

        CapacityError where no offer has room, on demand neither if the request falls back to that; every other refusal
        is raised as it is.
        """
        say("security group and launch template")
        group = self._group(request)
        with ThreadPoolExecutor(1) as pool:
            rule = pool.submit(self._first_rule, request, group)
            template = self._template(request, request.market, user_data, group)
            rule.result()
        say(f"asking for {request.market} {request.types}")
        try:
            return self._fleet(request, request.market, template)
        except CapacityError as error:
            if request.market != "spot" or not request.fallback:
                raise
            say(f"{error.what}: asking for on-demand")
        return self._fleet(request, "on-demand", self._template(request, "on-demand", user_data, group))

    # the group

    def let_in(self, name: str, address: str) -> None:
        """Let SSH in from one more address: the laptop has moved."""
        if group := self._ec2.group_id(name):
            self._let_in(group, address)

    def _first_rule(self, request: SpotRequest, group: str) -> None:
        if request.via != "ssm":
            self._let_in(group, request.address)

    def _let_in(self, group: str, address: str) -> None:
        rule = {
            "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
            "IpRanges": [{"CidrIp": f"{address}/32", "Description": "provision up"}],
        }  # fmt: skip
        for last in (False, True):
            with explained("let SSH in from this address"):
                try:
                    self._api.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
                    return
                except ClientError as error:
                    if code_of(error) == "InvalidPermission.Duplicate":
                        return
                    if code_of(error) != "InvalidGroup.NotFound" or last:  # a fresh group is not known everywhere
                        raise
            self._sleep(2.0)

    def _group(self, request: SpotRequest) -> str:
        """The launch's own security group, made now or by an earlier try. Its id."""
        with explained("create a security group"):
            try:
                return str(
                    self._api.create_security_group(
                        GroupName=request.resource,
                        Description=f"SSH to {request.name}, of provision",
                        TagSpecifications=marks(request.tags, "security-group"),
                    )["GroupId"]
                )
            except ClientError as error:
                if code_of(error) != "InvalidGroup.Duplicate":
                    raise
        group = self._ec2.group_id(request.resource)
        if group is None:
            raise CloudError(f"the security group {request.resource} comes and goes", "run the same command again")
        return group

    # the template and the fleet

    def _template(self, request: SpotRequest, market: str, user_data: bytes, group: str) -> str:
        """The launch template; one of an earlier try is the same. Its name.

        One for each market: AWS takes no tags for a spot request where there is none.
        """
        name = request.resource if market == request.market else f"{request.resource}-{market}"
        with explained("create a launch template"):
            try:
                self._api.create_launch_template(
                    LaunchTemplateName=name,
                    ClientToken=f"{request.token}-{market}",
                    LaunchTemplateData=template_data(request, market, user_data, group),
                    TagSpecifications=marks(request.tags, "launch-template"),
                )
            except ClientError as error:
                if code_of(error) != "InvalidLaunchTemplateName.AlreadyExistsException":
                    raise
        return name

    def _fleet(self, request: SpotRequest, market: str, template: str) -> Instance:
        """CreateFleet until it gives an instance, or refusals that will not pass.

        An answer that holds refusals has launched nothing, and its token would repeat it: the next try has its own.
        """
        token = request.token if market == request.market else f"{request.token}-{market}"
        until = time.monotonic() + _PATIENCE_S
        again = 0
        while True:
            asked = f"{token}-{again}" if again else token
            answer = self._create_fleet(fleet_words(request, market, template, asked), until)
            if found := launched(answer, request):
                return found
            errors = answer.get("Errors", [])
            refused = verdict(errors, request, market)
            if not may_pass(errors, refused) or time.monotonic() > until:
                raise refused
            again += 1
            self._sleep(2.0)

    def _create_fleet(self, words: Mapping[str, Any], until: float) -> Mapping[str, Any]:
        """The fleet's answer; until the time `until` patient with throttling and a broken line, with the same token.

        botocore's own retries are off: they would wait longer and longer, without our limit.
        """
        api = client(self.cloud, "ec2", attempts=1)
        while True:
            with explained("launch"):
                try:
                    answer: Mapping[str, Any] = api.create_fleet(**words)
                    return answer
                except (ClientError, HTTPClientError) as error:
                    passes = not isinstance(error, ClientError) or code_of(error) in PASSES
                    if not passes or time.monotonic() > until:
                        raise
            self._sleep(2.0)
