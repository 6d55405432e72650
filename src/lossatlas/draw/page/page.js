/* Draws the data of this page and keeps its pictures together: same place, same camera, same colours. */
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const FLOOR = 0.4;
  const PATTERNS = { "not sampled": ".", "not finite": "/", "without a value": "/", failed: "x", censored: "-" };
  const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
  const state = {
    value: data.value, log: data.log, clip: data.clip, dark: data.theme === "dark", slice: 0, place: null, kept: false,
  };

  // The library reads a little html in its texts; what users wrote is shown as they wrote it.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const number = (value) => {
    if (value === null || value === undefined) return "none";
    if (value === 0) return "0";
    const size = Math.abs(value);
    const text = size >= 1e-3 && size < 1e6 ? String(Number(value.toPrecision(5))) : value.toExponential(3);
    return text.replace("-", "\u2212");
  };

  const look = (value = state.value) =>
    data.looks[`${state.log ? "log" : "linear"}|${state.clip ? "clip" : "whole"}|${value}`];

  const label = () => (state.value === data.value ? data.label : state.value);

  const forward = (value, shown) => {
    if (value === null) return null;
    if (shown.scale === "log") return Math.log10(value);
    if (shown.scale === "symlog") return Math.sign(value) * Math.log10(1 + Math.abs(value) / shown.linear_below);
    return value;
  };
  const height = (value, shown) =>
    value === null ? null : forward(Math.min(Math.max(value, shown.low), shown.high), shown);

  const colours = () => {
    const points = data.colours[state.value];
    return points.map((colour, index) => [index / (points.length - 1), colour]);
  };
  const theme = () => data.themes[state.dark ? "dark" : "light"];
  const grid = () => (state.dark ? "#39404b" : "#dfe3e8");
  const size = () => (data.theme === "talk" ? 18 : 12);
  const layer = (block) => (block.axes.length === 3 ? state.slice : 0);

  /* ---- words ------------------------------------------------------------------------------------------- */
  const position = (axis, coordinate) =>
    `${axis.name} ${number(coordinate)}` + (axis.length ? ` (length ${number(coordinate * axis.length)})` : "");

  // By cell, so that a plane with many empty cells is as quick to write as one with none.
  for (const block of data.blocks)
    for (const [value, reasons] of Object.entries(block.why))
      block.why[value] = new Map(Object.entries(reasons).flatMap(([reason, cells]) => cells.map((cell) => [String(cell), reason])));
  const reasonAt = (block, value, k, j, i) => block.why[value].get(`${k},${j},${i}`) || "no value";

  const measured = (block, k, j, i) =>
    data.values.map((value) => {
      const found = block.values[value][k][j][i];
      return `${value} ${found === null ? reasonAt(block, value, k, j, i) : number(found)}`;
    });

  const texts = (block, k) => {
    const [x, y] = block.axes;
    return y.coordinates.map((cy, j) =>
      x.coordinates.map((cx, i) =>
        [...measured(block, k, j, i), position(x, cx), position(y, cy)].map(plain).join("<br>")));
  };

  /* ---- pictures of a block ----------------------------------------------------------------------------- */
  const heights = (block, shown, k) => block.values[state.value][k].map((row) => row.map((v) => height(v, shown)));
  const floorOf = (shown) => shown.bottom - FLOOR * (shown.top - shown.bottom);

  const bar = (shown) => ({
    thickness: 11, outlinewidth: 0, len: 0.86, x: 1.02, xpad: 4, tickmode: "array", tickvals: shown.ticks,
    ticktext: shown.labels, title: { text: plain(label()), side: "top" }, tickfont: { size: size() - 1 },
  });

  const coordinate = (axis, limits) => ({
    title: { text: plain(`${axis.name} (multiples of the direction)`) }, range: limits, zeroline: false,
  });

  // A surface that is cut off: points are put between those of the grid (bilinearly), so that the edge of the cut does
  // not run in steps from one point to the next. Each carries the words of the point it is nearest to.
  const between = (rows, times, mix) => {
    const fine = [];
    for (let row = 0; row < (rows.length - 1) * times + 1; row++) {
      const start = Math.floor(row / times), part = (row % times) / times;
      fine.push(part ? mix(rows[start], rows[start + 1], part) : rows[start]);
    }
    return fine;
  };
  const linear = (a, b, part) => (a === null || b === null ? null : a + part * (b - a));
  const nearer = (a, b, part) => (part < 0.5 ? a : b);
  const finer = (rows, times, mix) =>
    between(rows, times, (a, b, part) => a.map((value, i) => mix(value, b[i], part))).map((row) => between(row, times, mix));

  const relief = (block, shown) => {
    const [x, y] = block.axes.map((axis) => axis.coordinates);
    const steep = (value) => {
      if (value === null) return null;
      return Math.min(forward(Math.max(value, shown.low), shown), 2 * shown.top - shown.bottom);
    };
    const z = block.values[state.value][0].map((row) => row.map(steep));
    const words = texts(block, 0);
    if (!z.flat().some((v) => v > shown.top) || Math.max(x.length, y.length) > 100) return { x, y, z: heights(block, shown, 0), text: words };
    const times = Math.min(4, Math.max(1, Math.round(100 / Math.max(x.length, y.length))));
    const cut = (v) => (v === null ? null : Math.min(v, shown.top));
    return {
      x: between(x, times, linear), y: between(y, times, linear), z: finer(z, times, linear).map((row) => row.map(cut)), text: finer(words, times, nearer),
    };
  };

  /* ---- what lies upon a field -------------------------------------------------------------------------- */
  const SYMBOLS = { circle: "circle", triangle: "triangle-up", square: "square", cross: "x" };
  const SOLID = { circle: "circle", triangle: "diamond", square: "square", cross: "x" };
  const upon = (block) => data.overlays.filter((o) => o.panel === null || data.blocks[o.panel] === block);

  /* The height of the surface between the points of the grid, bilinearly. */
  const lifted = (block, shown, px, py) => {
    const [x, y] = block.axes.map((axis) => axis.coordinates);
    const cell = (c, v) => Math.min(Math.max(c.findIndex((edge) => edge >= v), 1), c.length - 1) - 1;
    if (px === null || py === null || px < x[0] || px > x[x.length - 1] || py < y[0] || py > y[y.length - 1]) return null;
    const [i, j] = [cell(x, px), cell(y, py)];
    const [a, b] = [(px - x[i]) / (x[i + 1] - x[i]), (py - y[j]) / (y[j + 1] - y[j])];
    const at = (m, n) => height(block.values[state.value][0][n][m], shown);
    const corners = [at(i, j), at(i + 1, j), at(i, j + 1), at(i + 1, j + 1)];
    if (corners.some((v) => v === null)) return null;
    return (corners[0] * (1 - a) + corners[1] * a) * (1 - b) + (corners[2] * (1 - a) + corners[3] * a) * b;
  };

  const dense = (o) => {
    if (o.kind !== "path" || o.x.length < 2) return [o.x, o.y];
    const steps = Math.max(1, Math.ceil(200 / o.x.length)), x = [], y = [];
    for (let n = 0; n < o.x.length - 1; n++)
      for (let s = 0; s < steps; s++) { x.push(o.x[n] + (s / steps) * (o.x[n + 1] - o.x[n])); y.push(o.y[n] + (s / steps) * (o.y[n + 1] - o.y[n])); }
    return [[...x, o.x[o.x.length - 1]], [...y, o.y[o.y.length - 1]]];
  };

  const over = (block, shown, ink) => upon(block).filter((o) => o.kind !== "regions").map((o) => {
    const [x, y] = dense(o);
    const room = 0.006 * (shown.top - shown.bottom); // a hair above, or the surface would hide it
    const z = x.map((_, n) => { const found = lifted(block, shown, x[n], y[n]); return found === null ? null : found + room; });
    const words = o.kind === "path" ? undefined : o.words.map(plain);
    return { type: "scatter3d", name: "overlay", mode: o.kind === "path" ? "lines" : "markers+text", x, y, z, text: words, hoverinfo: "skip",
      line: { color: o.colour, width: 5 }, marker: { color: o.colour, size: 4, symbol: SOLID[o.symbol] || "circle", line: { width: 1, color: "#000" } }, textfont: { color: ink.ink, size: size() - 1 } };
  });

  /* Words stand on the side that has room: those of a path above it, those of points below. */
  const beside = (block, px, py, up) => {
    const part = (axis, v) => (v - axis.coordinates[0]) / (axis.coordinates[axis.coordinates.length - 1] - axis.coordinates[0]);
    const [right, top] = [part(block.axes[0], px) > 0.8, part(block.axes[1], py)];
    return `${(up && top < 0.92) || top < 0.08 ? "top" : "bottom"} ${right ? "left" : "right"}`;
  };

  const above = (block) => upon(block).flatMap((o) => {
    if (o.kind === "regions") {
      const tints = o.boxes.map((boxes, n) => ({ ...outlines(boxes), type: "scatter", name: "overlay", mode: "lines", fill: "toself", hoverinfo: "skip", line: { width: 0 }, fillcolor: data.regions[n % data.regions.length] + "4d" }));
      return [...tints, { type: "scatter", mode: "lines", x: o.x, y: o.y, hoverinfo: "skip", line: { color: "#fff", width: 1.5 } }];
    }
    const common = { type: "scatter", name: "overlay", x: o.x, y: o.y, hoverinfo: "skip", text: o.words.map(plain), textposition: o.x.map((_, n) => beside(block, o.x[n], o.y[n], o.kind === "path")), textfont: { color: "#fff", size: size() - 1 } };
    if (o.kind === "path")
      return [{ ...common, mode: "lines", line: { color: "rgba(0,0,0,0.55)", width: 4.5 } },
        { ...common, mode: o.dots ? "lines+markers+text" : "lines+text", line: { color: o.colour, width: 2.2 }, marker: { color: o.colour, size: 4 } }];
    return [{ ...common, mode: "markers+text", marker: { color: o.colour, size: 9, symbol: SYMBOLS[o.symbol], line: { width: 1, color: "#000" } } }];
  });

  const surface = (block) => {
    const shown = look();
    const ink = theme();
    const { x, y, z, text } = relief(block, shown);
    const common = { x, y, colorscale: colours(), cmin: shown.bottom, cmax: shown.top, showscale: false };
    const floor = floorOf(shown); // the box is a little larger, or it would cut away what lies exactly in its sides
    const traces = [
      { ...common, type: "surface", name: "surface", z, text, hoverinfo: "text",
        lighting: { ambient: 0.62, diffuse: 0.7, specular: 0.12, roughness: 0.6, fresnel: 0.05 },
        lightposition: { x: -4000, y: -8000, z: 12000 }, contours: { z: { highlight: false }, x: { highlight: false }, y: { highlight: false } } },
      { ...common, type: "surface", name: "floor", z: z.map((row) => row.map((v) => (v === null ? null : floor))), surfacecolor: z,
        hoverinfo: "skip", lighting: { ambient: 1, diffuse: 0, specular: 0, fresnel: 0 },
        contours: { z: { highlight: false }, x: { highlight: false }, y: { highlight: false } } },
      mark3d(ink),
      ...over(block, shown, ink),
    ];
    const own = heights(block, shown, 0), lonely = alone(own), [bx, by] = block.axes.map((axis) => axis.coordinates);
    if (lonely.length) traces.push({ type: "scatter3d", name: "alone", mode: "markers", hoverinfo: "skip", x: lonely.map(([i]) => bx[i]), y: lonely.map(([, j]) => by[j]), z: lonely.map(([i, j]) => own[j][i]),
      marker: { size: 4, color: lonely.map(([i, j]) => own[j][i]), colorscale: colours(), cmin: shown.bottom, cmax: shown.top } });
    // The library cannot draw a surface that has no point at all.
    if (!z.flat().some((v) => v !== null)) traces.splice(0, 2);
    return { traces, layout: scene(block, shown, ink, { range: [floor - 0.01 * (shown.top - floor), shown.top + 0.01 * (shown.top - floor)], tickmode: "array", tickvals: shown.ticks, ticktext: shown.labels, title: { text: "" } }, 0.75) };
  };

  const volume = (block) => {
    const shown = look();
    const [x, y, z] = block.axes;
    const ink = theme();
    const flat = { x: [], y: [], z: [], value: [] };
    z.coordinates.forEach((cz, k) => y.coordinates.forEach((cy, j) => x.coordinates.forEach((cx, i) => {
      flat.x.push(cx); flat.y.push(cy); flat.z.push(cz);
      flat.value.push(height(block.values[state.value][k][j][i], shown));
    })));
    const span = shown.top - shown.bottom;
    const traces = [
      { ...flat, type: "isosurface", isomin: shown.bottom + 0.08 * span, isomax: shown.bottom + 0.5 * span,
        surface: { count: 3 }, opacity: 0.32, caps: { x: { show: false }, y: { show: false }, z: { show: false } },
        colorscale: colours(), cmin: shown.bottom, cmax: shown.top, showscale: false, hoverinfo: "skip",
        lighting: { ambient: 0.7, diffuse: 0.6 } },
      { type: "scatter3d", mode: "lines", hoverinfo: "skip", showlegend: false, line: { color: ink.faint, width: 2 }, ...frameOfSlice(block) },
      mark3d(ink),
    ];
    return { traces, layout: scene(block, shown, ink, { range: data.limits[z.name], ...innerTicks(data.limits[z.name]), title: { text: plain(z.name) } }, 1) };
  };

  const frameOfSlice = (block) => {
    const [x, y, z] = block.axes;
    const [x0, x1] = data.limits[x.name];
    const [y0, y1] = data.limits[y.name];
    const c = z.coordinates[state.slice];
    return { x: [x0, x1, x1, x0, x0], y: [y0, y0, y1, y1, y0], z: [c, c, c, c, c] };
  };

  /* Round coordinates away from the corners, where the labels of two axes would meet. */
  const innerTicks = ([low, high]) => {
    const rough = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    const ticks = [];
    for (let n = Math.ceil(low / step); n <= Math.floor(high / step); n += 1) ticks.push(Number((n * step).toPrecision(12)));
    const room = 0.08 * (high - low);
    return { tickmode: "array", tickvals: ticks.filter((tick) => tick > low + room && tick < high - room) };
  };

  const scene = (block, shown, ink, vertical, tall) => {
    const [x, y] = block.axes;
    const axis = { color: ink.faint, gridcolor: grid(), showbackground: false, tickangle: 0, zeroline: false, showspikes: false, tickfont: { size: size() - 1 } };
    return {
      scene: {
        xaxis: { ...axis, title: { text: plain(x.name) }, range: data.limits[x.name], ...innerTicks(data.limits[x.name]) },
        yaxis: { ...axis, title: { text: plain(y.name) }, range: data.limits[y.name], ...innerTicks(data.limits[y.name]) },
        zaxis: { ...axis, ...vertical },
        aspectmode: "manual", aspectratio: { x: 1, y: 1, z: tall }, camera: state.camera,
      },
      margin: { l: 0, r: 0, t: 0, b: 0 }, uirevision: "kept", ...look3d(ink),
    };
  };
  const look3d = (ink) => ({ paper_bgcolor: ink.paper, plot_bgcolor: ink.paper, font: { color: ink.ink, size: size() }, showlegend: false, hoverlabel: labels(ink) });
  const labels = (ink) => ({ bgcolor: ink.paper, bordercolor: ink.faint, align: "left", font: { color: ink.ink, size: size() } });
  const mark3d = (ink) => ({
    type: "scatter3d", name: "mark", mode: "lines+markers", x: [], y: [], z: [], hoverinfo: "skip",
    line: { color: ink.ink, width: 3 }, marker: { color: "#ff5a36", size: 5, line: { width: 0 } },
  });

  /* The points that no contour and no facet reaches: those that are a corner of no cell with four values. */
  const alone = (z) => {
    const there = (i, j) => z[j] !== undefined && z[j][i] !== undefined && z[j][i] !== null;
    const whole = (i, j) => there(i, j) && there(i + 1, j) && there(i, j + 1) && there(i + 1, j + 1);
    return z.flatMap((row, j) => row.map((_, i) => [i, j])).filter(([i, j]) =>
      there(i, j) && ![[i, j], [i - 1, j], [i, j - 1], [i - 1, j - 1]].some(([m, n]) => whole(m, n)));
  };

  const flat = (block) => {
    const shown = look();
    const ink = theme();
    const k = layer(block);
    const [x, y] = block.axes;
    const z = heights(block, shown, k);
    const common = { x: x.coordinates, y: y.coordinates, z };
    const scale = { colorscale: colours(), zmin: shown.bottom, zmax: shown.top, colorbar: bar(shown) };
    const hover = { text: texts(block, k), hoverinfo: "text", hoverongaps: true };
    const traces = [];
    const lines = data.kind === "contour";
    const base = data.kind === "heat" ? { type: "heatmap" } : { type: "heatmap", zsmooth: false, opacity: lines ? 0 : 1 };
    if (data.kind === "heat" || lines) traces.push({ ...common, ...scale, ...hover, ...base, name: "field" });
    else traces.push({ ...common, ...scale, ...hover, type: "contour", name: "field", autocontour: false, connectgaps: false,
      contours: { coloring: "fill", showlines: false, start: shown.bottom, end: shown.top, size: (shown.top - shown.bottom) / 96 }, line: { width: 0, smoothing: 0 } });
    if (data.kind !== "heat")
      for (const level of shown.levels)
        traces.push({ ...common, type: "contour", name: "level", showscale: false, hoverinfo: "skip", connectgaps: false, showlegend: false,
          contours: { type: "constraint", operation: "=", value: level },
          line: { smoothing: 0, width: lines ? 1.6 : 0.8, color: lines ? colourAt((level - shown.bottom) / (shown.top - shown.bottom)) : "rgba(255,255,255,0.75)" }, fillcolor: "rgba(0,0,0,0)" });
    traces.push(...hatching(block, k, ink));
    const lonely = data.kind === "heat" ? [] : alone(z);
    if (lonely.length) traces.push({ type: "scatter", name: "alone", mode: "markers", hoverinfo: "skip", x: lonely.map(([i]) => x.coordinates[i]), y: lonely.map(([, j]) => y.coordinates[j]),
      marker: { size: 8, color: lonely.map(([i, j]) => z[j][i]), colorscale: colours(), cmin: shown.bottom, cmax: shown.top, line: { width: 0.5, color: ink.faint } } });
    if (block.evaluated) {
      const at = { x: [], y: [] };
      block.evaluated[k].forEach((row, j) => row.forEach((seen, i) => { if (seen) { at.x.push(x.coordinates[i]); at.y.push(y.coordinates[j]); } }));
      traces.push({ ...at, type: "scatter", name: "evaluated", mode: "markers", hoverinfo: "skip", marker: { size: 3, color: "rgba(255,255,255,0.8)" } });
    }
    traces.push(...above(block));
    if (block.centre) traces.push({ type: "scatter", mode: "markers", x: [0], y: [0], hoverinfo: "skip", marker: { symbol: "cross-thin", size: 11, line: { width: 1.6, color: "#ffffff" } } });
    traces.push({ type: "scatter", name: "mark", mode: "markers", x: [], y: [], hoverinfo: "skip", marker: { size: 11, symbol: "circle", color: "#ff5a36", line: { color: "#fff", width: 1.5 } } });
    const axis = { color: ink.faint, gridcolor: grid(), ticks: "outside", showline: true, linecolor: ink.faint, mirror: true };
    const layout = {
      ...look3d(ink), margin: { l: 52, r: 12, t: 64, b: 48 }, uirevision: "kept", shapes: [],
      xaxis: { ...axis, ...coordinate(x, data.limits[x.name]) },
      yaxis: { ...axis, zeroline: false, range: data.limits[y.name] },
      annotations: [{ text: plain(y.name), xref: "paper", yref: "paper", x: 0, y: 1, xanchor: "right", yanchor: "bottom", xshift: -8, yshift: 6, showarrow: false, font: { size: size() } }],
    };
    if (x.length) {
      layout.xaxis2 = { ...axis, overlaying: "x", side: "top", mirror: false, showgrid: false, zeroline: false, range: data.limits[x.name].map((c) => c * x.length), tickmode: "auto", nticks: 6, title: { text: "length in parameter norm", font: { size: size() - 1 }, standoff: 4 }, tickfont: { size: size() - 1 } };
      traces.push({ type: "scatter", x: [0], y: [null], xaxis: "x2", hoverinfo: "skip" });
    }
    return { traces, layout };
  };

  const colourAt = (part) => {
    const points = data.colours[state.value];
    return points[Math.round(Math.min(Math.max(part, 0), 1) * (points.length - 1))];
  };

  const outlines = (boxes) => {
    const x = [], y = [];
    for (const [left, right, low, high] of boxes) {
      x.push(left, right, right, left, left, null);
      y.push(low, low, high, high, low, null);
    }
    return { x, y };
  };

  const hatching = (block, k, ink) =>
    Object.entries(block.hatched[state.value][k]).map(([reason, boxes]) => ({
      ...outlines(boxes), type: "scatter", name: reason, mode: "lines", fill: "toself", hoverinfo: "skip", line: { width: 0 }, fillcolor: ink.paper,
      fillpattern: { shape: PATTERNS[reason], fgcolor: ink.faint, bgcolor: ink.paper, size: 6, solidity: 0.25 },
    }));

  /* ---- curves ------------------------------------------------------------------------------------------ */
  const DASHES = ["dash", "dot", "dashdot"];
  const curves = () => {
    const shown = look();
    const ink = theme();
    const others = data.values.filter((value) => value !== state.value).slice(0, DASHES.length);
    const along = state.value === data.value ? data.alongside : [];
    const second = others.filter((value) => !along.includes(value));
    const traces = [];
    data.curves.forEach((curve, index) => {
      const colour = ink.lines[index % ink.lines.length];
      const x = curve.axis.coordinates;
      const draw = (value, dash, axis, map) => {
        const text = x.map((c, i) => [curve.title, ...data.values.map((v) => `${v} ${number(curve.median[v][i])}`), position(curve.axis, c)].map(plain).join("<br>"));
        if (curve.runs > 1) {
          const [low, high] = curve.band[value].map((edge) => edge.map(map));
          traces.push({ type: "scatter", mode: "lines", x, y: low, yaxis: axis, line: { width: 0 }, hoverinfo: "skip", showlegend: false });
          traces.push({ type: "scatter", mode: "lines", x, y: high, yaxis: axis, line: { width: 0 }, fill: "tonexty", fillcolor: colour + (dash ? "1c" : "33"), hoverinfo: "skip", showlegend: false });
        }
        traces.push({ type: "scatter", mode: "lines", name: plain(data.curves.length > 1 ? `${curve.title}: ${value === state.value ? label() : value}` : value === state.value ? label() : value), x, y: curve.median[value].map(map), yaxis: axis, text, hoverinfo: dash ? "skip" : "text", line: { color: colour, width: dash ? 1.6 : 2.4, dash: dash || "solid" } });
      };
      draw(state.value, "", "y", (v) => forward(v, shown));
      others.forEach((value, style) => draw(value, DASHES[style], along.includes(value) ? "y" : "y2", along.includes(value) ? (v) => forward(v, shown) : (v) => v));
      const span = [shown.bottom - 10 * Math.abs(shown.top - shown.bottom), shown.top + 10 * Math.abs(shown.top - shown.bottom)];
      for (const [left, right, reason] of curve.empty[state.value])
        traces.push({ type: "scatter", mode: "lines", x: [left, right, right, left, left], y: [span[0], span[0], span[1], span[1], span[0]], fill: "toself", line: { width: 0 }, hoverinfo: "skip", showlegend: false, name: reason, fillcolor: ink.paper, fillpattern: { shape: PATTERNS[reason], fgcolor: ink.faint, bgcolor: ink.paper, size: 6, solidity: 0.25 } });
    });
    const axis = data.curves[0].axis;
    const pad = 0.04 * (shown.top - shown.bottom);
    const style = { color: ink.faint, gridcolor: grid(), ticks: "outside", showline: true, linecolor: ink.faint, zeroline: false };
    const name = (text, x, anchor) => ({ text: plain(text), xref: "paper", yref: "paper", x, y: 1, xanchor: anchor, yanchor: "bottom", yshift: 38, xshift: anchor === "right" ? -16 : 0, showarrow: false });
    const layout = {
      ...look3d(ink), showlegend: true, legend: { orientation: "h", y: -0.16, yanchor: "top", traceorder: "normal" }, uirevision: "kept", margin: { l: 58, r: 58, t: 70, b: 110 }, hovermode: "closest",
      xaxis: { ...style, ...coordinate(axis, data.limits[axis.name]) },
      yaxis: { ...style, range: [shown.bottom - pad, shown.clipped ? shown.top : shown.top + pad], tickmode: "array", tickvals: shown.ticks, ticktext: shown.labels },
      annotations: [label().length > 8 ? { ...name(label(), 0, "left"), xshift: -50 } : name(label(), 0, "right")],
      shapes: data.curves.every((curve) => curve.centre) ? [{ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: ink.faint, width: 1, dash: "dot" } }] : [],
    };
    if (second.length && (data.beside || state.value !== data.value)) {
      layout.yaxis2 = { ...style, overlaying: "y", side: "right", showgrid: false };
      if (state.value !== data.value) Object.assign(layout.yaxis2, { autorange: true, tickmode: "auto" });
      else {
        const room = 0.04 * (data.beside.top - data.beside.bottom);
        Object.assign(layout.yaxis2, { range: [data.beside.bottom - room, data.beside.top + room], tickmode: "array", tickvals: data.beside.ticks, ticktext: data.beside.labels });
      }
      layout.annotations.push({ ...name(second.join(", "), 1, "right"), xshift: 54, yshift: 38 });
    }
    if (axis.length && data.curves.every((curve) => curve.axis.length === axis.length)) {
      layout.xaxis2 = { ...style, overlaying: "x", side: "top", showgrid: false, tickmode: "auto", nticks: 6, range: data.limits[axis.name].map((c) => c * axis.length), title: { text: "length in parameter norm", standoff: 4 } };
      traces.push({ type: "scatter", x: [0], y: [null], xaxis: "x2", hoverinfo: "skip", showlegend: false });
    }
    return { traces, layout };
  };

  /* ---- the page ---------------------------------------------------------------------------------------- */
  const pictures = [];
  const card = (title) => {
    const section = document.createElement("section");
    section.className = "card";
    const heading = document.createElement("h2");
    heading.textContent = title;
    const plots = document.createElement("div");
    plots.className = "plots";
    section.append(heading, plots);
    at("cards").append(section);
    return plots;
  };
  const picture = (plots, figure, block, solid, wide) => {
    const element = document.createElement("div");
    element.className = wide ? "plot wide" : "plot";
    plots.append(element);
    pictures.push({ element, figure: () => figure(block), block, solid });
  };

  const drawAll = () => Promise.all(pictures.map(({ element, figure }) => {
    const { traces, layout } = figure();
    return Plotly.react(element, traces, layout, CONFIG);
  })).then(() => { if (state.place) mark(); });

  /* Mark the same place in every picture. */
  let marking = false;
  const mark = () => {
    if (marking) return;
    marking = true;
    requestAnimationFrame(() => { marking = false; markNow(); });
  };
  const nearest = (coordinates, value) =>
    coordinates.reduce((best, c, i) => (Math.abs(c - value) < Math.abs(coordinates[best] - value) ? i : best), 0);

  const markNow = () => {
    const shown = look();
    const lines = [];
    for (const { element, block, solid } of pictures) {
      if (!block) continue;
      const [x, y, z] = block.axes;
      const [i, j, k] = [nearest(x.coordinates, state.place.x), nearest(y.coordinates, state.place.y), layer(block)];
      const [px, py] = [x.coordinates[i], y.coordinates[j]];
      const trace = element.data.findIndex((entry) => entry.name === "mark");
      if (solid) {
        const found = height(block.values[state.value][k][j][i], shown);
        const top = z ? z.coordinates[k] : found;
        const foot = z ? z.coordinates[k] : floorOf(shown);
        const seen = top !== null;
        Plotly.restyle(element, { x: [seen ? [px, px] : []], y: [seen ? [py, py] : []], z: [seen ? [foot, top] : []] }, [trace]);
      } else {
        Plotly.restyle(element, { x: [[px]], y: [[py]] }, [trace]);
        const line = { type: "line", line: { color: "#ff5a36", width: 1, dash: "dot" } };
        Plotly.relayout(element, { shapes: [
          { ...line, x0: px, x1: px, yref: "paper", y0: 0, y1: 1 }, { ...line, xref: "paper", x0: 0, x1: 1, y0: py, y1: py }] });
        const where = [position(x, px), position(y, py)].concat(z ? [position(z, z.coordinates[k])] : []);
        if (!lines.length) lines.push(where.join(" \u00b7 ") + (state.kept ? " \u00b7 kept, click it again to release" : ""));
        lines.push(`${block.title}: ${measured(block, k, j, i).join(", ")}`);
      }
    }
    if (lines.length) at("readout").textContent = lines.join("\n");
  };

  const point = (event, block) => {
    const found = event.points && event.points.find((p) => typeof p.x === "number" && typeof p.y === "number");
    const [x, y] = block.axes.map((axis) => axis.coordinates);
    return found ? { x: x[nearest(x, found.x)], y: y[nearest(y, found.y)] } : null;
  };

  let following = false;
  const follow = (source, change) => {
    if (following) return;
    following = true;
    const others = pictures.filter((p) => p.solid === source.solid && p !== source && p.block);
    Promise.all(others.map((p) => Plotly.relayout(p.element, change))).finally(() => { following = false; });
  };

  const listen = (source) => {
    const { element, block, solid } = source;
    if (!block) return;
    element.on("plotly_hover", (event) => {
      const place = point(event, block);
      // Redrawing a 3-D picture makes it report the same place again; without this the two would go on for ever.
      const known = state.place && place && place.x === state.place.x && place.y === state.place.y;
      if (place && !known && !state.kept) { state.place = place; mark(); }
    });
    element.on("plotly_click", (event) => {
      const place = point(event, block);
      if (!place) return;
      const same = state.kept && state.place && place.x === state.place.x && place.y === state.place.y;
      state.kept = !same;
      state.place = place;
      mark();
    });
    const moved = (event) => {
      if (solid && event["scene.camera"]) { state.camera = event["scene.camera"]; follow(source, { "scene.camera": state.camera }); }
      if (!solid && event["xaxis.range[0]"] !== undefined) {
        const x = [event["xaxis.range[0]"], event["xaxis.range[1]"]];
        const change = { "xaxis.range": x };
        if (event["yaxis.range[0]"] !== undefined) change["yaxis.range"] = [event["yaxis.range[0]"], event["yaxis.range[1]"]];
        follow(source, change);
        lengths(x);
      }
      if (!solid && event["xaxis.autorange"]) { const home = homeOf(block); Promise.all(pictures.filter((p) => !p.solid).map((p) => Plotly.relayout(p.element, home))).then(() => lengths(home["xaxis.range"])); }
    };
    element.on("plotly_relayout", moved);
    if (solid) element.on("plotly_relayouting", moved);
  };
  const homeOf = (block) => ({ "xaxis.range": data.limits[block.axes[0].name].slice(), "yaxis.range": data.limits[block.axes[1].name].slice() });
  /* The second scale follows the first. */
  const lengths = (range) => {
    for (const { element, block, solid } of pictures)
      if (!solid && block && block.axes[0].length && element.layout.xaxis2)
        Plotly.relayout(element, { "xaxis2.range": range.map((c) => c * block.axes[0].length) });
  };

  const words = () => {
    const shown = look();
    at("shown").textContent = [shown.words, data.caption.runs, state.value === data.value ? data.caption.empty : "", data.caption.notes].filter(Boolean).join(" ");
    at("log").nextElementSibling.textContent = look().scale === "symlog" || data.looks[`log|clip|${state.value}`].scale === "symlog" ? "symlog" : "log";
    const cut = data.looks[`${state.log ? "log" : "linear"}|clip|${state.value}`].clipped;
    at("clip").disabled = !cut;
    at("clip").checked = state.clip && cut;
    const reasons = new Set();
    for (const block of data.blocks) for (const found of block.hatched[state.value]) Object.keys(found).forEach((r) => reasons.add(r));
    for (const curve of data.curves) curve.empty[state.value].forEach((entry) => reasons.add(entry[2]));
    const named = new Map(data.overlays.filter((o) => o.label).map((o) => [o.label, o.colour || data.regions[1]]));
    const entry = (text, dress) => {
      const item = document.createElement("li");
      const swatch = document.createElement("i");
      dress(swatch);
      item.append(swatch, text);
      return item;
    };
    at("key").replaceChildren(
      ...[...reasons].map((reason) => entry(reason, (swatch) => { swatch.dataset.reason = reason; })),
      ...[...named].map(([label, colour]) => entry(label, (swatch) => { swatch.style.background = colour; })));
    const root = document.documentElement;
    root.toggleAttribute("data-dark", state.dark);
    root.toggleAttribute("data-talk", data.theme === "talk");
    const block = data.blocks[0];
    if (block && block.axes.length === 3) at("slice-words").textContent = `slice at ${position(block.axes[2], block.axes[2].coordinates[state.slice])}`;
  };
  const redraw = () => { words(); return drawAll(); };

  const start = () => {
    const [elevation, azimuth] = data.camera.map((degrees) => (degrees * Math.PI) / 180);
    const far = data.blocks.some((block) => block.axes.length === 3) ? 2.5 : 1.92;
    state.camera = {
      eye: { x: far * Math.cos(elevation) * Math.cos(azimuth), y: far * Math.cos(elevation) * Math.sin(azimuth), z: far * Math.sin(elevation) },
      center: { x: 0, y: 0, z: -0.1 }, up: { x: 0, y: 0, z: 1 },
    };
    at("heading").textContent = data.heading;
    at("about").textContent = ["about", "axes", "centre"].map((part) => data.caption[part]).filter(Boolean).join(" ");
    at("caveat").textContent = data.caption.caveat;
    for (const value of data.values) at("value").append(new Option(value, value, false, value === data.value));
    at("value-label").hidden = data.values.length < 2;
    at("log").checked = state.log;
    at("clip").checked = state.clip;
    at("dark").checked = state.dark;
    if (data.curves.length) {
      picture(card(data.curves.length === 1 ? data.curves[0].title : ""), curves, null, false, true);
      at("readout").hidden = true;
    }
    for (const block of data.blocks) {
      const plots = card(block.title);
      picture(plots, block.axes.length === 3 ? volume : surface, block, true);
      picture(plots, flat, block, false);
    }
    at("cards").classList.toggle("alone", data.blocks.length + (data.curves.length ? 1 : 0) === 1);
    const deep = data.blocks.find((block) => block.axes.length === 3);
    if (deep) {
      const c = deep.axes[2].coordinates;
      state.slice = nearest(c, 0);
      Object.assign(at("slice"), { max: Math.min(...data.blocks.map((b) => b.axes[2].coordinates.length)) - 1 });
      at("slice").value = state.slice;
      at("slice-label").hidden = false;
    }
    at("controls").addEventListener("submit", (event) => event.preventDefault());
    at("value").addEventListener("change", () => { state.value = at("value").value; redraw(); });
    for (const name of ["log", "clip", "dark"]) at(name).addEventListener("change", () => { state[name] = at(name).checked; redraw(); });
    at("slice").addEventListener("input", () => { state.slice = Number(at("slice").value); redraw(); });
    redraw().then(() => { pictures.forEach(listen); document.documentElement.dataset.ready = "yes"; });
  };
  window.lossatlas = { data, state, pictures, look };
  start();
})();
