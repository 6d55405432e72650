/** Are ranges, levels and numbers those of figure/ranges.py and figure/words.py? */
import { expect, it } from "vitest";
import { unpack } from "../src/data";
import { distance, Field, inside, nearest } from "../src/field";
import { backward, between, exact, forward, height, levels, number, said, type Shown } from "../src/ranges";

const log: Shown = { scale: "log", low: 0.01, high: 100, linear_below: null, bottom: -2, top: 2, levels: [], ticks: [], labels: [], clipped: false, words: "" };

it("writes numbers as the printed pictures do", () => {
  expect([0.25, -52.7388, 1e10, 3.2e-7, 0, 1500, -1e-7].map((one) => number(one))).toEqual(["0.25", "−52.7", "10¹⁰", "3.2×10⁻⁷", "0", "1500", "−10⁻⁷"]);
  expect([NaN, Infinity, -Infinity].map((one) => number(one))).toEqual(["not a number", "∞", "−∞"]);
  expect(exact(1.23456789)).toBe("1.234568");
});

it("clips and then takes the logarithm", () => {
  expect([0.001, 1, 1e10].map((one) => height(one, log))).toEqual([-2, 0, 2]);
  expect(height(NaN, log)).toBeNaN();
  expect(height(1e10, log, 1)).toBe(6);
});

it("goes back and forth on every scale", () => {
  for (const scale of ["linear", "log", "symlog"] as const)
    for (const value of [0.3, 7, 1e5]) expect(backward(forward(value, scale, 0.1), scale, 0.1)).toBeCloseTo(value, 6);
  expect(backward(forward(-4, "symlog", 0.1), "symlog", 0.1)).toBeCloseTo(-4, 10);
});

it("has round levels strictly inside", () => {
  expect(levels(0.003, 53, "log", null, 9)).toEqual([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]);
  expect(levels(0, 10, "linear", null, 5)).toEqual([2, 4, 6, 8]);
  expect(levels(-10, 10, "symlog", 0.1)).toContain(0);
});

it("says what a range by hand cuts off", () => {
  expect(said("loss", 1, 2, "linear", [0, 1, 1.5, 3])).toBe("Shown by hand: loss from 1 to 2, linear scale; 25 % of the cells lie above, 25 % below and are cut off.");
  const made = between(log, 1, 10, "w");
  expect([made.bottom, made.top, made.words]).toEqual([0, 1, "w"]);
});

it("unpacks arrays with their shapes", () => {
  const bytes = new Uint8Array(24);
  new Float64Array(bytes.buffer, 0, 2).set([1.5, NaN]);
  bytes.set([1, 3], 16);
  const found = unpack({ a: [{ $: [0, "f8", [2]] }], s: { $: [16, "u1", [1, 2]] } }, bytes.buffer) as unknown as { a: Float64Array[]; s: { shape: number[]; data: Uint8Array } };
  expect([...found.a[0]!]).toEqual([1.5, NaN]);
  expect([found.s.shape, [...found.s.data]]).toEqual([[1, 2], [1, 3]]);
});

const tilted = (status: number[] = []) => {
  const [x, y] = [Float64Array.of(-2, -1, 0, 1, 2), Float64Array.of(1, 2, 4)];
  const data = Float64Array.from({ length: 15 }, (_, p) => x[p % 5]! + 10 * y[Math.floor(p / 5)]!);
  const axis = (name: string, coordinates: Float64Array) => ({ name, label: "", coordinates, length: 2, counted: "multiples of the direction" });
  return { title: "t", note: "", axes: [axis("x", x), axis("y", y)], centre: false, status: { shape: [1, 3, 5], data: Uint8Array.from({ length: 15 }, (_, n) => status[n] ?? 1) }, values: { loss: { shape: [1, 3, 5], data } }, errors: {} };
};

it("finds x + 10 y in its place", () => {
  const field = new Field(tilted(), "loss");
  expect(field.at(4, 1)).toBe(22);
  expect(field.between(field.grid((v) => v), 0.5, 3)).toBe(30.5);
  expect(field.between(field.grid((v) => v), 2, 4)).toBe(42);
  expect(field.nearest(1.4, 3.2)).toEqual({ i: 3, j: 2 });
  expect([nearest(field.y, 9), inside(field.y, 9)[1]]).toEqual([2, NaN]);
});

it("says why a cell has no value", () => {
  const field = new Field(tilted([0, 3, 5]), "loss");
  expect([field.empty(0, 0), field.empty(1, 0), field.empty(2, 0), field.empty(3, 0)]).toEqual([0, 3, null, null]);
});

it("measures distance with the angle between the directions, or not at all", () => {
  const { axes } = tilted();
  expect(distance(axes, [3, 4], 0)).toBe(10);
  expect(distance(axes, [1, 1], 1)).toBe(4);
  expect(distance(axes, [1, 1], null)).toBeNull();
  expect(distance(axes, [0, -2], null)).toBe(4);
  expect(distance([{ ...axes[0]!, length: null }, axes[1]!], [1, 1], 0)).toBeNull();
});
