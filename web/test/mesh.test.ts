/** Are surface, rim and lines those of the printed pictures? The numbers are from draw/rim.py, which uses SciPy. */
import { describe, expect, it } from "vitest";
import raw from "./surface.json";
import { contours, normals, occlusion, refined, surface, type Grid } from "../src/mesh";
import { whole } from "../src/slices";

interface Case { z: (number | null)[][]; fine: (number | null)[][]; area: number; points: number; triangles: number }
const known = raw as { x: number[]; y: number[]; whole: Case; hole: Case };
const flat = (rows: (number | null)[][]): Float64Array => Float64Array.from(rows.flat().map((value) => value ?? NaN));
const grid = (one: Case): Grid => ({ x: Float64Array.from(known.x), y: Float64Array.from(known.y), z: flat(one.z) });

function area(points: Float32Array, triangles: Uint32Array): number {
  let sum = 0;
  for (let t = 0; t < triangles.length; t += 3) {
    const [a, b, c] = [0, 1, 2].map((n) => points.subarray(3 * triangles[t + n]!, 3 * triangles[t + n]! + 3)) as [Float32Array, Float32Array, Float32Array];
    const [u, v] = [0, 1].map((n) => [0, 1, 2].map((k) => (n ? c : b)[k]! - a[k]!)) as [number[], number[]];
    sum += Math.hypot(u[1]! * v[2]! - u[2]! * v[1]!, u[2]! * v[0]! - u[0]! * v[2]!, u[0]! * v[1]! - u[1]! * v[0]!) / 2;
  }
  return sum;
}

describe("a surface", () => {
  for (const name of ["whole", "hole"] as const)
    it(`is refined and cut as SciPy and draw/rim.py do it (${name})`, () => {
      const fine = whole(refined(grid(known[name]), 3));
      const right = flat(known[name].fine);
      expect([...fine.z].map(Number.isNaN)).toEqual([...right].map(Number.isNaN));
      // Beside a hole the nearest heights stand in, and which of two equally near ones is not said.
      if (name === "whole") fine.z.forEach((value, n) => expect(value).toBeCloseTo(right[n]!, 12));
      const made = whole(surface({ ...fine, z: right }, 0.4));
      expect(made.points.length / 3).toBe(known[name].points);
      expect(made.triangles.length / 3).toBe(known[name].triangles);
      expect(area(made.points, made.triangles)).toBeCloseTo(known[name].area, 4);
    });

  it("keeps the points of the grid to the last bit", () => {
    const coarse = grid(known.whole);
    const fine = whole(refined(coarse, 3));
    const back = coarse.z.map((_, p) => fine.z[Math.floor(p / 5) * 3 * fine.x.length + (p % 5) * 3]!);
    expect([...back]).toEqual([...coarse.z]);
  });

  it("ends in the contour line of the clip", () => {
    const ramp = { x: Float64Array.of(0, 1), y: Float64Array.of(0, 1), z: Float64Array.of(0, 2, 0, 2) };
    const made = whole(surface(ramp, 1));
    expect(Math.max(...made.points.filter((_, n) => n % 3 === 0))).toBe(0.5);
    expect(Math.max(...made.points.filter((_, n) => n % 3 === 2))).toBe(1);
    expect([...made.rim.filter((_, n) => n % 3 === 0)].every((x) => x === 0.5)).toBe(true);
  });

  it("carries level lines at their height", () => {
    const ramp = { x: Float64Array.of(0, 1), y: Float64Array.of(0, 2), z: Float64Array.of(0, 1, 0, 1) };
    const [line] = whole(contours(whole(surface(ramp, 5)), [0.25]));
    for (let n = 0; n < line!.length; n += 3) expect([line![n], line![n + 2]]).toEqual([0.25, 0.25]);
  });

  it("has upright normals where it is level, and less sky in a hollow", () => {
    const axis = Float64Array.from({ length: 21 }, (_, n) => n / 10 - 1);
    const bowl = { x: axis, y: axis, z: Float64Array.from({ length: 441 }, (_, p) => axis[p % 21]! ** 2 + axis[Math.floor(p / 21)]! ** 2) };
    expect(whole(normals(bowl)).slice(3 * 220, 3 * 220 + 3)[2]).toBeCloseTo(1, 6);
    const sky = whole(occlusion(bowl));
    expect(sky[220]!).toBeLessThan(sky[0]!);
  });

  it("is made in the more steps the larger it is, so that no step keeps a page waiting", () => {
    const count = (work: Generator<void, unknown>): number => {
      for (let steps = 1; ; steps++) if (work.next().done) return steps;
    };
    const slope = (side: number): Grid => {
      const axis = Float64Array.from({ length: side }, (_, n) => n);
      return { x: axis, y: axis, z: Float64Array.from({ length: side * side }, (_, p) => p % side) };
    };
    const steps = (side: number): number[] => {
      const made = whole(surface(slope(side), side));
      return [refined(slope(side), 2), surface(slope(side), side), contours(made, [0.5]), normals(slope(side)), occlusion(slope(side))].map(count);
    };
    const [small, large] = [steps(100), steps(200)];
    large.forEach((found, n) => expect(found).toBeGreaterThan(Math.max(20, 1.5 * small[n]!)));
  });
});
