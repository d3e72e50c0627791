const WIDTH = 1040, LEFT = 120, RIGHT = 16, TOP = 30, LANE = 34, BOTTOM = 22;
const length = Math.max(1, report.length_s);
const x = (second) => LEFT + (Math.min(second, length) / length) * (WIDTH - LEFT - RIGHT);
// Blue and vermilion of Okabe and Ito's palette; the shape says the same as the colour.
const GOOD = "#0072B2", BAD = "#D55E00", BAR = "#9ecae1";

/** So many marks at most: more could not be told apart, and a page has to stay small. */
function thinned(times) {
  const seen = new Set();
  return times.filter((at) => {
    const place = Math.round(x(at));
    return seen.has(place) ? false : seen.add(place);
  });
}

function history(arm) {
  const height = TOP + arm.lanes.length * LANE + BOTTOM;
  element(byId("arms"), "h3", arm.name);
  const svg = draw(byId("arms"), "svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img",
    "aria-label": `${arm.name}: what happened, in seconds` });
  report.faults.forEach((fault, nth) => {
    const width = Math.max(2, x(fault.until_s) - x(fault.from_s));
    draw(svg, "rect", { class: "fault", x: x(fault.from_s), y: TOP, width, height: height - TOP - BOTTOM });
    draw(svg, "text", { class: "soft", x: x(fault.from_s), y: nth % 2 ? TOP - 16 : TOP - 4 }, fault.name);
  });
  arm.lanes.forEach((lane, nth) => {
    const y = TOP + nth * LANE;
    draw(svg, "text", { x: LEFT - 8, y: y + 18, "text-anchor": "end" }, lane.name);
    draw(svg, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y + LANE - 2, y2: y + LANE - 2 });
    for (const spell of lane.spells) {
      const bar = draw(svg, "rect", { x: x(spell.from_s), y: y + 6, fill: BAR, stroke: GOOD,
        width: Math.max(1, x(spell.until_s) - x(spell.from_s)), height: 12 });
      draw(bar, "title", {}, spell.name);
    }
    for (const at of thinned(lane.good)) {
      draw(svg, "line", { x1: x(at), x2: x(at), y1: y + 20, y2: y + 28, stroke: GOOD });
    }
    for (const at of thinned(lane.bad)) {
      const cross = `M${x(at) - 4},${y + 8} l8,8 m0,-8 l-8,8`;
      draw(svg, "path", { d: cross, stroke: BAD, "stroke-width": 2.5, fill: "none" });
    }
  });
  for (let second = 0; second <= length; second += 10) {
    draw(svg, "text", { class: "soft", x: x(second), y: height - 6, "text-anchor": "middle" }, `${second} s`);
  }
}

const shown = (value) => number(value, Number.isInteger(value) ? 0 : 2);
frame(`, ${report.length_s.toFixed(0)} s`);
row(byId("numbers"), ["arm", ...report.columns.map((column) => column.name)], "th");
for (const arm of report.arms) row(byId("numbers"), [arm.name, ...arm.numbers.map(shown)], "td");
for (const column of report.columns) element(byId("columns"), "li", `${column.name}: ${column.about}.`);
report.arms.forEach(history);
