/** What lies on a relief? Evaluated points, isolated ones, paths with their networks above them, and single places. */

import { BufferAttribute, BufferGeometry, DoubleSide, Line, LineBasicMaterial, Mesh, MeshBasicMaterial, type Group } from "three";
import type { Overlay, Way } from "./data";
import { inside, type Field } from "./field";
import type { Colours } from "./paint";
import { height, type Shown } from "./ranges";
import { cloud, pieces } from "./shapes";
import { heads, ownLoss } from "./way";

export interface Marked {
  field: Field;
  shown: Shown;
  colours: Colours;
  points: boolean;
  overlays: Overlay[];
  /** Of the box, for a width of 1. */
  depth: number;
  time: number | null;
  ink: string;
  raised: Float64Array;
  placed: (points: ArrayLike<number>, lift?: number) => Float32Array;
}

/** The largest number of threads from the surface to the networks themselves. */
const THREADS = 60;

export function addMarks(into: Group, given: Marked): void {
  const { field, shown, points, overlays, colours, raised, placed } = given;
  const [dots, lonely, tints]: [number[], number[], number[]] = [[], [], []];
  for (let j = 0; j < field.ny; j++)
    for (let i = 0; i < field.nx; i++) {
      const z = raised[j * field.nx + i]!;
      if (Number.isNaN(z) || z > shown.top) continue;
      const status = field.status(i, j);
      if (points && status !== 0 && status !== 5) dots.push(field.x[i]!, field.y[j]!, z);
      if (alone(field, raised, i, j)) {
        lonely.push(field.x[i]!, field.y[j]!, z);
        tints.push(...colours((z - shown.bottom) / (shown.top - shown.bottom || 1)).map((c) => c / 255));
      }
    }
  if (dots.length) into.add(cloud(placed(dots, 0.003), 2.5, "#ffffff"));
  if (lonely.length) into.add(cloud(placed(lonely), 6, null, Float32Array.from(tints)));
  const clipped = raised.map((z) => Math.min(z, shown.top));
  for (const one of overlays) {
    if (one.kind === "path") addPath(into, given, one, clipped);
    else if (one.kind === "points") {
      const places = [...one.x].flatMap((x, n) => [x, one.y[n]!, field.between(clipped, x, one.y[n]!)]);
      const seen = places.filter((_, n) => !Number.isNaN(places[n - (n % 3) + 2]!));
      if (seen.length) into.add(cloud(placed(seen, 0.008), 9, one.colour));
    }
  }
}

/** Whether a point is a corner of no whole cell, so that no facet reaches it. */
function alone(field: Field, raised: Float64Array, i: number, j: number): boolean {
  const { nx, ny } = field;
  for (const a of [i - 1, i])
    for (const b of [j - 1, j]) {
      if (a < 0 || b < 0 || a >= nx - 1 || b >= ny - 1) continue;
      const p = b * nx + a;
      if (!Number.isNaN(raised[p]! + raised[p + 1]! + raised[p + nx]! + raised[p + nx + 1]!)) return false;
    }
  return true;
}

/** The head of an arrow as two facets on the surface: its tip, and its corners on the left and the right of the path. */
function addHeads(into: Group, given: Marked, one: Way, last: number, high: (x: number, y: number, n: number) => number): void {
  const found: number[] = [];
  const [u, v] = [unit(given.field.x), unit(given.field.y) / given.depth]; // what is as long on both axes of the box
  for (const [x0, y0, x1, y1] of heads(one, last)) {
    const [dx, dy] = [(x1 - x0) / u, (y1 - y0) / v];
    const n = one.arrows.find((k) => one.x[k] === x1 && one.y[k] === y1)!;
    const corner = (side: number): [number, number] => [x0 - side * 0.4 * dy * u, y0 + side * 0.4 * dx * v];
    const points = [[x1, y1], corner(1), corner(-1)].flatMap(([x, y]) => [x!, y!, high(x!, y!, n)]);
    if (points.every((value) => !Number.isNaN(value))) found.push(...points);
  }
  if (!found.length) return;
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(given.placed(found, 0.012), 3));
  const head = new Mesh(geometry, new MeshBasicMaterial({ color: one.colour, side: DoubleSide }));
  head.name = "arrows";
  into.add(head);
}

const unit = (row: Float64Array): number => row[row.length - 1]! - row[0]! || 1;

function addPath(into: Group, given: Marked, one: Way, clipped: Float64Array): void {
  const { field, shown, time, placed, ink } = given;
  const count = time === null ? one.x.length : Math.round(time * (one.x.length - 1)) + 1;
  const own = ownLoss(one);
  const told = one.along["loss in training"];
  // Without a surface the path is drawn at its own loss or, where that is not evaluated yet, at that of training.
  const above = (n: number): number => height(bare && !Number.isFinite(own?.[n]) ? (told?.[n] ?? NaN) : (own?.[n] ?? NaN), shown);
  const onSurface = (x: number, y: number): number => field.between(clipped, x, y);
  const bare = clipped.every((z) => Number.isNaN(z));
  const steps = Math.max(1, Math.ceil(240 / one.x.length));
  const [line, dots, network, threads]: [number[][], number[], number[][], number[]] = [[[]], [], [[]], []];
  const put = (lines: number[][], x: number, y: number, z: number): void => {
    if (Number.isNaN(z)) lines.push([]);
    else lines[lines.length - 1]!.push(x, y, z);
  };
  const every = Math.max(1, Math.ceil(count / THREADS));
  let here = false; // whether the newest point lies on the surface
  for (let n = 0; n < count; n++) {
    const [x, y] = [one.x[n]!, one.y[n]!];
    const [z, up] = [bare ? above(n) : onSurface(x, y), above(n)];
    here = !Number.isNaN(z);
    if (here) dots.push(x, y, z);
    put(line, x, y, z);
    for (let s = 1; s < steps && n < count - 1; s++) {
      const [a, b] = [x + (s / steps) * (one.x[n + 1]! - x), y + (s / steps) * (one.y[n + 1]! - y)];
      put(line, a, b, bare ? z + (s / steps) * (above(n + 1) - z) : onSurface(a, b));
    }
    if (bare) continue;
    const beyond = Number.isNaN(inside(field.x, x)[1] + inside(field.y, y)[1]);
    put(network, x, y, beyond ? NaN : up);
    if (n % every === 0 && !Number.isNaN(z + up)) threads.push(x, y, z, x, y, up);
  }
  strokes(into, placed, line, one.colour, 1, [0.004, 0.0055, 0.007]);
  strokes(into, placed, network, ink, 0.75, [0.004]);
  if (threads.length) into.add(pieces(placed(threads), ink, 0.35));
  if (one.dots && one.x.length <= 80 && dots.length) into.add(cloud(placed(dots, 0.008), 4.5, one.colour));
  addHeads(into, given, one, count - 1, (x, y, n) => (bare ? above(n) : onSurface(x, y)));
  if (here) into.add(cloud(placed(dots.slice(-3), 0.01), 11, one.colour));
}

function strokes(into: Group, placed: Marked["placed"], parts: number[][], colour: string, opacity: number, lifts: number[]): void {
  for (const part of parts) {
    if (part.length < 6) continue;
    for (const lift of lifts) {
      const geometry = new BufferGeometry();
      geometry.setAttribute("position", new BufferAttribute(placed(part, lift), 3));
      into.add(new Line(geometry, new LineBasicMaterial({ color: colour, transparent: opacity < 1, opacity })));
    }
  }
}
