"""Tells pytest which files of this folder to collect."""

import os

# What runs under the interpreter does so in processes of its own (test_interpreted.py).
collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted"]
