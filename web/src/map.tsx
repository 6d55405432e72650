/** How is a field drawn from above? Colours, contour lines, marks, axes and the cursor, with true aspect. */

import { scaleLinear } from "d3-scale";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Block, Content, Overlay, Places } from "./data";
import { Field } from "./field";
import { drawTint, hatch, picture, ramp } from "./paint";
import { number, type Shown } from "./ranges";
import { shaped, type Shaped } from "./shaped";
import { Slices } from "./slices";
import { aspect, label, palette, theme, unit, type Change, type State } from "./state";
import { heads } from "./way";

interface Given {
  content: Content;
  state: State;
  block: Block;
  index: number;
  shown: Shown;
  change: (what: Change) => void;
}

/** Half the width and height of the stroke in an interpolated cell, in pixels. */
const SLANT = 1.4;

const MARGIN = { left: 52, right: 8, top: 8, bottom: 40 };

export function upon(content: Content, index: number): Overlay[] {
  return content.overlays.filter((one) => one.panel === null || one.panel === index);
}

/** Where the map lies inside its canvas, and how coordinates become pixels. */
function frame(content: Content, block: Block, width: number): { px: (x: number) => number; py: (y: number) => number; x: (p: number) => number; y: (p: number) => number; inner: [number, number]; height: number } {
  const inner = Math.max(60, width - MARGIN.left - MARGIN.right);
  const tall = Math.round(Math.min(inner / aspect(content, block.axes).ratio, 1.5 * inner));
  const [a, b] = [content.limits[block.axes[0]!.name]!, content.limits[block.axes[1]!.name]!];
  const px = scaleLinear(a, [MARGIN.left, MARGIN.left + inner]);
  const py = scaleLinear(b, [MARGIN.top + tall, MARGIN.top]);
  return { px, py, x: (p) => px.invert(p), y: (p) => py.invert(p), inner: [inner, tall], height: tall + MARGIN.top + MARGIN.bottom };
}

type Frame = ReturnType<typeof frame>;

/** What takes long to compute for a map, before its canvas is touched. */
interface Worked {
  colours: HTMLCanvasElement | null;
  shape: Shaped | null;
}

/** Where a field lies on the canvas: left, top, width and height. */
function area(field: Field, at: Frame): [number, number, number, number] {
  const [left, right] = [at.px(field.x[0]!), at.px(field.x[field.nx - 1]!)];
  const [top, bottom] = [at.py(field.y[field.ny - 1]!), at.py(field.y[0]!)];
  return [left, top, right - left, bottom - top];
}

function* worked(given: Given, field: Field, at: Frame, density: number): Generator<void, Worked> {
  const { content, state, shown } = given;
  const [, , wide, tall] = area(field, at);
  const size: [number, number] = [Math.max(2, Math.round(wide * density)), Math.max(2, Math.round(tall * density))];
  const table = ramp(content.maps[palette(content, state)]!);
  const colours = content.kind === "contour" ? null : yield* picture(field, shown, table, size, !state.smooth);
  yield;
  return { colours, shape: state.contours ? yield* shaped(field, shown, state.smooth) : null };
}

/** A faint slanting stroke in each cell that was interpolated; a dot would pass for an evaluated point. */
function between(context: CanvasRenderingContext2D, field: Field, at: Frame): void {
  context.strokeStyle = "rgba(255,255,255,.45)";
  context.lineWidth = 0.8;
  context.beginPath();
  for (let j = 0; j < field.ny; j++)
    for (let i = 0; i < field.nx; i++) {
      if (field.status(i, j) !== 5 || field.empty(i, j) !== null) continue;
      const [x, y] = [at.px(field.x[i]!), at.py(field.y[j]!)];
      context.moveTo(x - SLANT, y + SLANT);
      context.lineTo(x + SLANT, y - SLANT);
    }
  context.stroke();
}

function drawField(context: CanvasRenderingContext2D, given: Given, field: Field, at: Frame, { colours, shape }: Worked): void {
  const { content, state, shown } = given;
  const ink = theme(content, state);
  if (colours) context.drawImage(colours, ...area(field, at));
  hatch(context, field, at.px, at.py, ink.faint);
  if (!state.points) between(context, field, at);
  if (!shape) return;
  const table = ramp(content.maps[palette(content, state)]!);
  shape.lines.forEach((pieces, n) => {
    const [red, green, blue] = table((shown.levels[n]! - shown.bottom) / (shown.top - shown.bottom));
    context.strokeStyle = content.kind === "contour" ? `rgb(${red},${green},${blue})` : "rgba(255,255,255,.55)";
    context.lineWidth = content.kind === "contour" ? 1.5 : 0.8;
    stroke(context, pieces, at);
  });
  context.strokeStyle = "rgba(255,255,255,.9)";
  context.lineWidth = 1.6;
  stroke(context, shape.made.rim, at);
}

function stroke(context: CanvasRenderingContext2D, pieces: Float32Array, at: Frame): void {
  context.beginPath();
  for (let n = 0; n < pieces.length; n += 6) {
    context.moveTo(at.px(pieces[n]!), at.py(pieces[n + 1]!));
    context.lineTo(at.px(pieces[n + 3]!), at.py(pieces[n + 4]!));
  }
  context.stroke();
}

function drawMarks(context: CanvasRenderingContext2D, given: Given, field: Field, at: Frame): void {
  const { content, state } = given;
  const dot = (x: number, y: number, radius: number, fill: string, edge: string): void => {
    context.beginPath();
    context.arc(at.px(x), at.py(y), radius, 0, 7);
    context.fillStyle = fill;
    context.fill();
    context.strokeStyle = edge;
    context.stroke();
  };
  context.lineWidth = 0.7;
  if (state.points)
    for (let j = 0; j < field.ny; j++)
      for (let i = 0; i < field.nx; i++) {
        const status = field.status(i, j);
        if (status === 0 || status === 5) continue;
        dot(field.x[i]!, field.y[j]!, 1.3, "#fff", "rgba(0,0,0,.55)");
      }
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top, ...at.inner);
  context.clip(); // a path may leave the part of the plane that is shown
  const words: [number, number, number][] = []; // left, line and right of what has been written already
  for (const one of upon(content, given.index)) drawOverlay(context, content, state, one, field, at, words);
  context.restore();
  if (field.block.centre) {
    context.strokeStyle = uncoloured(content, field, 0, 0) ? theme(content, state).ink : "#fff";
    context.lineWidth = 1.8;
    context.beginPath();
    const [cx, cy] = [at.px(0), at.py(0)];
    context.moveTo(cx - 5, cy);
    context.lineTo(cx + 5, cy);
    context.moveTo(cx, cy - 5);
    context.lineTo(cx, cy + 5);
    context.stroke();
  }
}

function drawOverlay(context: CanvasRenderingContext2D, content: Content, state: State, one: Overlay, field: Field, at: Frame, words: [number, number, number][]): void {
  if (one.kind === "regions") {
    drawTint(context, field, { cells: one.cells.data, colours: one.colours ?? content.regions, plain: one.plain }, at.px, at.py);
    return;
  }
  const last = one.kind === "path" && state.time !== null ? Math.round(state.time * (one.x.length - 1)) : one.x.length - 1;
  context.lineJoin = "round";
  if (one.kind === "path")
    for (const [width, colour] of [[4, "rgba(0,0,0,.55)"], [2, one.colour]] as const) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.beginPath();
      for (let n = 0; n <= last; n++) context.lineTo(at.px(one.x[n]!), at.py(one.y[n]!));
      context.stroke();
    }
  if (one.kind === "path") for (const [x0, y0, x1, y1] of heads(one, last)) drawHead(context, [at.px(x0), at.py(y0)], [at.px(x1), at.py(y1)], one.colour);
  context.font = "12px system-ui, sans-serif";
  for (let n = 0; n <= last; n++) {
    const [x, y] = [at.px(one.x[n]!), at.py(one.y[n]!)];
    if (one.kind === "points" || (one.dots && one.x.length <= 80) || n === last) {
      context.beginPath();
      outline(context, one.kind === "points" ? one.symbol : "circle", x, y, one.kind === "points" || n === last ? 4.5 : 2);
      context.fillStyle = one.colour;
      context.fill();
      context.lineWidth = 0.8;
      context.strokeStyle = "#000";
      context.stroke();
    }
    if (!one.words[n]) continue;
    // White on colours, ink where there are none.
    const bare = uncoloured(content, field, one.x[n]!, one.y[n]!);
    const { ink, paper } = theme(content, state);
    context.lineWidth = 3;
    context.strokeStyle = bare ? paper : "rgba(0,0,0,.6)";
    context.fillStyle = bare ? ink : "#fff";
    const right = x > at.px.call(null, content.limits[field.axis(0).name]![1]) - 90;
    context.textAlign = right ? "right" : "left";
    // Above the point, else below it, else not at all: overlapping words are illegible.
    const wide = context.measureText(one.words[n]!).width;
    const begins = right ? x - 8 - wide : x + 8;
    const line = [y - 7, y + 16].find((at) => words.every(([a, b, end]) => Math.abs(b - at) > 12 || a > begins + wide || end < begins));
    if (line === undefined) continue;
    words.push([begins, line, begins + wide]);
    context.strokeText(one.words[n]!, x + (right ? -8 : 8), line);
    context.fillText(one.words[n]!, x + (right ? -8 : 8), line);
  }
}

/** Whether the paper is seen at a place: a map of lines alone, or a cell without a value. */
function uncoloured(content: Content, field: Field, x: number, y: number): boolean {
  const { i, j } = field.nearest(x, y);
  return content.kind === "contour" || field.empty(i, j) !== null;
}

/** The head of an arrow, never too small to be seen. */
function drawHead(context: CanvasRenderingContext2D, from: [number, number], tip: [number, number], colour: string): void {
  const [dx, dy] = [tip[0] - from[0], tip[1] - from[1]];
  const far = Math.hypot(dx, dy) || 1;
  const [a, b] = [(11 * dx) / far, (11 * dy) / far];
  context.beginPath();
  context.moveTo(...tip);
  context.lineTo(tip[0] - a - 0.5 * b, tip[1] - b + 0.5 * a);
  context.lineTo(tip[0] - a + 0.5 * b, tip[1] - b - 0.5 * a);
  context.closePath();
  context.fillStyle = colour;
  context.fill();
  context.lineWidth = 1.2;
  context.strokeStyle = "#000";
  context.stroke();
}

/** The path around a mark: of a cross, its two bars. */
export function outline(context: Pick<CanvasRenderingContext2D, "arc" | "moveTo" | "lineTo" | "closePath">, symbol: Places["symbol"], x: number, y: number, radius: number): void {
  if (symbol === "circle") return context.arc(x, y, radius, 0, 7);
  const [r, b] = [1.1 * radius, 0.4 * radius];
  const corners: Record<Exclude<Places["symbol"], "circle">, [number, number][]> = {
    triangle: [[0, -r], [r, 0.8 * r], [-r, 0.8 * r]],
    square: [[-radius, -radius], [radius, -radius], [radius, radius], [-radius, radius]],
    cross: [[-r, -b - r], [0, -b], [r, -b - r], [r + b, -r], [b, 0], [r + b, r], [r, r + b], [0, b], [-r, r + b], [-r - b, r], [-b, 0], [-r - b, -r]],
  };
  corners[symbol].forEach(([dx, dy], n) => (n ? context.lineTo(x + dx, y + dy) : context.moveTo(x + dx, y + dy)));
  context.closePath();
}

function drawAxes(context: CanvasRenderingContext2D, given: Given, at: Frame): void {
  const { content, state, block } = given;
  const ink = theme(content, state);
  const [x, y] = [block.axes[0]!, block.axes[1]!];
  const [bottom, right] = [MARGIN.top + at.inner[1], MARGIN.left + at.inner[0]];
  context.strokeStyle = ink.faint;
  context.lineWidth = 1;
  context.strokeRect(MARGIN.left - 0.5, MARGIN.top - 0.5, at.inner[0] + 1, at.inner[1] + 1);
  context.fillStyle = ink.faint;
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const tick of scaleLinear().domain(content.limits[x.name]!).ticks(5)) context.fillText(number(tick), at.px(tick), bottom + 6);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of scaleLinear().domain(content.limits[y.name]!).ticks(5)) context.fillText(number(tick), MARGIN.left - 6, at.py(tick));
  context.fillStyle = ink.ink;
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  context.fillText(x.name, (MARGIN.left + right) / 2, bottom + 34);
  context.save();
  context.translate(14, (MARGIN.top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(y.name, 0, 0);
  context.restore();
}

function drawCursor(canvas: HTMLCanvasElement, given: Given, at: Frame, density: number): void {
  const context = canvas.getContext("2d")!;
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const place = given.state.place;
  if (!place) return;
  const [cx, cy] = [at.px(place.x), at.py(place.y)];
  for (const [width, colour] of [[3, "rgba(0,0,0,.45)"], [1.2, "#fff"]] as const) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(MARGIN.left, cy);
    context.lineTo(MARGIN.left + at.inner[0], cy);
    context.moveTo(cx, MARGIN.top);
    context.lineTo(cx, MARGIN.top + at.inner[1]);
    context.stroke();
    context.beginPath();
    context.arc(cx, cy, 5, 0, 7);
    context.stroke();
  }
}

export function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const box = useRef<HTMLDivElement | null>(null);
  const [width, setWidth] = useState(0);
  // Known before the first frame, so that nothing moves once it is shown.
  useLayoutEffect(() => {
    if (!box.current) return;
    setWidth(Math.floor(box.current.getBoundingClientRect().width));
    const watch = new ResizeObserver((seen) => setWidth(Math.floor(seen[0]!.contentRect.width)));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  return [box, width];
}

export function Map2D(given: Given) {
  const { content, state, block, shown } = given;
  const [box, width] = useWidth();
  const ground = useRef<HTMLCanvasElement>(null);
  const top = useRef<HTMLCanvasElement>(null);
  const density = Math.min(window.devicePixelRatio || 1, 2);
  const at = frame(content, block, Math.min(width || 300, 620));
  const full = at.inner[0] + MARGIN.left + MARGIN.right;
  const field = new Field(block, state.value, state.layer);
  const slices = useRef<Slices>(null);
  useEffect(() => {
    const made = (slices.current = new Slices());
    return () => made.stop();
  }, []);
  useEffect(() => {
    const context = ground.current?.getContext("2d");
    if (!context || !width) return;
    slices.current!.begin(function* () {
      const ready = yield* worked(given, field, at, density);
      context.setTransform(density, 0, 0, density, 0, 0);
      context.clearRect(0, 0, full, at.height);
      drawField(context, given, field, at, ready);
      drawMarks(context, given, field, at);
      drawAxes(context, given, at);
    });
  }, [width, shown, state.value, state.colours, state.theme, state.layer, state.contours, state.points, state.smooth, state.time, block, content.overlays, content.limits]);
  useEffect(() => {
    if (top.current && width) drawCursor(top.current, given, at, density);
  });
  const go = (x: number, y: number, kept: boolean): void => {
    const cell = field.nearest(x, y);
    given.change({ place: { x: field.x[cell.i]!, y: field.y[cell.j]! }, kept });
  };
  const point = (event: PointerEvent, kept: boolean): void => {
    if (state.kept && !kept) return;
    const area = top.current!.getBoundingClientRect();
    go(at.x(event.clientX - area.left), at.y(event.clientY - area.top), kept);
  };
  const key = (event: KeyboardEvent): void => {
    const steps: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const turn = steps[event.key];
    if (event.key === "Escape") given.change({ kept: false, place: null });
    if (!turn) return;
    event.preventDefault();
    const from = state.place ? field.nearest(state.place.x, state.place.y) : field.nearest(0, 0);
    const far = event.shiftKey ? 5 : 1;
    const clamp = (n: number, size: number): number => Math.min(Math.max(n, 0), size - 1);
    const [i, j] = state.place ? [clamp(from.i + far * turn[0], field.nx), clamp(from.j + far * turn[1], field.ny)] : [from.i, from.j];
    go(field.x[i]!, field.y[j]!, true);
  };
  const words = `Map of ${label(content, state)} over ${block.axes[0]!.name} and ${block.axes[1]!.name}, ${block.title}. Arrow keys move the cursor, Escape releases it.`;
  return (
    <div class="map" ref={box}>
      <div class="stack" style={{ width: `${full}px`, height: `${at.height}px` }}>
        <canvas ref={ground} width={full * density} height={at.height * density} style={{ width: `${full}px`, height: `${at.height}px` }} aria-hidden="true" />
        <canvas
          ref={top} class="cursor" tabIndex={0} role="img" aria-label={words} data-panel={given.index}
          width={full * density} height={at.height * density} style={{ width: `${full}px`, height: `${at.height}px` }}
          onPointerMove={(event) => point(event, false)} onPointerDown={(event) => point(event, !state.kept)} onKeyDown={key}
        />
      </div>
      <p class="small">{unit(content, block.axes.slice(0, 2))}</p>
    </div>
  );
}
