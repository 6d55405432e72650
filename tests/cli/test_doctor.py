"""Does the doctor see what is there, and notice what is broken?"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys

import pytest
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas, doctor


def test_the_doctor_names_versions_devices_and_extras_and_all_is_well():
    result = CliRunner().invoke(atlas, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["environment"]["torch"] == __import__("importlib.metadata").metadata.version("torch")
    assert "cpu" in found["devices"]
    assert found["extras"]["draw"].startswith("matplotlib ")
    assert found["self-test"]["a surface on cpu"].startswith("ok")
    assert found["self-test"]["a picture .svg"].startswith("ok")


@pytest.mark.parametrize("broken", ["values", "pictures"])
def test_the_doctor_notices_what_is_broken(monkeypatch, broken):
    monkeypatch.setattr(doctor, "_fault", lambda *_: "")  # of the extras, which have tests of their own
    if broken == "values":
        right = la.sample

        def wrong(objective, plane, grid, **options):
            bent = la.Plane(objective.origin, {"x": plane.directions["y"], "y": plane.directions["x"]})
            return right(objective, bent, grid, **options)

        monkeypatch.setattr(la, "sample", wrong)
    else:
        monkeypatch.setattr(la, "draw", lambda *_, **__: 1 / 0)
    result = CliRunner().invoke(atlas, ["doctor"])
    assert result.exit_code == 1
    expected = "a surface on cpu" if broken == "values" else "a picture .png"
    assert f"the self-test failed: {expected}" in result.stderr
    assert ("wrong by" if broken == "values" else "ZeroDivisionError") in result.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("raise RuntimeError('operator torchvision::nms does not exist')", "RuntimeError: operator torchvision::nms"),
        ("import os; os._exit(139)", "seeing crashes Python when it is imported (exit status 139)"),
        ("", ""),
    ],
)
def test_an_extra_whose_library_cannot_be_imported_is_broken(content, said, tmp_path, monkeypatch):
    (tmp_path / "seeing").mkdir()
    (tmp_path / "seeing" / "__init__.py").write_text(content)
    about = tmp_path / "seeing-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: seeing\nVersion: 1.0\n")
    (about / "top_level.txt").write_text("seeing\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["seeing>=1; extra == 'vision'"])
    found = doctor._extras()["vision"]
    assert found.startswith("broken: seeing") if said else found == "seeing 1.0"
    assert said in found


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(doctor, "_fault", lambda *_: "")
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name == "matplotlib" else known(name))
    assert doctor._extras()["draw"] == "matplotlib missing: pip install 'lossatlas[draw]'"


def test_the_package_and_its_help_import_nothing_heavy():
    """Measured by what is imported, since seconds depend on the machine."""
    import subprocess
    import sys

    heavy = ("torch", "numpy", "xarray", "matplotlib", "scipy", "h5py", "pandas")
    told = f"import sys; print(*sorted(m for m in sys.modules if m.partition('.')[0] in {heavy}))"
    for program in ("import lossatlas", "from lossatlas.cli import atlas; atlas(['--help'], standalone_mode=False)"):
        done = subprocess.run([sys.executable, "-c", f"{program}; {told}"], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "", program
