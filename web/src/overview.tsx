/** What is there? Cards of all runs with a small picture each, to be searched, sorted and compared. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { Block, Content, Way } from "./data";
import { Field } from "./field";
import { picture, ramp } from "./paint";
import { unbroken } from "./plots";
import { ways } from "./route";
import { height, number } from "./ranges";
import { pictureOf, runs, scene, type Card } from "./server";
import { whole } from "./slices";

/** Small pictures are requested one after the other, and only once they are visible. */
let line: Promise<unknown> = Promise.resolve();

async function small(card: Card, into: HTMLCanvasElement): Promise<void> {
  const content = await scene([card.id], true);
  const context = into.getContext("2d")!;
  context.clearRect(0, 0, into.width, into.height);
  const block = content.blocks[0];
  if (block) {
    const field = new Field(block, content.value, Math.floor((block.axes[2]?.coordinates.length ?? 1) / 2));
    const colours = ramp(content.maps[content.colours[content.value] ?? "viridis"]!);
    context.drawImage(whole(picture(field, content.first, colours, [into.width, into.height], false)), 0, 0);
    for (const way of ways(content)) traced(context, content, block, way, [into.width, into.height]);
    return;
  }
  const curve = content.curves[0]!;
  const points = [...curve.axis.coordinates].map((c, n): [number, number] => [c, height(curve.median[content.value]![n]!, content.first)]);
  const [low, high] = content.limits[curve.axis.name]!;
  const { bottom, top } = content.first;
  context.strokeStyle = content.themes.light.lines[0]!;
  context.lineWidth = 2;
  for (const piece of unbroken(points)) {
    context.beginPath();
    for (const [c, z] of piece) context.lineTo(6 + ((c - low) / (high - low)) * (into.width - 12), into.height - 6 - ((z - bottom) / (top - bottom || 1)) * (into.height - 12));
    context.stroke();
  }
}

/** A path as it lies on the map of a small picture. */
function traced(context: CanvasRenderingContext2D, content: Content, block: Block, way: Way, [width, tall]: [number, number]): void {
  const [[x0, x1], [y0, y1]] = block.axes.map((axis) => content.limits[axis.name]!) as [[number, number], [number, number]];
  const at = (n: number): [number, number] => [(width * (way.x[n]! - x0)) / (x1 - x0), tall * (1 - (way.y[n]! - y0) / (y1 - y0))];
  context.lineWidth = 2;
  context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = way.colour;
  context.beginPath();
  way.x.forEach((_, n) => context.lineTo(...at(n)));
  context.stroke();
  context.beginPath();
  context.arc(...at(way.x.length - 1), 4, 0, 7);
  context.fill();
}

function Thumbnail({ card }: { card: Card }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const into = canvas.current!;
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      line = line.then(() => small(card, into)).catch(() => undefined);
    });
    seen.observe(into);
    return () => seen.disconnect();
  }, [card.version]);
  return <canvas ref={canvas} width={220} height={150} aria-hidden="true" />;
}

export function standing(card: Card): string {
  if (card.fault) return "cannot be read";
  if (card.words) return card.words;
  if (card.finished) return card.counts?.failed ? `finished, ${card.counts.failed} failed` : "finished";
  const { done = 0, total = 1 } = card.counts ?? {};
  return `${done} of ${total} points`;
}

const ORDERS: Record<string, (a: Card, b: Card) => number> = {
  newest: (a, b) => b.changed - a.changed,
  name: (a, b) => a.name.localeCompare(b.name),
  "lowest loss": (a, b) => (a.range?.[0] ?? Infinity) - (b.range?.[0] ?? Infinity),
  "highest loss": (a, b) => (b.range?.[1] ?? -Infinity) - (a.range?.[1] ?? -Infinity),
  "most rugged": (a, b) => (b.ruggedness ?? -1) - (a.ruggedness ?? -1) || a.name.localeCompare(b.name),
  "least rugged": (a, b) => (a.ruggedness ?? 2) - (b.ruggedness ?? 2) || a.name.localeCompare(b.name),
  model: (a, b) => (a.model ?? "").localeCompare(b.model ?? "") || a.name.localeCompare(b.name),
};

/** What cards are grouped by. */
const GROUPS: Record<string, (card: Card) => string> = {
  nothing: () => "",
  folder: (card) => card.group,
  model: (card) => card.model || "no model",
  data: (card) => card.data || "no data",
  seed: (card) => (card.seed ? `${card.seed.includes(",") ? "seeds" : "seed"} ${card.seed}` : "no seed"),
  kind: (card) => card.kind,
};

/** A share as a percentage that is never rounded to nothing, as the tables have it. */
export function percent(share: number): string {
  const value = 100 * share;
  if (value === 0) return "0 %";
  if (value >= 1) return `${(value < 100 ? Math.min(value, 99) : value).toFixed(0)} %`;
  return `${Number(value.toPrecision(1))} %`;
}

export function tags(card: Card): string[] {
  const [low, high] = card.range ?? [NaN, NaN];
  return [
    card.kind, ...(card.values ?? []).filter((value) => value !== "loss"), card.seed ? `seed ${card.seed}` : "",
    Number.isFinite(low) ? `loss ${number(low)} to ${number(high)}` : "", card.ruggedness === undefined ? "" : `ruggedness ${percent(card.ruggedness)}`, card.finished || card.fault ? "" : "being sampled", card.counts?.failed ? "failures" : "",
  ].filter(Boolean);
}

export function grouped(cards: Card[], by: string): [string, Card[]][] {
  const key = GROUPS[by] ?? GROUPS["nothing"]!;
  const made = new Map<string, Card[]>();
  for (const card of cards) made.set(key(card), [...(made.get(key(card)) ?? []), card]);
  return [...made.entries()];
}

export function found(cards: Card[], words: string, order: string, kind = ""): Card[] {
  const all = words.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (card: Card): string => [card.title, card.name, card.model, card.data, card.seed && `seed ${card.seed}`, standing(card), ...tags(card)].join(" ").toLowerCase();
  return cards.filter((card) => (!kind || card.kind === kind) && all.every((word) => text(card).includes(word))).sort(ORDERS[order] ?? ORDERS["newest"]);
}

/** Kinds whose small picture is the first of their sheet. */
const PICTURED = ["connection", "flatness", "study"];
const DRAWN = ["landscape", "curvature map", "seeds", "path"];

function OneCard({ card, chosen, toggle, tag }: { card: Card; chosen: string[]; toggle: (id: string) => void; tag: (word: string) => void }) {
  return (
    <li data-run={card.id}>
      <a href={`#/${card.fault || DRAWN.includes(card.kind) ? "run" : "sheet"}/${card.id}`}>
        {!card.fault && DRAWN.includes(card.kind) && <Thumbnail card={card} />}
        {!card.fault && PICTURED.includes(card.kind) && <img class="small-picture" loading="lazy" src={pictureOf(card.id, 0)} width={220} height={150} alt="" onError={(event) => event.currentTarget.remove()} />}
        <strong dir="auto">{card.title}</strong>
      </a>
      <p class="small" dir="auto">{card.fault ?? [card.model, card.data].filter(Boolean).join(" · ")}</p>
      <p class="small" dir="auto">{[Object.entries(card.axes ?? {}).map(([name, size]) => `${name} ${size}`).join(" × "), standing(card)].filter(Boolean).join(" · ")}</p>
      {!card.fault && !card.finished && <progress max={card.counts?.total ?? 1} value={card.counts?.done ?? 0} aria-label={`progress of ${card.title}`} />}
      <p class="small name" dir="auto">{card.name}</p>
      <div class="chips">{tags(card).map((word) => <button type="button" key={word} onClick={() => tag(word)} aria-label={`search for ${word}`}>{word}</button>)}</div>
      {!card.fault && DRAWN.includes(card.kind) && <label><input type="checkbox" checked={chosen.includes(card.id)} onChange={() => toggle(card.id)} aria-label={`compare ${card.title}`} /> compare</label>}
    </li>
  );
}

function Choice({ id, words, value, among, set }: { id: string; words: string; value: string; among: string[]; set: (value: string) => void }) {
  return (
    <label>{words} <select id={id} value={value} onChange={(event) => set(event.currentTarget.value)}>
      {among.map((name) => <option key={name} value={name}>{name || "all"}</option>)}
    </select></label>
  );
}

export function Overview() {
  const [cards, setCards] = useState<Card[] | null>(null);
  const [fault, setFault] = useState("");
  const [words, setWords] = useState("");
  const [order, setOrder] = useState("newest");
  const [group, setGroup] = useState("nothing");
  const [kind, setKind] = useState("");
  const [chosen, setChosen] = useState<string[]>([]);
  useEffect(() => {
    const ask = (): void => void runs().then((list) => (setCards(list), setFault("")), (reason: Error) => setFault(reason.message));
    ask();
    const again = setInterval(ask, 3000);
    return () => clearInterval(again);
  }, []);
  useEffect(() => {
    document.documentElement.dataset["ready"] = "";
  }, [cards]);
  const toggle = (id: string): void => setChosen(chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id].slice(-6));
  const kinds = ["", ...new Set((cards ?? []).map((card) => card.kind))];
  const shown = found(cards ?? [], words, order, kind);
  return (
    <main class="overview">
      <header>
        <h1>Landscapes</h1>
        <form role="search" onSubmit={(event) => event.preventDefault()}>
          <label>search <input id="search" type="search" value={words} onInput={(event) => setWords(event.currentTarget.value)} /></label>
          {kinds.length > 2 && <Choice id="kind" words="kind" value={kind} among={kinds} set={setKind} />}
          <Choice id="order" words="order" value={order} among={Object.keys(ORDERS)} set={setOrder} />
          <Choice id="group" words="group by" value={group} among={Object.keys(GROUPS)} set={setGroup} />
          <button type="button" id="compare" disabled={chosen.length < 2} onClick={() => (location.hash = `#/run/${chosen.join(",")}`)}>Compare {chosen.length || ""}</button>
        </form>
      </header>
      {fault && <p role="alert">The server does not answer: {fault}</p>}
      {cards?.length === 0 && <p>Nothing here yet. A run appears as soon as `lossatlas sample … --run` has begun it.</p>}
      <p class="hidden" role="status">{cards ? `${shown.length} of ${cards.length} results` : ""}</p>
      {order.endsWith("rugged") && <p class="hint" id="rugged">Ruggedness is the share of the rise and fall along rays from the centre that falls again after a rise: 0 for every convex loss. A result whose ruggedness is not known comes last.</p>}
      {grouped(shown, group).map(([name, members]) => (
        <section key={name} aria-label={name || "results"}>
          {name && <h2 dir="auto">{name} <small>{members.length}</small></h2>}
          <ul class="cards">{members.map((card) => <OneCard key={card.id} card={card} chosen={chosen} toggle={toggle} tag={setWords} />)}</ul>
        </section>
      ))}
    </main>
  );
}
