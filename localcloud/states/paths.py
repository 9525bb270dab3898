"""JSONPath as Step Functions has it: a path that can be of one place alone gives its value, any other one a list.

moto gives a list of one for $.Instances[0].InstanceId, and refuses a filter that finds nothing.
"""

import re
import sys
from functools import cache
from typing import Any

from jsonpath_ng.ext import parse
from moto.stepfunctions.parser.asl.utils import json_path

MANY = re.compile(r"\.\.|\[\s*\?|\*|\[[^\]'\"]*[:,]")  # descent, filter, wildcard, slice or union
_parsed = cache(parse)


def install() -> None:
    """Put our function in the place of moto's, wherever that was imported."""
    moto_extract = json_path.extract_json
    for name, module in list(sys.modules.items()):
        if name.startswith("moto.stepfunctions.") and getattr(module, "extract_json", None) is moto_extract:
            vars(module)["extract_json"] = extract


def extract(path: str, data: Any) -> Any:
    """What the path finds. moto's NoSuchJsonPathError where a path of one place finds nothing."""
    found = [match.value for match in _parsed(path).find(data)]
    if MANY.search(path):
        return found
    if not found:
        raise json_path.NoSuchJsonPathError(json_path=path, data=data)
    return found[0]
