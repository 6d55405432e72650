"""Are other people's checkpoints put in the order in which they were kept, and what is none left out and said?"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

import lossatlas as la


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor([value, value**2, 1.0])}


def folder_of(tmp_path, names, content=None):
    """Checkpoints whose weights tell their place in the true order: 0, 1, 2 …"""
    for place, name in enumerate(names):
        state = weights(float(place)) if content is None else {"state_dict": weights(float(place)), **content[place]}
        torch.save(state, tmp_path / name)
    return tmp_path


def opened(folder):
    path = la.Trajectory.open(folder)
    return [int(path.at(i)["w"][0]) for i in range(len(path))], [c.step for c in path.checkpoints], path


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["epoch_2.pth", "epoch_9.pth", "epoch_10.pth"], [2, 9, 10]),
        (["net18_9_0.97.pt", "net18_10_0.12.pt", "net18_11_0.5.pt"], [9, 10, 11]),
        (["epoch_9_acc_97.pt", "epoch_10_acc_12.pt"], [9, 10]),
        (["acc97_epoch9.pt", "acc12_epoch10.pt"], [9, 10]),
        (["epoch=0-step=90.ckpt", "epoch=1-step=180.ckpt", "epoch=10-step=1080.ckpt"], [90, 180, 1080]),
        (["e0_s50.pt", "e0_s100.pt", "e1_s50.pt", "e1_s100.pt"], [0, 1, 2, 3]),
        (["checkpoint_1_500.pt", "checkpoint_1_1000.pt", "checkpoint_2_1500.pt"], [500, 1000, 1500]),
        (["step-900.pt", "step-1k.pt", "step-2k.pt"], [900, 1000, 2000]),
        (["9000steps.pt", "10000steps.pt"], [9000, 10000]),
        (["3.pt", "20.pt", "100.pt"], [3, 20, 100]),
        (["best-epoch=3.ckpt", "best-epoch=12.ckpt"], [3, 12]),
    ],
)
def test_numbers_in_names_give_the_order(tmp_path, names, steps):
    order, found, _ = opened(folder_of(tmp_path, names))
    assert order == list(range(len(names)))
    assert found == steps


def test_a_recorded_step_counts_more_than_a_name(tmp_path):
    content = [{"epoch": 0, "global_step": torch.tensor(7)}, {"epoch": 1, "global_step": torch.tensor(30)}]
    order, steps, path = opened(folder_of(tmp_path, ["b_1.pt", "a_0.pt"], content))
    assert (order, steps) == ([0, 1], [7, 30])
    assert [c.epoch for c in path.checkpoints] == [0, 1]


def test_checkpoints_without_numbers_but_with_recorded_epochs_are_ordered(tmp_path):
    order, steps, _ = opened(folder_of(tmp_path, ["z.pt", "m.pt", "a.pt"], [{"epoch": 3 * i} for i in range(3)]))
    assert (order, steps) == ([0, 1, 2], [0, 3, 6])


@pytest.mark.parametrize("extra", ["best", "last", "final", "model_best", "ckpt-latest", "initial"])
@pytest.mark.parametrize("content", [None, {"epoch": 1}])
def test_names_without_numbers_are_left_out_and_said(tmp_path, extra, content):
    if extra == "initial" and content:
        pytest.skip("recorded: then it is a step like any other")
    names = [f"epoch_{i}.pth" for i in range(4)]
    folder_of(tmp_path, names, None if content is None else [{"epoch": i} for i in range(4)])
    torch.save({"state_dict": weights(9.0), **(content or {})}, tmp_path / f"{extra}.pth")
    with pytest.warns(UserWarning, match=f"left out of the path: {extra}.pth"):
        order, steps, path = opened(tmp_path)
    assert (order, steps) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert len(path.left_out) == 1


def test_copies_are_left_out_and_said(tmp_path):
    folder_of(tmp_path, [f"epoch_{i}.pth" for i in range(3)])
    torch.save(weights(1.0), tmp_path / "epoch_1 (1).pth")
    torch.save(weights(2.0), tmp_path / "epoch_2_best.pth")
    torch.save(weights(7.0), tmp_path / "epoch_2_ema.pth")
    save_file(weights(0.0), tmp_path / "epoch_0.safetensors")
    torch.save({"lr": 0.1}, tmp_path / "optimizer.pt")
    with pytest.warns(UserWarning, match="left out of the path"):
        order, _, path = opened(tmp_path)
    assert order == [0, 1, 2]
    said = " ".join(path.left_out)
    for words in (
        "epoch_1 (1).pth (a copy of epoch_1.pth)",
        "epoch_2_best.pth (a copy",
        "epoch_2_ema.pth (at the same",
    ):
        assert words in said
    assert "optimizer.pt (no weights)" in said


def test_what_has_no_order_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(la.SpecError, match="fewer than two checkpoints say when they were saved"):
        la.Trajectory.open(folder_of(tmp_path / "a", ["best.pt", "last.pt", "init.pt"]))
    (tmp_path / "b").mkdir()
    with pytest.raises(la.SpecError, match="two training runs in one folder"):
        la.Trajectory.open(folder_of(tmp_path / "b", ["fold1_epoch3.pt", "fold2_epoch3.pt", "fold1_epoch4.pt"]))
    (tmp_path / "c").mkdir()
    with pytest.raises(la.SpecError, match="counts epochs and step_500.pt steps"):
        la.Trajectory.open(folder_of(tmp_path / "c", ["epoch_1.pt", "step_500.pt", "epoch_2.pt"]))


def trainer_root(root, *, kind="model.safetensors"):
    for place, (step, epoch) in enumerate([(500, 0.37), (1000, 0.74), (10500, 7.8)]):
        folder = root / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if kind.endswith(".bin"):
            torch.save(weights(float(place)), folder / kind)
        elif kind == "shards":
            save_file({"w": weights(float(place))["w"]}, folder / "model-00001-of-00002.safetensors")
            save_file({"v": torch.ones(2) * place}, folder / "model-00002-of-00002.safetensors")
            index = {"w": "model-00001-of-00002.safetensors", "v": "model-00002-of-00002.safetensors"}
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
        else:
            save_file(weights(float(place)), folder / kind)
        torch.save({"state": {}}, folder / "optimizer.pt")
        log = [{"step": 1, "loss": 9.0}, {"step": step, "loss": 1.0 / step, "learning_rate": 0.1}]
        state = {"global_step": step, "epoch": epoch, "log_history": log}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    (root / "runs").mkdir()
    torch.save({"a": 1}, root / "training_args.bin")
    save_file(weights(2.0), root / "model.safetensors")
    return root


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin", "adapter_model.safetensors", "shards"])
def test_the_root_of_a_trainer_gives_its_checkpoints_with_steps_and_broken_epochs(tmp_path, kind):
    with pytest.warns(UserWarning, match="model.safetensors .beside the folders"):
        order, steps, path = opened(trainer_root(tmp_path / "out", kind=kind))
    assert (order, steps) == ([0, 1, 2], [500, 1000, 10500])
    assert [c.epoch for c in path.checkpoints] == [0.37, 0.74, 7.8]
    assert [c.loss for c in path.checkpoints] == [1 / 500, 1 / 1000, 1 / 10500]
    assert path.checkpoints[0].lr == 0.1


def test_an_index_that_leads_elsewhere_is_refused(tmp_path):
    trainer_root(tmp_path / "out", kind="shards")
    index = tmp_path / "out" / "checkpoint-500" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "../../secret.safetensors"}}))
    with pytest.raises(la.SpecError, match="outside of its folder"):
        la.Trajectory.open(tmp_path / "out")


def test_the_command_says_what_was_left_out(tmp_path):
    folder_of(tmp_path, [f"epoch_{i}.pth" for i in range(4)])
    torch.save(weights(3.0), tmp_path / "best.pth")
    command = [sys.executable, "-m", "lossatlas", "trajectory", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "path: 4 checkpoints, step 0 to 3" in done.stdout
    assert "left out: best.pth (its name has no number)" in done.stdout
