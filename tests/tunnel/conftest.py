"""The parts that the tests of the tunnel share."""

from ..tunnel_parts import make_agent, program, service, upstream

__all__ = ["make_agent", "program", "service", "upstream"]
