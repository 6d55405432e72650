"""Which Python program does the same as a scan on the command line?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossatlas.cli import corpus, names
from lossatlas.cli.inputs import plane_call
from lossatlas.cli.marking import parsed

__all__ = ["to_python"]


def to_python(scan: Any, tolerance: float) -> str:
    """Write the Python program that does what a scan does.

    Args:
        scan: a :class:`lossatlas.cli.scan.Scan`.
        tolerance: of a subset, where none is given.

    Returns:
        The program.
    """
    if scan.function:
        return _of_function(scan, tolerance)
    metrics = ", ".join(f"names.metric({text!r})" for text in scan.metric)
    options = f'batchnorm="{scan.batchnorm}", batch_size={scan.batch_size}'
    options += f", size={scan.size}" if scan.size else ""
    options += ", autograd=True" if scan.autograd else ""
    options += ", in_place=True" if scan.in_place else ""
    loss = scan.measured_by
    if scan.forward:
        options += f", forward=names.forward({loss!r}, {scan.forward!r})"
    elif loss == "tokens":
        options += ", forward=" + (
            "text.forward" if corpus.wanted(scan.model, scan.data) else "names.forward('tokens')"
        )
    lines = [
        "import lossatlas as la",
        "from lossatlas.cli import names",
        "",
        f"model = names.model({scan.model!r}{_built_from(scan)})",
    ]
    if scan.checkpoint:
        lines.append(f"la.load_checkpoint(model, {scan.checkpoint!r}{_loading(scan)})")
    if corpus.wanted(scan.model, scan.data):
        lines += [
            "from lossatlas.cli.corpus import corpus",
            f"text = corpus(model, {names.folder(scan.model)!r}, {scan.data!r}, block={scan.block}, "
            f"tokenizer={scan.tokenizer!r}, rows={scan.batch_size}, own={scan.loss == 'own'})",
            "data = text.batches",
        ]
    else:
        lines.append(f"data = names.data({scan.data!r})")
    if scan.canonical:
        lines += [
            "from lossatlas.cli.samples import first_inputs",
            "from lossatlas.space.canonical import canonical",
            "model = canonical(model, first_inputs(data)).model",
        ]
    lines += [
        f"objective = la.Objective(model, data, loss=names.loss({loss!r}), metrics=dict([{metrics}]), {options})",
        *_plane_lines(scan),
        f"grid = {_sampler_line(scan)}",
        *_measuring_lines(scan, tolerance),
    ]
    return "\n".join(lines)


def _of_function(scan: Any, tolerance: float) -> str:
    lines = [
        "import lossatlas as la",
        "from lossatlas.cli import names",
        "",
        f"objective = names.made(names.parse({scan.function!r}), (la.Function,))",
        *_plane_lines(scan),
        f"grid = {_sampler_line(scan)}",
        *_measuring_lines(scan, tolerance),
    ]
    return "\n".join(lines)


def _built_from(scan: Any) -> str:
    trust = ", trust_pickle=True" if scan.trust_pickle else ""
    return f", checkpoint={scan.checkpoint!r}{trust}" if scan.checkpoint else ""


def _loading(scan: Any) -> str:
    told = {"key": scan.key, "prefix": scan.prefix, "partial": scan.partial, "trust_pickle": scan.trust_pickle}
    return "".join(f", {name}={value!r}" for name, value in told.items() if value)


def _sampler_line(scan: Any) -> str:
    axes = ", ".join(f"{axis}={bounds}" for axis, bounds in scan.axes.items())
    if scan.radius == "auto":
        counts = {axis: bounds[2] for axis, bounds in scan.axes.items()}
        found = f"la.Grid.auto(objective, plane, points={counts})"
        return f"la.Adaptive.of({found}, tolerance={scan.adaptive})" if scan.adaptive else found
    return f"la.Adaptive({axes}, tolerance={scan.adaptive})" if scan.adaptive else f"la.Grid({axes})"


def _measuring_lines(scan: Any, tolerance: float) -> Iterator[str]:
    how = f"run={scan.run or None!r}, plan={scan.plan!r}, precision={scan.precision!r}"
    how += ", standard_error=True" if scan.standard_error else ""
    how += f", executor={scan.executor!r}" if scan.executor else ""
    how += f", shard={scan.shard!r}" if scan.shard else ""
    how += ", retry=True" if scan.retry else ", strict=True" if scan.strict else ""
    seen = "".join(f", {name}={value!r}" for name, value in scan.view.items())
    if not scan.seeds:
        yield f"landscape = la.{_call(scan, tolerance)}{how})"
        yield from _mark_lines(scan)
        drawn_on = ", overlays=upon" if scan.mark else ""
        yield from (f"la.draw(landscape, {path!r}{drawn_on}{seen})" for path in scan.out)
        return
    still = f'by="{scan.normalize}", still={scan.still}, only={scan.only}, orthogonal={scan.orthogonal}'
    yield f"found = la.seeds(objective, grid, range({scan.seed}, {scan.seed + scan.seeds}), {still}, {how})"
    yield "print(found.words(), found.caveat)"
    drawn = "runs" if len(scan.axes) == 1 else "landscape"
    yield from (f"la.draw(found.{drawn}, {path!r}{seen})" for path in scan.out)


def _mark_lines(scan: Any) -> Iterator[str]:
    """What lies on the surface; kept in the run, for later pictures."""
    every = [parsed(mark) for mark in scan.mark]
    places = {name: at for name, at in every if not isinstance(at, str)}
    files = {name: at for name, at in every if isinstance(at, str)}
    if every:
        yield "upon = []"
    if places:
        x, y = zip(*places.values(), strict=True)
        yield "from lossatlas.figure.overlays import Points"
        yield f"upon.append(Points(x={list(x)}, y={list(y)}, words={list(places)}))"
    if files:
        yield f"networks = {{name: names.model({scan.model!r}) for name in {list(files)}}}"
        yield f"for name, path in {files}.items(): la.load_checkpoint(networks[name], path{_loading(scan)})"
        yield "upon += la.marks(plane, networks)"
    if every and scan.run:
        yield "from lossatlas.figure.kept import keep"
        yield f"keep({scan.run!r}, upon)"


def _call(scan: Any, tolerance: float) -> str:
    if scan.samples != "auto":
        return "sample(objective, plane, grid, "
    return f"sample(objective, plane, grid, samples=la.Subset(tolerance={scan.adaptive or tolerance}), "


def _plane_lines(scan: Any) -> Iterator[str]:
    axes = tuple(scan.axes)
    options = f'by="{scan.normalize}", still={scan.still}' + (f", only={scan.only}" if scan.only else "")
    if scan.input_plane:
        yield f"plane = {plane_call(scan)}"
    elif scan.directions:
        yield "from lossatlas.cli.given import given_directions"
        yield f"plane = la.Plane(objective.origin, given_directions({scan.directions!r}, objective, {axes}))"
    elif scan.towards:
        yield f"others = [names.model({scan.model!r}) for _ in range({len(scan.towards)})]"
        yield f"for other, path in zip(others, {scan.towards}): la.load_checkpoint(other, path{_loading(scan)})"
        yield f"plane = la.Plane.towards(objective, *others, axes={axes})"
    else:
        yield (
            f"plane = la.Plane.random(objective, seed={scan.seed}, axes={axes}, {options}, "
            f"orthogonal={scan.orthogonal}" + (f", rank={scan.rank})" if scan.rank else ")")
        )
