/** Which choices does a reader have? Value, range, scale, colours, what is drawn, and playing a path. */

import { useLayoutEffect } from "preact/hooks";
import type { Content } from "./data";
import { comparable } from "./derive";
import { named } from "./layers";
import { useWidth } from "./map";
import { RATIO, RATIO_COLOURS, ratioRange } from "./ratio";
import { Paths, Player } from "./route";
import { number, type Shown } from "./ranges";
import { clipped, label, logarithmic, palette, step, valueAt, whole, type Change, type State } from "./state";

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
  return <Bar id="ramp" words={label(content, state)} stops={content.maps[palette(content, state)]!} shown={shown} />;
}

/** The scale of the map of curvature that lies over the panel, if there is one. */
export function RatioBar({ content, state }: Pick<Given, "content" | "state">) {
  const found = content.blocks.find((block) => block.ratio)?.ratio;
  if (!found || !state.tints.includes(RATIO)) return null;
  return (
    <div id="ratio-scale">
      <Bar id="ratio-ramp" words={RATIO} stops={content.maps[RATIO_COLOURS]!} shown={ratioRange(found)} />
      <p class="small">Over all directions, not just those of this plane. Each cell of the map is shown as it is; one without a value is left clear.</p>
    </div>
  );
}

/** Pixels between two labels of a colour bar, at least. */
const APART = 4;

function Bar({ id, words, stops, shown }: { id: string; words: string; stops: string[]; shown: Shown }) {
  const part = (tick: number): number => (tick - shown.bottom) / (shown.top - shown.bottom || 1);
  const [ticks, width] = useWidth();
  // A label that would overlap the one before is left out.
  useLayoutEffect(() => {
    let end = -Infinity;
    for (const one of ticks.current!.querySelectorAll("span")) {
      const { left, right } = one.getBoundingClientRect();
      const free = left >= end + APART;
      one.style.visibility = free ? "" : "hidden";
      if (free) end = right;
    }
  }, [width, shown]);
  return (
    <div class="bar" aria-hidden="true">
      <span class="small">{words}</span>
      <svg viewBox="0 0 100 1" preserveAspectRatio="none">
        <defs>
          <linearGradient id={id}>
            {stops.map((colour, n) => <stop key={n} offset={n / (stops.length - 1)} stop-color={colour} />)}
          </linearGradient>
        </defs>
        <rect width="100" height="1" fill={`url(#${id})`} />
      </svg>
      <div class="ticks" ref={ticks}>
        {shown.ticks.map((tick, n) => <span key={n} style={{ "--at": part(tick) }}>{shown.labels[n]}</span>)}
      </div>
    </div>
  );
}

/** Regions that can be shown on the panels. */
function Layers({ content, state, change }: Omit<Given, "shown">) {
  const names = named(content);
  if (!names.length) return null;
  return (
    <fieldset class="layers">
      <legend>Layers</legend>
      {names.map((name) => (
        <Switch key={name} id={`layer-${name}`} words={name} on={state.tints.includes(name)} set={(on) => change({ tints: on ? [...state.tints, name] : state.tints.filter((one) => one !== name) })} />
      ))}
    </fieldset>
  );
}

/** What panels share, and what is made from two of them. */
function Comparison({ content, state, change }: Omit<Given, "shown">) {
  if (content.blocks.length < 2) return null;
  const pair = comparable(content);
  const choice = (id: "first" | "second", words: string) => (
    <label>{words} <select id={id} value={state[id]} onChange={(event) => change({ [id]: Number(event.currentTarget.value) })}>
      {content.blocks.map((block, n) => <option key={n} value={n}>{block.title}</option>)}
    </select></label>
  );
  return (
    <fieldset class="comparison">
      <legend>Comparison</legend>
      <Switch id="locked" words="cameras locked" on={state.locked} set={(locked) => change({ locked })} />
      <Switch id="one-cursor" words="one cursor" on={state.oneCursor} set={(oneCursor) => change({ oneCursor })} />
      <Switch id="one-frame" words="axes locked" on={state.oneFrame} set={(oneFrame) => change({ oneFrame })} />
      <Switch id="one-range" words="scale locked" on={state.oneRange} set={(oneRange) => change({ oneRange })} />
      {pair && (
        <label>show <select id="derive" value={state.derive} onChange={(event) => change({ derive: event.currentTarget.value as State["derive"], low: null, high: null })}>
          {(["side by side", "difference", "morph"] as const).map((one) => <option key={one} value={one}>{one}</option>)}
        </select></label>
      )}
      {pair && state.derive !== "side by side" && choice("first", "from")}
      {pair && state.derive !== "side by side" && choice("second", "to")}
      {pair && state.derive === "morph" && (
        <label class="end"><span>morph</span>
          <input type="range" id="morph" min={0} max={100} value={100 * state.part} aria-valuetext={`${Math.round(100 * state.part)} %`} onInput={(event) => change({ part: Number(event.currentTarget.value) / 100 })} />
          <output>{Math.round(100 * state.part)} %</output>
        </label>
      )}
    </fieldset>
  );
}

export function Controls(given: Given & { whole: Content }) {
  const { content, state, change } = given;
  const choices = [...content.values, ...(state.derive === "side by side" ? (content.layers ?? []) : [])];
  const maps = content.blocks.length > 0;
  const third = content.blocks[0]?.axes[2];
  return (
    <form id="controls" autocomplete="off" aria-label="What is shown" onSubmit={(event) => event.preventDefault()}>
      {choices.length > 1 && (
        <label>value <select id="value" value={state.value} onChange={(event) => change({ value: event.currentTarget.value, low: null, high: null })}>
          {choices.map((value) => <option key={value} value={value}>{value}</option>)}
        </select></label>
      )}
      <label>scale <select id="scale" value={logarithmic(content, state) ? "log" : "linear"} onChange={(event) => change({ log: event.currentTarget.value === "log", low: null, high: null })}>
        <option value="linear">linear</option>
        <option value="log">logarithmic</option>
      </select></label>
      {maps && (
        <label>colours <select id="colours" value={palette(content, state)} onChange={(event) => change({ colours: event.currentTarget.value })}>
          {Object.keys(content.maps).map((name) => <option key={name} value={name}>{name}</option>)}
        </select></label>
      )}
      <Switch id="clip" words="clip" on={clipped(content, state)} set={(clip) => change({ clip, low: null, high: null })} />
      {maps && <Switch id="contours" words="contour lines" on={state.contours} set={(contours) => change({ contours })} />}
      {maps && <Switch id="points" words="evaluated points" on={state.points} set={(points) => change({ points })} />}
      {maps && <Switch id="smooth" words="smooth" on={state.smooth} set={(smooth) => change({ smooth })} />}
      {maps && <Switch id="floor" words="floor map" on={state.floor} set={(floor) => change({ floor })} />}
      {maps && <Switch id="flat" words="orthographic" on={state.flat} set={(flat) => change({ flat })} />}
      <label>page <select id="theme" value={state.theme} onChange={(event) => change({ theme: event.currentTarget.value as State["theme"] })}>
        {(["light", "dark", "print"] as const).map((one) => <option key={one} value={one}>{one}</option>)}
      </select></label>
      {third && (
        <label class="end"><span>{third.name}</span>
          <input type="range" id="slice" min={0} max={third.coordinates.length - 1} value={state.layer} onInput={(event) => change({ layer: Number(event.currentTarget.value) })} />
          <output>{number(third.coordinates[state.layer], 4)}</output>
        </label>
      )}
      <Ends {...given} />
      <Layers content={content} state={state} change={change} />
      <Comparison content={given.whole} state={state} change={change} />
      <Paths content={given.whole} state={state} change={change} />
      <Player {...given} />
    </form>
  );
}
