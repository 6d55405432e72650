"""Is what a user waits for first light: the import, the help, and the commands that need no network?"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "matplotlib", "xarray", "scipy", "pandas", "sklearn", "h5py", "safetensors", "pyvista")
COMMANDS = (
    "info",
    "merge",
    "repair",
    "doctor",
    "report",
    "explain",
    "topology",
    "compare",
    "check",
    "import",
    "export",
)


def imported(program: str) -> set[str]:
    program += f"\nimport sys\nprint()\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def helped(*words: str) -> str:
    return f"from lossatlas.cli import atlas\natlas([*{words!r}, '--help'], standalone_mode=False)"


def test_importing_lossatlas_imports_none_of_its_libraries():
    assert imported("import lossatlas") == set()


def test_the_help_imports_none_of_the_libraries():
    assert imported(helped()) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_that_needs_no_network_imports_none_of_the_libraries(command):
    assert imported(helped(command)) == set()
