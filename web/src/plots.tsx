/** How are lines drawn? Cross-sections through the cursor, and the curves of landscapes with one axis. */

import { scaleLinear } from "d3-scale";
import type { Block, Content, Curve } from "./data";
import { Field, nearest, position } from "./field";
import { useWidth } from "./map";
import { exact, height, number, type Shown } from "./ranges";
import { label, theme, type Change, type State } from "./state";

interface Line {
  colour: string;
  points: [number, number][];
  dots?: boolean;
  dashed?: boolean;
}

interface Plot {
  width: number;
  tall: number;
  domain: [number, number];
  shown: Pick<Shown, "bottom" | "top" | "ticks" | "labels">;
  lines: Line[];
  bands?: { colour: string; points: [number, number, number][] }[];
  gaps?: [number, number][];
  /** Places that are named, such as where the learning rate fell. */
  named?: [number, string][];
  mark: number | null;
  name: string;
  words: string;
  point: (coordinate: number) => void;
  /** Whether the pointer has to be pressed. */
  pressed?: boolean;
  key?: (event: KeyboardEvent) => void;
}

const EDGE = { left: 58, right: 10, top: 8, bottom: 34 };

/** Pieces without holes, so that a line breaks where a value is missing. */
export function unbroken<T extends number[]>(points: T[]): T[][] {
  const out: T[][] = [[]];
  for (const point of points) {
    if (point.some((value) => !Number.isFinite(value))) out.push([]);
    else out[out.length - 1]!.push(point);
  }
  return out.filter((piece) => piece.length > 0);
}

export function Axes(given: Plot) {
  const { width, tall, shown } = given;
  const x = scaleLinear(given.domain, [EDGE.left, width - EDGE.right]);
  const y = scaleLinear([shown.bottom, shown.top], [tall - EDGE.bottom, EDGE.top]);
  const path = (points: [number, number][]): string => "M" + points.map(([a, b]) => `${x(a).toFixed(2)} ${y(b).toFixed(2)}`).join("L");
  const rect = (event: PointerEvent): number => {
    const area = (event.currentTarget as SVGSVGElement).getBoundingClientRect();
    return x.invert(((event.clientX - area.left) / area.width) * width);
  };
  return (
    <svg
      class="plot" viewBox={`0 0 ${width} ${tall}`} width={width} height={tall} role="img" tabIndex={given.key ? 0 : -1} aria-label={given.words}
      onPointerMove={(event) => (!given.pressed || event.buttons) && given.point(rect(event))} onPointerDown={(event) => given.pressed && given.point(rect(event))} onKeyDown={(event) => given.key?.(event)}
    >
      <g class="faint">
        {shown.ticks.map((tick, n) => (
          <g key={n}>
            <line class="grid" x1={EDGE.left} x2={width - EDGE.right} y1={y(tick)} y2={y(tick)} />
            <text x={EDGE.left - 6} y={y(tick)} text-anchor="end" dominant-baseline="middle">{shown.labels[n]}</text>
          </g>
        ))}
        {x.ticks(6).map((tick) => (
          <text key={tick} x={x(tick)} y={tall - EDGE.bottom + 14} text-anchor="middle">{number(tick)}</text>
        ))}
        <text class="name" x={(EDGE.left + width - EDGE.right) / 2} y={tall - 4} text-anchor="middle">{given.name}</text>
      </g>
      {given.gaps?.map(([low, high]) => <rect key={low} class="gap" x={x(low)} width={Math.max(1, x(high) - x(low))} y={EDGE.top} height={tall - EDGE.top - EDGE.bottom} />)}
      {given.bands?.map((band, n) =>
        unbroken(band.points).map((piece, m) => (
          <path key={`${n}-${m}`} fill={band.colour} opacity="0.18" d={path([...piece.map(([a, low]) => [a, low] as [number, number]), ...piece.reverse().map(([a, , high]) => [a, high] as [number, number])]) + "Z"} />
        )),
      )}
      {given.lines.map((line, n) => (
        <g key={n}>
          {unbroken(line.points).map((piece, m) =>
            piece.length === 1 ? <circle key={m} cx={x(piece[0]![0])} cy={y(piece[0]![1])} r="3" fill={line.colour} /> : <path key={m} class="line" stroke={line.colour} stroke-dasharray={line.dashed ? "5 4" : undefined} d={path(piece)} />,
          )}
          {line.dots && line.points.map(([a, b]) => Number.isFinite(b) && <circle key={a} cx={x(a)} cy={y(b)} r="1.7" fill={line.colour} />)}
        </g>
      ))}
      {given.named?.map(([at, words]) => (
        <g key={at} class="named">
          <line x1={x(at)} x2={x(at)} y1={EDGE.top} y2={tall - EDGE.bottom} />
          <text x={x(at) + 4} y={EDGE.top + 10}>{words}</text>
        </g>
      ))}
      {given.mark !== null && <line class="mark" x1={x(given.mark)} x2={x(given.mark)} y1={EDGE.top} y2={tall - EDGE.bottom} />}
    </svg>
  );
}

interface Cut {
  content: Content;
  state: State;
  blocks: Block[];
  shown: Shown;
  change: (what: Change) => void;
}

/** The values of all panels along one axis through the cursor. */
export function Section(given: Cut & { along: 0 | 1 }) {
  const { content, state, blocks, shown, along } = given;
  const [box, width] = useWidth();
  const first = new Field(blocks[0]!, state.value, state.layer);
  const at = state.place ?? { x: first.x[nearest(first.x, 0)]!, y: first.y[nearest(first.y, 0)]! };
  const colours = theme(content, state).lines;
  const gaps: [number, number][] = [];
  const lines = blocks.map((block, n): Line => {
    const field = new Field(block, state.value, state.layer);
    const cell = field.nearest(at.x, at.y);
    const run = along === 0 ? field.x : field.y;
    const points = [...run].map((c, k): [number, number] => [c, height(along === 0 ? field.at(k, cell.j) : field.at(cell.i, k), shown)]);
    if (blocks.length === 1)
      points.forEach(([c, z], k) => {
        if (Number.isNaN(z)) gaps.push([k ? (run[k - 1]! + c) / 2 : c, k < run.length - 1 ? (run[k + 1]! + c) / 2 : c]);
      });
    return { colour: colours[n % colours.length]!, points, dots: run.length <= 60 };
  });
  const axis = blocks[0]!.axes[along]!;
  const other = blocks[0]!.axes[1 - along]!;
  const through = `${other.name} = ${number(along === 0 ? at.y : at.x, 4)}`;
  return (
    <figure class="section" ref={box as never}>
      <figcaption>{label(content, state)} along {axis.name}, at {through}</figcaption>
      {width > 0 && (
        <Axes
          width={width} tall={190} domain={content.limits[axis.name]!} shown={shown} lines={lines} gaps={gaps} mark={along === 0 ? at.x : at.y} name={axis.name}
          words={`Cross-section along ${axis.name} at ${through}`}
          point={(c) => !state.kept && given.change({ place: along === 0 ? { x: first.x[nearest(first.x, c)]!, y: at.y } : { x: at.x, y: first.y[nearest(first.y, c)]! } })}
        />
      )}
    </figure>
  );
}

/** Which line is whose. */
export function Lines({ titles, colours, more = [] }: { titles: string[]; colours: string[]; more?: string[] }) {
  return (
    <ul class="key lines">
      {titles.map((title, n) => (
        <li key={n}><svg width="26" height="10" aria-hidden="true"><line class="line" x1="0" x2="26" y1="5" y2="5" stroke={colours[n % colours.length]} /></svg><bdi>{title}</bdi></li>
      ))}
      {more.map((words) => <li key={words}>{words}</li>)}
    </ul>
  );
}

/** Landscapes with one axis: a median with a band for each model, metrics on an axis of their own below. */
export function Curves({ content, state, shown, change }: Omit<Cut, "blocks">) {
  const [box, width] = useWidth();
  const colours = theme(content, state).lines;
  const first = content.curves[0]!;
  const at = state.place?.x ?? null;
  const same = state.value === content.value ? [state.value, ...content.alongside] : [state.value];
  const line = (curve: Curve, n: number, value: string, range: Shown, dashed: boolean): Line => ({
    colour: colours[n % colours.length]!, dashed, points: [...curve.axis.coordinates].map((c, k) => [c, height(curve.median[value]![k]!, range)]),
  });
  const band = (curve: Curve, n: number, value: string, range: Shown) => ({
    colour: colours[n % colours.length]!,
    points: [...curve.axis.coordinates].map((c, k): [number, number, number] => [c, height(curve.band[value]![0]![k]!, range), height(curve.band[value]![1]![k]!, range)]),
  });
  const go = (c: number): void => change({ place: { x: first.axis.coordinates[nearest(first.axis.coordinates, c)]!, y: 0 } });
  const key = (event: KeyboardEvent): void => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const coordinates = first.axis.coordinates;
    const from = nearest(coordinates, at ?? 0);
    const to = Math.min(Math.max(from + (at === null ? 0 : way), 0), coordinates.length - 1);
    change({ place: { x: coordinates[to]!, y: 0 }, kept: true });
  };
  const rest = content.beside?.names ?? [];
  const beside: Shown | null = rest.length ? { ...content.beside!, words: "" } : null;
  const common = { width, domain: content.limits[first.axis.name]!, mark: at, name: `${first.axis.name}: ${first.axis.label}`, point: (c: number) => !state.kept && go(c), key };
  return (
    <div class="curves" ref={box}>
      <p class="small">{[label(content, state), ...same.slice(1)].join(", ")}</p>
      {width > 0 && (
        <Axes
          {...common} tall={Math.min(460, Math.max(280, width * 0.5))} shown={shown} words={`Lines of ${label(content, state)}. Left and right move the cursor.`}
          lines={content.curves.flatMap((curve, n) => same.map((value, m) => line(curve, n, value, shown, m > 0)))}
          bands={content.curves.filter((curve) => curve.runs > 1).map((curve, n) => band(curve, n, state.value, shown))}
          gaps={content.curves.length === 1 ? first.empty[state.value]!.map(([low, high]) => [low, high]) : []}
        />
      )}
      {beside && state.value === content.value && <p class="small">{rest.join(", ")}</p>}
      {width > 0 && beside && state.value === content.value && (
        <Axes
          {...common} tall={200} shown={beside} words={`Lines of ${rest.join(", ")}`}
          lines={content.curves.flatMap((curve, n) => rest.map((value, m) => line(curve, n + m, value, beside, m > 0)))}
        />
      )}
      <Lines titles={content.curves.map((curve) => curve.title)} colours={colours} more={same.slice(1).map((value) => `dashed: ${value}`)} />
    </div>
  );
}

/** What all lines have at the cursor. */
export function curveWords(content: Content, x: number): string[] {
  const first = content.curves[0]!;
  const words = [position(first.axis, x)];
  for (const curve of content.curves) {
    const at = nearest(curve.axis.coordinates, x);
    for (const value of content.values) {
      const found = curve.median[value]![at]!;
      const reason = curve.empty[value]!.find(([low, high]) => x >= low && x <= high)?.[2];
      words.push(`${curve.title}: ${value} ${Number.isFinite(found) ? exact(found) : (reason ?? "no value")}`);
    }
  }
  return words;
}
