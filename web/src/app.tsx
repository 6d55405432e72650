/** How do the pictures of a page belong together? By one state, one cursor and one range for all. */

import { options, type ComponentChildren } from "preact";
import { useEffect, useMemo, useReducer, useRef } from "preact/hooks";
import { Colourbar, RatioBar, Controls } from "./controls";
import type { Block, Content, Places } from "./data";
import { alone, derived } from "./derive";
import { distance, Field, measured, position } from "./field";
import { colourOf, inWords, layered, MARKS, seen, tinted } from "./layers";
import { Map2D, outline } from "./map";
import { Curves, curveWords, Lines, Section } from "./plots";
import { exact, number, type Shown } from "./ranges";
import { bare, Routes, unhidden } from "./route";
import { Provenance } from "./provenance";
import { Saving } from "./saving";
import { hurry } from "./slices";
import { cameras, Solid, reliefs } from "./solid";
import { begin, label, ownShown, shown as rangeOf, theme, type Change, type State } from "./state";

function cosine(content: Content, index: number, block: Block): number | null {
  const facts = content.facts[index] ?? content.facts[0] ?? {};
  const [a, b] = block.axes.map((axis) => axis.name);
  const found = facts[`cosines: ${a},${b}`] ?? facts[`cosines: ${b},${a}`];
  return found === undefined || Number.isNaN(Number(found)) ? null : Number(found);
}

/** What lies under the cursor, for every panel. */
export function readout(content: Content, state: State): string[] {
  if (!state.place) return [];
  if (content.curves.length) return curveWords(content, state.place.x);
  const words: string[] = [];
  content.blocks.forEach((block, index) => {
    const { x, y } = state.oneCursor || content.blocks.length < 2 ? state.place! : (state.places[index] ?? state.place!);
    const cell = new Field(block, state.value, state.layer).nearest(x, y);
    const place = block.axes.map((axis, n) => axis.coordinates[[cell.i, cell.j, state.layer][n]!]!);
    const far = distance(block.axes, place, cosine(content, index, block));
    const where = [...block.axes.map((axis, n) => position(axis, place[n]!)), ...(far === null ? [] : [`distance from the centre ${number(far, 4)}`])].join(", ");
    if (index === 0 || !state.oneCursor) words.push(where);
    const found = [...measured(content, block, state.layer, cell), ...inWords(block, state, cell.i, cell.j)].join(", ");
    words.push(content.blocks.length > 1 ? `${block.title}: ${found}` : found);
  });
  return words;
}

function Readout({ content, state }: { content: Content; state: State }) {
  const words = readout(content, state);
  return (
    <output id="readout" aria-live="polite">
      {words.length === 0 && <p class="hint">Point at a picture: the same place is marked in all of them. Click a map to keep it, or walk with the arrow keys.</p>}
      {words.map((line, n) => <p key={n} dir="auto">{line}</p>)}
      {state.kept && <p class="hint">Held; click the map or press Escape to release it.</p>}
    </output>
  );
}

function Key({ content, state }: { content: Content; state: State }) {
  const found = new Set<string>();
  for (const block of content.blocks) {
    const field = new Field(block, state.value, state.layer);
    for (let j = 0; j < field.ny; j++)
      for (let i = 0; i < field.nx; i++) {
        const why = field.empty(i, j) ?? (field.status(i, j) === 5 ? 5 : null);
        if (why !== null) found.add(String(why));
      }
  }
  return (
    <ul class="key" id="key">
      {[...found].sort().map((status) => (
        <li key={status} data-status={status}><i class={`hatch s${status}`} />{content.reasons[status]}{status === "5" && ": between the evaluated points"}</li>
      ))}
      {content.overlays.map((one, n) => one.label && <li key={`o${n}`}>{one.kind === "points" ? <Mark symbol={one.symbol} colour={one.colour} /> : one.kind !== "regions" && <svg width="22" height="10" aria-hidden="true"><line x1="0" x2="22" y1="5" y2="5" stroke={one.colour} stroke-width="3" /></svg>}<bdi>{one.label}</bdi></li>)}
    </ul>
  );
}

/** A mark as the map draws it. */
function Mark({ symbol, colour }: { symbol: Places["symbol"]; colour: string }) {
  const steps: string[] = [];
  const put = (word: string) => (x: number, y: number): void => void steps.push(`${word}${x.toFixed(2)} ${y.toFixed(2)}`);
  outline({ moveTo: put("M"), lineTo: put("L"), closePath: () => void steps.push("Z"), arc: (x, y, r) => void steps.push(`M${x - r} ${y}a${r} ${r} 0 1 1 ${2 * r} 0a${r} ${r} 0 1 1 ${-2 * r} 0`) }, symbol, 8, 8, 4.5);
  return <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><path d={steps.join("")} fill={colour} stroke="#000" stroke-width="0.8" /></svg>;
}

/** How many regions of a layer are named in its legend; the table has all of them. */
const NAMED = 8;

/** The regions that are shown, in colours and in words. */
function Legend({ content, state }: { content: Content; state: State }) {
  const found = content.blocks.flatMap((block) => seen(block, state).map((layer) => ({ block, layer })));
  return (
    <section id="legend" aria-live="polite" aria-label="Layers">
      {found.map(({ block, layer }, n) => (
        <div key={n} data-layer={layer.name}>
          <p class="small" dir="auto"><strong>{layer.name}</strong>{content.blocks.length > 1 && <> of <bdi>{block.title}</bdi></>}: {layer.words}</p>
          <ul class="key">
            {layer.regions.slice(0, NAMED).map((words, region) => <li key={region}><i class="swatch" style={{ background: colourOf(content, layer, region) }} />{words}</li>)}
            {layer.marks.map((mark) => <li key={mark.label}><Mark symbol={mark.symbol} colour={MARKS[mark.label] ?? "#ffffff"} />{mark.label}</li>)}
            {layer.regions.length > NAMED && <li>and {layer.regions.length - NAMED} more</li>}
          </ul>
        </div>
      ))}
    </section>
  );
}

/** The values along both axes through the cursor, as a table for those who do not see the pictures. */
function Table({ content, state }: { content: Content; state: State }) {
  const block = content.blocks[0];
  if (!block) return null;
  const field = new Field(block, state.value, state.layer);
  const cell = state.place ? field.nearest(state.place.x, state.place.y) : field.nearest(0, 0);
  const row = (along: 0 | 1) =>
    [...(along === 0 ? field.x : field.y)].map((c, k) => {
      const [i, j] = along === 0 ? [k, cell.j] : [cell.i, k];
      const why = field.empty(i, j);
      return <tr key={k}><th scope="row">{number(c, 4)}</th><td>{[why === null ? exact(field.at(i, j)) : content.reasons[String(why)], ...inWords(block, state, i, j)].join(", ")}</td></tr>;
    });
  return (
    <details id="table">
      <summary>Values as a table</summary>
      <div class="tables">
        {([0, 1] as const).map((along) => (
          <table key={along}>
            <caption>{label(content, state)} of <bdi>{block.title}</bdi> along {block.axes[along]!.name}, through the cursor</caption>
            <thead><tr><th scope="col">{block.axes[along]!.name}</th><th scope="col">{label(content, state)}</th></tr></thead>
            <tbody>{row(along)}</tbody>
          </table>
        ))}
      </div>
    </details>
  );
}

/** What one panel is given: the same for all, except for what is not shared. */
function panel(content: Content, state: State, shown: Shown, change: (what: Change) => void, block: Block, index: number) {
  const several = content.blocks.length > 1;
  const own = several && !state.oneRange ? ownShown(content, state, index) : shown;
  const place = several && !state.oneCursor ? (state.places[index] ?? null) : state.place;
  const told = (what: Change): void => {
    if (!several || state.oneCursor || !("place" in what)) return change(what);
    const places = content.blocks.map((_, n) => (n === index ? (what.place ?? null) : (state.places[n] ?? null)));
    change({ ...what, places });
  };
  return { content: several && !state.oneFrame ? alone(content, index) : content, state: { ...state, place }, shown: own, change: told, block, index };
}

function titles(content: Content): string {
  return [...new Set([...content.blocks, ...content.curves].map((one) => one.title))].join(" · ") || "Loss landscape";
}

/** Draw whatever changes at once, until the returned function is called: a printing browser waits for no frame. */
function atOnce(): () => void {
  const now = (work: () => void): void => work();
  const { debounceRendering, requestAnimationFrame } = options;
  Object.assign(options, { debounceRendering: now, requestAnimationFrame: now });
  hurry(true);
  return () => {
    hurry(false);
    Object.assign(options, { debounceRendering, requestAnimationFrame });
  };
}

/** A dark page is printed on white paper, and dark again afterwards; a page of another width is redrawn for it. */
function onPaper(latest: { current: State }, change: (what: Change) => void): () => void {
  let dark = false;
  let slow = (): void => undefined;
  const before = (): void => {
    slow();
    slow = atOnce();
    dark = latest.current.theme === "dark";
    if (dark) change({ theme: "light" });
  };
  const after = (): void => {
    slow();
    slow = () => undefined;
    if (dark) change({ theme: "dark" });
  };
  addEventListener("beforeprint", before);
  addEventListener("afterprint", after);
  return () => {
    slow();
    removeEventListener("beforeprint", before);
    removeEventListener("afterprint", after);
  };
}

/** What a served page adds: the progress of a run, and figures. */
export type Extra = (content: Content, state: State, shown: Shown) => ComponentChildren;

export function App({ content: from, extra, host = document.documentElement }: { content: Content; extra?: Extra; host?: HTMLElement }) {
  const whole = useMemo(() => layered(from), [from]);
  const [state, change] = useReducer((old: State, what: Change) => ({ ...old, ...what }), whole, begin);
  const made = useMemo(() => derived(whole, state), [whole, state.derive, state.first, state.second, state.part]);
  const content = useMemo(() => tinted(unhidden(made, state), state), [made, state.tints, state.hidden]);
  const latest = useRef(state);
  latest.current = state;
  const kept = useMemo(() => cameras(() => latest.current.locked), []);
  const shown = useMemo(() => rangeOf(content, state), [content, state.value, state.log, state.clip, state.low, state.high]);
  useEffect(() => {
    host.toggleAttribute("data-dark", state.theme === "dark");
    host.toggleAttribute("data-print", state.theme === "print");
    host.toggleAttribute("data-talk", content.theme === "talk");
  }, [state.theme]);
  useEffect(() => onPaper(latest, change), []);
  useEffect(() => {
    const words = (host.shadowRoot ?? document).getElementById("shown");
    if (words) words.textContent = shown.words;
    if (!content.blocks.length) host.dataset["ready"] = "";
    Object.assign(window, { lossatlas: { content, state, shown, reliefs, change } });
  });
  const arrived = (): void => {
    if (reliefs.every((one) => one.complete)) host.dataset["ready"] = "";
  };
  const given = { content, state, shown, change };
  const each = content.blocks.map((block, index) => panel(content, state, shown, change, block, index));
  return (
    <main class={content.blocks.length > 1 ? "page-of several" : "page-of alone"}>
      <header>
        <h1 dir="auto" class={content.heading ? "" : "hidden"}>{content.heading || titles(content)}</h1>
        <Controls {...given} whole={whole} />
      </header>
      {content.blocks.length > 0 && (state.oneRange || content.blocks.length < 2) && <Colourbar {...given} />}
      <RatioBar content={content} state={state} />
      <p class="hidden" aria-live="polite" id="range-words">{shown.words}</p>
      <div class="panels">
        {content.curves.length > 0 && <section class="card"><Curves {...given} /></section>}
        {each.map((own) => (
          <section class="card" key={own.index}>
            <h2 dir="auto">{own.block.title}{own.block.note && <small> {own.block.note}</small>}</h2>
            {state.derive !== "side by side" && <p class="small">Computed from the values of two landscapes; no network was measured here.</p>}
            {!state.oneRange && content.blocks.length > 1 && <Colourbar {...own} />}
            <div class="plots">
              <Solid {...own} cameras={kept} arrived={arrived} />
              <Map2D {...own} />
            </div>
          </section>
        ))}
      </div>
      <Readout content={content} state={state} />
      {content.blocks.length > 0 && !bare(content) && (
        <div class="sections">
          <Section {...given} blocks={content.blocks} along={0} />
          <Section {...given} blocks={content.blocks} along={1} />
        </div>
      )}
      {content.blocks.length > 1 && <Lines titles={content.blocks.map((block) => block.title)} colours={theme(content, state).lines} />}
      <Routes {...given} />
      <Key content={content} state={state} />
      <Legend content={content} state={state} />
      <Table content={content} state={state} />
      <Provenance content={content} />
      <Saving content={content} />
      {extra?.(content, state, shown)}
    </main>
  );
}
