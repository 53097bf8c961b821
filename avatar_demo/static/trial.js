"use strict";
// Shows the page of metrics every second, and which counts have decreased.
const PAUSE = 1000;
const STORED = "counts before a button was pressed";
const COUNT = /^ivatar_\w+_(total|count|bucket)\b/;
const DURATION = "ivatar_request_duration_seconds_bucket";
const element = (id) => document.getElementById(id);
const url = element("metrics").href;
const decreased = new Set();
let counts = JSON.parse(sessionStorage.getItem(STORED) ?? "{}");
let last = null;
sessionStorage.removeItem(STORED);
element("trial").addEventListener("submit", () => sessionStorage.setItem(STORED, JSON.stringify(counts)));

function parse(page) {
  const lines = page.split("\n").filter((line) => line && !line.startsWith("#"));
  return lines.map((line) => line.match(/^(.+) (\S+)$/)).map(([, series, value]) => [series, Number(value)]);
}

function sum(samples, name, label = "") {
  const found = samples.filter(([series]) => series.split("{")[0] === name && series.includes(label));
  return found.reduce((total, [, value]) => total + value, 0);
}

function figures(samples) {
  const requests = sum(samples, "ivatar_requests_total");
  const hits = sum(samples, "ivatar_avatar_cache_hits_total");
  const lookups = hits + sum(samples, "ivatar_avatar_cache_misses_total");
  const now = performance.now();
  const rate = last ? ((1000 * (requests - last.requests)) / (now - last.now)).toFixed(1) : "-";
  last = { requests, now };
  return {
    requests,
    rate,
    avatars: sum(samples, "ivatar_avatar_requests_total"),
    cache: lookups ? `${Math.round((100 * hits) / lookups)} %` : "-",
    uploads: sum(samples, "ivatar_file_uploads_total", 'success="true"'),
    refused: sum(samples, "ivatar_file_uploads_total", 'success="false"'),
    workers: sum(samples, "gunicorn_workers"),
    decreased: `${decreased.size} of ${Object.keys(counts).length}`,
  };
}

function compare(samples) {
  const now = Object.fromEntries(samples.filter(([series]) => COUNT.test(series)));
  Object.keys(counts).filter((series) => !(now[series] >= counts[series])).forEach((series) => decreased.add(series));
  counts = now;
}

function buckets(samples) {
  const totals = new Map();
  for (const [series, value] of samples) {
    if (!series.startsWith(DURATION)) continue;
    const bound = series.match(/le="([^"]+)"/)[1];
    totals.set(bound, (totals.get(bound) ?? 0) + value);
  }
  const order = ([bound]) => (bound === "+Inf" ? Infinity : Number(bound));
  const rows = [...totals].sort((one, two) => order(one) - order(two));
  return rows.map(([bound, total], index) => [bound, total - (index ? rows[index - 1][1] : 0)]);
}

function row([bound, number], largest) {
  const line = document.createElement("tr");
  const [head, value, bar] = ["th", "td", "td"].map((name) => line.appendChild(document.createElement(name)));
  head.scope = "row";
  head.textContent = bound === "+Inf" ? "longer" : `to ${bound} s`;
  value.textContent = number;
  const meter = bar.appendChild(document.createElement("meter"));
  Object.assign(meter, { max: largest, value: number, title: `${number} requests` });
  return line;
}

function show(samples) {
  compare(samples);
  for (const [name, value] of Object.entries(figures(samples))) {
    document.querySelector(`[data-figure="${name}"]`).textContent = value;
  }
  const bars = buckets(samples);
  const largest = Math.max(1, ...bars.map(([, number]) => number));
  element("histogram").replaceChildren(...bars.map((each) => row(each, largest)));
}

async function refresh() {
  let fault = "";
  try {
    const response = await fetch(url, { cache: "no-store" });
    if (response.ok) show(parse(await response.text()));
    else fault = `The page of metrics responds with status ${response.status}.`;
  } catch (error) {
    fault = `The page of metrics does not respond: ${error.message}`;
  }
  element("fault").textContent = fault;
  element("fault").hidden = !fault;
  setTimeout(refresh, PAUSE);
}

element("live").hidden = false;
refresh();
