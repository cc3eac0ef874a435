"""Guidance: how the outputs of several conditions are mixed, as weights known before the loop."""

from .cfg import CFG as CFG
