"""A trained language model of 260,032 parameters on one plane: loss, perplexity and greedy continuations.

The checkpoint ``stories260K.pt`` and the tokens come from karpathy/tinyllamas (MIT). Its tensors load as they are into
``lossatlas.zoo.model("decoder")``, and after a change of names and of the order of some rows into Hugging Face's
``LlamaForCausalLM``.

    python examples/stories260k.py FOLDER OUT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import lossatlas as la
from lossatlas.field.steps import CAVEAT, steps_of
from lossatlas.figure.plot import Mark, Panel, Plot, Series
from lossatlas.objective.generation import Continuation, cloze
from lossatlas.objective.language import cross_entropy
from lossatlas.space.charts import Recipe

BAND = "Bands: 95 % Clopper-Pearson intervals over the problems."

SIZE = {"vocabulary": 512, "dim": 64, "layers": 5, "heads": 8, "kv_heads": 4, "hidden": 172}

NAMES = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "wq": "self_attn.q_proj",
    "wk": "self_attn.k_proj",
    "wv": "self_attn.v_proj",
    "wo": "self_attn.o_proj",
    "w1": "mlp.gate_proj",
    "w2": "mlp.down_proj",
    "w3": "mlp.up_proj",
}
"""Names of tensors in Llama 2's own code, and in Hugging Face's."""


def converted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights, or a direction, of Llama 2's own layout in that of Hugging Face.

    Rotary angles turn adjacent pairs of numbers (0, 1), (2, 3) … here, and pairs (0, d/2), (1, d/2 + 1) … there, so the
    rows of queries and keys change their order within each head.
    """
    found = {}
    for name, tensor in tensors.items():
        if name in NAMES:
            found[NAMES[name]] = tensor
            continue
        _, layer, part, kind = name.split(".")
        heads = {"wq": SIZE["heads"], "wk": SIZE["kv_heads"]}.get(part)
        if heads:
            pairs = tensor.reshape(heads, -1, 2, tensor.shape[1])
            tensor = pairs.transpose(1, 2).reshape(tensor.shape)
        found[f"model.layers.{layer}.{NAMES[part]}.{kind}"] = tensor
    return found


def decoder(path: Path) -> nn.Module:
    """The checkpoint in the zoo's decoder."""
    model = la.zoo.model("decoder", **SIZE)
    la.load_checkpoint(model, path)
    return model.eval()


def hugging_face(path: Path) -> nn.Module:
    """The checkpoint in Hugging Face's Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=SIZE["vocabulary"],
        hidden_size=SIZE["dim"],
        num_hidden_layers=SIZE["layers"],
        num_attention_heads=SIZE["heads"],
        num_key_value_heads=SIZE["kv_heads"],
        intermediate_size=SIZE["hidden"],
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    state = converted(torch.load(path, weights_only=True))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert missing in ([], ["lm_head.weight"])  # tied to the embedding
    return model.eval()


def blocks(path: Path) -> tuple[Tensor, Tensor]:
    """64 blocks of 255 tokens of TinyStories, and the token after each."""
    tokens = torch.from_numpy(np.load(path)["blocks"].astype(np.int64))
    return tokens[:, :-1], tokens[:, 1:]


def measured(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    *,
    texts: tuple[Tensor, Tensor] | None = None,
    answer: int = 2,
    problems: int = 64,
) -> la.Objective:
    """Loss, perplexity, accuracy of the next token, and whether a greedy continuation is the text's own.

    Every block of ``texts`` (left out, of the data) gives prompts of 32 tokens; a continuation counts where its next
    ``answer`` tokens are exactly those of the text.
    """
    shown = data if texts is None else texts
    full = torch.cat([shown[0][:, :1], shown[1]], dim=1)
    starts = range(0, full.shape[1] - 32 - answer, 32)
    prompts, answers = cloze(
        torch.cat([full[:, s : s + 32 + answer] for s in starts])[:problems], prompt=32, answer=answer
    )
    return la.Objective(
        model,
        data,
        loss=cross_entropy,
        metrics={"perplexity": la.metrics.perplexity, "accuracy": la.metrics.token_accuracy},
        tasks={"greedy": Continuation(prompts, answers, scores=("exact", "match"), batch=problems)},
        name="260K language model",
        data_name="TinyStories",
    )


def along(objective: la.Objective, direction: dict[str, Tensor], label: str, far: float, run: Path) -> Any:
    """Everything on the line from the model along one direction, to so many multiples of it."""
    recipe = Recipe(labels={"x": label}, by="filter", still=("bias", "norm"))
    plane = la.Plane(objective.origin, {"x": direction}, recipe)
    return la.sample(objective, plane, la.Grid(x=(0, far, 25)), run=run)


def beside(lines: dict[str, Any]) -> Plot:
    """Loss, accuracy of the next token and exact continuations of several lines, side by side."""
    names = {
        "loss": "loss (nats per token)",
        "accuracy": "next token right (share)",
        "greedy_exact": "next 2 tokens both right (share)",
    }
    panels = []
    for value, words in names.items():
        series = []
        for label, line in lines.items():
            ends = {end: line[f"{value}_{end}"].values for end in ("low", "high") if f"{value}_{end}" in line}
            y = np.minimum(line[value].values, np.log(512)) if value == "loss" else line[value].values
            series.append(Series(x=line["x"].values, y=y, label=label, style="step" if ends else "line", **ends))
        marks = [Mark(y=float(np.log(512)), label="a guess")] if value == "loss" else []
        panels.append(
            Panel(
                series=series,
                x_label="multiple of the direction",
                y_label=words,
                marks=marks,
            )
        )
    found = {label: steps_of(line, "greedy_exact", limit=float(np.log(512))) for label, line in lines.items()}
    what = f"Three values along {len(lines)} directions"
    steps = [f"{label}: {one.words}." for label, one in found.items()]
    caption = [f"{what}; the loss up to that of a guess.", *steps, CAVEAT, BAND]
    return Plot(panels=panels, title="A language model of 260,032 parameters", caption=caption)


def together(landscape: Any) -> Any:
    """All values of the plane in one figure."""
    from matplotlib.figure import Figure

    page = Figure(figsize=(7.0, 6.4))
    scales = {"loss": "linear", "perplexity": "log", "accuracy": "linear", "greedy_exact": "linear"}
    for place, (value, scale) in zip(page.subfigures(2, 2).flat, scales.items(), strict=True):
        options = {"clip": None, "levels": 8, "labels": [value], "caption": "none"}
        la.plot(landscape, place, value=value, scale=scale, **options)
    return page


def main(folder: Path, out: Path) -> None:
    """Sample a plane and two lines, and draw every value from these runs."""
    x, y = blocks(folder / "tinystories_tokens.npz")
    model = decoder(folder / "stories260K.pt")
    objective = measured(model, (x[:6], y[:6]), problems=48)
    plane = la.Plane.random(objective, seed=0)
    landscape = la.sample(objective, plane, la.Grid(x=(-0.4, 0.4, 15), y=(-0.4, 0.4, 15)), run=out / "plane")
    together(landscape).savefig(out / "plane.png", dpi=150)
    la.draw(landscape, out / "index.html")
    print(steps_of(landscape, "greedy_exact", limit=float(np.log(512))).sentence)
    many = measured(model, (x[:8], y[:8]), texts=(x, y), problems=256)
    ways = {
        "random (most-case)": (la.directions.random(many, seed=0), 0.4),
        "worst found by ascent": (la.directions.worst(many, radius=0.1, steps=15), 0.08),
    }
    lines = {label: along(many, way, label, far, out / label.split()[0]) for label, (way, far) in ways.items()}
    la.draw(beside(lines), out / "lines.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
