"""fastdiff does not load diffusers, and says what is needed where there is none."""

import subprocess
import sys

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "diffusers":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_fastdiff_does_not_import_diffusers():
    code = "import sys, fastdiff, fastdiff.integrations; print('diffusers' in sys.modules)"
    assert python(code) == "False"


def test_without_diffusers_the_error_names_the_extra():
    code = """
import fastdiff
try:
    import fastdiff.integrations.diffusers
except ImportError as error:
    print(error, "|", type(error.__cause__).__name__)
"""
    said = python(BLOCK + code)
    assert said == (
        "fastdiff.integrations.diffusers needs diffusers: pip install 'fastdiff[integrations]' "
        "| ModuleNotFoundError"
    )
