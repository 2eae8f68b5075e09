"""A stand-in for ngrok's Traffic Policy, for the rules that the product sends.

It supports the phase ``on_http_request``, the action ``custom-response`` and the part
of CEL that ``tunnel.ngrok.traffic_policy`` uses. Everything else is invalid here, so
that no rule counts as tested that was not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

import yaml

from .http1 import Head

Condition = Callable[[Head], Any]

_OPERATOR: Final = re.compile(r"'[^']*'|&&|\|\||!(?!=)")
_DOUBTFUL_NOT: Final = re.compile(r"!(?![=(]|hasReqHeader\()")
"""CEL's ``!`` binds tighter than Python's ``not``, except before these."""
_VARIABLES: Final[Mapping[str, Condition]] = {
    "req.method": lambda head: head.method,
    "req.url.path": lambda head: head.path,
}


class InvalidPolicy(Exception):
    """A policy that is invalid, or that this stand-in does not support."""


@dataclass(frozen=True, slots=True)
class _Rule:
    conditions: tuple[Condition, ...]
    reply: bytes


@dataclass(frozen=True, slots=True)
class TrafficPolicy:
    """The rules that an endpoint applies before its agent gets a request."""

    rules: tuple[_Rule, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a policy in YAML or JSON.

        Raises:
            InvalidPolicy: If it is invalid or not supported here.
        """
        try:
            document = yaml.safe_load(text)
            (phase, rules), *others = document.items()
            if phase != "on_http_request" or others:
                raise InvalidPolicy(f"unknown phases in {list(document)}")
            return cls(tuple(_rule(**rule) for rule in rules))
        except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
            raise InvalidPolicy(f"could not decode: {error}") from error

    def reply_to(self, request: Head) -> bytes | None:
        """Return the reply of the first rule that matches; None lets a request pass."""
        for rule in self.rules:
            if all(holds(request) for holds in rule.conditions):
                return rule.reply
        return None


def _rule(*, actions: list[dict[str, Any]], expressions: list[str]) -> _Rule:
    (action,) = actions
    if action["type"] != "custom-response":
        raise InvalidPolicy(f"unknown action type {action['type']!r}")
    return _Rule(tuple(map(condition, expressions)), _reply(**action["config"]))


def _reply(*, status_code: int, body: str, headers: dict[str, str]) -> bytes:
    if "${" in body:
        raise InvalidPolicy("the stand-in does not interpolate")
    content = body.encode()
    lines = [f"HTTP/1.1 {status_code} {HTTPStatus(status_code).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


def condition(expression: str) -> Condition:
    """Return a CEL expression as a function.

    Raises:
        InvalidPolicy: If it uses what the stand-in does not support.
    """
    python = {"&&": " and ", "||": " or ", "!": " not "}
    if _DOUBTFUL_NOT.search(re.sub("'[^']*'", "''", expression)):
        raise InvalidPolicy(f"put brackets after the ! in {expression}")
    text = _OPERATOR.sub(lambda m: python.get(m[0], m[0]), expression)
    try:
        return _compiled(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError as error:
        raise InvalidPolicy(f"cannot read {expression}") from error


def _compiled(node: ast.expr) -> Condition:  # noqa: PLR0911  (a table of cases)
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            parts = [_compiled(value) for value in values]
            return lambda head: all(part(head) for part in parts)
        case ast.BoolOp(op=ast.Or(), values=values):
            parts = [_compiled(value) for value in values]
            return lambda head: any(part(head) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            part = _compiled(operand)
            return lambda head: not part(head)
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            first, second = _compiled(left), _compiled(right)
            return lambda head: first(head) == second(head)
        case ast.Compare(left=left, ops=[ast.In()], comparators=[ast.List(elts=elts)]):
            value, listed = _compiled(left), [_compiled(item) for item in elts]
            return lambda head: value(head) in [item(head) for item in listed]
        case ast.Constant(value=str(value)):
            return lambda _: value
        case ast.Attribute() if ast.unparse(node) in _VARIABLES:
            return _VARIABLES[ast.unparse(node)]
        case ast.Call(
            func=ast.Name(id="hasReqHeader"), args=[ast.Constant(value=str(name))]
        ) if name == name.title():  # "Header keys must be written in canonical format"
            return lambda head: name.lower() in head.headers
        case ast.Call(
            func=ast.Attribute(value=value, attr="startsWith"),
            args=[ast.Constant(value=str(start))],
        ):
            part = _compiled(value)
            return lambda head: part(head).startswith(start)
        case _:
            raise InvalidPolicy(f"the stand-in does not support {ast.unparse(node)}")
