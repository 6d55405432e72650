"""A study: linear regression is convex, so that no eigenvalue of its Hessian is negative."""

import math
from dataclasses import dataclass

import torch

import lossatlas as la
from lossatlas_studies.settings import about, work
from lossatlas_studies.study import Findings, Numbers, Study
from lossatlas_studies.verdicts import NOT_SEEN, SEEN, Verdict

CLAIM = "The smallest eigenvalue of the Hessian of linear regression is not negative"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set: fields, with their words for the page."""

    seeds: int = work(5, least=2, about="random weights")
    inputs: int = about(3, "inputs of the layer")


def smallest(inputs, seed):
    """The smallest eigenvalue at random weights."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(50, inputs, generator=generator), torch.randn(50, 1, generator=generator)
    objective = la.Objective(torch.nn.Linear(inputs, 1), (x, y), loss=torch.nn.functional.mse_loss)
    return {"lowest": float(la.eigenvalues(objective).values.min())}


def run(bench, settings):
    """Every stage is kept on the bench: a study that was stopped continues where it was."""
    found = []
    for seed in range(settings.seeds):
        key = {"inputs": settings.inputs, "seed": seed}
        stage = bench.stage("bowl", key, lambda folder, key=key: smallest(**key))
        found.append(stage.result["lowest"])
    word = SEEN if min(found) >= 0 else NOT_SEEN
    verdict = Verdict(
        claim=CLAIM,
        word=word,
        quantity="the smallest eigenvalue",
        estimate=min(found),
        low=math.nan,
        high=math.nan,
        n=f"{len(found)} seeds",
        how="the smallest over seeds",
        caveat="A theorem needs no experiment.",
    )
    rows = [{"seed": seed, "lowest": value} for seed, value in enumerate(found)]
    return Findings(verdicts=[verdict], tables=[Numbers(name="seeds", rows=rows, note="Smallest eigenvalue by seed.")])


STUDY = Study(
    name="linear-bowl",
    title="Is linear regression a bowl?",
    question="Does the Hessian of linear regression have a negative eigenvalue?",
    claim=CLAIM,
    source="any textbook",
    small=Settings(),
    paper=Settings(seeds=50),
    run=run,
)
