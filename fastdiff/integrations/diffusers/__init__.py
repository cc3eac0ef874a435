from .fused import StockStepWarning as StockStepWarning
from .schedulers import *
