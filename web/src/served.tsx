/** Which page of the server is seen? The overview, or one or several runs, kept up to date while they grow. */

import { useEffect, useState } from "preact/hooks";
import { App } from "./app";
import type { Content } from "./data";
import { FigurePanel } from "./figure";
import { Overview } from "./overview";
import { number } from "./ranges";
import { runs, scene, watch, type Card, type Progress } from "./server";

export function asked(hash: string): string[] {
  return /^#\/run\/([0-9a-f,]+)/.exec(hash)?.[1]?.split(",").filter(Boolean) ?? [];
}

function words(progress: Progress): string {
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
    const fetchIt = async (): Promise<void> => {
      if (busy) return void (again = true);
      busy = true;
      try {
        const next = await scene(ids);
        if (!gone) {
          setContent(next);
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
      leave.forEach((end) => end());
    };
  }, [ids.join()]);
  return { content, fault, progress };
}

function Runs({ ids }: { ids: string[] }) {
  const { content, fault, progress } = useScene(ids);
  const [cards, setCards] = useState<Card[]>([]);
  useEffect(() => void runs().then((all) => setCards(ids.flatMap((id) => all.filter((card) => card.id === id))), () => undefined), [ids.join()]);
  return (
    <div>
      <nav><a href="#/">All landscapes</a>{ids.length === 1 && progress && <span id="progress" role="status"> {words(progress)}</span>}</nav>
      {fault && <p role="alert">{fault}</p>}
      {content && <Caption content={content} />}
      {content && <App key={ids.join()} content={content} extra={(now, state, shown) => cards.length > 0 && <FigurePanel cards={cards} content={now} state={state} shown={shown} />} />}
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
  return ids.length ? <Runs key={ids.join()} ids={ids} /> : <Overview />;
}
