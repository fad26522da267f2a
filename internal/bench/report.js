// SPDX-License-Identifier: Apache-2.0
// Draws the charts of the report with uPlot. The figures are the JSON in #data; the
// elements they belong in have its number in data-chart.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const PAPER_WIDTH = 640; // pixels, of A4 and of Letter alike
  const FONT = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif';
  const SOLID = 0, HOLLOW = 1, DOTTED = 2; // fills of looks
  let printing = paper.matches;

  const shapes = {};
  for (const [i, look] of Object.entries(data.looks)) shapes[i] = new Path2D(look.shape);

  function palette() {
    return !printing && dark.matches
      ? { dark: true, ground: "#151b21", text: "#e6ebf0", dim: "#9dabb7", line: "#35404a" }
      : { dark: false, ground: "#ffffff", text: "#17212b", dim: "#56636f", line: "#d5dbe1" };
  }

  const lookOf = (i) => data.looks[i];
  const colorOf = (i, p) => p.dark ? lookOf(i).dark : lookOf(i).light;

  // marker draws the marker of a look with its middle at x and y.
  function marker(ctx, i, x, y, scale, p) {
    const color = colorOf(i, p), fill = lookOf(i).fill;
    ctx.save();
    ctx.translate(x, y);
    ctx.scale(scale, scale);
    ctx.lineJoin = "round";
    ctx.strokeStyle = p.ground;
    ctx.lineWidth = 4;
    ctx.stroke(shapes[i]);
    ctx.fillStyle = fill === SOLID ? color : p.ground;
    ctx.fill(shapes[i]);
    ctx.strokeStyle = color;
    ctx.lineWidth = 1.6;
    ctx.stroke(shapes[i]);
    if (fill === DOTTED) {
      ctx.fillStyle = color;
      ctx.beginPath();
      ctx.arc(0, 0, 1.8, 0, 7);
      ctx.fill();
    }
    ctx.restore();
  }

  // filling is what a bar is filled with: a colour, lines or crossed lines.
  function filling(ctx, i, ratio, p) {
    const color = colorOf(i, p), fill = lookOf(i).fill;
    if (fill === SOLID) return color;
    const size = Math.round(7 * ratio);
    const tile = document.createElement("canvas");
    tile.width = tile.height = size;
    const t = tile.getContext("2d");
    t.globalAlpha = 0.25;
    t.fillStyle = color;
    t.fillRect(0, 0, size, size);
    t.globalAlpha = 1;
    t.strokeStyle = color;
    t.lineWidth = 1.5 * ratio;
    t.beginPath();
    for (const d of [-size, 0, size]) {
      t.moveTo(d - 1, size + 1);
      t.lineTo(d + size + 1, -1);
      if (fill === DOTTED) {
        t.moveTo(d - 1, -1);
        t.lineTo(d + size + 1, size + 1);
      }
    }
    t.stroke();
    return ctx.createPattern(tile, "repeat");
  }

  const measure = document.createElement("canvas").getContext("2d");
  function textWidth(text, font) {
    measure.font = font;
    return measure.measureText(text).width;
  }

  // fitted is text that is cut to a width.
  function fitted(text, font, width) {
    if (textWidth(text, font) <= width) return text;
    let cut = Array.from(text);
    while (cut.length > 1 && textWidth(cut.join("") + "…", font) > width) cut.pop();
    return cut.join("") + "…";
  }

  function axis(p, rest) {
    return {
      stroke: p.dim, font: "12px " + FONT, labelFont: "12px " + FONT, labelSize: 18, labelGap: 2,
      grid: { stroke: p.line, width: 1 }, ticks: { stroke: p.line, width: 1, size: 4 }, filter: (u, splits) => splits, ...rest,
    };
  }

  // sparse leaves so many ticks that their texts have room on an axis of a length.
  function sparse(of, length, room) {
    const ticks = of.ticks || [];
    const every = Math.max(1, Math.ceil(ticks.length * room / Math.max(length, 1)));
    return ticks.filter((t, i) => i % every === 0);
  }

  const ticked = (ticks) => ({ splits: () => ticks.map((t) => t.at), values: () => ticks.map((t) => t.text) });

  function options(width, height, rest) {
    return { width, height, legend: { show: false }, cursor: { show: false }, select: { show: false }, ...rest };
  }

  // whisker draws the interval from one place to another, along x.
  function whisker(ctx, from, to, y, cap, ratio, p) {
    for (const [color, width] of [[p.ground, 4], [p.text, 1.6]]) {
      ctx.strokeStyle = color;
      ctx.lineWidth = width * ratio;
      ctx.beginPath();
      ctx.moveTo(from, y);
      ctx.lineTo(to, y);
      for (const x of [from, to]) {
        ctx.moveTo(x, y - cap);
        ctx.lineTo(x, y + cap);
      }
      ctx.stroke();
    }
  }

  function bars(chart, box, width, p) {
    const rows = [];
    for (const g of chart.groups) {
      if (g.title) rows.push({ header: g.title });
      rows.push(...g.bars);
    }
    const font = "13px " + FONT, bold = "600 13px " + FONT;
    const names = Math.min(0.42 * width, 14 + Math.max(...rows.map((r) => r.header ? 0 : textWidth(r.name, font))));
    const texts = 18 + Math.max(...rows.map((r) => r.header ? 0 : textWidth(r.text, font)));
    const inner = width - names - 8;
    const top = chart.x.max / Math.max(0.2, 1 - texts / inner);
    const xs = rows.map((r, i) => i);
    const series = [{}], columns = [xs];
    rows.forEach((r, at) => {
      if (r.header) return;
      columns.push(xs.map((i) => i === at ? r.value : null));
      series.push({
        scale: "y", stroke: colorOf(r.look, p), width: 1, points: { show: false }, paths: uPlot.paths.bars({ size: [0.68, 22] }),
        fill: (u) => filling(u.ctx, r.look, uPlot.pxRatio, p),
      });
    });
    const ticks = sparse(chart.x, inner * chart.x.max / top, 46);
    const overlay = (u) => {
      const ctx = u.ctx, ratio = uPlot.pxRatio;
      const scaled = (f) => f.replace("13px", 13 * ratio + "px");
      ctx.save();
      ctx.setLineDash([]);
      ctx.textBaseline = "middle";
      rows.forEach((r, at) => {
        const y = u.valToPos(at, "x", true);
        const left = u.bbox.left;
        ctx.fillStyle = p.text;
        if (r.header) {
          ctx.font = scaled(bold);
          ctx.textAlign = "left";
          ctx.fillText(fitted(r.header, bold, width - 8), 2 * ratio, y);
          return;
        }
        ctx.font = scaled(font);
        ctx.textAlign = "right";
        ctx.fillText(fitted(r.name, font, names - 10), left - 7 * ratio, y);
        const end = u.valToPos(r.value, "y", true);
        let far = end + 7 * ratio;
        if (r.inner > 0) {
          const x = u.valToPos(r.inner, "y", true);
          ctx.fillStyle = p.ground;
          ctx.fillRect(x - 3 * ratio, y - 8 * ratio, 6 * ratio, 16 * ratio);
          ctx.fillStyle = p.text;
          ctx.fillRect(x - ratio, y - 8 * ratio, 2 * ratio, 16 * ratio);
          far = Math.max(far, x + ratio);
        }
        if (r.high > 0) {
          const to = u.valToPos(r.high, "y", true);
          whisker(ctx, u.valToPos(r.low, "y", true), to, y, 5 * ratio, ratio, p);
          far = Math.max(far, to);
        }
        marker(ctx, r.look, end, y, ratio, p);
        ctx.fillStyle = p.text;
        ctx.textAlign = "left";
        ctx.fillText(r.text, far + 6 * ratio, y);
      });
      ctx.restore();
    };
    return new uPlot(options(width, rows.length * 27 + 50, {
      padding: [4, 4, 0, 4],
      scales: { x: { time: false, ori: 1, dir: -1, range: () => [-0.5, rows.length - 0.5] }, y: { ori: 0, dir: 1, range: () => [0, top] } },
      axes: [
        axis(p, { scale: "x", side: 3, size: names, splits: () => xs, values: () => xs.map(() => ""), grid: { show: false }, ticks: { show: false } }),
        axis(p, { scale: "y", side: 2, size: 26, label: chart.x.title, ...ticked(ticks) }),
      ],
      series, hooks: { draw: [overlay] },
    }), columns, box);
  }

  function lines(chart, box, width, p) {
    const size = Math.min(64, 12 + Math.max(20, ...(chart.y.ticks || []).map((t) => textWidth(t.text, "12px " + FONT))));
    const height = Math.round(Math.min(320, Math.max(220, 0.62 * width)));
    const drawn = (s) => chart.points ? s.curve || [] : s.points;
    const xs = [...new Set(chart.series.flatMap((s) => [...s.points, ...drawn(s)].map((p) => p.x)))].sort((a, b) => a - b);
    const place = new Map(xs.map((x, i) => [x, i]));
    const columns = [xs], series = [{}];
    for (const s of chart.series) {
      const column = new Array(xs.length).fill(null);
      for (const pt of drawn(s)) column[place.get(pt.x)] = pt.y;
      columns.push(column);
      series.push({ stroke: colorOf(s.look, p), width: 1.8, dash: lookOf(s.look).dash, spanGaps: true, points: { show: false } });
    }
    const overlay = (u) => {
      const ctx = u.ctx, ratio = uPlot.pxRatio;
      ctx.save();
      ctx.setLineDash([]);
      for (const s of chart.series) {
        for (const pt of s.points) {
          const x = u.valToPos(pt.x, "x", true), y = u.valToPos(pt.y, "y", true);
          if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
          if (pt.high > 0) {
            ctx.strokeStyle = colorOf(s.look, p);
            ctx.lineWidth = 1.5 * ratio;
            ctx.beginPath();
            ctx.moveTo(x, u.valToPos(Math.max(pt.low, chart.y.min), "y", true));
            ctx.lineTo(x, u.valToPos(pt.high, "y", true));
            ctx.stroke();
          }
          marker(ctx, s.look, x, y, (chart.points ? 0.75 : 1) * ratio, p);
        }
      }
      ctx.restore();
    };
    const scale = (a) => ({ time: false, distr: a.log ? 3 : 1, range: () => [a.min, a.max] });
    return new uPlot(options(width, height, {
      padding: [8, 14, 0, 4],
      scales: { x: scale(chart.x), y: scale(chart.y) },
      axes: [
        axis(p, { size: 26, label: chart.x.title, ...ticked(sparse(chart.x, width - size - 40, 52)) }),
        axis(p, { size, label: chart.y.title, ...ticked(sparse(chart.y, height - 60, 20)) }),
      ],
      series, hooks: { draw: [overlay] },
    }), columns, box);
  }

  const charts = [...document.querySelectorAll("[data-chart]")].map((box) => ({ box, chart: data.charts[box.dataset.chart], plot: null, width: 0 }));

  // draw draws the charts that are visible; those that are folded away are drawn when they are unfolded.
  function draw(again) {
    const p = palette();
    for (const c of charts) {
      const folded = c.box.closest("details:not([open])") || c.box.clientWidth === 0;
      const width = printing ? PAPER_WIDTH : c.box.clientWidth;
      if (folded || !again && width === c.width) continue;
      if (c.plot) c.plot.destroy();
      c.width = width;
      c.plot = (c.chart.groups ? bars : lines)(c.chart, c.box, width, p);
      c.box.closest("figure").classList.add("drawn");
    }
    document.documentElement.dataset.drawn = charts.filter((c) => c.plot).length;
    document.documentElement.dataset.colors = p.dark ? "dark" : "light";
  }

  function print(on) {
    printing = on;
    draw(true);
  }

  draw(true);
  dark.addEventListener("change", () => draw(true));
  paper.addEventListener("change", (e) => print(e.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  addEventListener("resize", () => draw(false));
  for (const d of document.querySelectorAll("details")) d.addEventListener("toggle", () => draw(false));
})();
