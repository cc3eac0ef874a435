"""Tables: what a solver is lowered to, the notation of its steps, and the check of the result."""

from typing import TYPE_CHECKING

from ..arguments import attributes
from .lowering import lower_path as lower_path
from .path import Path as Path
from .path import Point as Point
from .stage import Stage as Stage
from .table import StepTable as StepTable

if not TYPE_CHECKING:  # or no checker would find a wrong name
    __getattr__ = attributes(__name__)
