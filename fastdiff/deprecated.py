"""Old names of attributes and methods, which go on working for a while."""

import warnings


class Alias:
    """A class attribute that stands for another one, with a DeprecationWarning::

        class Solver:
            quantity = Alias("prediction_target")

    Reading it from an instance or from the class gives what the new name gives there.
    """

    def __init__(self, new: str):
        self.new = new

    def __set_name__(self, owner, name):
        self.old = name

    def __get__(self, instance, owner=None):
        message = f"{owner.__name__}.{self.old} is now called {self.new}"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return getattr(owner if instance is None else instance, self.new)
