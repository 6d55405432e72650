/** How does a reader turn a relief? Canvas, keys, and labels that follow the box. */

import { scaleLinear } from "d3-scale";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Block, Content } from "./data";
import { third } from "./depth";
import { Field, unsampled } from "./field";
import { graphics } from "./graphics";
import { upon, useWidth } from "./map";
import { ramp } from "./paint";
import { number, type Shown } from "./ranges";
import type { Pose, Relief } from "./relief";
import { shaped } from "./shaped";
import { drawn, firstSeen, pause, Slices } from "./slices";
import { aspect, label, palette, theme, type Change, type State } from "./state";
import type { Third } from "./third";

export interface Cameras {
  add(relief: Relief): () => void;
}

/** Reliefs that take each other's pose while they are locked. */
export function cameras(locked: () => boolean): Cameras {
  const all = new Set<Relief>();
  let busy = false;
  return {
    add(relief) {
      const first = [...all][0];
      all.add(relief);
      if (first && locked()) relief.take(first.pose(), false);
      relief.onPose = (pose: Pose) => {
        if (busy || !locked()) return;
        busy = true;
        for (const other of all) if (other !== relief) other.take(pose);
        busy = false;
      };
      return () => all.delete(relief);
    },
  };
}

interface Given {
  content: Content;
  state: State;
  block: Block;
  index: number;
  shown: Shown;
  cameras: Cameras;
  change: (what: Change) => void;
  /** The relief is ready, or cannot be made. */
  arrived: () => void;
}

/** All reliefs of the page, for tests and for the picture that is saved. */
export const reliefs: Relief[] = [];

const VIEWS: Record<string, [number, number]> = { "1": [89.9, -90], "2": [0, -90], "3": [0, 0] };

function pressed(relief: Relief, event: KeyboardEvent, given: Given): boolean {
  const far = event.shiftKey ? 15 : 5;
  if (event.key === "ArrowLeft") relief.turn(-far, 0);
  else if (event.key === "ArrowRight") relief.turn(far, 0);
  else if (event.key === "ArrowUp") relief.turn(0, far);
  else if (event.key === "ArrowDown") relief.turn(0, -far);
  else if (event.key === "+" || event.key === "=") relief.turn(0, 0, 1.1);
  else if (event.key === "-") relief.turn(0, 0, 1 / 1.1);
  else if (event.key === "0") relief.look(given.content.camera);
  else if (event.key === "o") given.change({ flat: !given.state.flat });
  else if (VIEWS[event.key]) relief.look(VIEWS[event.key]!);
  else return false;
  return true;
}

/** An axis shorter than this many pixels has no words; its ticks are at least this far from each other, and its name
 * and the rows of heights this far. */
const [SHORT, APART, ROW] = [20, 30, 18];

/** Words beside the edges of the box that are nearest to the eye. */
function place(relief: Relief, content: Content, block: Block, shown: Shown, into: HTMLDivElement, words: string): void {
  const { sides, floor, tall } = relief.frameOf;
  const [a, b] = [sides[0] / 2, sides[1] / 2];
  const found: [string, number, number, string][] = [];
  const near = (one: [number, number], two: [number, number]): [number, number] => (relief.project(...one, floor)[2] < relief.project(...two, floor)[2] ? one : two);
  const beside = 0.1;
  const [, sy] = near([0, -b], [0, b]);
  const [sx] = near([-a, 0], [a, 0]);
  const centre = relief.project(0, 0, (floor + tall) / 2);
  const put = (text: string, x: number, y: number, z: number, kind: string): void => {
    const [left, top] = relief.project(x, y, z);
    found.push([text, left, top, kind]);
  };
  const axis = (which: 0 | 1): void => {
    const { name } = block.axes[which]!;
    const limits = content.limits[name]!;
    const scale = scaleLinear(limits, which ? [-b, b] : [-a, a]);
    const out = which ? sx + Math.sign(sx) * beside * 0.6 : sy + Math.sign(sy) * beside * 0.6;
    // Outside the visible part: beside the floor or, from above, beside the top, which is nearer to the eye.
    const far = (z: number): number => Math.hypot(...relief.project(which ? out : 0, which ? 0 : out, z).slice(0, 2).map((one, n) => one - centre[n]!));
    const level = far(tall) > far(floor) + 1 ? tall : floor;
    const at = (end: number): [number, number, number] => relief.project(which ? out : end * a, which ? end * b : out, level);
    const [from, to] = [at(-1), at(1)];
    const long = Math.hypot(to[0] - from[0], to[1] - from[1]);
    if (long < SHORT) return; // seen end-on
    const ticks = scale.ticks(4).filter((tick) => Math.abs(scale(tick)) <= 0.9 * (which ? b : a));
    const step = Math.ceil((ticks.length * APART) / long);
    for (const tick of ticks.filter((_, n) => n % step === 0)) {
      put(number(tick), which ? out : scale(tick), which ? scale(tick) : out, level, "tick");
    }
    const further = which ? sx + Math.sign(sx) * 2 * beside : sy + Math.sign(sy) * 2 * beside;
    const [left, top] = relief.project(which ? further : 0, which ? 0 : further, level);
    const middle = at(0);
    const away = Math.hypot(left - middle[0], top - middle[1]) || 1;
    const more = Math.max(1, ROW / away); // if the floor is seen edge-on
    found.push([name, middle[0] + more * (left - middle[0]), middle[1] + more * (top - middle[1]), "name"]);
  };
  axis(0);
  axis(1);
  // Heights are at the corner that is leftmost in the picture.
  const corners: [number, number][] = [[-a, -b], [a, -b], [a, b], [-a, b]];
  const left = corners.reduce((one, two) => (relief.project(...one, 0)[0] < relief.project(...two, 0)[0] ? one : two));
  const upright = relief.project(...left, 0)[1] - relief.project(...left, tall)[1];
  const raised = shown.ticks.map((tick) => ((tick - shown.bottom) / (shown.top - shown.bottom || 1)) * tall);
  const rows = raised.map((z) => relief.project(...left, z)[1]);
  const least = rows.slice(1).reduce((found, row, n) => Math.min(found, rows[n]! - row), Infinity);
  const step = Math.max(1, Math.ceil(ROW / Math.max(least, 1)));
  if (upright > 30) raised.forEach((z, n) => n % step === 0 && put(shown.labels[n]!, left[0] * 1.05, left[1] * 1.05, z, "height"));
  if (upright > 30) put(words, left[0] * 1.05, left[1] * 1.05, tall * 1.14, "height name");
  while (into.children.length > found.length) into.lastChild!.remove();
  while (into.children.length < found.length) into.append(document.createElement("span"));
  found.forEach(([text, x, y, kind], n) => {
    const span = into.children[n] as HTMLSpanElement;
    if (span.textContent !== text) span.textContent = text;
    if (span.className !== kind) span.className = kind;
    span.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px) ${kind === "height" ? "translate(-100%, -50%)" : kind === "height name" ? "translate(-30%, -50%)" : "translate(-50%, -50%)"}`;
  });
}

/** A relief on a canvas, whether it is ready, and why there is none. The browser shows the rest of the page first, and makes
 * itself ready for three dimensions meanwhile. */
function useRelief(canvas: { current: HTMLCanvasElement | null }, given: Given): [{ current: Relief | null }, boolean, string] {
  const relief = useRef<Relief | null>(null);
  const [stands, setStands] = useState(false);
  const [missing, setMissing] = useState("");
  useEffect(() => {
    let leave = (): void => undefined;
    let gone = false;
    const without = (why: string): void => {
      if (gone) return;
      setMissing(why);
      given.arrived();
    };
    const begin = async ({ Relief: Kind }: Third): Promise<void> => {
      if (gone) return;
      let made: Relief;
      try {
        made = new Kind(canvas.current!, new Slices());
      } catch {
        return without("This browser does not offer WebGL");
      }
      let free = (): void => undefined;
      leave = () => {
        free();
        if (reliefs.includes(made)) reliefs.splice(reliefs.indexOf(made), 1);
        made.free();
      };
      await pause();
      if (gone) return;
      made.size();
      made.look(given.content.camera);
      free = given.cameras.add(made);
      relief.current = made;
      reliefs.push(made);
      await made.prepared();
      if (!gone) setStands(true);
    };
    const ready = firstSeen().then(() => Promise.all([drawn().then(third), graphics()])).then(async ([found]) => (await pause(), found));
    void ready.then(begin, () => without("The script that draws the relief could not be loaded"));
    return () => {
      gone = true;
      leave();
    };
  }, []);
  return [relief, stands, missing];
}

export function Solid(given: Given) {
  const { content, state, block, index, shown } = given;
  const [box, width] = useWidth();
  const canvas = useRef<HTMLCanvasElement>(null);
  const labels = useRef<HTMLDivElement>(null);
  const [relief, stands, missing] = useRelief(canvas, given);
  useEffect(() => relief.current?.size(), [width]);
  useEffect(() => relief.current?.flat(state.flat), [state.flat, stands]);
  // A path that has got its surface is seen from where both are visible, unless the reader has chosen a side.
  const bare = useMemo(() => unsampled(block), [block]);
  useEffect(() => void (relief.current?.untouched && relief.current.look(content.camera)), [bare]);
  useEffect(() => {
    const ink = theme(content, state);
    const name = palette(content, state);
    const field = new Field(block, state.value, state.layer);
    relief.current?.draw({
      field, shape: () => shaped(field, shown, state.smooth), shown, palette: name, colours: ramp(content.maps[name]!),
      overlays: upon(content, index), limits: [content.limits[block.axes[0]!.name]!, content.limits[block.axes[1]!.name]!],
      depth: 1 / aspect(content, block.axes).ratio, ink: ink.ink, faint: ink.faint,
      tints: upon(content, index).flatMap((one) => (one.kind === "regions" ? [{ cells: one.cells.data, colours: one.colours ?? content.regions, plain: one.plain }] : [])),
      contours: state.contours, points: state.points, floor: state.floor, smooth: state.smooth, time: state.time,
    });
  }, [shown, state.value, state.colours, state.theme, state.layer, state.contours, state.points, state.floor, state.smooth, state.time, block, content.overlays, content.limits, stands]);
  useEffect(() => {
    const made = relief.current;
    if (!made) return;
    made.onFrame = () => {
      if (labels.current) place(made, content, block, shown, labels.current, label(content, state));
      if (made.complete) given.arrived();
    };
    made.point(state.place);
  });
  const point = (event: PointerEvent): void => {
    if (event.buttons || state.kept) return;
    const found = relief.current?.pick(event.clientX, event.clientY);
    if (!found) return;
    const field = new Field(block, state.value, state.layer);
    const cell = field.nearest(found.x, found.y);
    given.change({ place: { x: field.x[cell.i]!, y: field.y[cell.j]! } });
  };
  const words = `Relief of ${label(content, state)}, ${block.title}. Arrow keys turn it, plus and minus zoom, 0 resets, 1 to 3 look from above, the front and the side, o changes the projection.`;
  return (
    <div class="solid" ref={box}>
      <canvas
        ref={canvas} tabIndex={0} role="img" aria-label={words} data-relief={index}
        onPointerMove={point} onDblClick={() => given.change({ kept: !state.kept })}
        onKeyDown={(event) => {
          if (event.key === "Escape") given.change({ kept: false, place: null });
          if (relief.current && pressed(relief.current, event, given)) event.preventDefault();
        }}
      />
      <div class="labels" ref={labels} aria-hidden="true" />
      {stands && (
        <div class="views" role="group" aria-label={`Views of ${block.title}`}>
          {Object.entries({ reset: content.camera, above: VIEWS["1"]!, front: VIEWS["2"]!, side: VIEWS["3"]! }).map(([name, eye]) => (
            <button type="button" key={name} data-view={name} onClick={() => relief.current?.look(eye)}>{name}</button>
          ))}
        </div>
      )}
      {missing && <p class="small">{missing}: the relief is left out, the map shows the same.</p>}
    </div>
  );
}
