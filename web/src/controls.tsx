/** Which choices does a reader have? Value, range, scale, colours, what is drawn, and playing a path. */

import { useEffect, useState } from "preact/hooks";
import type { Content } from "./data";
import { number, type Shown } from "./ranges";
import { clipped, label, logarithmic, step, valueAt, whole, type Change, type State } from "./state";

interface Given {
  content: Content;
  state: State;
  shown: Shown;
  change: (what: Change) => void;
}

function Switch({ id, on, words, set }: { id: string; on: boolean; words: string; set: (on: boolean) => void }) {
  return (
    <label class="switch">
      <input type="checkbox" role="switch" id={id} checked={on} onChange={(event) => set(event.currentTarget.checked)} />
      <span>{words}</span>
    </label>
  );
}

function End({ id, words, at, text, set }: { id: string; words: string; at: number; text: string; set: (at: number) => void }) {
  return (
    <label class="end">
      <span>{words}</span>
      <input type="range" id={id} min={0} max={1000} value={at} aria-valuetext={text} onInput={(event) => set(Number(event.currentTarget.value))} />
      <output>{text}</output>
    </label>
  );
}

function Ends({ content, state, shown, change }: Given) {
  const all = whole(content, state);
  const [low, high] = [step(all, shown.low), step(all, shown.high)];
  return (
    <fieldset class="range">
      <legend>Range shown</legend>
      <End id="low" words="from" at={low} text={number(shown.low, 4)} set={(at) => change({ low: valueAt(all, Math.min(at, high - 1)) })} />
      <End id="high" words="to" at={high} text={number(shown.high, 4)} set={(at) => change({ high: valueAt(all, Math.max(at, low + 1)) })} />
      <button type="button" id="automatic" disabled={state.low === null && state.high === null} onClick={() => change({ low: null, high: null })}>Automatic</button>
    </fieldset>
  );
}

export function Colourbar({ content, state, shown }: Given) {
  const stops = content.maps[state.colours ?? content.colours[state.value] ?? "viridis"]!;
  const part = (tick: number): string => `${(100 * (tick - shown.bottom)) / (shown.top - shown.bottom || 1)}%`;
  return (
    <div class="bar" aria-hidden="true">
      <span class="small">{label(content, state)}</span>
      <svg viewBox="0 0 100 1" preserveAspectRatio="none">
        <defs>
          <linearGradient id="ramp">
            {stops.map((colour, n) => <stop key={n} offset={n / (stops.length - 1)} stop-color={colour} />)}
          </linearGradient>
        </defs>
        <rect width="100" height="1" fill="url(#ramp)" />
      </svg>
      <div class="ticks">
        {shown.ticks.map((tick, n) => <span key={n} style={{ left: part(tick) }}>{shown.labels[n]}</span>)}
      </div>
    </div>
  );
}

/** The training run along its path, played or moved by hand. */
function Player({ content, state, change }: Given) {
  const [playing, setPlaying] = useState(false);
  const way = content.overlays.find((one) => one.kind === "path");
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
  if (!way || way.kind !== "path") return null;
  const steps = way.x.length - 1;
  const at = Math.round((state.time ?? 1) * steps);
  const named = way.words.slice(0, at + 1).filter(Boolean).pop() ?? "";
  return (
    <fieldset class="player">
      <legend>Path</legend>
      <button type="button" id="play" aria-pressed={playing} onClick={() => setPlaying(!playing)}>{playing ? "Pause" : "Play"}</button>
      <label class="end">
        <span class="hidden">time</span>
        <input type="range" id="time" min={0} max={steps} value={at} aria-valuetext={`step ${at} of ${steps} ${named}`} onInput={(event) => change({ time: Number(event.currentTarget.value) / steps })} />
        <output>{`${at} of ${steps}${named ? `, ${named}` : ""}`}</output>
      </label>
    </fieldset>
  );
}

export function Controls(given: Given) {
  const { content, state, change } = given;
  const maps = content.blocks.length > 0;
  const third = content.blocks[0]?.axes[2];
  const own = content.colours[state.value] ?? "viridis";
  return (
    <form id="controls" autocomplete="off" aria-label="What is shown" onSubmit={(event) => event.preventDefault()}>
      {content.values.length > 1 && (
        <label>value <select id="value" value={state.value} onChange={(event) => change({ value: event.currentTarget.value, low: null, high: null })}>
          {content.values.map((value) => <option key={value} value={value}>{value}</option>)}
        </select></label>
      )}
      <label>scale <select id="scale" value={logarithmic(content, state) ? "log" : "linear"} onChange={(event) => change({ log: event.currentTarget.value === "log", low: null, high: null })}>
        <option value="linear">linear</option>
        <option value="log">logarithmic</option>
      </select></label>
      {maps && (
        <label>colours <select id="colours" value={state.colours ?? own} onChange={(event) => change({ colours: event.currentTarget.value })}>
          {Object.keys(content.maps).map((name) => <option key={name} value={name}>{name}</option>)}
        </select></label>
      )}
      <Switch id="clip" words="clip" on={clipped(content, state)} set={(clip) => change({ clip, low: null, high: null })} />
      {maps && <Switch id="contours" words="contour lines" on={state.contours} set={(contours) => change({ contours })} />}
      {maps && <Switch id="points" words="evaluated points" on={state.points} set={(points) => change({ points })} />}
      {maps && <Switch id="smooth" words="smooth" on={state.smooth} set={(smooth) => change({ smooth })} />}
      {maps && <Switch id="floor" words="floor map" on={state.floor} set={(floor) => change({ floor })} />}
      {maps && <Switch id="flat" words="orthographic" on={state.flat} set={(flat) => change({ flat })} />}
      {content.blocks.length > 1 && <Switch id="locked" words="cameras locked" on={state.locked} set={(locked) => change({ locked })} />}
      <Switch id="dark" words="dark" on={state.dark} set={(dark) => change({ dark })} />
      {third && (
        <label class="end"><span>{third.name}</span>
          <input type="range" id="slice" min={0} max={third.coordinates.length - 1} value={state.layer} onInput={(event) => change({ layer: Number(event.currentTarget.value) })} />
          <output>{number(third.coordinates[state.layer], 4)}</output>
        </label>
      )}
      <Ends {...given} />
      <Player {...given} />
    </form>
  );
}
