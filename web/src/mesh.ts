/** Where does a surface end, and where do its contour lines run? Triangles over a grid, cut at the clip, made in steps. */

/** Triangles, or points of a surface, that are processed between two looks at the clock. */
export const AT_ONCE = 512;
/** Rows of a grid, the same. */
const ROWS = 2;

export interface Grid {
  x: Float64Array;
  y: Float64Array;
  /** [j * nx + i]; NaN where there is none. */
  z: Float64Array;
}

export interface Surface {
  /** [x, y, z] of every point. */
  points: Float32Array;
  triangles: Uint32Array;
  /** For every point, the two places of the grid it lies between and how far along. */
  ends: Uint32Array;
  share: Float32Array;
  /** Pieces of the line along which the surface was cut, [x, y, z] twice each. */
  rim: Float32Array;
}

/** Slopes of the shape-preserving cubic of Fritsch and Butland (1984), as SciPy's PchipInterpolator has them. */
function slopes(x: Float64Array, y: Float64Array): Float64Array {
  const n = x.length;
  const out = new Float64Array(n);
  const step = (k: number): number => x[k + 1]! - x[k]!;
  const rise = (k: number): number => (y[k + 1]! - y[k]!) / step(k);
  if (n === 2) return out.fill(rise(0));
  for (let k = 1; k < n - 1; k++) {
    const [before, after] = [rise(k - 1), rise(k)];
    if (before * after <= 0) continue;
    const [a, b] = [2 * step(k) + step(k - 1), step(k) + 2 * step(k - 1)];
    out[k] = (a + b) / (a / before + b / after);
  }
  const edge = (h0: number, h1: number, d0: number, d1: number): number => {
    const found = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1);
    if (Math.sign(found) !== Math.sign(d0)) return 0;
    if (Math.sign(d0) !== Math.sign(d1) && Math.abs(found) > 3 * Math.abs(d0)) return 3 * d0;
    return found;
  };
  out[0] = edge(step(0), step(1), rise(0), rise(1));
  out[n - 1] = edge(step(n - 2), step(n - 3), rise(n - 2), rise(n - 3));
  return out;
}

/** A row with further points between its own, on the cubic through them. */
function finer(x: Float64Array, y: Float64Array, times: number): Float64Array {
  const out = new Float64Array((x.length - 1) * times + 1);
  const slope = slopes(x, y);
  for (let k = 0; k < x.length - 1; k++) {
    const h = x[k + 1]! - x[k]!;
    for (let s = 0; s < times; s++) {
      const t = s / times;
      const [t2, t3] = [t * t, t * t * t];
      out[k * times + s] =
        s === 0
          ? y[k]!
          : (2 * t3 - 3 * t2 + 1) * y[k]! + (t3 - 2 * t2 + t) * h * slope[k]! + (3 * t2 - 2 * t3) * y[k + 1]! + (t3 - t2) * h * slope[k + 1]!;
    }
  }
  out[out.length - 1] = y[y.length - 1]!;
  return out;
}

function spread(coordinates: Float64Array, times: number): Float64Array {
  const out = new Float64Array((coordinates.length - 1) * times + 1);
  for (let n = 0; n < out.length; n++) {
    const k = Math.floor(n / times);
    const part = (n % times) / times;
    out[n] = part ? coordinates[k]! * (1 - part) + coordinates[k + 1]! * part : coordinates[k]!;
  }
  return out;
}

/** The nearest height in place of a missing one; only to interpolate beside a hole. */
function filled(grid: Grid): Float64Array {
  const [nx, ny] = [grid.x.length, grid.y.length];
  const out = grid.z.slice();
  let front: number[] = [];
  for (let p = 0; p < out.length; p++) if (!Number.isNaN(out[p])) front.push(p);
  while (front.length) {
    const next: number[] = [];
    for (const p of front) {
      const i = p % nx;
      const j = Math.floor(p / nx);
      for (const [di, dj] of [[-1, 0], [1, 0], [0, -1], [0, 1]] as const) {
        if (i + di < 0 || i + di >= nx || j + dj < 0 || j + dj >= ny) continue;
        const q = p + di + dj * nx;
        if (!Number.isNaN(out[q])) continue;
        out[q] = out[p]!;
        next.push(q);
      }
    }
    front = next;
  }
  return out;
}

/** Insert points between those of a grid, without new hills or hollows along an axis; holes stay holes. */
export function* refined(grid: Grid, times: number): Generator<void, Grid> {
  const [nx, ny] = [grid.x.length, grid.y.length];
  if (times <= 1 || grid.z.every((z) => Number.isNaN(z))) return grid;
  const whole = filled(grid);
  const [x, y] = [spread(grid.x, times), spread(grid.y, times)];
  const [mx, my] = [x.length, y.length];
  const rows = Array.from({ length: ny }, (_, j) => finer(grid.x, whole.subarray(j * nx, (j + 1) * nx), times));
  yield;
  const z = new Float64Array(mx * my);
  const column = new Float64Array(ny);
  for (let i = 0; i < mx; i++) {
    if (i % ROWS === ROWS - 1) yield;
    for (let j = 0; j < ny; j++) column[j] = rows[j]![i]!;
    finer(grid.y, column, times).forEach((value, j) => (z[j * mx + i] = value));
  }
  const touched = (i: number, j: number): boolean => {
    if (i < 0 || j < 0 || i >= nx - 1 || j >= ny - 1) return true;
    const p = j * nx + i;
    return [p, p + 1, p + nx, p + nx + 1].some((q) => Number.isNaN(grid.z[q]));
  };
  if (grid.z.some((value) => Number.isNaN(value)))
    for (let j = 0; j < my; j++)
      for (let i = 0; i < mx; i++) {
        const [a, b] = [Math.floor(i / times), Math.floor(j / times)];
        const [c, d] = [i % times ? a : a - 1, j % times ? b : b - 1];
        if (touched(a, b) && touched(c, b) && touched(a, d) && touched(c, d)) z[j * mx + i] = NaN;
      }
  return { x, y, z };
}

/** Every n-th point of a grid, the outer ones included: enough while it moves. */
export function thinned(grid: Grid, most: number): Grid {
  const picked = (count: number): number[] => {
    const step = Math.max(1, Math.ceil((count - 1) / (most - 1)));
    const found = Array.from({ length: Math.ceil((count - 1) / step) }, (_, n) => n * step);
    return [...found, count - 1];
  };
  const [columns, rows] = [picked(grid.x.length), picked(grid.y.length)];
  const nx = grid.x.length;
  return {
    x: Float64Array.from(columns, (i) => grid.x[i]!),
    y: Float64Array.from(rows, (j) => grid.y[j]!),
    z: Float64Array.from(rows.flatMap((j) => columns.map((i) => grid.z[j * nx + i]!))),
  };
}

/** Two triangles for each whole cell, split along its flatter diagonal. */
function* halves(grid: Grid): Generator<void, Uint32Array> {
  const [nx, ny] = [grid.x.length, grid.y.length];
  const z = grid.z;
  const out = new Uint32Array(6 * (nx - 1) * (ny - 1));
  let n = 0;
  for (let j = 0; j < ny - 1; j++) {
    if (j % (4 * ROWS) === 0) yield;
    for (let i = 0; i < nx - 1; i++) {
      const a = j * nx + i;
      const [b, c, d] = [a + 1, a + nx + 1, a + nx];
      if (Number.isNaN(z[a]! + z[b]! + z[c]! + z[d]!)) continue;
      const steep = Math.abs(z[a]! - z[c]!) > Math.abs(z[b]! - z[d]!);
      out[n] = steep ? b : a;
      out[n + 1] = steep ? c : b;
      out[n + 2] = steep ? d : c;
      out[n + 3] = steep ? b : a;
      out[n + 4] = steep ? d : c;
      out[n + 5] = steep ? a : d;
      n += 6;
    }
  }
  return out.subarray(0, n);
}

/** The surface of all cells whose four corners have a height, cut along the contour line of the top. */
export function* surface(grid: Grid, top: number): Generator<void, Surface> {
  const [nx, z] = [grid.x.length, grid.z];
  const ends: number[] = [];
  const share: number[] = [];
  const own = new Int32Array(z.length).fill(-1);
  const crossed = new Map<number, number>();
  const point = (p: number): number => {
    if (own[p]! < 0) {
      own[p] = share.length;
      ends.push(p, p);
      share.push(0);
    }
    return own[p]!;
  };
  const cut = (p: number, q: number): number => {
    const [a, b] = p < q ? [p, q] : [q, p];
    const key = a * z.length + b;
    let found = crossed.get(key);
    if (found === undefined) {
      crossed.set(key, (found = share.length));
      ends.push(a, b);
      share.push((top - z[a]!) / (z[b]! - z[a]!));
    }
    return found;
  };
  const whole = yield* halves(grid);
  yield;
  const triangles = new Uint32Array(2 * whole.length);
  let filled = 0;
  const put = (a: number, b: number, c: number): void => {
    triangles[filled] = a;
    triangles[filled + 1] = b;
    triangles[filled + 2] = c;
    filled += 3;
  };
  const rim: number[] = [];
  for (let t = 0; t < whole.length; t += 3) {
    if (t % (3 * AT_ONCE) === 0) yield;
    const [p, q, r] = [whole[t]!, whole[t + 1]!, whole[t + 2]!];
    const [up, vp, wp] = [z[p]! > top, z[q]! > top, z[r]! > top];
    const count = Number(up) + Number(vp) + Number(wp);
    if (count === 0) put(point(p), point(q), point(r));
    if (count === 0 || count === 3) continue;
    // The corner that lies alone on its side of the top comes first.
    const alone = [up, vp, wp].indexOf(count === 1);
    const [a, b, c] = [[p, q, r], [q, r, p], [r, p, q]][alone] as [number, number, number];
    const [first, last] = [cut(a, b), cut(a, c)];
    if (count === 1) {
      put(first, point(b), point(c));
      put(first, point(c), last);
    } else put(point(a), first, last);
    rim.push(first, last);
  }
  const points = new Float32Array(share.length * 3);
  for (let n = 0; n < share.length; n++) {
    if (n % (4 * AT_ONCE) === 0) yield;
    const [p, q, s] = [ends[2 * n]!, ends[2 * n + 1]!, share[n]!];
    const [x, y] = [grid.x[p % nx]!, grid.y[Math.floor(p / nx)]!];
    points[3 * n] = s === 0 ? x : x * (1 - s) + grid.x[q % nx]! * s;
    points[3 * n + 1] = s === 0 ? y : y * (1 - s) + grid.y[Math.floor(q / nx)]! * s;
    points[3 * n + 2] = s === 0 ? z[p]! : top;
  }
  const line = new Float32Array(rim.length * 3);
  rim.forEach((p, n) => line.set(points.subarray(3 * p, 3 * p + 3), 3 * n));
  yield;
  const between = { ends: Uint32Array.from(ends), share: Float32Array.from(share) };
  yield;
  return { points, triangles: triangles.slice(0, filled), ...between, rim: line };
}

/** Pieces of the lines on which a surface has a height: [x, y, z] twice each. */
export function* contours(made: Surface, levels: number[]): Generator<void, Float32Array[]> {
  const { points, triangles } = made;
  const found: number[][] = levels.map(() => []);
  for (let t = 0; t < triangles.length; t += 3) {
    if (t % (3 * AT_ONCE) === 0) yield;
    const [p, q, r] = [3 * triangles[t]!, 3 * triangles[t + 1]!, 3 * triangles[t + 2]!];
    const [zp, zq, zr] = [points[p + 2]!, points[q + 2]!, points[r + 2]!];
    const [low, high] = [Math.min(zp, zq, zr), Math.max(zp, zq, zr)];
    for (let n = 0; n < levels.length; n++) {
      const level = levels[n]!;
      if (level < low || level >= high) continue;
      // The corner that lies alone on its side of the level, and the two ends of the edges that leave it.
      const [a, b, c] = zp > level === zq > level ? [r, p, q] : zp > level === zr > level ? [q, r, p] : [p, q, r];
      for (const end of [b, c]) {
        const part = (level - points[a + 2]!) / (points[end + 2]! - points[a + 2]!);
        found[n]!.push(points[a]! + part * (points[end]! - points[a]!), points[a + 1]! + part * (points[end + 1]! - points[a + 1]!), level);
      }
    }
  }
  const lines: Float32Array[] = [];
  for (const line of found) {
    yield;
    lines.push(Float32Array.from(line));
  }
  return lines;
}

/** Unit normals [x, y, z] at the points of a grid, the mean over the whole cells around each; upright where there is none. */
export function* normals(grid: Grid): Generator<void, Float32Array> {
  const [nx, ny] = [grid.x.length, grid.y.length];
  const out = new Float32Array(nx * ny * 3);
  const add = (q: number, x: number, y: number, z: number): void => {
    out[q] = out[q]! + x;
    out[q + 1] = out[q + 1]! + y;
    out[q + 2] = out[q + 2]! + z;
  };
  for (let j = 0; j < ny - 1; j++) {
    if (j % ROWS === ROWS - 1) yield;
    for (let i = 0; i < nx - 1; i++) {
      const p = j * nx + i;
      const [a, b, c, d] = [grid.z[p]!, grid.z[p + 1]!, grid.z[p + nx + 1]!, grid.z[p + nx]!];
      if (Number.isNaN(a + b + c + d)) continue;
      const sx = (b - a + c - d) / (2 * (grid.x[i + 1]! - grid.x[i]!));
      const sy = (d - a + c - b) / (2 * (grid.y[j + 1]! - grid.y[j]!));
      const norm = Math.sqrt(sx * sx + sy * sy + 1);
      const [x, y, z] = [-sx / norm, -sy / norm, 1 / norm];
      add(3 * p, x, y, z);
      add(3 * p + 3, x, y, z);
      add(3 * (p + nx), x, y, z);
      add(3 * (p + nx) + 3, x, y, z);
    }
  }
  yield;
  for (let q = 0; q < out.length; q += 3) {
    const norm = Math.sqrt(out[q]! ** 2 + out[q + 1]! ** 2 + out[q + 2]! ** 2);
    if (norm === 0) out[q + 2] = 1;
    else for (let k = q; k < q + 3; k++) out[k] = out[k]! / norm;
  }
  return out;
}

const WAYS = [[1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, 1], [1, -1], [-1, -1]] as const;

/** How much of the sky each point of a grid sees, 0 to 1: the horizon in eight directions. */
export function* occlusion(grid: Grid): Generator<void, Float32Array> {
  const { x, y, z } = grid;
  const [nx, ny] = [x.length, y.length];
  const out = new Float32Array(nx * ny).fill(1);
  const reach = Math.max(2, Math.round(0.16 * Math.max(nx, ny)));
  for (let j = 0; j < ny; j++) {
    if (j % ROWS === ROWS - 1) yield;
    for (let i = 0; i < nx; i++) {
      const here = z[j * nx + i]!;
      if (Number.isNaN(here)) continue;
      let sky = 0;
      for (const [di, dj] of WAYS) {
        let steep = 0; // the square of the steepest slope
        for (let s = 1; s <= reach; s += 1 + (s >> 2)) {
          const [a, b] = [i + s * di, j + s * dj];
          if (a < 0 || b < 0 || a >= nx || b >= ny) break;
          const rise = z[b * nx + a]! - here;
          if (!(rise > 0)) continue;
          const [dx, dy] = [x[a]! - x[i]!, y[b]! - y[j]!];
          steep = Math.max(steep, (rise * rise) / (dx * dx + dy * dy));
        }
        sky += 1 - Math.sqrt(steep / (1 + steep));
      }
      out[j * nx + i] = sky / WAYS.length;
    }
  }
  return out;
}
