/** What is there? Cards of all runs with a small picture each, to be searched, sorted and compared. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Field } from "./field";
import { picture, ramp } from "./paint";
import { unbroken } from "./plots";
import { height } from "./ranges";
import { runs, scene, type Card } from "./server";

/** Small pictures are asked for one after the other, and only once they are seen. */
let line: Promise<unknown> = Promise.resolve();

async function small(card: Card, into: HTMLCanvasElement): Promise<void> {
  const content = await scene([card.id], true);
  const context = into.getContext("2d")!;
  context.clearRect(0, 0, into.width, into.height);
  const block = content.blocks[0];
  if (block) {
    const field = new Field(block, content.value, Math.floor((block.axes[2]?.coordinates.length ?? 1) / 2));
    const colours = ramp(content.maps[content.colours[content.value] ?? "viridis"]!);
    context.drawImage(picture(field, content.first, colours, [into.width, into.height], false), 0, 0);
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
  if (card.finished) return card.counts?.failed ? `finished, ${card.counts.failed} failed` : "finished";
  const { done = 0, total = 1 } = card.counts ?? {};
  return `${done} of ${total} points`;
}

const ORDERS: Record<string, (a: Card, b: Card) => number> = {
  newest: (a, b) => b.changed - a.changed,
  name: (a, b) => a.name.localeCompare(b.name),
  model: (a, b) => (a.model ?? "").localeCompare(b.model ?? "") || a.name.localeCompare(b.name),
};

export function found(cards: Card[], words: string, order: string): Card[] {
  const all = words.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (card: Card): string => [card.title, card.name, card.model, card.data, card.seed && `seed ${card.seed}`, standing(card)].join(" ").toLowerCase();
  return cards.filter((card) => all.every((word) => text(card).includes(word))).sort(ORDERS[order] ?? ORDERS["newest"]);
}

export function Overview() {
  const [cards, setCards] = useState<Card[] | null>(null);
  const [fault, setFault] = useState("");
  const [words, setWords] = useState("");
  const [order, setOrder] = useState("newest");
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
  return (
    <div class="overview">
      <header>
        <h1>Landscapes</h1>
        <form role="search" onSubmit={(event) => event.preventDefault()}>
          <label>search <input id="search" type="search" value={words} onInput={(event) => setWords(event.currentTarget.value)} /></label>
          <label>order <select id="order" value={order} onChange={(event) => setOrder(event.currentTarget.value)}>
            {Object.keys(ORDERS).map((name) => <option key={name} value={name}>{name}</option>)}
          </select></label>
          <button type="button" id="compare" disabled={chosen.length < 2} onClick={() => (location.hash = `#/run/${chosen.join(",")}`)}>Compare {chosen.length || ""}</button>
        </form>
      </header>
      {fault && <p role="alert">The server does not answer: {fault}</p>}
      {cards?.length === 0 && <p>Nothing here yet. A run appears as soon as `lossatlas sample … --run` has begun it.</p>}
      <ul class="cards">
        {found(cards ?? [], words, order).map((card) => (
          <li key={card.id} data-run={card.id}>
            <a href={`#/run/${card.id}`}>
              {!card.fault && <Thumbnail card={card} />}
              <strong dir="auto">{card.title}</strong>
            </a>
            <p class="small" dir="auto">{card.fault ?? [card.model, card.data, card.seed && `seed ${card.seed}`].filter(Boolean).join(" · ")}</p>
            <p class="small">{Object.entries(card.axes ?? {}).map(([name, size]) => `${name} ${size}`).join(" × ")} · {standing(card)}</p>
            {!card.fault && !card.finished && <progress max={card.counts?.total ?? 1} value={card.counts?.done ?? 0} aria-label={`progress of ${card.title}`} />}
            <p class="small name" dir="auto">{card.name}</p>
            {!card.fault && <label><input type="checkbox" checked={chosen.includes(card.id)} onChange={() => toggle(card.id)} /> compare</label>}
          </li>
        ))}
      </ul>
    </div>
  );
}
