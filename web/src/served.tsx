/** Which page of the server is shown? The overview, or one or several runs, kept up to date while they grow. */

import { useEffect, useState } from "preact/hooks";
import { App } from "./app";
import type { Content } from "./data";
import { FigurePanel } from "./figure";
import { Overview } from "./overview";
import { number } from "./ranges";
import { between, glides, kept } from "./glide";
import { runs, scene, watch, type Card, type Progress } from "./server";
import { Measures, SheetPage } from "./sheet";

const GLIDE = 450;

export function asked(hash: string): string[] {
  return /^#\/(?:run|sheet)\/([0-9a-f,]+)/.exec(hash)?.[1]?.split(",").filter(Boolean) ?? [];
}

function words(progress: Progress): string {
  if (progress.kind === "path") return `${progress.done ?? 0} checkpoints so far`;
  if (progress.finished) return "Finished.";
  const { done = 0, total = 0, rate, left } = progress;
  const speed = rate ? `, ${number(rate)} a second, ${left! < 90 ? `${Math.ceil(left!)} s` : `${Math.ceil(left! / 60)} min`} left` : "";
  return `${done} of ${total} points${speed}`;
}

/** A scene that is fetched again when its run has changed, at most once a second. */
function useScene(ids: string[]): { content: Content | null; fault: string; progress: Progress | null } {
  const [content, setContent] = useState<Content | null>(null);
  const [fault, setFault] = useState("");
  const [progress, setProgress] = useState<Progress | null>(null);
  useEffect(() => {
    let [busy, again, gone] = [false, false, false];
    let now: Content | null = null;
    let frame = 0;
    const turn = (next: Content): void => {
      const old = now;
      const held = kept(old, next);
      now = held;
      cancelAnimationFrame(frame);
      if (!glides(old, held)) return setContent(held);
      const began = performance.now();
      frame = requestAnimationFrame(function step(time) {
        const part = Math.min(Math.max((time - began) / GLIDE, 0), 1);
        setContent(part < 1 ? between(old, held, part * part * (3 - 2 * part)) : held);
        if (part < 1) frame = requestAnimationFrame(step);
      });
    };
    const fetchIt = async (): Promise<void> => {
      if (busy) return void (again = true);
      busy = true;
      try {
        const next = await scene(ids);
        if (!gone) {
          turn(next);
          setFault("");
        }
      } catch (reason) {
        if (!gone) setFault((reason as Error).message);
      }
      setTimeout(() => {
        busy = false;
        if (again && !gone) {
          again = false;
          void fetchIt();
        }
      }, 1000);
    };
    void fetchIt();
    let first = true;
    const leave = ids.map((id) =>
      watch(id, (told) => {
        setProgress(told);
        if (!first || !told.finished) void fetchIt();
        first = false;
      }),
    );
    return () => {
      gone = true;
      cancelAnimationFrame(frame);
      leave.forEach((end) => end());
    };
  }, [ids.join()]);
  return { content, fault, progress };
}

/** Kinds that are drawn as reliefs, maps or lines. */
const FIELDS = ["landscape", "curvature map", "seeds", "path"];

function Runs({ ids }: { ids: string[] }) {
  const { content, fault, progress } = useScene(ids);
  const [cards, setCards] = useState<Card[] | null>(null);
  useEffect(() => void runs().then((all) => setCards(ids.flatMap((id) => all.filter((card) => card.id === id))), () => undefined), [ids.join()]);
  if (ids.length === 1 && cards?.[0] && !FIELDS.includes(cards[0].kind)) return <SheetPage id={ids[0]!} />;
  return (
    <div>
      <nav><a href="#/">All results</a>{ids.length === 1 && progress && <span id="progress" role="status"> {words(progress)}</span>}</nav>
      {fault && <p role="alert">{fault}</p>}
      {content && <Caption content={content} />}
      {content && <App key={ids.join()} content={content} extra={(now, state, shown) => cards && cards.length > 0 && <>{ids.length > 1 && !(content.blocks.length === 1 && cards.every((card) => card.kind === "path")) && <Measures ids={ids} version={cards.map((card) => card.version).join()} />}<FigurePanel cards={cards} content={now} state={state} shown={shown} /></>} />}
    </div>
  );
}

/** The words below the pictures; the single page has them in its text. */
function Caption({ content }: { content: Content }) {
  useEffect(() => {
    const section = document.getElementById("caption")!;
    section.replaceChildren(
      ...Object.entries(content.caption).filter(([, text]) => text).map(([name, text]) => {
        const paragraph = document.createElement("p");
        paragraph.id = name;
        paragraph.textContent = text;
        return paragraph;
      }),
    );
    return () => section.replaceChildren();
  }, [content]);
  return null;
}

export function Served() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const turn = (): void => setHash(location.hash);
    addEventListener("hashchange", turn);
    return () => removeEventListener("hashchange", turn);
  }, []);
  const ids = asked(hash);
  if (hash.startsWith("#/sheet/") && ids[0]) return <SheetPage key={ids[0]} id={ids[0]} />;
  return ids.length ? <Runs key={ids.join()} ids={ids} /> : <Overview />;
}
