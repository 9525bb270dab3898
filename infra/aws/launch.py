"""Launching: the security group and the template of one launch, and CreateFleet with an override for each offer.

Everything is tagged in the call that creates it. The client token makes a call that is made again the same launch, also
from another process after a crash. No role comes along: IAM takes seconds to tell EC2 of a fresh one, so the running
instance gets it (`Ec2.associate`). Where a keeper launches the role is there long before, and in the template.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from infra import laptop
from infra.aws.ec2 import Ec2
from infra.aws.errors import code_of, explained
from infra.aws.fleet import PASSES, fleet_words, launched, marks, may_pass, template_data, verdict
from infra.aws.session import Cloud, client
from infra.aws.types import Instance, SpotRequest
from infra.errors import CapacityError, CloudError

_PATIENCE_S = 30.0
_RULE = "provision up "  # how the description of our rules begins; then the owner


class Launcher:
    """Launches into one region."""

    def __init__(self, cloud: Cloud, sleep: Callable[[float], None] = time.sleep) -> None:
        self.cloud = cloud
        self._ec2 = Ec2(cloud)
        self._sleep = sleep

    @property
    def _api(self) -> Any:
        return client(self.cloud, "ec2")

    def launch(
        self, request: SpotRequest, user_data: bytes, say: Callable[[str], None], asks: Callable[[], None]
    ) -> Instance:
        """Launch at the best of the offers. The same request made again gives the same instance.

        `asks` is called before the first call that may launch something.

        CapacityError where no offer has room; with `fallback` that means neither spot nor on demand. AuthError,
        QuotaError, PriceError, NotOfferedError and UnsupportedError as AWS refuses.
        """
        say("security group and launch template")
        group = self._group(request)
        with ThreadPoolExecutor(1) as pool:
            rule = pool.submit(self._first_rule, request, group)
            template = self._template(request, request.market, user_data, group)
            rule.result()
        asks()
        say(f"asking for {request.market} {request.types}")
        try:
            return self._fleet(request, request.market, template)
        except CapacityError as error:
            if request.market != "spot" or not request.fallback:
                raise
            say(f"{error.what}: asking for on-demand")
        return self._fleet(request, "on-demand", self._template(request, "on-demand", user_data, group))

    def prepare(self, request: SpotRequest, user_data: bytes) -> list[dict[str, Any]]:
        """Make the group, which lets nobody in, and a template for each market, with the launch's own profile.

        What CreateFleet is to be asked for, in the order of the markets: {"market", "fleet": its words without a
        token}. Nothing is launched.
        """
        group = self._group(request)
        markets = [request.market, *(["on-demand"] if request.fallback and request.market == "spot" else [])]
        found = []
        for market in markets:
            template = self._template(request, market, user_data, group, request.launch)
            words = fleet_words(request, market, template, "")
            found.append({"market": market, "fleet": {key: words[key] for key in words if key != "ClientToken"}})
        return found

    # the group

    def let_in(self, name: str, address: str, owner: str) -> None:
        """Let SSH in from this address of the owner's laptop, and not any more from those where it was before."""
        if group := self._ec2.group(name):
            self._let_in(group["GroupId"], address, owner)
            self._shut_out(group, address, owner)

    def _first_rule(self, request: SpotRequest, group: str) -> None:
        if request.via != "ssm":
            self._let_in(group, request.address, request.owner)

    def _shut_out(self, group: Mapping[str, Any], address: str, owner: str) -> None:
        """Take the rules away that this laptop put before. Other laptops' rules, and the user's own, stay."""
        old = [
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [row]}
            for rule in group.get("IpPermissions", ()) if rule.get("FromPort") == 22
            for row in rule.get("IpRanges", ())
            if _puts(row.get("Description", ""), owner) and row["CidrIp"] != f"{address}/32"
        ]  # fmt: skip
        if not old:
            return
        with explained("let SSH in no more from an earlier address"):
            try:
                self._api.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=old)
            except ClientError as error:
                if code_of(error) != "InvalidPermission.NotFound":  # another command has just done it
                    raise

    def _let_in(self, group: str, address: str, owner: str) -> None:
        rule = {
            "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
            "IpRanges": [{"CidrIp": f"{address}/32", "Description": f"{_RULE}{owner}".strip()}],
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
        """The id of the launch's own security group, which is made here unless an earlier try made it."""
        with explained("create a security group"):
            try:
                return str(
                    self._api.create_security_group(
                        GroupName=request.launch,
                        Description=f"SSH to {request.name}, of provision",
                        TagSpecifications=marks(request.tags, "security-group"),
                    )["GroupId"]
                )
            except ClientError as error:
                if code_of(error) != "InvalidGroup.Duplicate":
                    raise
        group = self._ec2.group_id(request.launch)
        if group is None:
            raise CloudError(
                f"AWS says that the security group {request.launch} exists, but does not find it",
                "run the same command again",
            )
        return group

    # the template and the fleet

    def _template(self, request: SpotRequest, market: str, user_data: bytes, group: str, profile: str = "") -> str:
        """The name of the launch template, which is made here unless an earlier try made it.

        Each market has its own: AWS refuses tags for a spot request where the launch makes none.
        """
        name = request.launch if market == request.market else f"{request.launch}-{market}"
        with explained("create a launch template"):
            try:
                self._api.create_launch_template(
                    LaunchTemplateName=name,
                    ClientToken=f"{request.token}-{market}",
                    LaunchTemplateData=template_data(request, market, user_data, group, profile),
                    TagSpecifications=marks(request.tags, "launch-template"),
                )
            except ClientError as error:
                if code_of(error) != "InvalidLaunchTemplateName.AlreadyExistsException":
                    raise
        return name

    def _fleet(self, request: SpotRequest, market: str, template: str) -> Instance:
        """Call CreateFleet until it gives an instance, or refuses for a reason that time will not change.

        AWS repeats its answer for a token. A refused fleet has launched nothing, so the next try has a new token.
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
        """CreateFleet's answer. After throttling or a broken connection the call is made again, until the time `until`.

        The token stays the same, so that no second fleet can come of it.

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


def _puts(description: str, owner: str) -> bool:
    """Whether the owner's laptop put a rule of this description."""
    who = laptop.id_of(description.removeprefix(_RULE)) if description.startswith(_RULE) else ""
    return bool(who) and who == laptop.id_of(owner)
