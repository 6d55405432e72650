/** What is known about a path besides its places? The loss of its networks, and where the heads of its arrows lie. */

import type { Way } from "./data";

/** The loss of the networks themselves, as far as it is known: evaluated, or as it was in training. */
export function ownLoss(one: Way): Float64Array | null {
  return one.along["loss of the network"] ?? one.along["loss in training"] ?? null;
}

/** How long the head of an arrow is, as a share of the extent of its path, as figure/overlays.py has it. */
const HEAD = 0.04;

/** Where the head of each arrow begins and ends, as far as the path has come; it ends at its point, as figure/overlays.py has it. */
export function heads(way: Way, last: number): [number, number, number, number][] {
  const span = (row: Float64Array): number => Math.max(...row) - Math.min(...row);
  const long = HEAD * Math.max(span(way.x), span(way.y));
  return way.arrows.filter((n) => n <= last).flatMap((n): [number, number, number, number][] => {
    let [x, y, rest] = [way.x[n]!, way.y[n]!, long];
    for (let k = n; k > 0 && rest > 0; k--) {
      const [dx, dy] = [way.x[k - 1]! - way.x[k]!, way.y[k - 1]! - way.y[k]!];
      const far = Math.hypot(dx, dy);
      const part = far > rest ? rest / far : 1;
      [x, y, rest] = [way.x[k]! + part * dx, way.y[k]! + part * dy, rest - far];
    }
    return x === way.x[n] && y === way.y[n] ? [] : [[x, y, way.x[n]!, way.y[n]!]];
  });
}
