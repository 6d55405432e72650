"""Study: does an early look at the landscape show which architecture will be good, and does a search gain from it?"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossatlas.errors import SpecError, unknown
from lossatlas.zoo.train import Augment, TrainRecipe
from lossatlas_studies import search_charts
from lossatlas_studies.comparisons import agreement, better
from lossatlas_studies.halving import WAYS, Pool, Searches, SearchWay, better_search, rungs, searches
from lossatlas_studies.images import Row
from lossatlas_studies.networks import DATA
from lossatlas_studies.proxies import BASELINES, BY_NAME, LANDSCAPES, Predictor, Scan, before_training, scanned
from lossatlas_studies.search_space import Design, space
from lossatlas_studies.search_training import Split, split, tried
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Findings, Study
from lossatlas_studies.verdicts import CANNOT_TELL, NOT_SEEN, SEEN, Verdict, Word


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    data: str = about("digits", DATA)
    train_samples: int = work(300, least=100, about="training samples, from the first on")
    validation: int = work(300, least=50, about="number of samples that a search may use, the ones after those")
    test_samples: int = work(1197, least=100, about="samples behind the final test error")
    nets: int = work(72, least=8, about="networks from the space, drawn at random if it holds more")
    depths: tuple[int, ...] = about((3, 9), "layers after the first one")
    widths: tuple[int, ...] = about((8, 16), "channels of every layer")
    activations: tuple[str, ...] = about(("relu", "tanh", "gelu"), "any of relu, tanh and gelu")
    norms: tuple[str, ...] = about(("none", "batch", "group"), "any of none, batch and group")
    epochs: int = work(60, least=2, about="of the full training")
    early: int = work(6, least=1, about="epochs after which landscape, training and validation loss are taken")
    lr: float = about(3e-3, "learning rate of Adam, a tenth after 60 and 85 % of the epochs")
    batch_size: int = about(25, "samples in a batch")
    augment: Augment = about("none", "none, crop or crop-flip")
    measure: str = about("radius", f"of the landscape, for the first verdict and the searches: {', '.join(LANDSCAPES)}")
    scan_samples: int = work(100, least=16, about="training samples behind each value of the landscape")
    rise: float = about(0.2, "rise of the loss at which the radius ends")
    directions: int = work(3, least=1, about="random directions for the radius")
    products: int = work(30, least=4, about="Hessian-vector products at most for λmax")
    points: int = work(7, least=5, power=0.5, about="along each axis of the plane")
    span: float = about(0.5, "extent of the plane, plus and minus this multiple of its filter-normalised directions")
    matched: float = about(0.1, "training loss at the end above which a network counts as not trained")
    candidates: int = about(16, "networks that a search begins with, at most half of all")
    searches: int = work(2000, least=20, about="searches, each on other networks in another order")

    @property
    def recipe(self) -> TrainRecipe:
        """How all networks are trained."""
        return TrainRecipe(
            epochs=self.epochs, lr=self.lr, batch_size=self.batch_size, augment=self.augment,
            optimizer="adam", weight_decay=0.0, drops=(0.6, 0.85),
        )  # fmt: skip

    @property
    def scan(self) -> Scan:
        """How each landscape is measured."""
        return Scan(
            samples=self.scan_samples, rise=self.rise, directions=self.directions, points=self.points, span=self.span,
            products=self.products,
        )  # fmt: skip

    @property
    def designs(self) -> list[Design]:
        """The networks."""
        return space(self.depths, self.widths, self.activations, self.norms, count=self.nets)

    def load(self, device: str) -> Split:
        """The data."""
        return split(
            self.data, train=self.train_samples, validation=self.validation, test=self.test_samples, device=device
        )


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    if settings.measure not in LANDSCAPES:
        raise SpecError(unknown("measure", settings.measure, LANDSCAPES))
    data = settings.load(bench.device)
    rows = [_row(bench, design, data, settings) for design in settings.designs]
    found = replayed(rows, settings)
    return Findings(
        verdicts=_verdicts(rows, settings, found),
        figures=search_charts.figures(rows, settings.measure, found),
        tables=search_charts.tables(rows, settings.measure, found),
        caveats=CAVEATS,
    )


def _row(bench: Bench, design: Design, data: Split, settings: Settings) -> Row:
    trial = tried(bench, design, data, settings.recipe, settings.early)
    look = scanned(bench, trial, data, settings.scan)
    before = before_training(bench, trial, data, settings.batch_size)
    curves = trial.scores
    then = {
        "early_val_loss": curves["val_losses"][settings.early], "early_val_error": curves["val_errors"][settings.early],
        "full_seconds": settings.epochs * curves["epoch_seconds"],
    }  # fmt: skip
    return Row(
        label=design.label,
        of=design.options,
        seed=design.number,
        scores=dict(curves),
        bend=look["bend"],
        extra={**look, **before, **then},
    )


def judge(rows: Sequence[Row], settings: Settings) -> list[Verdict]:
    """What the rows say; the landscape is represented by the one measure that the settings name."""
    return _verdicts(rows, settings, replayed(rows, settings))


def replayed(rows: Sequence[Row], settings: Settings) -> Searches:
    """The searches, replayed on what was recorded of the networks."""
    chosen = BY_NAME[settings.measure]
    (scan,) = (name for name in chosen.costs if name != "early_seconds")
    pool = Pool(
        val_errors=np.array([row["val_errors"] for row in rows]),
        val_losses=np.array([row["val_losses"] for row in rows]),
        test=np.array([row["test_error"] for row in rows]),
        risk=np.array(risk(rows, chosen)),
        epoch_seconds=np.array([row["epoch_seconds"] for row in rows]),
        scan_seconds=np.array([row[scan] for row in rows]),
        rungs=rungs(settings.early, settings.epochs),
        samples=settings.validation,
    )
    return searches(pool, candidates=min(settings.candidates, len(rows) // 2), count=settings.searches)


def risk(rows: Sequence[Row], predictor: Predictor) -> list[float]:
    """A predictor by network, with the sign for which its source says that more of it means a larger test error."""
    return [predictor.sign * float(row[predictor.name]) for row in rows]


def _verdicts(rows: Sequence[Row], settings: Settings, found: Searches) -> list[Verdict]:
    chosen, error = BY_NAME[settings.measure], [row["test_error"] for row in rows]
    own = risk(rows, chosen)
    rivals = [
        better(
            f"After {settings.early} of {settings.epochs} epochs, the {chosen.words} ranks networks by their final "
            f"test error better than the {BY_NAME[name].words} does",
            own,
            risk(rows, BY_NAME[name]),
            error,
            quantity=f"Kendall τ with the test error, {chosen.words} minus {BY_NAME[name].words}",
            caveat=_PAIR,
        )
        for name in BASELINES
    ]
    return [
        _all(rivals, settings, chosen),
        _alone(rows, chosen, "Early in training", "all networks", _ONE),
        *rivals,
        _learned(rows, settings, chosen),
        *_searches(found, chosen),
    ]


_ONE = (
    "This is one measure, fixed before the run; the others are in the table, where the best one looks better than it "
    "is, being the best of several."
)
_PAIR = (
    "Each is taken in the direction given by its source; one that ranks the wrong way round has a negative τ and is "
    "easy to beat."
)


def _all(rivals: Sequence[Verdict], settings: Settings, chosen: Predictor) -> Verdict:
    """Better than every baseline: each of the tests must say so, which keeps the rate of the whole (Berger 1982)."""
    hardest = max(rivals, key=lambda one: (np.nan_to_num(one.p, nan=2.0), -one.estimate))
    words = {one.word for one in rivals}
    word: Word = CANNOT_TELL if CANNOT_TELL in words else SEEN if words == {SEEN} else NOT_SEEN
    rival = hardest.quantity.rpartition(" minus ")[2]
    return dataclasses.replace(
        hardest,
        claim=f"After {settings.early} of {settings.epochs} epochs, the {chosen.words} ranks networks by their final "
        "test error better than each of the baselines does",
        word=word,
        quantity=f"Kendall τ with the test error, {chosen.words} minus the hardest baseline to beat ({rival})",
        how=f"{hardest.how}; all {len(rivals)} baselines must be beaten, so no correction for their number is due",
        caveat=f"{_ONE} {_PAIR}",
    )


def _alone(rows: Sequence[Row], chosen: Predictor, when: str, which: str, caveat: str) -> Verdict:
    return agreement(
        f"{when}, the {chosen.words} ranks networks by their final test error",
        risk(rows, chosen),
        [row["test_error"] for row in rows],
        quantity=f"Kendall τ of {chosen.words}, turned so that flat is good, and test error, {which}",
        caveat=caveat,
    )


def _learned(rows: Sequence[Row], settings: Settings, chosen: Predictor) -> Verdict:
    """The same among networks that were trained in the end: one that learns nothing is flat, too."""
    learned = [row for row in rows if row["train_loss"] <= settings.matched]
    said = (
        f"{len(rows) - len(learned)} of {len(rows)} networks end above a training loss of {settings.matched:g} and are "
        "left out here, which an early choice could not have done."
    )
    return _alone(learned, chosen, "Among networks that are trained in the end", "trained networks", said)


def _searches(found: Searches, chosen: Predictor) -> list[Verdict]:
    claims: tuple[tuple[str, SearchWay, SearchWay], ...] = (
        (
            f"Successive halving that orders ties by the {chosen.words} finds better networks than the same without",
            "landscape ties",
            "plain",
        ),
        (
            "It finds better networks than one that orders ties by the validation loss, which costs nothing",
            "landscape ties",
            "loss ties",
        ),
        (
            f"Successive halving whose first cut is by the {chosen.words} finds better networks than the same without",
            "landscape first",
            "plain",
        ),
    )
    verdicts = []
    for claim, own, rival in claims:
        begun = [statistics.fmean(found.begun[way]) for way in (own, rival)]
        caveat = (
            f"At equal cost, scans paid for: one began with {begun[0]:.1f} networks, the other with {begun[1]:.1f}; "
            "replayed on what was recorded of one pool of networks, with an interval for networks like those."
        )
        quantity = f"test error of the chosen network, “{WAYS[rival]}” minus “{WAYS[own]}”"
        verdicts.append(better_search(claim, found, own, rival, quantity=quantity, caveat=caveat))
    return verdicts


CAVEATS = (
    "Each network was trained once, from one initialisation; the predictor and the test error it is compared with "
    "come from the same run. The effect of another initialisation is part of the noise of all predictors alike.",
    "After the early epochs no network is at a minimum. If the loss is still high everywhere, a landscape is flat for "
    "a reason other than in the claims about flat minima.",
    "The mark “halves” is Kendall's τ between the test errors on two halves of the test part: no predictor can be "
    "expected to agree much more closely with an error that is itself known only this well.",
    "Directions are filter-normalised, biases and normalisation layers do not move, BatchNorm statistics are those "
    "of the early epochs. Landscapes are of a few training samples, to keep them cheap.",
    "Costs are seconds of the processor (of the device on a GPU), without what it takes to write files; that of a "
    "measure taken early includes the early epochs. At this scale a scan is expensive, since full training is short: "
    "its cost does not grow with the number of training samples, but that of an epoch does.",
    "A search knows the validation error of every network it trains; the cost of computing it is not counted for any "
    "search.",
)

STUDY = Study(
    name="architecture-search",
    title="Architecture search",
    question="Does a cheap look at the landscape after a few epochs rank architectures by their final test error "
    "better than what costs less, and does a search that uses it find better ones at the same cost?",
    claim="The flatness of the loss surface is a proxy for how well an architecture generalises, and a search by it "
    "finds architectures as good as other searches do, or better (Jeong et al. 2023). Rivals: the best proxy that "
    "needs no training agrees with the final validation accuracy on NAS-Bench-201 with a Spearman coefficient of 0.82, "
    "beside 0.61 for one that shortens training (Abdelfattah et al. 2021); none known before 2023 works consistently "
    "better than the number of parameters (Li et al. 2023).",
    source="Jeong, Yu, Park, Han, Yoo, GeNAS: Neural Architecture Search with Better Generalization, IJCAI 2023 (arXiv "
    "2305.08611); Abdelfattah, Mehrotra, Dudziak, Lane, Zero-Cost Proxies for Lightweight NAS, ICLR 2021; Tanaka, "
    "Kunin, Yamins, Ganguli, Pruning neural networks without any data by iteratively conserving synaptic flow, NeurIPS "
    "2020; Li, Yang, Bhardwaj, Marculescu, ZiCo, ICLR 2023; successive halving: Jamieson and Talwalkar, AISTATS 2016. "
    "Flatness among neighbouring architectures (Wang et al., Neighborhood-Aware NAS, 2021) is another thing",
    small=Settings(),
    paper=Settings(
        data="cifar10:data/cifar10", train_samples=45_000, validation=5_000, test_samples=10_000, nets=162,
        depths=(6, 12, 18), widths=(16, 24, 32), epochs=60, early=6, batch_size=128, augment="crop-flip",
        scan_samples=2_000, directions=5, points=11, candidates=32,
    ),
    run=run,
)  # fmt: skip
