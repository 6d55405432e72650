"""Study: is the minimum that a pretrained language model is tuned to a wider one, and do loss and task score agree?"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossatlas.zoo.fit import FitRecipe
from lossatlas_studies import images
from lossatlas_studies.begun_words import Form, problems
from lossatlas_studies.comparisons import agreement, larger, paired
from lossatlas_studies.images import Row
from lossatlas_studies.language_views import Shown, figures, tables
from lossatlas_studies.measures import percent
from lossatlas_studies.settings import about, work
from lossatlas_studies.stages import Bench
from lossatlas_studies.study import Findings, Study
from lossatlas_studies.tuned_landscapes import ONE, TWO, Around, joined, line, pairs, plane, radius, row, way
from lossatlas_studies.tuning import (
    CONTROL,
    KINDS,
    RUNS,
    TEXT,
    Corpus,
    Start,
    corpus,
    pretrained_start,
    random_start,
    tuned,
)
from lossatlas_studies.verdicts import Verdict


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set."""

    text: str = about(
        "reference", f"the text that the pretrained starts have read, whose end the words are from: {TEXT}"
    )
    dim: int = about(48, "width of the decoder")
    layers: int = about(2, "blocks of the decoder")
    heads: int = about(4, "heads of each block")
    block: int = about(64, "bytes read at once in pretraining")
    starts: int = work(4, least=1, about="starts of each kind, each tuned twice")
    control: bool = about(True, "whether there are also starts that have read the text's bytes in random order")
    pretrain_steps: int = work(800, least=2, power=2, about="steps of pretraining")
    pretrain_lr: float = about(5e-3, "largest learning rate of Adam in pretraining")
    pretrain_batch: int = work(16, least=4, about="blocks in a step of pretraining")
    context: int = about(8, "bytes before the word, in a problem")
    begun: int = about(3, "letters of the word that are shown")
    longest: int = about(10, "letters of the longest word")
    problems: int = work(200, least=4, power=2, about="problems that are learned, behind each value of a landscape")
    held_out: int = work(200, least=4, power=2, about="other problems")
    tune_steps: int = work(1500, least=2, power=2, about="steps of tuning, at most; the same for all")
    tune_lr: float = about(2e-3, "largest learning rate of Adam in tuning")
    tune_batch: int = work(32, least=4, about="problems in a step of tuning")
    until: float = about(0.03, "mean loss of 50 steps at which tuning stops; 0 never stops early")
    matched: float = about(0.05, "loss on the learned problems above which a network counts as not trained")
    points: int = work(15, least=3, power=0.5, about="along each axis of a plane")
    span: float = about(0.25, "extent of a plane, plus and minus this multiple of its directions")
    line_points: int = work(41, least=3, about="points of the lines that are shown")
    way_points: int = work(21, least=3, about="points of the way between two networks")
    rise: float = about(0.2, "rise of the loss, in nats per token, at which the radius and the valley end")
    directions: int = work(6, least=1, about="random directions for each radius")

    @property
    def around(self) -> Around:
        """How each network's landscape is measured."""
        return Around(
            points=self.points,
            line_points=self.line_points,
            way_points=self.way_points,
            span=self.span,
            rise=self.rise,
            directions=self.directions,
        )

    @property
    def form(self) -> Form:
        """What a problem looks like."""
        return Form(context=self.context, begun=self.begun, longest=self.longest)

    @property
    def decoder(self) -> dict[str, Any]:
        """Options of all networks."""
        return {"vocabulary": 256, "dim": self.dim, "layers": self.layers, "heads": self.heads}

    @property
    def pretraining(self) -> FitRecipe:
        """How the text is learned."""
        return FitRecipe(steps=self.pretrain_steps, lr=self.pretrain_lr, batch_size=self.pretrain_batch)

    @property
    def tuning(self) -> FitRecipe:
        """How the task is learned, whatever the start."""
        return FitRecipe(steps=self.tune_steps, lr=self.tune_lr, batch_size=self.tune_batch, until=self.until)


def run(bench: Bench, settings: Settings) -> Findings:
    """Train, measure, judge."""
    text = corpus(settings.text, block=settings.block)
    task, held_out = (
        part.to(bench.device) for part in problems(text.unread, (settings.problems, settings.held_out), settings.form)
    )
    starts = list(_starts(bench, settings, text))
    networks = [
        tuned(bench, start, number, task, held_out, settings.tuning) for start in starts for number in range(RUNS)
    ]
    look = settings.around
    planes = [plane(bench, one, task, look) for one in networks]
    rows = [
        row(one, field, radius(bench, one, task, look), number=settings.problems, rise=settings.rise)
        for one, field in zip(networks, planes, strict=True)
    ]
    ways = [way(bench, kind, a, b, task, look) for kind, a, b in pairs(networks)]
    first = [place for place, one in enumerate(networks) if (one.start.number, one.run) == (0, 0)]
    shown = Shown(
        planes=[planes[place] for place in first],
        lines=[line(bench, networks[place], task, look) for place in first],
        ways=ways,
        problems=settings.problems,
        losses=[networks[place].scores["train_loss"] for place in first],
        rise=settings.rise,
    )
    return Findings(
        verdicts=judge(rows, [joined(one) for one in ways], settings),
        figures=figures(rows, shown),
        tables=tables(rows, [joined(one) for one in ways]),
        caveats=caveats(rows, starts, settings),
    )


def _starts(bench: Bench, settings: Settings, text: Corpus) -> Iterator[Start]:
    """All starts, kind by kind."""
    for number in range(settings.starts):
        yield pretrained_start(bench, number, settings.decoder, text, settings.pretraining)
    for number in range(settings.starts):
        yield random_start(bench, number, settings.decoder)
    if settings.control:
        shuffled = text.shuffled()
        for number in range(settings.starts):
            yield pretrained_start(bench, number, settings.decoder, shuffled, settings.pretraining, kind=CONTROL)


def by_start(rows: Sequence[Row], what: str, *kinds: str) -> list[float]:
    """A measure of each start: the mean over its tunings, which are not independent of each other."""
    own = [one for one in rows if one["kind"] in kinds]
    return [
        statistics.fmean(float(one[what]) for one in own if one["start"] == start)
        for start in sorted({one["start"] for one in own})
    ]


def judge(rows: Sequence[Row], ways: Sequence[Row], settings: Settings) -> list[Verdict]:
    """What the rows say. A start from which a network could not be trained is left out."""
    own, said = images.fair(rows, "start", settings.matched)
    joint = [one for one in ways if one["train_loss"] <= settings.matched]
    barrier = {
        kind: [float(one["barrier"]) for one in joint if one["kind"] == kind] for kind in (*ONE.values(), *TWO.values())
    }
    return [*_width(own, settings, said), *_ways(barrier), *_both(own, said), *_control(own, settings, said)]


def _width(own: Sequence[Row], settings: Settings, said: str) -> list[Verdict]:
    claims = (
        (
            "Tuned on the same task, a pretrained start ends in the flatter minimum",
            "radius",
            "filter-normalised radius, pretrained minus random",
        ),
        (
            "The valley of its loss takes more of a plane",
            "valley",
            f"area with a loss less than {settings.rise:g} above the centre's, pretrained minus random",
        ),
        (
            "The plateau of its score takes more of a plane",
            "plateau",
            "area with a score within the interval of the best, pretrained minus random",
        ),
    )
    return [
        larger(
            claim,
            by_start(own, what, "pretrained"),
            by_start(own, what, "random"),
            quantity=quantity,
            unit="starts",
            caveat=WEIGHTS + said,
        )
        for claim, what, quantity in claims
    ]


def _ways(barrier: Mapping[str, Sequence[float]]) -> list[Verdict]:
    return [
        larger(
            f"Two networks tuned from one pretrained start have a lower barrier between them than two from {words}",
            barrier[other],
            barrier[ONE["pretrained"]],
            quantity=f"barrier of the loss in nats per token, {other} minus {ONE['pretrained']}",
            unit="pairs of networks",
            caveat="On the straight line; nothing was permuted. " + more,
        )
        for words, other, more in (
            ("one random start", ONE["random"], "The two differ in the order of the problems alone."),
            ("two random starts", TWO["random"], RING),
        )
    ]


def _both(own: Sequence[Row], said: str) -> list[Verdict]:
    levels = [by_start(own, what, *KINDS) for what in ("plateau", "loss_plateau", "valley")]
    kinds = {one["start"]: one["kind"] for one in own if one["kind"] in KINDS}
    return [
        paired(
            "The plateau of the score and that of the loss, each as far as the problems can tell, differ in size",
            [score - loss for score, loss in zip(levels[0], levels[1], strict=True)],
            quantity="area, score minus loss",
            unit="starts",
            two_sided=True,
            caveat=INTERVALS + _beside(own),
        ),
        agreement(
            "The wider the valley of the loss, the wider the plateau of the score",
            levels[2],
            levels[0],
            settings=[kinds[start] for start in sorted(kinds)],
            quantity="Kendall τ of the two areas",
            unit="starts",
            caveat="Starts of one kind share what defines the kind, and two kinds are too few to distinguish an "
            "agreement from chance.",
        ),
        larger(
            "Pretraining changes how alike loss and score rank the cells of a plane",
            by_start(own, "tau", "pretrained"),
            by_start(own, "tau", "random"),
            quantity="Kendall τ of loss and score over cells, pretrained minus random",
            unit="starts",
            two_sided=True,
            caveat=_taus(own) + " Cells where nothing is solved are ties and count for less.",
        ),
        larger(
            "A pretrained start solves more of the problems that it was not tuned on",
            by_start(own, "held_out", "pretrained"),
            by_start(own, "held_out", "random"),
            quantity="share of other problems solved, pretrained minus random",
            unit="starts",
            caveat="The words are from the end of the text whose other parts it has read." + said,
        ),
    ]


def _control(own: Sequence[Row], settings: Settings, said: str) -> list[Verdict]:
    if not settings.control:
        return []
    return [
        larger(
            "It matters what was read: a start that has read the text ends in a flatter minimum than one that has read "
            "its bytes in random order",
            by_start(own, "radius", "pretrained"),
            by_start(own, "radius", CONTROL),
            quantity="filter-normalised radius, pretrained minus shuffled",
            unit="starts",
            caveat=WEIGHTS + said,
        )
    ]


def _beside(own: Sequence[Row]) -> str:
    """How the two plateaus change if the set rise of the loss counts instead of its interval."""
    risen, fallen = (by_start(own, what, *KINDS) for what in ("risen", "fallen"))
    if not risen:
        return ""
    return (
        " With the set rise of the loss in place of its interval, the score has left its plateau and the loss has not "
        f"risen on {percent(statistics.fmean(fallen))} of the area, the reverse on {percent(statistics.fmean(risen))}."
    )


def _taus(own: Sequence[Row]) -> str:
    found = {kind: by_start(own, "tau", kind) for kind in KINDS}
    means = [f"{statistics.fmean(values):.2f} for {kind} starts" for kind, values in found.items() if values]
    return f"Mean τ over cells: {', '.join(means) or 'not known'}."


WEIGHTS = (
    "Directions have the length of each filter, so a network with longer filters takes longer steps; lengths are in "
    "the table."
)
RING = "Each network is in one pair, and each start in two."
INTERVALS = (
    "The score's: within the 95 % Clopper-Pearson interval of the plane's best. The loss's: below the upper end of the "
    "centre's 95 % interval over problems. More problems make both narrower."
)


def caveats(rows: Sequence[Row], starts: Sequence[Start], settings: Settings) -> list[str]:
    """What all of this does not show."""
    off = max(abs(one["score"] - one["generated"]) for one in rows)
    scores = [one["score"] for one in rows]
    read = [start.scores["held_out_text_loss"] for start in starts if start.kind == "pretrained"]
    return [
        "The task: a word that has been begun must be completed, byte by byte up to the end of the line, with the "
        "text before it in view. Its words are from the last tenth of the text, which pretraining never saw. The "
        "score is the "
        "share of answers that greedy generation gets right to the last byte. It is taken from the pass that gives the "
        "loss, since an answer is generated exactly where each of its bytes is the likeliest after those before it; at "
        f"the centres, generation byte by byte differs by at most {off:.3g}.",
        f"Pretrained starts have read {settings.pretrain_steps} times {settings.pretrain_batch} blocks and reach "
        f"{min(read):.2f} to {max(read):.2f} nats per byte on the last tenth. They have read no more than that: a "
        "large model that has read a lot, such as that of Hao et al., may behave differently.",
        "Loss and score are those of the problems that are learned; the scores at the centres are "
        f"{min(scores):.3g} to {max(scores):.3g}. Tuning stops at one loss for all, with one recipe, after the steps "
        "of the table. The mean over the two tunings of a start is one unit of the tests. There is one plane for each "
        "network; norms do not move.",
    ]


STUDY = Study(
    name="language",
    title="Language models: loss, task score and pretraining",
    question="After tuning on one small task, does a pretrained start end in a flatter minimum than a random one, and "
    "do the loss and the score of the task say the same about it?",
    claim="Pretraining reaches a point from which tuning ends in wider optima than training from scratch (Hao et al.), "
    "and two networks tuned from one pretrained start lie in one basin, while two from random starts do not (Neyshabur "
    "et al.). Whether the score's plateau is as wide as the loss's is an open question here.",
    source="Hao, Dong, Wei, Xu, Visualizing and Understanding the Effectiveness of BERT, EMNLP 2019 (arXiv "
    "1908.05620); Neyshabur, Sedghi, Zhang, What is being transferred in transfer learning?, NeurIPS 2020 (arXiv "
    "2008.11687)",
    small=Settings(),
    paper=Settings(
        text="file:data/text.txt",
        dim=384,
        layers=6,
        heads=6,
        block=256,
        pretrain_steps=20_000,
        pretrain_lr=1e-3,
        pretrain_batch=64,
        context=64,
        longest=16,
        problems=2_000,
        held_out=1_000,
        tune_steps=4_000,
        tune_lr=3e-4,
        tune_batch=64,
        points=41,
        line_points=81,
        way_points=41,
        directions=20,
    ),
    run=run,
)
