// Okabe and Ito's palette, without its yellow, which can't be read on white. The second round is
// dashed, and every line also has its name at its end.
const PALETTE = ["#D55E00", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9"];
const FIXED = { backstay: "#009E73", none: "#000000" };
let taken = 0;
const arms = report.arms.map((arm) => {
  const fixed = FIXED[arm.name];
  const nth = fixed ? 0 : taken++;
  return {
    ...arm,
    shown: true,
    color: fixed || PALETTE[nth % PALETTE.length],
    dash: ["", "6 3", "2 2"][Math.floor(nth / PALETTE.length) % 3],
    width: arm.name === "backstay" ? 3.5 : 2,
  };
});

const seconds = report.offered.length;
const state = { at: Math.max(0, seconds - 1), quantile: "p50_ms" };

const WIDTH = 1040, HEIGHT = 230, LEFT = 46, RIGHT = 170, TOP = 24, BOTTOM = 26;
const x = (second) => LEFT + (second / Math.max(1, seconds)) * (WIDTH - LEFT - RIGHT);

/** One chart. `value(arm, second)` may answer null: no answer at all, drawn on the top line. */
function chart(id, { value, y, ticks, guides = [], top }) {
  const svg = byId(id);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const fault = report.fault;
  if (fault) {
    const until = Math.min(fault.until_s, seconds);
    if (until > fault.from_s) {
      draw(svg, "rect", { class: "fault", x: x(fault.from_s), y: TOP,
        width: x(until) - x(fault.from_s), height: HEIGHT - TOP - BOTTOM });
      draw(svg, "text", { x: x(fault.from_s), y: TOP - 8, class: "soft" }, `fault: capacity x ${fault.factor}`);
    }
  }
  for (const [at, label] of ticks) {
    draw(svg, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(at), y2: y(at) });
    draw(svg, "text", { x: LEFT - 6, y: y(at) + 4, "text-anchor": "end", class: "soft" }, label);
  }
  for (let second = 0; second <= seconds; second += 10) {
    draw(svg, "text", { x: x(second), y: HEIGHT - 8, "text-anchor": "middle", class: "soft" }, `${second} s`);
  }
  for (const [at, , from, until] of guides) {
    draw(svg, "line", { class: "guide", x1: x(from ?? 0), x2: x(until ?? seconds), y1: y(at), y2: y(at) });
  }
  const ends = [];
  for (const arm of arms.filter((arm) => arm.shown)) {
    const at = (second) => {
      const found = value(arm, second);
      return found === null || found === undefined ? top : y(found);
    };
    const points = report.offered.map((_, second) => `${x(second + 0.5)},${at(second)}`);
    if (points.length === 0) continue;
    draw(svg, "polyline", { points: points.join(" "), fill: "none", stroke: arm.color,
      "stroke-width": arm.width, "stroke-dasharray": arm.dash, "stroke-linejoin": "round" });
    ends.push({ arm, y: at(seconds - 1) });
  }
  names(svg, ends);
  // Last, so that no line runs through the words.
  for (const [at, label, , until] of guides) {
    draw(svg, "text", { x: x(until ?? seconds) - 4, y: y(at) - 4, "text-anchor": "end", class: "soft halo" }, label);
  }
  const cursor = x(state.at + 0.5);
  draw(svg, "line", { class: "at", x1: cursor, x2: cursor, y1: TOP, y2: HEIGHT - BOTTOM });
}

/** Names at the line ends, moved apart where they would overlap. */
function names(svg, ends) {
  const step = 14;
  ends.sort((a, b) => a.y - b.y);
  ends.forEach((end, nth) => { end.at = Math.max(end.y, nth ? ends[nth - 1].at + step : TOP); });
  const last = ends.at(-1);
  const over = last ? Math.max(0, last.at - (HEIGHT - BOTTOM)) : 0;
  let below = Infinity;
  for (const end of [...ends].reverse()) {
    end.at = over ? Math.min(end.at, HEIGHT - BOTTOM, below - step) : end.at;
    below = end.at;
  }
  for (const { arm, y: from, at } of ends) {
    const start = x(seconds);
    draw(svg, "polyline", { points: `${start},${from} ${start + 10},${at} ${start + 26},${at}`, fill: "none",
      stroke: arm.color, "stroke-width": arm.width, "stroke-dasharray": arm.dash });
    draw(svg, "text", { x: start + 31, y: at + 4 }, arm.name);
  }
}

/** A linear axis from 0 with about four round ticks. */
function linear(highest) {
  const raw = highest / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((nth) => nth * power).find((candidate) => candidate >= raw);
  const end = Math.ceil(highest / step) * step;
  const y = (value) => HEIGHT - BOTTOM - (value / end) * (HEIGHT - TOP - BOTTOM);
  const ticks = [];
  for (let nth = 0; nth * step <= end * 1.001; nth++) ticks.push([nth * step, String(+(nth * step).toFixed(2))]);
  return { y, ticks };
}

const shown = () => arms.filter((arm) => arm.shown);
const amplification = (arm, second) =>
  report.offered[second] ? arm.series.attempts[second] / report.offered[second] : 0;

function charts() {
  const most = Math.max(1, ...report.offered, ...shown().flatMap((arm) => arm.series.goodput));
  const guides = [];
  if (report.offered_per_s) guides.push([report.offered_per_s, `offered ${report.offered_per_s.toFixed(0)}/s`]);
  if (report.fault && report.capacity_left_per_s) {
    const left = `left ${report.capacity_left_per_s.toFixed(0)}/s`;
    guides.push([report.capacity_left_per_s, left, report.fault.from_s, Math.min(report.fault.until_s, seconds)]);
  }
  chart("goodput", { ...linear(most), guides, value: (arm, second) => arm.series.goodput[second] });

  // Latency spans decades; a second whose quantile is a lost call lies on the line above them all.
  const [low, high] = [Math.log10(5), Math.log10(20000)];
  const y = (millis) => {
    const share = (Math.log10(Math.min(Math.max(millis, 5), 20000)) - low) / (high - low);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM - 24);
  };
  const top = TOP + 8;
  const ticks = [[10, "10"], [100, "100"], [1000, "1000"], [10000, "10000"]];
  chart("latency", { y, ticks, top, value: (arm, second) => arm.series[state.quantile][second],
    guides: report.deadline_ms ? [[report.deadline_ms, `deadline ${report.deadline_ms} ms`]] : [] });
  draw(byId("latency"), "text", { x: LEFT - 6, y: top + 4, "text-anchor": "end", class: "soft" }, "lost");

  const highest = Math.max(1.2, ...shown().flatMap((arm) => arm.series.attempts.map((_, s) => amplification(arm, s))));
  chart("load", { ...linear(highest), guides: [[1, "1 for each call"]], value: amplification });
}

const quantile = (arm, name) => millis(arm.lost_quantiles.includes(name) ? null : arm[name]);
const millis = (value) => (value === null || value === undefined ? "lost" : `${value.toFixed(0)} ms`);

function legend() {
  for (const arm of arms) {
    const label = element(byId("legend"), "label");
    label.title = arm.about;
    const box = element(label, "input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => { arm.shown = box.checked; charts(); });
    const swatch = draw(label, "svg", { viewBox: "0 0 28 10", "aria-hidden": "true" });
    draw(swatch, "line", { x1: 0, x2: 28, y1: 5, y2: 5, stroke: arm.color, "stroke-width": arm.width + 1,
      "stroke-dasharray": arm.dash });
    element(label, "span", arm.name);
    arm.now = element(label, "span", "", "now");
  }
}

function values() {
  const second = state.at;
  for (const arm of arms) {
    arm.now.textContent = seconds === 0 ? "" :
      `${arm.series.goodput[second]}/s, p99 ${millis(arm.series.p99_ms[second])}, ` +
      `x ${amplification(arm, second).toFixed(2)}`;
  }
  const fault = report.fault;
  let phase = "";
  if (fault) {
    if (second < fault.from_s) phase = "before the fault";
    else if (second < fault.until_s) phase = "during the fault";
    else phase = `fault ended ${second - fault.until_s} s ago`;
  }
  byId("at").textContent = seconds === 0 ? "" : `${second} s ${phase}`;
}

function moveTo(second) {
  state.at = Math.min(Math.max(0, second), Math.max(0, seconds - 1));
  byId("cursor").value = state.at;
  values();
  charts();
}

function tables() {
  const healthy = report.arms.some((arm) => typeof arm.cpu_us_per_call === "number");
  row(byId("numbers"), ["arm", ...(report.fault ? ["before/s", "during/s", "after/s", "recovery"] : ["goodput/s"]),
    "load x", "wasted", "late", "lost", "p50", "p99", "p99.9", ...(healthy ? ["us/call", "openings", "sheds"] : [])], "th");
  for (const arm of report.arms) {
    const { before, during, after } = arm.goodput;
    const watched = report.fault ? Math.max(0, report.length_s - report.fault.until_s) : 0;
    const recovery = arm.recovery_s === null ? `not in ${watched.toFixed(0)} s` : `${arm.recovery_s.toFixed(1)} s`;
    row(byId("numbers"), [arm.name,
      ...(report.fault ? [number(before), number(during), number(after), recovery] : [number(before, 1)]),
      number(arm.amplification, 2), arm.wasted, arm.late, arm.lost,
      quantile(arm, "p50_ms"), quantile(arm, "p99_ms"), quantile(arm, "p999_ms"),
      ...(healthy ? [number(arm.cpu_us_per_call), number(arm.openings), number(arm.sheds)] : [])], "td");
  }
}

frame(`, load ${report.load} of ${number(report.capacity_per_s)}/s, generator lag p99 ${number(report.generator_lag_p99_ms, 1)} ms`);
legend();
tables();
byId("cursor").max = Math.max(0, seconds - 1);
byId("cursor").addEventListener("input", (event) => moveTo(Number(event.target.value)));
for (const choice of document.querySelectorAll("input[name=quantile]")) {
  choice.addEventListener("change", () => { state.quantile = choice.value; charts(); });
}
for (const id of ["goodput", "latency", "load"]) {
  byId(id).addEventListener("pointermove", (event) => {
    const box = byId(id).getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDTH;
    moveTo(Math.floor(((at - LEFT) / (WIDTH - LEFT - RIGHT)) * seconds));
  });
}
moveTo(state.at);
