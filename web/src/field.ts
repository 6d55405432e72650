/** What lies at a place? One value of a block over its first two axes, in one layer of the third. */

import type { Axis, Block, Content, Numbers } from "./data";
import { exact, number } from "./ranges";

const HAS_VALUES = new Set([1, 2, 5]);
const NON_FINITE = 2;

export interface Cell {
  i: number;
  j: number;
}

export class Field {
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly nx: number;
  readonly ny: number;
  private readonly values: Float64Array;
  private readonly start: number;

  constructor(
    readonly block: Block,
    readonly value: string,
    readonly layer = 0,
  ) {
    this.x = this.axis(0).coordinates;
    this.y = this.axis(1).coordinates;
    this.nx = this.x.length;
    this.ny = this.y.length;
    this.values = block.values[value]!.data;
    this.start = layer * this.nx * this.ny;
  }

  axis(which: number): Axis {
    return this.block.axes[which]!;
  }

  private place(i: number, j: number): number {
    return this.start + j * this.nx + i;
  }

  status(i: number, j: number): number {
    return this.block.status.data[this.place(i, j)]!;
  }

  raw(i: number, j: number): number {
    return this.values[this.place(i, j)]!;
  }

  /** The value of a cell if there is one to draw, otherwise NaN. */
  at(i: number, j: number): number {
    const value = this.raw(i, j);
    return Number.isFinite(value) && HAS_VALUES.has(this.status(i, j)) ? value : NaN;
  }

  /** The status of a cell that has no value to draw; 0 is "not sampled"; null if it has one. */
  empty(i: number, j: number): number | null {
    if (Number.isFinite(this.at(i, j))) return null;
    const status = this.status(i, j);
    return HAS_VALUES.has(status) ? NON_FINITE : status;
  }

  /** Rows of a function of the values, [j * nx + i]. */
  grid(change: (value: number) => number): Float64Array {
    const out = new Float64Array(this.nx * this.ny);
    for (let j = 0; j < this.ny; j++)
      for (let i = 0; i < this.nx; i++) out[j * this.nx + i] = change(this.at(i, j));
    return out;
  }

  *finite(): Generator<number> {
    for (let j = 0; j < this.ny; j++) for (let i = 0; i < this.nx; i++) yield this.at(i, j);
  }

  nearest(x: number, y: number): Cell {
    return { i: nearest(this.x, x), j: nearest(this.y, y) };
  }

  /** Between the points of the grid, bilinearly, from heights as `grid` gives them. */
  between(heights: Float64Array, x: number, y: number): number {
    const [i, a] = inside(this.x, x);
    const [j, b] = inside(this.y, y);
    if (Number.isNaN(a) || Number.isNaN(b)) return NaN;
    const low = mixed(heights[j * this.nx + i]!, heights[j * this.nx + i + 1]!, a);
    const high = mixed(heights[(j + 1) * this.nx + i]!, heights[(j + 1) * this.nx + i + 1]!, a);
    return mixed(low, high, b);
  }
}

/** Whether no cell of a block was sampled, as where a path has no surface yet. */
export function unsampled(block: Block): boolean {
  return block.status.data.every((status) => status === 0);
}

/** A corner that is not part of the mixture does not count, even if it is NaN. */
function mixed(a: number, b: number, part: number): number {
  return part === 0 ? a : part === 1 ? b : a + part * (b - a);
}

export function nearest(coordinates: Float64Array, place: number): number {
  let best = 0;
  for (let n = 1; n < coordinates.length; n++)
    if (Math.abs(coordinates[n]! - place) < Math.abs(coordinates[best]! - place)) best = n;
  return best;
}

/** The step of the grid that holds a place, and how far along it lies; NaN outside. */
export function inside(coordinates: Float64Array, place: number): [number, number] {
  const last = coordinates.length - 1;
  if (!(place >= coordinates[0]! && place <= coordinates[last]!)) return [0, NaN];
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (coordinates[middle]! <= place) low = middle;
    else high = middle;
  }
  return [low, (place - coordinates[low]!) / (coordinates[high]! - coordinates[low]!)];
}

/** Borders of the cells: half-way between points, the outer ones at the outer points. */
export function edges(coordinates: Float64Array): number[] {
  const found = [coordinates[0]!];
  for (let n = 1; n < coordinates.length; n++) found.push((coordinates[n - 1]! + coordinates[n]!) / 2);
  return [...found, coordinates[coordinates.length - 1]!];
}

export function position(axis: Axis, coordinate: number): string {
  const length = axis.length === null ? "" : ` (length ${number(coordinate * axis.length, 4)})`;
  return `${axis.name} ${number(coordinate, 5)}${length}`;
}

/** How far a place lies from the centre in parameter norm; nothing if a length is unknown or axes are not at right angles. */
export function distance(axes: Axis[], place: number[], cosine: number | null): number | null {
  if (axes.some((axis) => axis.length === null)) return null;
  const steps = axes.map((axis, n) => axis.length! * place[n]!);
  let square = steps.reduce((sum, step) => sum + step * step, 0);
  if (steps.length > 1 && steps.filter((step) => step !== 0).length > 1) {
    if (cosine === null || steps.length > 2) return null;
    square += 2 * cosine * steps[0]! * steps[1]!;
  }
  return Math.sqrt(Math.max(0, square));
}

/** Every value of a cell in words, each with its status and what is known about its error. */
export function measured(content: Content, block: Block, layer: number, cell: Cell): string[] {
  const nx = block.axes[0]!.coordinates.length;
  const ny = block.axes[1]!.coordinates.length;
  const place = layer * nx * ny + cell.j * nx + cell.i;
  const taken = (numbers: Numbers): number => numbers.data[place]!;
  const status = block.status.data[place]!;
  return content.values.map((value) => {
    const found = taken(block.values[value]!);
    const label = value === content.value ? content.label : value;
    if (status === 0 || status === 3 || status === 4) return `${label}: ${content.reasons[String(status)] ?? "no value"}`;
    if (!Number.isFinite(found)) return `${label}: ${content.reasons["2"] ?? "not finite"} (${number(found)})`;
    const errors = Object.entries(block.errors[value] ?? {})
      .filter(([, numbers]) => Number.isFinite(taken(numbers)) && taken(numbers) !== 0)
      .map(([words, numbers]) => `${words} ${words === "stated error" ? `${number(100 * taken(numbers), 2)} % of the range` : number(taken(numbers), 3)}`);
    const how = status === 5 ? ["interpolated"] : [];
    const rest = [...how, ...errors];
    return `${label} ${exact(found)}${rest.length ? ` (${rest.join(", ")})` : ""}`;
  });
}
