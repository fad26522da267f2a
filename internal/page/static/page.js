// SPDX-License-Identifier: Apache-2.0
// The page reads status once a second, and ledger.json once. Everything that it shows comes
// from these two, and stands in the page by textContent: names in it may be anything.
"use strict";

const SECOND = 1000;
const POLL = 1 * SECOND;         // between two readings
const POLL_HIDDEN = 10 * SECOND; // while nobody looks
const POLL_MOST = 8 * SECOND;    // while the receiver does not answer
const TIMEOUT = 5 * SECOND;      // for one answer
const MINUTE = 60;               // seconds of history
const RECENT = 10;               // seconds that a loss counts as happening now
const SILENT = 5;                // seconds without a packet that are no pause between heaps
const ROWS = 12;                 // of a table, until the reader wants all

const $ = (id) => document.getElementById(id);

// ---- Numbers in words

const integer = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const count = (n) => integer.format(n);

// short has three digits and a unit: 1.23 M.
function short(n) {
  for (const [unit, size] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(n) >= 0.9995 * size) return digits(n / size) + " " + unit;
  }
  return digits(n);
}

// digits has at most three of them that say something, and no exponent.
function digits(n) {
  const a = Math.abs(n);
  if (a === 0) return "0";
  if (a < 0.001) return "<0.001";
  if (a >= 99.95 || Number.isInteger(n)) return count(n);
  return n.toFixed(a >= 9.995 ? 1 : a >= 0.9995 ? 2 : 3);
}

// scaleText is short without zeros at the end, for a scale.
const scaleText = (n) => short(n).replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");

const percent = (part, all) => all > 0 ? digits(100 * part / all) + " %" : "0 %";

function span(s) {
  s = Math.max(0, s);
  if (s < 120) return Math.round(s) + " s";
  if (s < 7200) return Math.round(s / 60) + " min";
  if (s < 172800) return (s / 3600).toFixed(1) + " h";
  return (s / 86400).toFixed(1) + " d";
}

// clock is a time of day, UTC, as observatories and the log have it.
const clock = (t) => new Date(t * SECOND).toISOString().slice(11, 19);

const plural = (n, what) => count(n) + " " + what + (n === 1 ? "" : "s");

// ---- Elements

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// set changes a text only if it is another one: a screen reader and a selection stay calm.
function set(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

function classed(e, className) {
  if (e.className !== className) e.className = className;
}

const rowsOf = new WeakMap(); // the children of a list, by key

// keyed makes the children of a list those of the items, and keeps those that stay.
function keyed(parent, items, key, create, update) {
  const known = rowsOf.get(parent) || new Map();
  rowsOf.set(parent, known);
  const seen = new Set();
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = key(item);
    if (seen.has(k)) continue;
    seen.add(k);
    let e = known.get(k);
    if (!e) {
      e = create(item);
      known.set(k, e);
    }
    if (e !== at) parent.insertBefore(e, at);
    else at = at.nextElementSibling;
    update(e, item);
  }
  for (const [k, e] of known) {
    if (!seen.has(k)) {
      e.remove();
      known.delete(k);
    }
  }
}

// ---- What is known

let ledger = null;   // ledger.json
let history = [];    // readings of the last minute, the oldest first
let answered = 0;    // when the last answer came, by our own clock
let problem = "";    // why there is none
let early = false;   // it says that reception has not begun
let foreign = false; // there is one, and the page does not understand it
let failures = 0;    // in a row
let silentSince = 0; // seconds since 1970, by the receiver's clock: no packet came after it

const last = () => history[history.length - 1];

// reading is what the plots and rates need of an answer.
function reading(status) {
  return {
    status,
    time: status.time,
    packets: status.packets,
    payload: status.payload_bytes,
    heaps: status.heaps,
    lost: status.lost_packets,
    incomplete: status.incomplete_heaps,
    missing: status.missing_heaps || 0,
  };
}

// take adds an answer to the history. Counters that went back are of another run.
function take(status) {
  for (const key of ["time", "packets", "payload_bytes", "heaps", "lost_packets", "incomplete_heaps", "seconds"]) {
    if (typeof status[key] !== "number") throw new Error("status has no number " + key);
  }
  const r = reading(status), before = last();
  if (before && (r.packets < before.packets || status.seconds < before.status.seconds)) {
    history = [];
    silentSince = 0;
  } else if (before && r.time <= before.time) {
    return; // the same reading again
  }
  if (!last() || r.packets > last().packets) silentSince = r.time;
  history.push(r);
  while (history.length > 2 && history[1].time <= r.time - MINUTE) history.shift();
}

// base is the reading that rates are counted from: that before the last.
const base = () => history.length > 1 ? history[history.length - 2] : null;

// since is the reading of so many seconds ago, or the oldest.
function since(seconds) {
  const t = last().time - seconds - 0.5;
  return history.find((r) => r.time >= t);
}

// rate is the increase of a number in a second: now, between the last two readings.
function rate(of) {
  const a = base(), b = last();
  if (!a) return 0;
  const now = of(b.status), before = of(a.status);
  if (typeof now !== "number" || typeof before !== "number") return 0;
  return Math.max(0, now - before) / (b.time - a.time);
}

// rose is the increase in the last seconds.
function rose(of, seconds) {
  const now = of(last().status), before = of(since(seconds).status);
  return typeof now === "number" && typeof before === "number" ? Math.max(0, now - before) : 0;
}

// ---- Reading

let timer = 0, reader = null;

function schedule() {
  clearTimeout(timer);
  let wait = document.hidden ? POLL_HIDDEN : POLL;
  if (failures > 0) wait = Math.max(wait, Math.min(POLL * 2 ** (failures - 1), POLL_MOST));
  timer = setTimeout(poll, wait);
}

async function json(name, signal) {
  const answer = await fetch(name, { cache: "no-store", credentials: "same-origin", signal });
  if (!answer.ok) throw await refusal(name, answer);
  return answer.json();
}

// refusal is the error of an answer that is none. A receiver that starts says so with 503.
async function refusal(name, answer) {
  const text = (await answer.text()).slice(0, 200).trim();
  const e = new Error(name + ": HTTP status " + answer.status + (text ? ": " + text : ""));
  e.early = answer.status === 503 && !last();
  return e;
}

async function poll() {
  if (reader) return;
  reader = new AbortController();
  const limit = setTimeout(() => reader.abort(), TIMEOUT);
  try {
    if (!ledger) ledger = await json("ledger.json", reader.signal);
    take(await json("status", reader.signal));
    answered = performance.now();
    failures = 0;
    problem = "";
    foreign = false;
  } catch (e) {
    failures++;
    early = e.early === true;
    problem = e.name === "AbortError" ? "no answer within " + TIMEOUT / SECOND + " s" : e.message;
  }
  clearTimeout(limit);
  reader = null;
  schedule();
  draw();
}

// ---- The verdict

// counted are the counters in which a loss shows.
const counted = {
  lost: (s) => s.lost_packets,
  incomplete: (s) => s.incomplete_heaps,
  missing: (s) => s.missing_heaps || 0,
};

function lossNow() {
  return {
    lost: rose(counted.lost, RECENT), incomplete: rose(counted.incomplete, RECENT), missing: rose(counted.missing, RECENT),
    packets: rose((s) => s.packets, RECENT),
  };
}

// The network has no counter here: what it lost is what no other stage did.
const beyond = "network";
const beyondMissing = (s) => (s.missing_bytes_by_cause || {})[beyond] || 0;

// fatesOf are the rows of a stage.
const fatesOf = (name) => ledger.fates.filter((f) => f.stage === name);

const lostAt = (name, of) => fatesOf(name).reduce((sum, f) => sum + (f.loss ? of(f.name) : 0), 0);

const fateRose = (fate) => rose((s) => s.fates[fate], RECENT);

// wherePhrase says at which stages packets were lost, in the order of the path, and the
// bytes of those that did not come so far.
function wherePhrase(lossOf, missing) {
  const parts = ledger.stages.map((st) => [st.name, lossOf(st.name)]).filter(([, n]) => n > 0).map(([name, n]) => name + " " + count(n));
  if (missing > 0) parts.unshift(beyond + " " + short(missing) + "B");
  return parts.length > 0 ? " Lost at: " + parts.join(", ") + "." : "";
}

function heapsPhrase(incomplete, missing) {
  const parts = [];
  if (incomplete > 0) parts.push(plural(incomplete, "incomplete heap"));
  if (missing > 0) parts.push(plural(missing, "missing heap"));
  return parts.join(", ");
}

// verdict is the state in a word, with a detail.
function verdict() {
  if (foreign) return { kind: "bad", sign: "✕", word: "This page does not understand the receiver's answer", detail: problem + ". Load the page again: another version may run there." };
  if (!last()) {
    if (early) return { kind: "idle", sign: "…", word: "Not receiving yet", detail: problem };
    if (failures === 0) return { kind: "idle", sign: "…", word: "Waiting for the receiver", detail: "" };
    return { kind: "bad", sign: "✕", word: "The receiver does not answer", detail: problem };
  }
  const age = (performance.now() - answered) / SECOND;
  if (failures > 0) {
    return { kind: "bad", sign: "✕", word: "The receiver does not answer", detail: "All figures are " + span(age) + " old. " + problem };
  }
  const s = last().status, now = lossNow();
  const total = totalPhrase(s);
  const threads = s.threads || [];
  if (threads.length > 0 && threads.every((t) => t.state === "ended")) {
    return { kind: s.lost_packets + s.incomplete_heaps > 0 ? "warn" : "idle", sign: "■", word: "Reception has ended", detail: total };
  }
  if (s.packets === 0) return { kind: "warn", sign: "◌", word: "No packet has come yet", detail: "Receiving since " + span(s.seconds) + " ago." + notJoined(s) };
  const silent = s.time - silentSince;
  if (silent >= 3) {
    return { kind: "warn", sign: "◌", word: "No packets for " + span(silent), detail: total + notJoined(s) };
  }
  if (now.lost > 0) {
    const heaps = heapsPhrase(now.incomplete, now.missing);
    return {
      kind: "bad", sign: "✕", word: "Losing packets: " + percent(now.lost, now.packets) + " in the last " + RECENT + " s",
      detail: plural(now.lost, "packet") + (heaps ? ", " + heaps : "") + "." + wherePhrase((name) => lostAt(name, fateRose), rose(beyondMissing, RECENT)),
    };
  }
  if (now.incomplete + now.missing > 0) {
    return {
      kind: "bad", sign: "✕", word: "Heaps are not whole: " + heapsPhrase(now.incomplete, now.missing) + " in the last " + RECENT + " s",
      detail: "This machine lost no packet meanwhile. Packets were lost in the network, or were not sent.",
    };
  }
  const quiet = s.streams.filter(isSilent);
  if (quiet.length > 0) {
    const names = quiet.slice(0, 3).map((st) => st.stream + " (" + span(st.silent_seconds) + ")");
    return {
      kind: "warn", sign: "◌", word: "No packets on " + quiet.length + " of " + plural(s.streams.length, "stream"),
      detail: "Silent: " + names.join(", ") + (quiet.length > 3 ? " and " + (quiet.length - 3) + " more" : "") + ". " + total,
    };
  }
  if (s.lost_packets + s.incomplete_heaps + (s.missing_heaps || 0) > 0) {
    const calm = history[0].lost === s.lost_packets && history[0].incomplete === s.incomplete_heaps;
    const known = span(Math.max(RECENT, s.time - history[0].time));
    return { kind: "warn", sign: "!", word: "No loss now, but earlier", detail: total + (calm ? " None in the last " + known + "." : "") };
  }
  const warnings = (s.diagnoses || []).filter((d) => d.severity !== "info").length;
  if (warnings > 0) {
    return {
      kind: "warn", sign: "!", word: "No packet was lost, and there " + (warnings === 1 ? "is a warning" : "are " + warnings + " warnings"),
      detail: "Heaps may lack all the same: see the diagnoses.",
    };
  }
  return { kind: "good", sign: "✓", word: "No loss", detail: "Every packet that came was delivered, or is on its way." };
}

// isSilent reports whether a stream has been without packets for longer than gaps between
// heaps last. Those that have ended or have no endpoint have no such time.
const isSilent = (st) => st.silent_seconds >= SILENT;

// notJoined names the groups that are not joined: no packets come of them.
function notJoined(s) {
  const without = (s.groups || []).filter((g) => !g.joined).map((g) => g.group + " on " + g.interface);
  return without.length > 0 ? " Not joined: " + without.slice(0, 3).join(", ") + (without.length > 3 ? " and " + (without.length - 3) + " more" : "") + "." : "";
}

function totalPhrase(s) {
  const heaps = heapsPhrase(s.incomplete_heaps, s.missing_heaps || 0);
  if (s.lost_packets === 0) return heaps ? "In all " + heaps + ". This machine lost no packet." : "No loss.";
  return "In all " + plural(s.lost_packets, "packet") + " lost (" + percent(s.lost_packets, s.packets) + ")" + (heaps ? ", " + heaps : "") + "." +
    wherePhrase((name) => lostAt(name, (f) => s.fates[f] || 0), beyondMissing(s));
}

function drawVerdict() {
  const v = verdict();
  classed($("verdict"), "verdict " + v.kind);
  set($("verdict-sign"), v.sign);
  set($("verdict-word"), v.word);
  set($("verdict-detail"), v.detail);
  document.body.classList.toggle("stale", failures > 0);
  const gbps = last() && failures === 0 ? " " + digits(rate((s) => s.payload_bytes) * 8 / 1e9) + " Gb/s" : "";
  const title = v.sign + gbps + " " + location.host + " – speadx";
  if (document.title !== title) document.title = title;
  announce(v);
}

// announce tells a screen reader what has changed, and not each number.
let announced = "";
function announce(v) {
  const codes = last() ? (last().status.diagnoses || []).map((d) => d.code + where(d)) : [];
  const state = [v.kind, ...codes].join("\n");
  if (state === announced) return;
  announced = state;
  const first = last() && codes.length > 0 ? " " + last().status.diagnoses[0].sentence : "";
  set($("announce"), v.word + ". " + v.detail + first);
}

function drawClock() {
  if (!last()) return;
  const s = last().status, age = (performance.now() - answered) / SECOND;
  set($("clock"), clock(s.time + age) + " UTC · data " + (age < 1.5 ? "now" : span(age) + " old"));
}

function drawFacts() {
  const s = last().status;
  const parts = ["receiving for " + span(s.seconds), plural(s.streams.length, "stream")];
  const groups = s.groups || [];
  if (groups.length > 0) parts.push(count(groups.filter((g) => g.joined).length) + " of " + plural(groups.length, "group") + " joined");
  for (const d of s.devices.slice(0, 4)) {
    parts.push(d.device + (d.mode ? " " + d.mode : "") + (d.mtu ? ", MTU " + d.mtu : ""));
  }
  if (s.devices.length > 4) parts.push("and " + plural(s.devices.length - 4, "more interface"));
  set($("facts"), parts.join(" · "));
}

// ---- Diagnoses

const where = (d) => [d.stream, d.device, d.queue, d.source, d.sender].filter((v) => v !== undefined).join(" ");

function drawDiagnoses() {
  const list = last().status.diagnoses || [];
  const rank = { error: 0, warn: 1, info: 2 };
  const sorted = list.map((d, i) => [d, i]).sort((a, b) => (rank[a[0].severity] ?? 1) - (rank[b[0].severity] ?? 1) || a[1] - b[1]).map((p) => p[0]);
  keyed($("diagnoses"), sorted, (d) => d.code + "\n" + where(d), () => {
    const li = element("li");
    li.append(li.severity = element("span", "severity"), li.sentence = element("span", "sentence"), li.where = element("span", "where"));
    li.where.append(li.code = element("code"), li.seen = element("span"));
    return li;
  }, (li, d) => {
    const known = ["info", "warn", "error"].includes(d.severity) ? d.severity : "warn";
    classed(li, known);
    set(li.severity, { info: "ℹ note", warn: "▲ warning", error: "✕ error" }[known]);
    set(li.sentence, d.sentence);
    set(li.code, d.code);
    set(li.seen, seen(d));
  });
  $("no-diagnoses").hidden = list.length > 0;
  set($("no-diagnoses"), last().lost === 0 && last().incomplete === 0 && !last().status.streams.some(isSilent) ?
    "No loss, and nothing else is wrong." : "The receiver names no cause.");
}

function seen(d) {
  if (!d.first && !d.last) return "";
  const from = d.first || d.last, to = d.last || d.first;
  const ago = last().time - to < 3 ? "now" : span(last().time - to) + " ago";
  return " · " + (to - from < 1 ? "" : "first " + clock(from) + ", ") + "last " + clock(to) + " (" + ago + ")";
}

// ---- Rates and plots

const tiles = [
  {
    title: "Payload", unit: "Gb/s", scale: 8e-9, of: (r) => r.payload, status: (s) => s.payload_bytes,
    text: digits, sub: (s) => short(s.payload_bytes) + "B in all",
  },
  { title: "Packets", unit: "packets/s", scale: 1, of: (r) => r.packets, status: (s) => s.packets, text: short, sub: (s) => count(s.packets) + " in all" },
  { title: "Heaps", unit: "heaps/s", scale: 1, of: (r) => r.heaps, status: (s) => s.heaps, text: short, sub: (s) => count(s.heaps) + " in all, " + count(s.incomplete_heaps) + " incomplete" },
  {
    title: "Loss", unit: "packets/s", scale: 1, of: (r) => r.lost, status: (s) => s.lost_packets, text: short, loss: true,
    sub: (s) => count(s.lost_packets) + " in all (" + percent(s.lost_packets, s.packets) + ")",
  },
];

function makeTiles() {
  for (const t of tiles) {
    t.box = element("div", "tile");
    t.box.append(element("h3", "", t.title), t.value = element("p", "value"), t.sub_ = element("p", "sub"), t.area = element("div", "plot"));
    t.value.append(t.number = element("span"), element("small", "", t.unit));
    t.number.id = "rate-" + t.title.toLowerCase();
    t.area.setAttribute("aria-hidden", "true"); // the number says it
    $("rates").append(t.box);
  }
}

// points are the increases between readings, in a second.
function points(t) {
  const end = last().time;
  const xs = [], ys = [];
  for (let i = 1; i < history.length; i++) {
    const a = history[i - 1], b = history[i];
    xs.push(b.time - end);
    ys.push(Math.max(0, t.of(b) - t.of(a)) / (b.time - a.time) * t.scale);
  }
  return [xs, ys];
}

function plot(t, data) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const stroke = color(t.loss ? "--bad" : "--accent");
  const axis = {
    stroke: color("--dim"), font: "11px system-ui, sans-serif", grid: { stroke: color("--line"), width: 1 }, ticks: { show: false },
  };
  return new uPlot({
    width: Math.max(80, t.area.clientWidth), height: 104, legend: { show: false }, cursor: { show: false }, padding: [8, 16, 0, 0],
    scales: { x: { time: false, range: [-MINUTE, 0] }, y: { range: (u, low, high) => [0, high > 0 ? high * 1.15 : 1] } },
    axes: [
      { ...axis, size: 22, gap: 5, splits: () => [-60, -40, -20, 0], values: (u, list) => list.map((v) => v === 0 ? "now" : v + " s") },
      { ...axis, size: 44, gap: 4, space: 26, values: (u, list) => list.map(scaleText) },
    ],
    series: [{}, { stroke, width: 1.5, fill: stroke + "22", points: { show: false } }],
  }, data, t.area);
}

function drawTiles() {
  const s = last().status;
  for (const t of tiles) {
    const now = rate(t.status) * t.scale;
    set(t.number, base() ? t.text(now) : "–");
    set(t.sub_, t.sub(s));
    classed(t.box, "tile" + (t.loss && now > 0 ? " bad" : ""));
    const data = points(t);
    if (t.plot) t.plot.setData(data);
    else t.plot = plot(t, data);
  }
}

function forgetPlots() {
  for (const t of tiles) {
    if (t.plot) t.plot.destroy();
    t.plot = null;
  }
  if (last()) drawTiles();
}

// ---- The path

// stages are the stages with the packets that came to each, and that ended there.
function stages(s) {
  let through = s.packets;
  return ledger.stages.map((st) => {
    const fates = fatesOf(st.name).map((f) => ({ ...f, n: s.fates[f.name] || 0 })).filter((f) => f.n > 0);
    const lost = fates.reduce((sum, f) => sum + (f.loss ? f.n : 0), 0);
    const ended = fates.reduce((sum, f) => sum + f.n, 0);
    const end = st.name === "consumer";
    const missing = (s.missing_bytes_by_cause || {})[st.name] || 0;
    const here = { ...st, fates, lost, missing, through: end ? ended - lost : through - ended };
    through -= ended;
    return here;
  });
}


// ofDevices are stages that sockets of the kernel and files do not have.
const ofDevices = ["nic", "program"];

function drawPath() {
  const s = last().status;
  const before = base() ? stages(base().status) : [];
  const list = stages(s);
  keyed($("path"), list, (st) => st.name, (st) => {
    const li = element("li");
    li.append(element("div", "stage", st.name), element("div", "meaning", st.meaning), li.through = element("div", "through"),
      li.now = element("div", "now"), li.lost = element("div", "lost"), li.fates = element("ul", "fates"));
    return li;
  }, (li, st) => {
    const unused = ofDevices.includes(st.name) && s.devices.length === 0;
    const outside = st.name === beyond;
    const recent = lostAt(st.name, fateRose);
    const losing = recent > 0 || outside && rose(beyondMissing, RECENT) > 0;
    classed(li, st.name + (unused ? " unused" : losing ? " losing" : st.lost > 0 || outside && st.missing > 0 ? " was" : ""));
    li.dataset.through = st.through;
    li.dataset.lost = st.lost;
    li.dataset.missing = st.missing;
    set(li.through, unused ? "not used" : outside ? "" : short(st.through));
    li.through.title = unused || outside ? "" : count(st.through) + " packets";
    const old = before.find((b) => b.name === st.name);
    if (outside) {
      set(li.lost, st.missing > 0 ? short(st.missing) + "B missing" : "nothing missing");
      li.lost.title = "Bytes that were not sent, or were lost on the way. No stage of this machine lost them.";
      li.fates.hidden = true;
      return;
    }
    set(li.now, unused || !old ? "" : short(Math.max(0, st.through - old.through) / (last().time - base().time)) + "/s");
    set(li.lost, unused ? "" : st.lost === 0 ? "none lost" : count(st.lost) + " lost" + (recent > 0 ? " (" + count(recent) + " in " + RECENT + " s)" : ""));
    const shown = st.fates.filter((f) => f.name !== "delivered").map((f) => ({ ...f, text: count(f.n) }));
    if (st.missing > 0) {
      const cause = ledger.causes.find((c) => c.name === st.name);
      shown.push({ name: "missing", loss: true, text: short(st.missing) + "B", meaning: cause ? cause.meaning : "", remedy: cause ? cause.remedy : "" });
    }
    li.fates.hidden = shown.length === 0;
    keyed(li.fates, shown, (f) => f.name, (f) => {
      const row = element("li", f.loss ? "loss" : "");
      row.title = f.meaning + (f.remedy ? " " + f.remedy : "");
      const name = element("span");
      for (const part of f.name.split(/(?<=_)/)) name.append(part, element("wbr"));
      row.append(name, row.n = element("b"));
      return row;
    }, (row, f) => set(row.n, f.text));
  });
  let note = plural(s.in_flight, "packet") + " in flight: on rings, in live heaps, and in heaps not yet taken.";
  if (s.unaccounted !== 0) note += " " + count(s.unaccounted) + " unaccounted: the parts are not of the same instant.";
  if (s.kernel_dropped_at_least) note += " kernel_dropped is at least that many.";
  set($("path-note"), note);
}

// ---- Tables

// Table is one of the tables: columns, rows with problems first, a filter, and a button for
// the rest of the rows.
class Table {
  constructor(id, caption, columns) {
    this.id = id;
    this.columns = columns;
    this.all = false;
    const table = element("table");
    table.append(element("caption", "visually-hidden", caption));
    const head = element("tr");
    for (const c of columns) {
      const th = element("th", c.text ? "text" : "", c.title);
      th.scope = "col";
      if (c.about) th.title = c.about;
      head.append(th);
    }
    const thead = element("thead");
    thead.append(head);
    this.body = element("tbody");
    table.append(thead, this.body);
    this.more = element("button", "more");
    this.more.type = "button";
    this.more.addEventListener("click", () => {
      this.all = !this.all;
      this.draw(this.rows);
    });
    $(id).append(table, this.more);
    this.filter = $(id + "-filter");
    this.filter.addEventListener("input", () => this.draw(this.rows));
  }

  // draw shows rows: each has a key, a rank (2 loses now, 1 has lost, 0 is well) and what
  // the columns need.
  draw(rows) {
    this.rows = rows;
    $(this.id + "-section").hidden = rows.length === 0;
    this.filter.parentElement.hidden = rows.length <= ROWS && this.filter.value === "";
    const words = this.filter.value.toLowerCase();
    let list = rows.filter((r) => r.key.toLowerCase().includes(words)).map((r, i) => ({ ...r, i }));
    list.sort((a, b) => b.rank - a.rank || a.i - b.i);
    const matching = list.length;
    // Of few rows more than fit, all are shown.
    if (!this.all && matching > ROWS + 2) list = list.slice(0, ROWS);
    keyed(this.body, list, (r) => r.key, (r) => {
      const tr = element("tr");
      tr.cells_ = this.columns.map((c, i) => {
        const cell = element(i === 0 ? "th" : "td", c.text ? "text" : "");
        if (i === 0) cell.scope = "row";
        tr.append(cell);
        return cell;
      });
      return tr;
    }, (tr, r) => {
      classed(tr, r.rank === 2 ? "losing" : r.rank === 1 ? "was" : "");
      this.columns.forEach((c, i) => c.cell(tr.cells_[i], r));
    });
    this.more.hidden = matching <= ROWS + 2;
    set(this.more, this.all ? "Show the first " + ROWS : "Show all " + matching + " (those with problems come first)");
  }
}

// text, number and problem are kinds of columns.
const text = (title, of, about) => ({
  title, about, text: true, cell: (e, r) => {
    set(e, of(r));
    e.title = of(r);
  },
});
const number = (title, of, format = count, about) => ({ title, about, cell: (e, r) => set(e, format(of(r))) });
// A counter that the receiver does not have is no 0.
const problemColumn = (title, of, about) => ({
  title, about, cell: (e, r) => {
    const v = of(r);
    set(e, v === undefined ? "–" : count(v));
    classed(e, !v ? "zero" : r.rank === 2 ? "bad" : "warn");
  },
});

// meter is a bar with a mark for the most so far, and the numbers.
const meter = (title, of, about) => ({
  title, about, cell: (e, r) => {
    if (!e.track) {
      const box = element("div", "meter");
      e.box = box;
      box.append(e.track = element("div", "track"), e.label = element("div", "label"));
      e.label.append(e.now = element("span"), e.most = element("small"));
      e.append(box);
      e.parts = [];
    }
    const m = of(r);
    classed(e.box, "meter" + (m.kind ? " " + m.kind : ""));
    m.parts.forEach((p, i) => {
      if (!e.parts[i]) {
        e.parts[i] = element("div");
        e.track.append(e.parts[i]);
      }
      classed(e.parts[i], p.high ? "high" : "fill " + (p.kind || ""));
      const share = Math.max(0, Math.min(100, 100 * p.share)) + "%";
      if (p.high) e.parts[i].style.left = share;
      else e.parts[i].style.width = share;
    });
    set(e.now, m.now);
    set(e.most, m.most || "");
  },
});

// find finds the same part in another reading.
function partIn(status, list, key, name) {
  return (status[list] || []).find((p) => p[key] === name);
}

// partRate is the increase of a part's number in a second, and partRose that in the last seconds.
function partRate(find, of) {
  return rate((s) => {
    const p = find(s);
    return p ? of(p) : undefined;
  });
}
function partRose(find, of) {
  return rose((s) => {
    const p = find(s);
    return p ? of(p) : undefined;
  }, RECENT);
}

const streamLost = (st) => ledger.fates.reduce((sum, f) => sum + (f.loss ? st.fates[f.name] || 0 : 0), 0);
const streamTrouble = (st) => streamLost(st) + st.incomplete_heaps + (st.missing_heaps || 0);

function streamRows() {
  return last().status.streams.map((st) => {
    const find = (s) => partIn(s, "streams", "stream", st.stream);
    return {
      key: st.stream, st, rank: partRose(find, streamTrouble) > 0 ? 2 : streamTrouble(st) > 0 || isSilent(st) ? 1 : 0,
      gbps: partRate(find, (p) => p.payload_bytes) * 8e-9, heaps: partRate(find, (p) => p.heaps),
    };
  });
}

// queueLosses are the keys of a queue that count lost frames.
const queueLosses = () => ledger.queue.filter((r) => r.loss && r.unit === "frames").map((r) => r.name);

function queueRows() {
  const keys = queueLosses(), rows = [];
  const drops = (q) => keys.reduce((sum, k) => sum + (q[k] || 0), 0);
  for (const d of last().status.devices) {
    for (const q of d.queues) {
      const find = (s) => {
        const device = partIn(s, "devices", "device", d.device);
        return device && device.queues.find((o) => o.queue === q.queue);
      };
      rows.push({
        key: d.device + " " + q.queue, d, q, drops: drops(q), rank: partRose(find, drops) > 0 ? 2 : drops(q) > 0 ? 1 : 0,
        rate: partRate(find, (p) => p.matched), details: keys.filter((k) => q[k] > 0).map((k) => k + " " + count(q[k])).join(", "),
      });
    }
  }
  const all = rows.reduce((sum, r) => sum + r.rate, 0);
  for (const r of rows) r.share = all > 0 ? r.rate / all : 0;
  return rows;
}

// fullness tells how near to its end something was: at the end it has cost packets or will.
const fullness = (n, of) => of > 0 && n >= of ? "bad" : of > 0 && n > 0.8 * of ? "warn" : "";

function use(now, most, of, kind) {
  return {
    now: count(now) + " / " + count(of), most: " max " + count(most), kind,
    parts: [{ share: of > 0 ? now / of : 0 }, { share: of > 0 ? most / of : 0, high: true }],
  };
}

const slotsOf = (p) => p.live + p.ring + p.held + p.threads;

function poolRows() {
  return last().status.streams.map((st) => {
    const refused = (o) => (o.fates.no_slot || 0) + (o.fates.ring_full || 0);
    const now = partRose((s) => partIn(s, "streams", "stream", st.stream), refused);
    const p = st.pool;
    return { key: st.stream, p, rank: now > 0 ? 2 : refused(st) > 0 || p.least_free === 0 || p.high_ring >= p.ring ? 1 : 0 };
  });
}

function threadRows() {
  return (last().status.threads || []).map((t) => {
    const find = (s) => partIn(s, "threads", "thread", t.thread);
    const busy = partRate(find, (p) => p.busy_seconds), blocked = partRate(find, (p) => p.blocked_seconds);
    const idle = partRate(find, (p) => p.idle_seconds);
    return { key: t.thread, t, busy, idle, blocked, rank: blocked > 0.01 ? 2 : t.state !== "ended" && t.since_turn_seconds > 1 && t.state !== "blocked" ? 2 : 0 };
  });
}

const share = (v) => Math.round(100 * Math.min(1, v)) + " %";

const tables = {};
function makeTables() {
  tables.streams = new Table("streams", "Streams: rates, heaps and losses", [
    text("Stream", (r) => r.key),
    number("Gb/s", (r) => r.gbps, digits),
    number("heaps/s", (r) => r.heaps, short),
    problemColumn("incomplete", (r) => r.st.incomplete_heaps, "heaps that left with bytes missing"),
    problemColumn("missing", (r) => r.st.missing_heaps, "heaps of which nothing came, by the gaps in their counts"),
    problemColumn("packets lost", (r) => streamLost(r.st), "of those that reached this stream"),
    number("heaps", (r) => r.st.heaps),
    number("senders", (r) => r.st.senders),
  ]);
  tables.pool = new Table("pool", "The pool's slots of each stream", [
    text("Stream", (r) => r.key),
    meter("live", (r) => use(r.p.now_live, r.p.high_live, r.p.live, ""), "heaps that are being assembled"),
    meter("in the ring", (r) => use(r.p.now_ring, r.p.high_ring, r.p.ring, r.p.now_ring >= r.p.ring ? "bad" : r.p.high_ring >= r.p.ring ? "warn" : ""), "finished heaps that wait for the consumer"),
    meter("held", (r) => use(r.p.now_held, r.p.high_held, r.p.held, r.p.high_held > r.p.held ? "warn" : ""), "heaps in the consumer's hands"),
    number("threads", (r) => r.p.threads, count, "one slot for each thread"),
    number("free", (r) => r.p.now_free, count, "large and small slots"),
    { title: "least free", about: "of the large slots", cell: (e, r) => {
      set(e, count(r.p.least_free) + " / " + count(slotsOf(r.p)));
      classed(e, r.p.least_free === 0 ? "warn" : "");
    } },
  ]);
  tables.queues = new Table("queues", "Receive queues: rates, fill and drops", [
    text("Queue", (r) => r.key),
    text("mode", (r) => r.d.mode || "–"),
    number("packets/s", (r) => r.rate, short),
    meter("share", (r) => ({ now: share(r.share), parts: [{ share: r.share }] }), "of the packets of all queues"),
    meter("RX ring, most ever", (r) => ({
      now: count(r.q.ring_high) + " / " + (r.q.ring_size ? count(r.q.ring_size) : "?"), kind: fullness(r.q.ring_high, r.q.ring_size),
      parts: [{ share: r.q.ring_size ? r.q.ring_high / r.q.ring_size : 0 }],
    }), "the most chunks that waited for the thread"),
    problemColumn("dropped", (r) => r.drops, "frames that the kernel or the thread dropped, or that had no socket"),
    text("of which", (r) => r.details),
  ]);
  tables.threads = new Table("threads", "Receiving threads: what they do", [
    text("Thread", (r) => r.key),
    number("CPU", (r) => r.t.cpu, (v) => v < 0 ? "any" : String(v)),
    text("state", (r) => r.t.state + (r.t.state !== "ended" && r.t.since_turn_seconds > 1 ? ", no turn for " + span(r.t.since_turn_seconds) : "")),
    meter("time", (r) => ({ now: share(r.busy) + " busy", parts: [{ share: r.busy, kind: "working" }, { share: r.blocked, kind: "blocked" }] }), "share of time at work, and blocked"),
    number("idle", (r) => r.idle, share),
    { title: "blocked", about: "waits for the consumer, as the ring is full", cell: (e, r) => {
      set(e, share(r.blocked));
      classed(e, r.blocked > 0.01 ? "bad" : "zero");
    } },
  ]);
}

// ---- Together

// draw shows what is known. An answer that is of another form is a problem like no answer.
function draw() {
  try {
    if (last() && ledger && failures === 0) drawParts();
  } catch (e) {
    failures++;
    foreign = true;
    problem = e.message;
  }
  drawVerdict();
  drawClock();
}

function drawParts() {
  drawFacts();
  drawDiagnoses();
  drawTiles();
  drawPath();
  tables.streams.draw(streamRows());
  tables.pool.draw(poolRows());
  tables.queues.draw(queueRows());
  tables.threads.draw(threadRows());
}

set($("host"), location.host);
makeTiles();
makeTables();
setInterval(() => {
  drawClock();
  if (failures > 0) drawVerdict(); // the age of the data goes on
}, SECOND);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", forgetPlots);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  forgetPlots();
});
poll();
