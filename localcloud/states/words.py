"""A field of Parameters may be called as a word of the language is: "RoleArn.$" is a path there as any other field is.

moto's grammar knows that word as the language's own, and takes the path for the value itself.
"""

import json
from typing import Any

from antlr4 import CommonTokenStream, InputStream
from moto.stepfunctions.parser.asl.antlr.runtime.ASLLexer import ASLLexer
from moto.stepfunctions.parser.asl.antlr.runtime.ASLParser import ASLParser
from moto.stepfunctions.parser.asl.component.common.payload.payloadvalue.payloadbinding.payload_binding import (
    PayloadBindingStringExpressionSimple,
)
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor


def install() -> None:
    """Put our method in the place of moto's."""
    moto_value = Preprocessor.visitPayload_binding_value

    def value(self: Any, ctx: Any) -> Any:
        found = moto_value(self, ctx)
        given = getattr(getattr(found, "payload_value", None), "val", None)
        if not found.field.endswith(".$") or not isinstance(given, str):
            return found
        text = f'"field.$": {json.dumps(given)}'
        parser = ASLParser(CommonTokenStream(ASLLexer(InputStream(text))))
        bound = self.visit(parser.payload_binding())
        return PayloadBindingStringExpressionSimple(found.field[:-2], bound.string_expression_simple)

    Preprocessor.visitPayload_binding_value = value
