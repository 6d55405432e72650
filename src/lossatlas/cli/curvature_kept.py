"""Where does `lossatlas eigen` keep what it found: beside a run of the same network, or in a folder of its own?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lossatlas.cli.curvature_said import density_numbers
from lossatlas.cli.numbers_kept import check_numbers, keep_numbers
from lossatlas.errors import SpecError

__all__ = ["beside_a_run", "check", "keep", "keep_centre", "section"]


def beside_a_run(run: str, *, parts: bool = False) -> bool:
    """Whether a folder is a run of ``lossatlas sample``, with which the curvature at its centre can be kept.

    Args:
        run: the folder; it need not exist.
        parts: blocks or batches are asked for, of which a run keeps nothing.

    Returns:
        Whether it is; any other folder is one of numbers alone.

    Raises:
        SpecError: it holds something else, or cannot keep blocks or batches.
    """
    from lossatlas.results.opening import kind_of

    kind = kind_of(run)
    if kind is None or kind.name == "numbers":
        return False
    if kind.name != "landscape":
        raise SpecError(
            f"--run {run} holds {kind.words}; expected a run of lossatlas sample, to keep the curvature at its centre "
            "with it, or a new folder"
        )
    if parts:
        raise SpecError(
            f"--run {run} is a run of lossatlas sample, which can keep the curvature at its centre but not blocks or "
            "batches; name a new folder for those"
        )
    return True


def check(run: str, objective: Any) -> None:
    """Check, before curvature is computed, that a folder of numbers belongs to the same network, and the loss at it.

    Args:
        run: the folder; empty where nothing is kept.
        objective: whose curvature is to be kept.
    """
    if run and not beside_a_run(run):
        check_numbers(run, {objective.name: objective})
    objective()  # says what its mean is over: samples, or their tokens


def section(
    found: Any,
    numbers: Iterable[Any] = (),
    rows: Sequence[Mapping[str, Any]] = (),
    caveats: Sequence[str] = (),
    about: str = "",
    plot: Any = None,
) -> Any:
    """What is kept of one answer.

    Args:
        found: a result with a subject and a plot.
        numbers: each with what it does not prove.
        rows: one for each block or batch.
        caveats: what all of them do not prove.
        about: what they are of; by default what the subject says.
        plot: their picture; by default that of the result.

    Returns:
        The section.
    """
    from lossatlas.figure.stored import Section

    said = tuple(caveats) or found.subject.caveats
    shown = found.plot() if plot is None else plot
    return Section(about=about or found.subject.words, plot=shown, numbers=tuple(numbers), rows=rows, caveats=said)


def keep(run: str, objective: Any, sections: Mapping[str, Any], wish: Any) -> str:
    """Keep answers in a folder of their own.

    Args:
        run: the folder.
        objective: whose curvature it is.
        sections: the answers by name.
        wish: what was asked; more eigenvalues, the Gauss-Newton matrix, or the weights alone make it another question.

    Returns:
        What was done, in a sentence.
    """
    others = [word for word, plain in ((wish.kind, "hessian"), (wish.tensors, "all")) if word != plain]
    more = [f"k = {wish.k}"] if wish.k != 1 else []
    named = {
        ", ".join([name, *(more if name.startswith(("ends", "by ")) else []), *others]): one
        for name, one in sections.items()
    }
    keep_numbers(run, f"Curvature of {objective.name}", {objective.name: objective}, named, quiet=wish.json)
    return f"Kept in {run}."


def keep_centre(scan: Any, wish: Any, objective: Any, ends: Any, numbers: Sequence[Any], density: Any) -> list[str]:
    """Keep what was found at the centre where ``--run`` says, and the eigenvectors where ``--save`` does.

    Args:
        scan: names the run.
        wish: names the file of the eigenvectors.
        objective: whose curvature it is.
        ends: both ends of the spectrum.
        numbers: everything that was found, with what it does not prove.
        density: the spectral density, or ``None``.

    Returns:
        What was done, in sentences.
    """
    said = []
    if scan.run and beside_a_run(scan.run):
        said.append(_note(scan.run, objective, ends, numbers))
    elif scan.run:
        also = {} if density is None else {"density": section(density, density_numbers(density))}
        said.append(keep(scan.run, objective, {"ends": section(ends, numbers, caveats=ends.caveats), **also}, wish))
    if wish.save:
        said.append(_save_vectors(wish.save, objective, ends))
    return said


def _note(run: str, objective: Any, ends: Any, found: Sequence[Any]) -> str:
    """Keep both ends beside a run of the same network, whose pictures print λmin."""
    from lossatlas.results.store import note_curvature
    from lossatlas.sampling.provenance import subject_identity

    numbers = [asdict(number) for number in found]
    there = _there(run)
    same = there.get("about") == ends.subject.words
    names = {one["name"] for one in numbers}
    older = [one for one in there.get("numbers", ()) if same and one["name"] not in names]
    identity = {**subject_identity(objective), "centre": {"loss": objective()["loss"]}}
    content = {
        "lambda_min": float(ends.values[0]),
        "lambda_min_error": float(ends.errors[0]),
        "lambda_max": float(ends.values[-1]),
        "converged": bool(ends.converged.all()),
        "about": ends.subject.words,
    }
    note_curvature(Path(run), content | {"numbers": [*numbers, *older]}, identity)
    if there and not same:
        click.echo(f"note: {run} had numbers of another matrix, which are replaced: {there.get('about')}", err=True)
    return f"Kept with the run {run}."


def _there(run: str) -> Mapping[str, Any]:
    """What a run has kept of its curvature so far; nothing if that is damaged, since it is about to be rewritten."""
    from lossatlas.results.store import read_curvature

    with contextlib.suppress(SpecError):
        return read_curvature(run)
    return {}


def _save_vectors(path: str, objective: Any, ends: Any) -> str:
    from lossatlas import directions
    from lossatlas.space.charts import Plane
    from lossatlas.space.planefile import save_directions

    found = {"x": directions.eigen(ends), "y": directions.eigen(ends, which="smallest")}
    save_directions(Plane(objective.origin, found), path, again=True)
    return f"Eigenvectors of λmax (x) and λmin (y) are in {path}."
