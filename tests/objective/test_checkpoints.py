"""Do checkpoints load safely, whole or not at all, whatever their wrapping?"""

from __future__ import annotations

import copy
import json
import pickle
import re
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lossatlas import SpecError, load_checkpoint
from lossatlas.objective.checkpoints import load_state, read_checkpoint


def net(width: int = 5) -> nn.Module:
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPINGS = {
    "plain": (lambda s: s, ""),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3}, ""),
    "model": (lambda s: {"model": s, "optimizer": {"state": {}, "lr": torch.zeros(1)}}, ""),
    "model_state_dict": (lambda s: {"model_state_dict": s}, ""),
    "lightning": (lambda s: {"state_dict": prefixed("model.", s), "pytorch-lightning_version": "2"}, "model."),
    "data parallel": (lambda s: prefixed("module.", s), "module."),
    "compiled": (lambda s: prefixed("_orig_mod.", s), "_orig_mod."),
    "compiled in parallel": (lambda s: {"model": prefixed("module._orig_mod.", s)}, "module._orig_mod."),
    "averaged weights beside those of the optimizer": (
        lambda s: {"swa": {"shadow": s}, "optimizer": {"state": {0: {"exp_avg": torch.ones(5, 3)}}}},
        "",
    ),
    "a list": (lambda s: [s, 0.9], ""),
    "fabric": (lambda s: {"app": prefixed("_forward_module.", s)}, "_forward_module."),
    "fsdp, layer by layer": (
        lambda s: {f"_fsdp_wrapped_module.{n.replace('.', '._fsdp_wrapped_module.', 1)}": t for n, t in s.items()},
        "_fsdp_wrapped_module.",
    ),
    "compiled layer by layer": (lambda s: {n.replace(".", "._orig_mod.", 1): t for n, t in s.items()}, ""),
    "a part in parallel": (lambda s: {n.replace(".", ".module.", 1): t for n, t in s.items()}, ""),
    "a policy": (lambda s: {"policy": prefixed("actor.body.", s), "epoch": torch.tensor(3)}, "actor.body."),
    "a counter at the top": (lambda s: {**s, "global_step": torch.tensor(7)}, ""),
    "a measure inside": (lambda s: prefixed("model.", s) | {"train_loss_fn.weight": torch.ones(2)}, "model."),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", WRAPPINGS)
def test_every_wrapping_is_taken_off(case, tmp_path):
    wrap, prefix = WRAPPINGS[case]
    source, target = net(), net()
    torch.save(wrap(source.state_dict()), tmp_path / "a.pt")
    assert load_checkpoint(target, tmp_path / "a.pt").prefix == prefix
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )


def test_a_model_whose_own_names_begin_with_a_prefix():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = net()

    source, target = Wrapped(), Wrapped()
    assert load_state(target, source.state_dict(), source=Path("a")).prefix == ""
    assert load_state(target, prefixed("module.", source.state_dict()), source=Path("a")).prefix == "module."


def test_safetensors_and_folders_of_shards(tmp_path):
    source, target = net(), net()
    state = source.state_dict()
    save_file(state, tmp_path / "model.safetensors")
    load_checkpoint(target, tmp_path / "model.safetensors")
    assert torch.equal(source[0].weight, target[0].weight)
    load_checkpoint(net(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    names = list(state)
    for part, chosen in (("a", names[:3]), ("b", names[3:])):
        save_file({name: state[name] for name in chosen}, tmp_path / f"{part}.safetensors")
    where = {name: ("a" if name in names[:3] else "b") + ".safetensors" for name in names}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    target = net()
    load_checkpoint(target, tmp_path)
    assert torch.equal(source[2].bias, target[2].bias)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path):
    (tmp_path / "model").mkdir()
    save_file({"secret": torch.ones(1)}, tmp_path / "secret.safetensors")
    index = {"weight_map": {"secret": "../secret.safetensors"}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SpecError, match="names a file outside of its folder"):
        read_checkpoint(tmp_path / "model")


def test_old_files_without_batch_counters_load(tmp_path):
    state = {name: t for name, t in net().state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "a.pt")
    assert load_checkpoint(net(), tmp_path / "a.pt").absent == ("1.num_batches_tracked",)


def test_another_architecture_is_named_tensor_by_tensor_and_nothing_is_loaded(tmp_path):
    torch.save({**net(7).state_dict(), "extra": torch.ones(1)}, tmp_path / "a.pt")
    model = net()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    message = r"another architecture than Sequential: 1 is unexpected \(extra\); 7 have another shape \(0.weight \(7, 3\) instead"
    with pytest.raises(SpecError, match=message):
        load_checkpoint(model, tmp_path / "a.pt")
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    torch.save({"1.weight": torch.ones(5)}, tmp_path / "b.pt")
    with pytest.raises(SpecError, match=r"7 of 9 tensors are missing \(0.weight, 0.bias, 1.bias …\)"):
        load_checkpoint(model, tmp_path / "b.pt")
    torch.save({**net().state_dict(), "extra": torch.ones(1)}, tmp_path / "c.pt")
    assert load_checkpoint(model, tmp_path / "c.pt", strict=False).ignored == ("extra",)


class Malicious:
    ran: list[int] = []

    def __reduce__(self):
        return (exec, ("import test_checkpoints_ran",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, writer, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "test_checkpoints_ran.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    content = {"weight": torch.ones(1), "evil": Malicious()}
    if writer == "torch":
        torch.save(content, tmp_path / "a.pt")
    else:
        (tmp_path / "a.pt").write_bytes(pickle.dumps({"evil": Malicious()}))
    with pytest.raises(
        SpecError, match=r"would run code from the file.*only if you trust the file.*--trust-pickle"
    ) as refused:
        read_checkpoint(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()
    told = str(refused.value)
    assert re.search({"torch": r"it asks for (\w+\.)?exec\b", "pickle": "Unsupported operand"}[writer], told)
    assert "issue" not in told, "torch's own advice does not solve it"
    assert "weights_only" not in told
    if writer == "torch":
        assert list(read_checkpoint(tmp_path / "a.pt", trust_pickle=True)) == ["weight"]
        assert (tmp_path / "ran").exists()


def test_a_whole_pickled_model_needs_trust(tmp_path):
    source, target = net(), net()
    torch.save(source, tmp_path / "a.pt")
    with pytest.raises(SpecError, match="trust_pickle=True"):
        load_checkpoint(target, tmp_path / "a.pt")
    load_checkpoint(target, tmp_path / "a.pt", trust_pickle=True)
    assert torch.equal(source[0].weight, target[0].weight)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("kept", [0, 10, 200, -50])
def test_truncated_files_are_named(tmp_path, name, kept):
    state = net().state_dict()
    path = tmp_path / name
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SpecError, match=rf"{name} {'cannot be read.*truncated' if kept else 'is empty'}"):
        load_checkpoint(net(), path)


def test_files_without_tensors_and_missing_files_are_named(tmp_path):
    with pytest.raises(SpecError, match="none.pt: no such file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(SpecError, match="is a folder without model.safetensors"):
        read_checkpoint(tmp_path)
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(SpecError, match=r"has no tensors: it holds the keys \['epoch'\]"):
        read_checkpoint(tmp_path / "a.pt")
    torch.save([1, 2], tmp_path / "b.pt")
    with pytest.raises(SpecError, match="it holds a list"):
        read_checkpoint(tmp_path / "b.pt")


def test_averaged_weights_from_torch_itself_are_found(tmp_path):
    source, target = net(), net()
    torch.save(torch.optim.swa_utils.AveragedModel(source).state_dict(), tmp_path / "a.pt")
    assert load_checkpoint(target, tmp_path / "a.pt").prefix == "module."
    assert torch.equal(source[2].weight, target[2].weight)


def test_a_model_saved_twice_is_loaded_by_the_key_that_is_named_and_never_guessed(tmp_path):
    last, average, model = net().state_dict(), net().state_dict(), net()
    torch.save({"state_dict": last, "state_dict_ema": prefixed("module.", average)}, tmp_path / "a.pt")
    with pytest.raises(
        SpecError, match=r"2 times, with different values: key='state_dict'; key='state_dict_ema' prefix="
    ):
        load_checkpoint(model, tmp_path / "a.pt")
    assert load_checkpoint(model, tmp_path / "a.pt", key="state_dict_ema").key == "state_dict_ema"
    assert torch.equal(model[0].weight, average["0.weight"])
    torch.save({"q": last, "k": last}, tmp_path / "b.pt")
    assert load_checkpoint(model, tmp_path / "b.pt").key == "q"
    torch.save(prefixed("encoder_q.", last) | prefixed("encoder_k.", average), tmp_path / "c.pt")
    with pytest.raises(SpecError, match="prefix='encoder_q.'; key='' prefix='encoder_k.'"):
        load_checkpoint(model, tmp_path / "c.pt")
    with pytest.warns(UserWarning, match="tensors beside the model's were left out"):
        load_checkpoint(model, tmp_path / "c.pt", prefix="encoder_k")
    assert torch.equal(model[0].weight, average["0.weight"])
    with pytest.raises(
        SpecError, match="key='ema': nothing is under it in .* which has the keys state_dict, state_dict_ema"
    ):
        load_checkpoint(model, tmp_path / "a.pt", key="ema")
    with pytest.raises(SpecError, match=r"prefix='teacher.': it precedes no name of the model.*encoder_q"):
        load_checkpoint(model, tmp_path / "c.pt", prefix="teacher.")


def test_dictionaries_of_parts_are_one_model():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = net(), nn.Linear(2, 2)

    source, target = Two(), Two()
    parts = {"backbone": source.backbone.state_dict(), "head": source.head.state_dict(), "optim": {"lr": torch.ones(1)}}
    load_state(target, parts, source=Path("a"))
    assert torch.equal(source.head.weight, target.head.weight)
    assert torch.equal(source.backbone[0].weight, target.backbone[0].weight)


def test_a_network_within_the_model_is_filled_from_a_file_of_the_network_alone():
    class Lit(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.ModuleDict({"net": net()})

    source, target = net(), Lit()
    load_state(target, source.state_dict(), source=Path("a"))
    assert torch.equal(source[0].weight, target.model["net"][0].weight)


def test_an_encoder_is_found_beside_its_projector_and_what_is_left_out_is_said(tmp_path):
    source, target = net(), net()
    torch.save({**prefixed("encoder.", source.state_dict()), "projector.weight": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.warns(UserWarning, match=r"1 tensor beside the model's was left out \(projector.weight\)"):
        loaded = load_checkpoint(target, tmp_path / "a.pt")
    assert (loaded.prefix, loaded.ignored) == ("encoder.", ("projector.weight",))
    assert torch.equal(source[0].weight, target[0].weight)


def test_a_layer_of_a_larger_network_is_not_taken_for_the_model(tmp_path):
    torch.save(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)).state_dict(), tmp_path / "a.pt")
    with pytest.raises(
        SpecError,
        match=r"has all tensors of Linear, plus 2 for which .* \(1.weight, 1.bias\): these are the weights of another",
    ):
        load_checkpoint(nn.Linear(3, 5), tmp_path / "a.pt")
    load_checkpoint(nn.Linear(3, 5), tmp_path / "a.pt", prefix="0.")


def test_a_larger_network_is_refused_for_that_reason(tmp_path):
    deeper = nn.Sequential(*net(), nn.Linear(2, 2))
    torch.save({"state_dict": deeper.state_dict()}, tmp_path / "a.pt")
    with pytest.raises(SpecError, match=r"has all tensors of Sequential, plus 2 for which .* no place \(3.weight"):
        load_checkpoint(net(), tmp_path / "a.pt")
    model = net()
    assert load_checkpoint(model, tmp_path / "a.pt", partial=True).ignored == ("3.weight", "3.bias")
    assert torch.equal(model[0].weight, deeper[0].weight)


def test_partial_loads_what_fits_and_says_what_did_not(tmp_path):
    source, target = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7)), nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    kept = target[1].weight.detach().clone()
    torch.save(source.state_dict(), tmp_path / "a.pt")
    with pytest.raises(SpecError, match=r"2 have another shape.*partial=True \(--partial\) loads what fits"):
        load_checkpoint(target, tmp_path / "a.pt")
    loaded = load_checkpoint(target, tmp_path / "a.pt", partial=True)
    assert (loaded.tensors, loaded.absent) == (2, ("1.weight", "1.bias"))
    assert "2 of the model's not in the file (1.weight, 1.bias)" in loaded.words()
    assert torch.equal(source[0].weight, target[0].weight)
    assert torch.equal(kept, target[1].weight)
    with pytest.raises(
        SpecError, match=r"has none of the names of Conv2d: its own are weight, bias; those of the file"
    ):
        torch.save({"kernel": torch.ones(2)}, tmp_path / "b.pt")
        load_checkpoint(nn.Conv2d(1, 1, 1), tmp_path / "b.pt", partial=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: (t * 50).to(torch.int8),
            "'0.weight' is int8, and Sequential has it as float32: integers in place",
        ),
        (lambda t: t > 0, "'0.weight' is bool, and Sequential has it as float32: integers"),
        (lambda t: t.to(torch.cfloat), "'0.weight' is complex64, and Sequential has it as float32, without imaginary"),
        (
            lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
            "'0.weight' is qint8, and Sequential has it as float32: integers",
        ),
    ],
)
@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_what_has_no_room_in_the_weights_is_never_loaded(change, message, partial):
    model = net()
    before = copy.deepcopy(model.state_dict())
    state = {n: change(t) if n == "0.weight" else t for n, t in net().state_dict().items()}
    with pytest.raises(SpecError, match=message):
        load_state(model, state, source=Path("a"), partial=partial)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_a_counter_saved_as_a_float_is_taken_if_it_is_whole():
    state = net().state_dict()
    load_state(net(), {n: t.float() for n, t in state.items()}, source=Path("a"))
    with pytest.raises(SpecError, match="'1.num_batches_tracked' is float32 with fractions"):
        load_state(net(), {**state, "1.num_batches_tracked": torch.tensor(0.5)}, source=Path("a"))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(7, 3), nn.Linear(3, 7, bias=False)
        self.head.weight = self.embed.weight


def test_tied_weights_need_to_be_there_once_and_must_agree():
    for name in ("embed.weight", "head.weight"):
        model = Tied()
        loaded = load_state(model, {name: torch.ones(7, 3)}, source=Path("a"))
        assert bool((model.head.weight == 1).all())
        assert loaded.absent == tuple({"embed.weight", "head.weight"} - {name})
    model, before = Tied(), None
    before = model.head.weight.detach().clone()
    with pytest.raises(SpecError, match=r"ties 'head.weight' to 'embed.weight', but the file has different values"):
        load_state(model, {"embed.weight": torch.ones(7, 3), "head.weight": torch.zeros(7, 3)}, source=Path("a"))
    assert torch.equal(before, model.head.weight)


def test_folders_of_torch_shards_by_index_and_by_number(tmp_path):
    source = net()
    names = list(source.state_dict())
    parts = [{n: source.state_dict()[n] for n in chosen} for chosen in (names[:3], names[3:])]
    files = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    for part, file in zip(parts, files, strict=True):
        torch.save(part, tmp_path / file)
    for _ in range(2):
        target = net()
        load_checkpoint(target, tmp_path)
        assert torch.equal(source[2].bias, target[2].bias)
        where = {n: file for part, file in zip(parts, files, strict=True) for n in part}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    (tmp_path / "pytorch_model.bin.index.json").unlink()
    (tmp_path / files[1]).unlink()
    with pytest.raises(SpecError, match="part 2 of 2 is missing"):
        load_checkpoint(net(), tmp_path)


def test_folders_that_cannot_be_read_say_what_they_are(tmp_path):
    (tmp_path / "__0_0.distcp").write_bytes(b"")
    with pytest.raises(SpecError, match="torch.distributed.checkpoint, in shards"):
        load_checkpoint(net(), tmp_path)
    (tmp_path / "__0_0.distcp").rename(tmp_path / "epoch3.pt")
    with pytest.raises(SpecError, match="name the file itself; it has epoch3.pt"):
        load_checkpoint(net(), tmp_path)


def test_a_wrapped_model_is_filled_from_a_plain_file_and_the_other_way_round(tmp_path):
    source = net()
    for wrap in (nn.DataParallel, torch.optim.swa_utils.AveragedModel, lambda m: torch.compile(m, backend="eager")):
        target = net()
        load_state(wrap(target), source.state_dict(), source=Path("a"))
        again = net()
        load_state(again, wrap(source).state_dict(), source=Path("a"))
        if wrap is not torch.optim.swa_utils.AveragedModel:  # which copies
            assert torch.equal(source[0].weight, target[0].weight)
        assert torch.equal(source[0].weight, again[0].weight)


def test_a_module_saved_within_a_dictionary_needs_trust_and_its_code(tmp_path, monkeypatch):
    source, target = net(), net()
    torch.save({"model": source, "ema": None}, tmp_path / "a.pt")
    with pytest.raises(SpecError, match="trust_pickle=True"):
        load_checkpoint(target, tmp_path / "a.pt")
    load_checkpoint(target, tmp_path / "a.pt", trust_pickle=True)
    assert torch.equal(source[0].weight, target[0].weight)
    gone = types.ModuleType("gone_with_the_code")
    exec("from torch import nn\nclass Net(nn.Module): pass", gone.__dict__)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "gone_with_the_code", gone)
        gone.Net.__module__ = "gone_with_the_code"
        torch.save(gone.Net(), tmp_path / "b.pt")
    with pytest.raises(SpecError, match=r"needs code that is not here \(No module named 'gone_with_the_code'\)"):
        load_checkpoint(target, tmp_path / "b.pt", trust_pickle=True)


def test_without_a_model_the_weights_are_the_largest_dictionary_that_is_no_training_state(tmp_path):
    state = {"weight": torch.ones(1), "bias": torch.ones(1)}
    moments = {"exp_avg": torch.ones(1), "exp_avg_sq": torch.ones(1), "step": torch.ones(1)}
    torch.save({"params_ema": state, "optimizer": {"state": {0: moments}}}, tmp_path / "a.pt")
    assert list(read_checkpoint(tmp_path / "a.pt")) == ["weight", "bias"]
    torch.save({"params": state, "params_ema": state}, tmp_path / "b.pt")
    with pytest.raises(SpecError, match="weights under several keys, 'params', 'params_ema'; choose one with"):
        read_checkpoint(tmp_path / "b.pt")
    assert list(read_checkpoint(tmp_path / "b.pt", key="params")) == ["weight", "bias"]


def test_a_sketch_without_memory_is_not_called_loaded():
    with pytest.raises(SpecError, match="is only a sketch: '0.weight' is on the meta device"):
        load_state(net().to("meta"), net().state_dict(), source=Path("a"))


def test_arrays_of_numpy_load_where_the_file_is_trusted(tmp_path):
    source, target = net(), net()
    torch.save({"params": {name: t.numpy() for name, t in source.state_dict().items()}}, tmp_path / "a.pt")
    with pytest.raises(SpecError, match="trust_pickle=True"):
        load_checkpoint(target, tmp_path / "a.pt")
    load_checkpoint(target, tmp_path / "a.pt", trust_pickle=True)
    assert torch.equal(source[0].weight, target[0].weight)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"epoch 1, loss 0.3\nepoch 2, loss 0.2\n", "a text, not a checkpoint; it begins with 'epoch 1, loss 0.3'"),
        (b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>", "a web page, not a checkpoint"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
            "a pointer of Git LFS.*git lfs pull",
        ),
        (b"\x1f\x8b\x08\x00" + bytes(range(200)), "compressed with gzip"),
        (b"", "empty; was it still being written"),
        (b"\x93\x01 damaged" + bytes(range(256)), "cannot be read"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_called_what_it_is(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=said):
        load_checkpoint(nn.Linear(2, 2), tmp_path / name)
