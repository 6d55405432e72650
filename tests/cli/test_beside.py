"""Is a reader told which file a settings file of another folder means?"""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from lossatlas.cli import atlas

NET = """
import torch
def model():
    torch.manual_seed(0)
    return torch.nn.Linear(4, {classes})
def data():
    return torch.ones(8, 4), torch.zeros(8, dtype=torch.long)
"""
SETTINGS = 'model = "net.py:model"\ndata = "net.py:data"\nloss = "cross_entropy"\nx = [-1, 1, 3]\nplan = "plain"\n'


@pytest.fixture
def folders(tmp_path, monkeypatch):
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    (there / "net.py").write_text(NET.format(classes=3))
    (there / "scan.toml").write_text(SETTINGS)
    monkeypatch.chdir(here)
    return there, here


def test_a_file_of_the_same_name_in_the_current_folder_is_pointed_at(folders):
    _, here = folders
    (here / "net.py").write_text(NET.format(classes=2))
    ran = CliRunner().invoke(atlas, ["sample", "--config", "../there/scan.toml"])
    assert ran.exit_code == 0, ran.output
    assert (
        ran.stderr.count(
            "note: net.py is taken from the current folder; ../there/scan.toml names it too, and there is another"
        )
        == 1
    )


def test_a_file_that_lies_beside_the_settings_alone_is_found_by_the_reader(folders):
    there, _ = folders
    ran = CliRunner().invoke(atlas, ["sample", "--config", "../there/scan.toml"])
    assert ran.exit_code == 2
    assert f"lies beside there/scan.toml, which names it: run the command from {there.name}" in ran.stderr.replace(
        "../", ""
    )


def test_nothing_is_said_where_the_settings_are_at_home_or_name_whole_paths(folders, monkeypatch):
    there, here = folders
    (here / "net.py").write_text(NET.format(classes=2))
    (there / "whole.toml").write_text(SETTINGS.replace("net.py", f"{there}/net.py"))
    assert "current folder" not in CliRunner().invoke(atlas, ["sample", "--config", "../there/whole.toml"]).output
    monkeypatch.chdir(there)
    assert "current folder" not in CliRunner().invoke(atlas, ["sample", "--config", "scan.toml"]).output
