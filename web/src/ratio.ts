/** How is a map of curvature laid over a surface of the same plane? Cell by cell, with nothing in between. */

import type { Block, Content, Look, RatioMap, Regions } from "./data";
import { inside } from "./field";
import { ramp } from "./paint";
import { between, number } from "./ranges";

export const RATIO = "ratio |λmin/λmax|";
export const RATIO_COLOURS = "cividis";

const HAS_VALUE = 1;

/** Which cell of the map holds a place, by the borders half-way between its points; -1 outside. */
export function cellOf(map: RatioMap, x: number, y: number): number {
  const near = (coordinates: Float64Array, place: number): number => {
    const [n, part] = inside(coordinates, place);
    return Number.isNaN(part) ? -1 : part < 0.5 ? n : n + 1;
  };
  const [i, j] = [near(map.x, x), near(map.y, y)];
  return i < 0 || j < 0 ? -1 : j * map.x.length + i;
}

/** The value of a cell of the map; NaN where its point failed or was not measured. */
export function ratioAt(map: RatioMap, cell: number): number {
  return cell >= 0 && map.status.data[cell] === HAS_VALUE ? map.values.data[cell]! : NaN;
}

export function ratioRange(map: RatioMap): Look {
  const known = Array.from(map.values.data, (_, cell) => ratioAt(map, cell)).filter(Number.isFinite);
  let [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
  if (!(high > low)) [low, high] = [low - 0.5, low + 0.5];
  const base: Look = { scale: "linear", linear_below: null, low, high, bottom: low, top: high, levels: [], ticks: [], labels: [], clipped: false, words: "" };
  return between(base, low, high, "");
}

const made = new WeakMap<RatioMap, Regions>();

/** The same object each time, so that nothing is drawn twice. */
export function ratioUpon(content: Content, block: Block, panel: number): Regions {
  const map = block.ratio!;
  const known = made.get(map);
  if (known) return known;
  const [x, y] = [block.axes[0]!.coordinates, block.axes[1]!.coordinates];
  const data = new Float64Array(x.length * y.length);
  y.forEach((b, j) => x.forEach((a, i) => {
    const cell = cellOf(map, a, b);
    data[j * x.length + i] = Number.isFinite(ratioAt(map, cell)) ? cell : -1;
  }));
  const { low, high } = ratioRange(map);
  const colours = ramp(content.maps[RATIO_COLOURS]!);
  const hex = (part: number): string => `#${colours(part).map((c) => Math.round(c).toString(16).padStart(2, "0")).join("")}`;
  const each = Array.from(map.values.data, (_, cell) => hex((ratioAt(map, cell) - low) / (high - low) || 0));
  const found: Regions = { kind: "regions", panel, label: "", cells: { shape: [y.length, x.length], data }, colours: each, plain: true };
  made.set(map, found);
  return found;
}

/** What the map says at a cell of the surface, in words. */
export function ratioWords(block: Block, map: RatioMap, i: number, j: number): string {
  const cell = cellOf(map, block.axes[0]!.coordinates[i]!, block.axes[1]!.coordinates[j]!);
  if (cell < 0) return "ratio: outside the map";
  const where = `in the cell around ${number(map.x[cell % map.x.length]!)}, ${number(map.y[Math.floor(cell / map.x.length)]!)}`;
  const value = ratioAt(map, cell);
  return Number.isFinite(value) ? `ratio ${number(value)} ${where}` : `ratio: no value ${where}`;
}
