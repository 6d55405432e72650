/** What has the reader chosen? One state for all pictures of a page. */

import type { Axis, Content, Theme } from "./data";
import { range } from "./layers";
import { backward, between, forward, said, type Shown } from "./ranges";

export interface Place {
  x: number;
  y: number;
}

export interface State {
  value: string;
  /** The scale and the clip; null if they are those of the data. */
  log: boolean | null;
  clip: boolean | null;
  /** Ends by hand, in units of the value. */
  low: number | null;
  high: number | null;
  colours: string | null;
  /** The colours of the page; "talk" has those of "light". */
  theme: "light" | "dark" | "print";
  layer: number;
  place: Place | null;
  kept: boolean;
  contours: boolean;
  points: boolean;
  smooth: boolean;
  floor: boolean;
  flat: boolean;
  /** What panels share: their cameras, the cursor, the limits of the axes, the range. */
  locked: boolean;
  oneCursor: boolean;
  oneFrame: boolean;
  oneRange: boolean;
  /** Where the cursor of each panel is, if it is not shared. */
  places: (Place | null)[];
  /** Panels side by side, or one that is made from two of them. */
  derive: "side by side" | "difference" | "morph";
  first: number;
  second: number;
  part: number;
  /** How far along its path a training run is, 0 to 1; null if all of it is shown. */
  time: number | null;
  /** The layers of regions that are shown, by name. */
  tints: string[];
  /** The paths that are hidden, by their place among the paths. */
  hidden: number[];
}

export type Change = Partial<State>;

export function begin(content: Content): State {
  return {
    value: content.value,
    log: null,
    clip: null,
    low: null,
    high: null,
    colours: null,
    theme: content.theme === "talk" ? "light" : content.theme,
    layer: Math.floor((content.blocks[0]?.axes[2]?.coordinates.length ?? 1) / 2),
    place: null,
    kept: false,
    contours: true,
    points: content.points,
    smooth: content.kind !== "heat",
    floor: true,
    flat: false,
    locked: true,
    oneCursor: true,
    oneFrame: true,
    oneRange: true,
    places: [],
    derive: "side by side",
    first: 0,
    second: 1,
    part: 0.5,
    time: null,
    tints: [],
    hidden: [],
  };
}

export function theme(content: Content, state: State): Theme {
  return content.themes[state.theme];
}

/** The name of the colour map of what is shown. */
export function palette(content: Content, state: State): string {
  return state.colours ?? (state.theme === "print" ? "gray" : (content.colours[state.value] ?? "viridis"));
}

export function label(content: Content, state: State): string {
  return state.value === content.value ? content.label : state.value;
}

export function logarithmic(content: Content, state: State): boolean {
  return state.log ?? content.log;
}

export function clipped(content: Content, state: State): boolean {
  return state.clip ?? content.clip;
}

/** What one panel shows if panels share no range: all of its own values. */
export function ownShown(content: Content, state: State, index: number): Shown {
  return range([content.blocks[index]!.values[state.value]!.data], logarithmic(content, state), label(content, state));
}

function look(content: Content, state: State, clip: boolean): Shown {
  const log = logarithmic(content, state);
  if (state.value === content.value && log === content.log && clip === content.clip) return content.first;
  return content.looks[`${log ? "log" : "linear"}|${clip ? "clip" : "whole"}|${state.value}`]!;
}

/** Both ends of all values on the present scale: the range of the sliders. */
export function whole(content: Content, state: State): Shown {
  return look(content, state, false);
}

export function shown(content: Content, state: State): Shown {
  const base = look(content, state, clipped(content, state));
  if (state.low === null && state.high === null) return base;
  const low = state.low ?? base.low;
  const high = state.high ?? base.high;
  const values = content.blocks.flatMap((block) => [...(block.values[state.value]?.data ?? [])]);
  return between(base, low, high, said(label(content, state), low, high, base.scale, values));
}

const STEPS = 1000;

/** The position of an end on its slider, 0 to 1000. */
export function step(range: Shown, value: number): number {
  const part = (forward(value, range.scale, range.linear_below) - range.bottom) / (range.top - range.bottom || 1);
  return Math.round(Math.min(Math.max(part, 0), 1) * STEPS);
}

export function valueAt(range: Shown, at: number): number {
  if (at <= 0) return range.low;
  if (at >= STEPS) return range.high;
  const height = range.bottom + (at / STEPS) * (range.top - range.bottom);
  return Number(backward(height, range.scale, range.linear_below).toPrecision(4));
}

/** Width over height of a map: lengths in parameter space if both are known and not too different. */
export function aspect(content: Content, axes: { name: string; length: number | null }[]): { ratio: number; norm: boolean } {
  const spans = axes.slice(0, 2).map((axis) => {
    const [low, high] = content.limits[axis.name] ?? [0, 1];
    return { span: high - low, length: axis.length };
  });
  const [a, b] = [spans[0]!, spans[1]!];
  if (a.length !== null && b.length !== null) {
    const ratio = (a.span * a.length) / (b.span * b.length);
    if (ratio > 0.3 && ratio < 3.4) return { ratio, norm: true };
  }
  const plain = a.span / b.span;
  return { ratio: plain > 0.3 && plain < 3.4 ? plain : 1, norm: false };
}

/** What a coordinate along a direction is. */
const DIRECTION = "multiples of the direction";

/** What the numbers on the axes are, as far as it is known. */
export function unit(content: Content, axes: Axis[]): string {
  if (aspect(content, axes).norm) return "Both axes to one scale of length.";
  const known = axes.filter((axis) => axis.counted);
  if (known.length === axes.length && known.every((axis) => axis.counted === DIRECTION)) return "Axes in multiples of their directions.";
  return known.map((axis) => `${axis.name}: ${axis.counted}.`).join(" ");
}
