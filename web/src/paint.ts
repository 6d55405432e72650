/** What colour does each place of a field have? A picture of its heights, with marks where there is no value. */

import { edges, inside, type Field } from "./field";
import { height, type Shown } from "./ranges";

export type Colours = (part: number) => [number, number, number];

/** A colour map from its evenly spaced points. */
export function ramp(points: string[]): Colours {
  const table = points.map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
  return (part) => {
    const along = Math.min(Math.max(part, 0), 1) * (table.length - 1);
    const k = Math.min(Math.floor(along), table.length - 2);
    const share = along - k;
    const [a, b] = [table[k]!, table[k + 1]!];
    return [0, 1, 2].map((c) => a[c]! + share * (b[c]! - a[c]!)) as [number, number, number];
  };
}

const tables = new WeakMap<Colours, Float32Array>();

/** A number of colours of a map, evenly spaced: red, green and blue of each. */
export function lookup(colours: Colours, count = 4096): Float32Array {
  let found = tables.get(colours);
  if (!found) {
    found = new Float32Array(3 * count);
    for (let n = 0; n < count; n++) found.set(colours(n / (count - 1)), 3 * n);
    tables.set(colours, found);
  }
  return found;
}

export function heights(field: Field, shown: Shown, beyond = 0): Float64Array {
  return field.grid((value) => height(value, shown, beyond));
}

/** Rows of a canvas that are filled between two looks at the clock. */
const ROWS = 8;

/** A canvas with the field, y upwards: smooth between points, or one colour for each cell; clear where there is none. */
export function* picture(field: Field, shown: Shown, colours: Colours, size: [number, number], cells: boolean): Generator<void, HTMLCanvasElement> {
  const canvas = document.createElement("canvas");
  const [width, tall] = size;
  canvas.width = width;
  canvas.height = tall;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, tall);
  const raised = heights(field, shown);
  const table = lookup(colours);
  const last = table.length / 3 - 1;
  const per = last / (shown.top - shown.bottom || 1);
  const [columns, along] = stretch(field.x, width);
  const [rows, up] = stretch(field.y, tall);
  for (let row = 0; row < tall; row++) {
    if (row % ROWS === ROWS - 1) yield;
    const [j, b] = [rows[tall - 1 - row]!, up[tall - 1 - row]!];
    for (let column = 0; column < width; column++) {
      const [i, a] = [columns[column]!, along[column]!];
      const p = (b < 0.5 ? j : j + 1) * field.nx + (a < 0.5 ? i : i + 1);
      let found = raised[p]!;
      if (!cells && !Number.isNaN(found)) {
        const q = j * field.nx + i;
        const low = raised[q]! * (1 - a) + raised[q + 1]! * a;
        const mixed = low * (1 - b) + (raised[q + field.nx]! * (1 - a) + raised[q + field.nx + 1]! * a) * b;
        found = Number.isNaN(mixed) ? found : mixed;
      }
      if (Number.isNaN(found)) continue;
      const at = 3 * Math.min(Math.max(Math.round((found - shown.bottom) * per), 0), last);
      const pixel = (row * width + column) * 4;
      for (let k = 0; k < 3; k++) image.data[pixel + k] = table[at + k]!;
      image.data[pixel + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** For each pixel the step of the grid that it lies in, and how far along. */
function stretch(coordinates: Float64Array, pixels: number): [Int32Array, Float64Array] {
  const [low, high] = [coordinates[0]!, coordinates[coordinates.length - 1]!];
  const [steps, parts] = [new Int32Array(pixels), new Float64Array(pixels)];
  for (let n = 0; n < pixels; n++) [steps[n], parts[n]] = inside(coordinates, Math.min(low + ((n + 0.5) / pixels) * (high - low), high));
  return [steps, parts];
}

/** Strokes in the cells that have no value, by reason: dots, one diagonal, two, or lines. */
export function hatch(context: CanvasRenderingContext2D, field: Field, px: (x: number) => number, py: (y: number) => number, ink: string): void {
  const [ex, ey] = [edges(field.x), edges(field.y)];
  context.save();
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = 1;
  const empty = new Map<number, [number, number][]>();
  for (let j = 0; j < field.ny; j++)
    for (let i = 0; i < field.nx; i++) {
      const status = field.empty(i, j);
      if (status === null) continue;
      if (!empty.has(status)) empty.set(status, []);
      empty.get(status)!.push([i, j]);
    }
  for (const [status, cells] of empty) {
    context.save();
    context.beginPath();
    for (const [i, j] of cells) {
      const [left, top] = [px(ex[i]!), py(ey[j + 1]!)];
      context.rect(left, top, px(ex[i + 1]!) - left, py(ey[j]!) - top);
    }
    context.clip();
    strokes(context, status);
    context.restore();
  }
  context.restore();
}

/** Regions of cells: the colour of each, and a line around those that are adjacent. */
export interface Tint {
  cells: Float64Array;
  colours: string[];
  /** Colours that are read from a scale: opaque, and without lines between them. */
  plain?: boolean | undefined;
}

export function tintOf(tint: Tint, cell: number): string | null {
  const region = tint.cells[cell]!;
  return region < 0 ? null : tint.colours[region % tint.colours.length]!;
}

/** The borders between regions, x, y and x, y of each piece, along the borders of the cells. */
export function borders(field: Field, { cells }: Tint): number[] {
  const [ex, ey] = [edges(field.x), edges(field.y)];
  const found: number[] = [];
  for (let j = 0; j < field.ny; j++)
    for (let i = 0; i < field.nx; i++) {
      const here = cells[j * field.nx + i]!;
      if (i + 1 < field.nx && cells[j * field.nx + i + 1] !== here) found.push(ex[i + 1]!, ey[j]!, ex[i + 1]!, ey[j + 1]!);
      if (j + 1 < field.ny && cells[(j + 1) * field.nx + i] !== here) found.push(ex[i]!, ey[j + 1]!, ex[i + 1]!, ey[j + 1]!);
    }
  return found;
}

export function drawTint(context: CanvasRenderingContext2D, field: Field, tint: Tint, px: (x: number) => number, py: (y: number) => number): void {
  // On whole pixels, or seams would show between cells.
  const [ex, ey] = [edges(field.x).map((x) => Math.round(px(x))), edges(field.y).map((y) => Math.round(py(y)))];
  for (let j = 0; j < field.ny; j++)
    for (let i = 0; i < field.nx; i++) {
      const colour = tintOf(tint, j * field.nx + i);
      if (colour === null) continue;
      context.fillStyle = tint.plain ? colour : colour + "66";
      context.fillRect(ex[i]!, ey[j + 1]!, ex[i + 1]! - ex[i]!, ey[j]! - ey[j + 1]!);
    }
  if (tint.plain) return;
  const pieces = borders(field, tint);
  context.beginPath();
  for (let n = 0; n < pieces.length; n += 4) {
    context.moveTo(px(pieces[n]!), py(pieces[n + 1]!));
    context.lineTo(px(pieces[n + 2]!), py(pieces[n + 3]!));
  }
  context.strokeStyle = "#000000cc";
  context.lineWidth = 1.2;
  context.stroke();
}

function strokes(context: CanvasRenderingContext2D, status: number): void {
  const { width, height: tall } = context.canvas;
  context.globalAlpha = status === 0 ? 0.5 : 0.8;
  context.beginPath();
  if (status === 0) {
    for (let y = 3; y < tall; y += 7) for (let x = 3; x < width; x += 7) context.rect(x, y, 1.2, 1.2);
    context.fill();
    return;
  }
  if (status === 4) for (let y = 0; y < tall; y += 6) line(context, 0, y, width, y);
  else for (let x = -tall; x < width; x += 6) line(context, x, tall, x + tall, 0);
  if (status === 3) for (let x = 0; x < width + tall; x += 6) line(context, x, tall, x - tall, 0);
  context.stroke();
}

function line(context: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
}
