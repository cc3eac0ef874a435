"""fastdiff in the place of the slow part of other libraries' loops.

Nothing is imported with this package: each integration imports its library when it is asked for.
"""
