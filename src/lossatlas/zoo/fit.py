"""How is a small network trained in seconds? By Adam for a number of steps, with the result kept for reuse."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lossatlas.atomic import replacing
from lossatlas.errors import RunMismatchError, SpecError
from lossatlas.objective.batches import fingerprint
from lossatlas.objective.private import weights_fingerprint
from lossatlas.objective.randomness import seeded

__all__ = ["FORMAT", "STATE", "FitRecipe", "Loss", "fit", "reached"]

FORMAT = 1
STATE = "fitted.pt"

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class FitRecipe:
    """How to train.

    Attributes:
        steps: of a round, at most.
        lr: largest learning rate of Adam (Kingma and Ba 2015, arXiv 1412.6980), reached after a tenth of the steps and
            lowered to zero along half a cosine.
        batch_size: samples in a step.
        clip: largest norm of the gradient.
        until: stop once the mean loss of the last ``window`` steps is below this; 0 never stops.
        window: how many steps that mean is over.
        seed: of the order of the samples.
        rounds: how many rounds of as many steps there may be, each with the learning rate rising and falling again,
            until the loss is as low as asked for; without ``until`` there is one round.
    """

    steps: int = 1000
    lr: float = 3e-3
    batch_size: int = 32
    clip: float = 1.0
    until: float = 0.0
    window: int = 50
    seed: int = 0
    rounds: int = 1

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for two trainings to be the same."""
        return {name: value for name, value in asdict(self).items() if name != "rounds" or value != 1}

    @property
    def most(self) -> int:
        """The largest number of steps."""
        return self.steps * (self.rounds if self.until > 0 else 1)

    def lr_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0.

        Returns:
            The rate.

        Example:
            >>> [round(FitRecipe(steps=100, lr=1.0).lr_at(step), 3) for step in (0, 9, 55, 99)]
            [0.1, 1.0, 0.5, 0.0]
        """
        step %= self.steps
        warm = max(1, self.steps // 10)
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm))) / 2


def fit(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    loss: Loss,
    recipe: FitRecipe,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = True,
    name: str = "training",
) -> list[float]:
    """Train a network in place.

    Args:
        model: changed in place; left in evaluation mode.
        data: inputs [N, ...] and targets [N, ...].
        loss: ``(outputs, targets) -> scalar``.
        recipe: how.
        folder: where the trained weights are kept; the same call finds them there.
        progress: show a progress bar on stderr.
        name: what to call it there.

    Returns:
        The loss of every step.

    Raises:
        RunMismatchError: the folder holds another training.
        SpecError: the file in the folder is damaged.
    """
    path = None if folder is None else Path(folder) / STATE
    identity = {"model": weights_fingerprint(model), "data": fingerprint(list(data)).hex(), **recipe.identity}
    if path is not None and path.exists():
        return _found(path, identity, model)
    losses = _steps(model, data, loss, recipe, name, progress)
    if path is not None:
        _save(path, identity, model, losses)
    return losses


def reached(losses: Sequence[float], recipe: FitRecipe) -> bool:
    """Whether a training reached the loss that was asked for.

    Args:
        losses: of every step, as :func:`fit` returns them.
        recipe: of the training.

    Returns:
        Whether the mean of the last steps is below ``until``; true if nothing was asked for.

    Example:
        >>> reached([0.3, 0.1, 0.1], FitRecipe(until=0.15, window=2)), reached([0.2], FitRecipe(until=0.15, window=1))
        (True, False)
    """
    last = losses[-recipe.window :]
    return recipe.until <= 0 or (len(last) == recipe.window and sum(last) / len(last) < recipe.until)


def _steps(
    model: nn.Module, data: tuple[Tensor, Tensor], loss: Loss, recipe: FitRecipe, name: str, progress: bool
) -> list[float]:
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr)
    losses: list[float] = []
    with seeded(recipe.seed), tqdm(total=recipe.most, desc=name, unit="step", disable=not progress) as bar:
        for step in range(recipe.most):
            chosen = torch.randint(len(data[0]), (recipe.batch_size,))
            optimizer.param_groups[0]["lr"] = recipe.lr_at(step)
            optimizer.zero_grad()
            value = loss(model(data[0][chosen]), data[1][chosen])
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            losses.append(float(value.detach()))
            bar.update()
            if recipe.until > 0 and reached(losses, recipe):
                break
        bar.set_postfix(loss=f"{losses[-1]:.3g}")
    model.eval()
    return losses


def _save(path: Path, identity: Mapping[str, Any], model: nn.Module, losses: list[float]) -> None:
    """Write the result, whole or not at all; an existing file is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"format": FORMAT, "identity": dict(identity), "losses": losses, "model": model.state_dict()}
    with replacing(path) as scratch:
        torch.save(state, scratch)


def _found(path: Path, identity: Mapping[str, Any], model: nn.Module) -> list[float]:
    try:
        state = torch.load(path, weights_only=True)
        there, losses = state["identity"], [float(loss) for loss in state["losses"]]
    except Exception as fault:  # a damaged file can fail in any way
        raise SpecError(f"{path} is not the result of a training run ({fault}); choose another folder") from fault
    differing = [key for key in identity if there.get(key) != identity[key]]
    if differing:
        raise RunMismatchError(
            f"{path} belongs to another training: {', '.join(differing)} differ. Choose another folder, or delete it"
        )
    model.load_state_dict(state["model"])
    model.eval()
    return losses
