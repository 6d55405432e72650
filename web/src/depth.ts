/** Where does the page get the script that draws reliefs? From its own text, from its server, or it is already there. */

import { bytesOf } from "./data";
import type { Third } from "./third";

let asked: Promise<Third> | null = null;

/** What third.ts gives, fetched once for all reliefs; rejected if it does not arrive, and then requested again. */
export function third(): Promise<Third> {
  return (asked ??= fetched().catch((fault: unknown) => {
    asked = null;
    throw fault;
  }));
}

/** Where the script has left it; in a notebook both scripts are one, and it is there from the start. */
function there(): Third | undefined {
  return (globalThis as { lossatlasThird?: Third }).lossatlasThird;
}

async function fetched(): Promise<Third> {
  if (!there()) {
    await parsed();
    const packed = document.getElementById("third")?.textContent;
    await (packed ? inside(await unpacked(packed)) : served());
  }
  const found = there();
  if (!found) throw new Error("the script for three dimensions was not run");
  return found;
}

/** The text of the script comes last on the page, so that flat pictures need not wait for it. */
function parsed(): Promise<void> {
  if (document.readyState !== "loading") return Promise.resolve();
  return new Promise((done) => document.addEventListener("DOMContentLoaded", () => done(), { once: true }));
}

async function unpacked(packed: string): Promise<string> {
  const plain = new Blob([bytesOf(packed)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).text();
}

/** Allowed by the page's policy, which names exactly this text by its hash. */
function inside(code: string): void {
  const script = document.createElement("script");
  script.textContent = code;
  document.head.append(script);
  script.remove();
}

function served(): Promise<void> {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.onload = () => done();
    script.onerror = () => failed(new Error("/third.js did not load"));
    script.src = "/third.js";
    document.head.append(script);
    script.remove();
  });
}
