/** Where does a landscape come from? What was measured, how, and what makes it again. */

import type { Content } from "./data";

const AGAIN: Record<string, string> = { "provenance: command": "The command that made it", "provenance: python": "The Python that reproduces it" };

const GROUPS: [string, (name: string) => boolean][] = [
  ["What was measured", (name) => ["title", "model", "data", "loss", "samples"].includes(name) || name.startsWith("counts: ")],
  ["How", (name) => ["normalisation", "still", "batchnorm", "seed", "dtype", "device"].includes(name) || /^(cosines|sampling|curvature): /.test(name)],
  ["When, and by what", () => true],
];

/** Facts in groups; those that fit none are in the last. */
export function parted(facts: Record<string, string>): [string, [string, string][]][] {
  const left = Object.entries(facts).filter(([name]) => !(name in AGAIN));
  return GROUPS.map(([group, holds]): [string, [string, string][]] => {
    const found = left.filter(([name]) => holds(name));
    found.forEach((one) => left.splice(left.indexOf(one), 1));
    return [group, found.map(([name, words]) => [name.replace(/^(provenance|sampling|curvature|counts): /, ""), words])];
  }).filter(([, found]) => found.length > 0);
}

export function Provenance({ content }: { content: Content }) {
  if (!content.facts.length) return null;
  const caveats = [content.caption["notes"], content.caption["caveat"]].filter((words): words is string => Boolean(words));
  const several = content.facts.length > 1;
  return (
    <details id="provenance">
      <summary>Where it comes from</summary>
      {content.facts.map((facts, n) => (
        <section key={n} aria-label={facts["title"] || `landscape ${n + 1}`}>
          {several && <h3 dir="auto">{content.blocks[n]?.title ?? facts["title"]}</h3>}
          {parted(facts).map(([group, found]) => (
            <div key={group}>
              <h3>{group}</h3>
              <dl>{found.map(([name, words]) => [<dt key={`t${name}`}>{name}</dt>, <dd key={name} dir="auto">{words}</dd>])}</dl>
            </div>
          ))}
          {Object.entries(AGAIN).map(([name, words]) => facts[name] && (
            <div key={name}>
              <h3>{words}</h3>
              <pre tabIndex={0} aria-label={words} data-fact={name}>{facts[name]}</pre>
            </div>
          ))}
        </section>
      ))}
      {caveats.length > 0 && <><h3>What it does not say</h3>{caveats.map((words) => <p key={words} dir="auto">{words}</p>)}</>}
    </details>
  );
}
