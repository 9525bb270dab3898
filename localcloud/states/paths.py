"""JSONPath as Step Functions has it: a path that can be of one place alone gives its value, any other one a list.

moto gives a list of one for $.Instances[0].InstanceId, and refuses a filter that finds nothing. And it reads the field
RoleArn.$ of a call's parameters as a name of its own language, and not as a path.
"""

import re
import sys
from functools import cache
from typing import Any

from jsonpath_ng.ext import parse
from moto.stepfunctions.parser.asl.component.common.payload.payloadvalue.payloadbinding.payload_binding import (
    PayloadBindingStringExpressionSimple,
)
from moto.stepfunctions.parser.asl.component.common.string.string_expression import (
    StringContextPath,
    StringIntrinsicFunction,
    StringJsonPath,
)
from moto.stepfunctions.parser.asl.parse.intrinsic.intrinsic_parser import IntrinsicParser
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor
from moto.stepfunctions.parser.asl.utils import json_path

MANY = re.compile(r"\.\.|\[\s*\?|\*|\[[^\]'\"]*[:,]")  # descent, filter, wildcard, slice or union
_parsed = cache(parse)


def install() -> None:
    """Put our function in the place of moto's, wherever that was imported."""
    moto_extract = json_path.extract_json
    for name, module in list(sys.modules.items()):
        if name.startswith("moto.stepfunctions.") and getattr(module, "extract_json", None) is moto_extract:
            vars(module)["extract_json"] = extract
    moto_binding = Preprocessor.visitPayload_binding_value

    def binding(self: Any, ctx: Any) -> Any:
        made = moto_binding(self, ctx)
        if not made.field.endswith(".$"):
            return made
        return PayloadBindingStringExpressionSimple(made.field.removesuffix(".$"), _expression(made.payload_value.val))

    Preprocessor.visitPayload_binding_value = binding


def _expression(text: str) -> Any:
    """A path or a function, as the language has them after a field that ends in .$"""
    if text.startswith("$$"):
        return StringContextPath(text)
    return (
        StringJsonPath(text) if text.startswith("$") else StringIntrinsicFunction(text, IntrinsicParser.parse(text)[0])
    )


def extract(path: str, data: Any) -> Any:
    """What the path finds. moto's NoSuchJsonPathError where a path of one place finds nothing."""
    found = [match.value for match in _parsed(path).find(data)]
    if MANY.search(path):
        return found
    if not found:
        raise json_path.NoSuchJsonPathError(json_path=path, data=data)
    return found[0]
