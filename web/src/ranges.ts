/** Which part of a value is shown, and how a value becomes a height: the same rules as figure/ranges.py. */

import { scaleLinear } from "d3-scale";
import type { Look, ScaleName } from "./data";

export type Shown = Look;

export function forward(value: number, scale: ScaleName, below: number | null): number {
  if (scale === "log") return Math.log10(value);
  if (scale === "symlog") return Math.sign(value) * Math.log10(1 + Math.abs(value) / (below ?? 1));
  return value;
}

export function backward(height: number, scale: ScaleName, below: number | null): number {
  if (scale === "log") return 10 ** height;
  if (scale === "symlog") return Math.sign(height) * (below ?? 1) * (10 ** Math.abs(height) - 1);
  return height;
}

/** The height of a value: clipped to the range, or some ranges above it if a rim is to be cut. */
export function height(value: number, shown: Shown, beyond = 0): number {
  if (!Number.isFinite(value)) return NaN;
  const raised = forward(Math.max(value, shown.low), shown.scale, shown.linear_below);
  return Math.min(raised, shown.top + beyond * (shown.top - shown.bottom));
}

const RAISED: Record<string, string> = { "-": "⁻", "+": "" };
[..."⁰¹²³⁴⁵⁶⁷⁸⁹"].forEach((letter, digit) => (RAISED[String(digit)] = letter));

/** A number for a reader, as figure/words.py writes it. */
export function number(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (value === 0 || (size >= 1e-3 && size < 1e5)) return String(Number(value.toPrecision(digits))).replace("-", "−");
  const [mantissa = "", exponent = "0"] = value.toExponential(digits - 1).split("e");
  const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
  const power = "10" + [...String(Number(exponent))].map((letter) => RAISED[letter] ?? letter).join("");
  if (short === "1") return power;
  if (short === "-1") return "−" + power;
  return `${short}×${power}`.replace("-", "−");
}

/** All digits that a value has, for reading it off. */
export function exact(value: number): string {
  if (!Number.isFinite(value)) return number(value);
  return number(value, 7);
}

function magnitudes(low: number, high: number, count: number): number[] {
  const decades = Math.log10(high / low);
  const dense = (1.6 * count) / decades;
  const factors = dense >= 3 ? [1, 2, 5] : dense >= 2 ? [1, 3] : [1];
  const stride = factors.length === 1 ? Math.max(1, Math.ceil(decades / count)) : 1;
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    if (power % stride === 0) for (const factor of factors) found.push(Number(`${factor}e${power}`));
  return found.filter((one) => one >= low && one <= high);
}

/** Round values strictly between two. */
export function levels(low: number, high: number, scale: ScaleName, below: number | null, count = 10): number[] {
  const within = (one: number): boolean => one > low && one < high;
  if (scale === "log" && high / low > 5) return magnitudes(low, high, count).filter(within);
  if (scale === "symlog") {
    const least = below ?? 1;
    const largest = Math.max(Math.abs(low), Math.abs(high), least);
    const both = magnitudes(least, largest, count).flatMap((one) => [-one, one]);
    const all = [...both, 0].filter(within).sort((a, b) => a - b);
    if (all.length > 2) return all;
  }
  return scaleLinear().domain([low, high]).ticks(count).filter(within);
}

/** The range between two ends that a reader chose. */
export function between(base: Shown, low: number, high: number, words: string): Shown {
  const round = levels(low, high, base.scale, base.linear_below);
  const heights = round.map((one) => forward(one, base.scale, base.linear_below));
  const few = round.length > 10 ? levels(low, high, base.scale, base.linear_below, 6) : round;
  return {
    ...base,
    low,
    high,
    bottom: forward(low, base.scale, base.linear_below),
    top: forward(high, base.scale, base.linear_below),
    levels: heights,
    ticks: few.map((one) => forward(one, base.scale, base.linear_below)),
    labels: few.map((one) => number(one)),
    clipped: true,
    words,
  };
}

export function percent(share: number): string {
  const value = 100 * share;
  if (value === 0 || value >= 1) return `${Math.round(value < 100 ? Math.min(value, 99) : value)} %`;
  return `${Number(value.toPrecision(1))} %`;
}

/** What a range chosen by hand says about itself. */
export function said(label: string, low: number, high: number, scale: ScaleName, values: Iterable<number>): string {
  let above = 0;
  let under = 0;
  let all = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    all++;
    if (value > high) above++;
    if (value < low) under++;
  }
  const name = { linear: "linear", log: "logarithmic", symlog: "symmetric logarithmic" }[scale];
  const cut = [
    above ? `${percent(above / all)} of the cells lie above` : "",
    under ? `${percent(under / all)} below` : "",
  ].filter(Boolean);
  const rest = cut.length ? `; ${cut.join(", ")} and are cut off` : "";
  return `Shown by hand: ${label} from ${number(low, 4)} to ${number(high, 4)}, ${name} scale${rest}.`;
}
