"use strict";
const report = JSON.parse(document.getElementById("report").textContent);
const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

function draw(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}

function element(parent, name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  parent.appendChild(node);
  return node;
}

function row(table, cells, tag) {
  const line = element(table, "tr");
  for (const cell of cells) element(line, tag, cell);
}

const number = (value, digits = 0) => (value === null || value === undefined ? "-" : value.toFixed(digits));

/** What every report has: the verdict and why, the rules, and what each arm is. */
function frame(what) {
  byId("what").textContent = `Backstay lab, experiment ${report.experiment}, seed ${report.seed}${what}` +
    (report.partial ? ". PARTIAL: the run ended before its time" : "");
  byId("verdict").textContent = report.verdict;
  byId("verdict").className = report.verdict;
  byId("headline").textContent = report.headline;
  for (const reason of report.reasons) element(byId("reasons"), "li", reason);
  document.title = `${report.verdict}: ${report.experiment}, Backstay lab`;
  for (const arm of report.arms) row(byId("about"), [arm.name, arm.about], "td");
  row(byId("rules"), ["", "rule", "measured"], "th");
  for (const check of report.checks) {
    const mark = check.holds ? "holds" : check.kind === "promise" ? "BROKEN" : "VOID";
    row(byId("rules"), [mark, `${check.kind}: ${check.rule}`, check.measured], "td");
  }
}
