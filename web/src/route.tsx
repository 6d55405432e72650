/** What happened along a path? Its time, and at that time epoch, learning rate, the network's loss and the surface's. */

import { useEffect, useState } from "preact/hooks";
import type { Content, Way } from "./data";
import { Field, unsampled } from "./field";
import { useWidth } from "./map";
import { Axes } from "./plots";
import { between, exact, forward, number, type Shown } from "./ranges";
import { theme, type Change, type State } from "./state";
import { ownLoss } from "./way";

interface Given {
  content: Content;
  state: State;
  shown: Shown;
  change: (what: Change) => void;
}

export function ways(content: Content): Way[] {
  return content.overlays.filter((one): one is Way => one.kind === "path");
}

/** The content without the paths that are hidden. */
export function unhidden(content: Content, state: State): Content {
  if (!state.hidden.length) return content;
  const all = ways(content);
  return { ...content, overlays: content.overlays.filter((one) => one.kind !== "path" || !state.hidden.includes(all.indexOf(one))) };
}

/** Each of several paths, with its colour and name, to be hidden. */
export function Paths({ content, state, change }: Omit<Given, "shown">) {
  const all = ways(content);
  if (all.length < 2) return null;
  const turn = (n: number, on: boolean): void => change({ hidden: on ? state.hidden.filter((one) => one !== n) : [...state.hidden, n] });
  return (
    <fieldset class="paths">
      <legend>Paths shown</legend>
      {all.map((way, n) => (
        <label class="switch" key={n}>
          <input type="checkbox" role="switch" id={`path-${n}`} checked={!state.hidden.includes(n)} onChange={(event) => turn(n, event.currentTarget.checked)} />
          <span><i class="swatch" style={{ background: way.colour }} /><bdi>{way.label || `path ${n + 1}`}</bdi></span>
        </label>
      ))}
    </fieldset>
  );
}

/** Whether no cell was sampled. */
export function bare(content: Content): boolean {
  return content.blocks.every(unsampled);
}

/** Which point of a path a time stands for. */
export function at(way: Way, time: number | null): number {
  return Math.round((time ?? 1) * (way.x.length - 1));
}

/** The training runs along their paths, played or moved by hand. */
export function Player({ content, state, change }: Omit<Given, "shown">) {
  const [playing, setPlaying] = useState(false);
  const all = ways(content);
  // The longest, so that every checkpoint of each has a place on the slider.
  const way = all.reduce<Way | undefined>((longest, one) => (longest && longest.x.length >= one.x.length ? longest : one), undefined);
  useEffect(() => {
    if (!playing) return;
    let last = performance.now();
    let time = (state.time ?? 1) >= 1 ? 0 : (state.time ?? 0);
    let frame = requestAnimationFrame(function next(now) {
      time = Math.min(1, time + (now - last) / 6000);
      last = now;
      change({ time });
      if (time < 1) frame = requestAnimationFrame(next);
      else setPlaying(false);
    });
    return () => cancelAnimationFrame(frame);
  }, [playing]);
  if (!way) return null;
  const steps = way.x.length - 1;
  const now = at(way, state.time);
  const named = all.length > 1 ? "" : (way.words.slice(0, now + 1).filter(Boolean).pop() ?? "");
  return (
    <fieldset class="player">
      <legend>{all.length > 1 ? "All paths" : "Path"}</legend>
      <button type="button" id="play" aria-pressed={playing} onClick={() => setPlaying(!playing)}>{playing ? "Pause" : "Play"}</button>
      <label class="end">
        <span class="hidden">time along the path</span>
        <input type="range" id="time" min={0} max={steps} value={now} aria-valuetext={`checkpoint ${now} of ${steps} ${named}`} onInput={(event) => change({ time: Number(event.currentTarget.value) / steps })} />
        <output>{`${now} of ${steps}${named ? `, ${named}` : ""}`}</output>
      </label>
      <button type="button" id="newest" disabled={state.time === null} onClick={() => change({ time: null })}>To the end</button>
    </fieldset>
  );
}

/** The loss of the surface below each point: as it was evaluated, or between the points of the grid. */
export function below(content: Content, way: Way): Float64Array | null {
  if (way.along["loss of the surface"]) return way.along["loss of the surface"];
  const block = content.blocks[way.panel ?? 0];
  if (!block?.values["loss"] || block.axes.length !== 2) return null;
  const field = new Field(block, "loss");
  const grid = field.grid((value) => value);
  const found = Float64Array.from(way.x, (x, n) => field.between(grid, x, way.y[n]!));
  return found.some((value) => Number.isFinite(value)) ? found : null;
}

/** What is known at one point of a path, in the order in which it is listed. */
export function known(content: Content, way: Way, n: number): [string, string][] {
  const evaluated = "loss of the surface" in way.along;
  const surface = below(content, way);
  const rows = Object.entries(way.along).filter(([name]) => name !== "loss of the surface");
  if (surface) rows.push([evaluated ? "loss of the surface" : "loss of the surface (interpolated)", surface]);
  return rows.map(([name, numbers]) => [name, Number.isFinite(numbers[n]!) ? exact(numbers[n]!) : "not known"]);
}

function span(rows: Float64Array[], log: boolean): Shown {
  const all = rows.flatMap((row) => [...row]).filter((value) => Number.isFinite(value) && (!log || value > 0));
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const base = { scale: log ? "log" : "linear", linear_below: null } as Shown;
  return between(base, low, high > low ? high : low + 1, "");
}

/** Where the learning rate fell to half or less, as paths/findings.py has it. */
export function drops(way: Way): [number, string][] {
  const rates = way.along["learning rate"];
  if (!rates) return [];
  return [...rates].flatMap((rate, n): [number, string][] => (n && rate > 0 && rate <= rates[n - 1]! / 2 ? [[n, `lr ÷ ${number(rates[n - 1]! / rate)}`]] : []));
}

/** Lines over the steps of one run: the network's loss, the surface's, and that of training. */
function Losses({ content, state, way, change }: Omit<Given, "shown"> & { way: Way }) {
  const [box, width] = useWidth();
  const clock = way.along["step"] ?? Float64Array.from(way.x, (_, n) => n);
  const colours = theme(content, state).lines;
  const lines: [string, Float64Array, boolean][] = [];
  const told = way.along["loss in training"];
  if (told) lines.push(["in training", told, false]);
  const own = way.along["loss of the network"];
  if (own) lines.push(["of the network", own, false]);
  const surface = below(content, way);
  if (surface) lines.push(["of the surface below", surface, true]);
  if (!lines.length || clock.length < 2) return null;
  const rows = lines.map(([, row]) => row);
  const log = rows.every((row) => row.every((value) => !(value <= 0)));
  const range = span(rows, log);
  const domain: [number, number] = [clock[0]!, clock[clock.length - 1]!];
  const point = (step: number): void => {
    const part = (step - domain[0]) / (domain[1] - domain[0] || 1);
    change({ time: Math.min(Math.max(part, 0), 1) });
  };
  return (
    <figure class="section" ref={box as never}>
      <figcaption>Loss along the path</figcaption>
      {width > 0 && (
        <Axes
          width={width} tall={170} domain={domain} shown={range} mark={clock[at(way, state.time)]!} named={drops(way).map(([n, words]): [number, string] => [clock[n]!, words])} name="step" words={`Loss along ${way.label}`} point={point} pressed
          lines={lines.map(([, row, dashed], n) => ({
            colour: colours[n % colours.length]!, dashed, points: [...row].map((value, k): [number, number] => [clock[k]!, forward(value, range.scale, null)]),
          }))}
        />
      )}
      <ul class="key">
        {lines.map(([name], n) => <li key={name}><svg width="26" height="10" aria-hidden="true"><line class="line" x1="0" x2="26" y1="5" y2="5" stroke={colours[n % colours.length]} /></svg>{name}</li>)}
      </ul>
    </figure>
  );
}

export function Routes({ content, state, change }: Given) {
  const found = ways(content).filter((way) => Object.keys(way.along).length);
  if (!found.length) return null;
  return (
    <section id="routes" aria-label="Along the path">
      {found.map((way, k) => {
        const n = at(way, state.time);
        return (
          <div class="route" key={k}>
            <table>
              <caption><bdi>{way.label || "path"}</bdi>, checkpoint {n} of {way.x.length - 1}</caption>
              <tbody>
                {known(content, way, n).map(([name, words]) => <tr key={name}><th scope="row">{name}</th><td>{words}</td></tr>)}
              </tbody>
            </table>
            <Losses content={content} state={state} way={way} change={change} />
          </div>
        );
      })}
      {bare(content) && <p class="hint">No surface was sampled here: on the relief each point of a path is at the height of its own loss.</p>}
      {found.some((way) => ownLoss(way) !== null) && content.blocks.length > 0 && !bare(content) && (
        <p class="hint">On the relief the coloured line lies on the surface; the thin line above or below it is the loss of the network itself, which lies off the plane by the distance given.</p>
      )}
    </section>
  );
}

