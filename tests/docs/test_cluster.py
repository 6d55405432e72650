"""Do the files of "On a cluster" work, as far as one machine goes?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import lossatlas as la
from lossatlas.cli import atlas
from lossatlas.objective.language import cross_entropy
from lossatlas.sampling.workers.named import NAMES, named
from lossatlas.sampling.workers.submitit_jobs import _read

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def prepare() -> None:
    Path("scan.toml").write_text(blocks("toml")[0])
    torch.manual_seed(0)
    torch.save(la.zoo.model("mlp").state_dict(), "mlp.pt")


def run(*words: str) -> str:
    done = CliRunner().invoke(atlas, list(words))
    assert done.exit_code == 0, done.output
    return done.output


def test_the_array_of_shards_makes_the_run_of_one_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare()
    (script,) = [block for block in blocks("bash") if "#SBATCH" in block]
    jobs = int(re.search(r"--array=1-(\d+)", script)[1])
    command = script.strip().splitlines()[-1].replace(" --device cuda", "").split()
    assert command[0] == "lossatlas"
    for job in range(1, jobs + 1):
        run(*(word.strip('"').replace("$SLURM_ARRAY_TASK_ID", str(job)) for word in command[1:]))
    run("sample", "--config", "scan.toml", "--run", "runs/whole")
    assert la.open("runs/a")["loss"].values.tobytes() == la.open("runs/whole")["loss"].values.tobytes()
    assert "81 points" in run("merge", "runs/a")


@pytest.mark.slow
def test_the_file_for_groups_of_ranks_makes_a_run(tmp_path):
    (script,) = [block for block in re.split("^```.*$", PAGE, flags=re.MULTILINE) if "GROUP = 2" in block]
    (tmp_path / "groups.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4", "groups.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = la.open(tmp_path / "runs" / "groups")
    tokens = torch.randint(64, (4, 17), generator=torch.Generator().manual_seed(0))
    model = la.zoo.model("decoder", seed=0, vocabulary=64, dim=32)
    objective = la.Objective(model, (tokens[:, :-1], tokens[:, 1:]), loss=cross_entropy)
    truth = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 5), y=(-1, 1, 5)))
    np.testing.assert_allclose(found["loss"], truth["loss"], rtol=2e-6)


def test_the_names_of_the_page_are_executors():
    told = re.findall(r"--executor (\S+)", PAGE)
    assert {text.partition(":")[0].strip("`") for text in told} >= set(NAMES) - {"serial"}
    for text in told:
        if not text.startswith("submitit"):
            named(text.strip("`.,"))


def test_the_file_for_submitit_is_understood(tmp_path):
    text = blocks("toml")[1]
    (tmp_path / "slurm.toml").write_text(text)
    assert _read(tmp_path / "slurm.toml").jobs == tomllib.loads(text)["jobs"] == 8


SLURM = {
    "sbatch": 'cp "$1" "$HOME/job-$$.sh"\nsetsid bash "$HOME/job-$$.sh" >"$HOME/job-$$.txt" 2>&1 &\n'
    'echo "$!" >>"$HOME/jobs"\necho "Submitted batch job $!"\n',
    "scancel": 'for job in "$@"; do kill -- "-$job"; done 2>/dev/null\n',
}
"""A stand-in for Slurm that starts each job on this machine at once, in a process group of its own."""


@pytest.mark.slow
def test_the_file_for_dask_jobqueue_makes_a_run_by_jobs_that_it_submits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare()
    for command, lines in SLURM.items():
        (tmp_path / command).write_text(f"#!/bin/bash\n{lines}")
        (tmp_path / command).chmod(0o755)
    (script,) = [block for block in re.split("^```.*$", PAGE, flags=re.MULTILINE) if "import SLURMCluster" in block]
    assert "scale(jobs=8)" in script
    (tmp_path / "scan_slurm.py").write_text(script.replace("scale(jobs=8)", "scale(jobs=2)").replace("1, 51)", "1, 9)"))
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    command = [sys.executable, "scan_slurm.py"]
    try:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    finally:
        jobs = (tmp_path / "jobs").read_text().split()
        subprocess.run(["bash", tmp_path / "scancel", *jobs], check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(jobs) == 2
    assert all("#SBATCH --mem=8G" in file.read_text() for file in tmp_path.glob("job-*.sh"))
    model = la.zoo.model("mlp")
    la.load_checkpoint(model, "mlp.pt")
    objective = la.Objective(model, la.zoo.data("digits"), loss=torch.nn.functional.cross_entropy)
    truth = la.sample(objective, la.Plane.random(objective, seed=0), la.Grid(x=(-1, 1, 9), y=(-1, 1, 9)))
    assert la.open("runs/a")["loss"].values.tobytes() == truth["loss"].values.tobytes()


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun here: apt-get install openmpi-bin libopenmpi-dev")
def test_the_command_for_mpi_makes_the_run_of_one_process(tmp_path, monkeypatch):
    pytest.importorskip("mpi4py", reason="pip install 'lossatlas[mpi]'")
    monkeypatch.chdir(tmp_path)
    prepare()
    (line,) = [block for block in blocks("bash") if block.startswith("mpirun -n 5 python ")]
    words = line.replace("mpirun -n 5 python", f"mpirun --oversubscribe -n 3 {sys.executable}").split()
    environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    run("sample", "--config", "scan.toml", "--run", "runs/whole")
    assert la.open("runs/a")["loss"].values.tobytes() == la.open("runs/whole")["loss"].values.tobytes()


def test_the_file_for_kubernetes_is_yaml():
    yaml = pytest.importorskip("yaml", reason="comes with dask")
    (text,) = blocks("yaml")
    kinds = [part["kind"] for part in yaml.safe_load_all(text)]
    assert kinds == ["Service", "Deployment", "Deployment"]


def test_workers_that_are_started_by_hand_are_reached_by_address(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="pip install 'lossatlas[dask]'")
    monkeypatch.chdir(tmp_path)
    prepare()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    begin = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--host", "127.0.0.1"]
    scheduler = subprocess.Popen([*begin, "--port", "0", "--scheduler-file", "where.json"], **quiet)
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", "where.json", "--nthreads", "1",
         "--no-dashboard", "--no-nanny"], **quiet
    )  # fmt: skip
    try:
        address = _address(tmp_path / "where.json")
        run("sample", "--config", "scan.toml", "--executor", f"dask://{address}")
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
    run("sample", "--config", "scan.toml", "--run", "runs/whole")
    assert la.open("runs/a")["loss"].values.tobytes() == la.open("runs/whole")["loss"].values.tobytes()


def _address(where: Path) -> str:
    import json
    import time

    for _ in range(1200):
        if where.is_file() and where.stat().st_size:
            return json.loads(where.read_text())["address"].removeprefix("tcp://")
        time.sleep(0.1)
    raise AssertionError("no scheduler within two minutes")
