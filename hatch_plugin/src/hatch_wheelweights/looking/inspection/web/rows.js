// What a row says: a module or a tensor of the tree, or a tensor of a list.

import { copyAt, histogram, measureText, SHOWN, strip } from "./charts.js";
import { html, svg } from "./elements.js";
import { classAbove, hasWholes } from "./model.js";
import { columnText, counted, countText, exactText, sizeText } from "./words.js";

const CHART_HEIGHT = 20;
const MAX_INDENT = 12;
const NUMBERS = ["mean", "std", "minimum", "maximum"];

function cell(name, ...children) {
  return html("div", { role: "gridcell", class: name }, ...children);
}

/** A text for screen readers alone. */
function hidden(text) {
  return html("span", { class: "unseen" }, `${text} `);
}

/** What is odd about the values of a tensor, in a few words. */
function findingText({ statistics }) {
  const { nans, infinities, zeros, values, deadRows } = statistics;
  const said = [nans && `${countText(nans)} NaN`, infinities && `${countText(infinities)} inf`];
  said.push(zeros === values ? "all 0" : deadRows && counted(deadRows, "dead row"));
  return said.filter(Boolean).join(", ");
}

function warning(text, title) {
  return html("span", { class: "warning", title }, text);
}

/** The note of a tensor, or that which all copies of one share. */
function noted(tensors) {
  const [{ note, isFaulty }] = tensors;
  if (!note || tensors.some((tensor) => tensor.note !== note)) return null;
  return html("span", { class: isFaulty ? "warning fault" : "note", title: note }, note);
}

function badges(item, isNode) {
  const { findings } = item.totals;
  const tensor = isNode ? (item.copies.length === 1 ? item.copies[0] : null) : item;
  if (!tensor)
    return [
      findings > 0 && warning(counted(findings, "finding")),
      shownOf(item).copies.length > 0 && noted(shownOf(item).copies),
    ];
  return [
    tensor.findings.length > 0 && warning(findingText(tensor), tensor.findings.join("; ")),
    noted([tensor]),
  ];
}

function twist(node) {
  const path = node.isFoldable && svg("path", { d: "M6 3.5l5 4.5-5 4.5" });
  return svg("svg", { class: "twist", viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
}

function nodeName(node) {
  return [
    twist(node),
    html(
      "span",
      { class: node.isLeaf ? "name leaf" : "name", title: node.label },
      node.label || "(no name)",
    ),
    node.count > 1 && html("span", { class: "times" }, `${node.count} ×`),
    badges(node, true),
    node.mark && html("span", { class: "mark" }, node.mark),
    renaming(node),
    node.class && node.part && html("span", { class: "class" }, node.class.text),
    !node.isLeaf &&
      html(
        "button",
        { type: "button", class: "more", tabindex: -1, title: "Details", "aria-label": "Details" },
        "i",
      ),
  ];
}

function sourceText(source) {
  return `from ${source || "the root"}`;
}

/** Where a node comes from; of layers that repeat, where the first does, or how many of them have other names. */
function renaming({ source, renamed, count }) {
  if (source === null && !renamed) return null;
  const text = source === null ? `${exactText(renamed)} renamed` : sourceText(source);
  return html(
    "span",
    { class: "source" },
    source !== null && count > 1 ? `${text} and others` : text,
  );
}

/** A dtype; of a cast, the one that it leads to. */
function dtypeCell(dtype = "") {
  const [from, to] = dtype.split(" -> ");
  const made = cell("dtype", to ? [hidden(from), `→ ${to}`] : from);
  made.title = dtype;
  return made;
}

function tensorName(tensor) {
  const known = classAbove(tensor);
  return [
    html("span", { class: "name leaf", title: tensor.key }, tensor.key || "(no name)"),
    badges(tensor, false),
    tensor.source !== null && html("span", { class: "source" }, sourceText(tensor.source)),
    known && html("span", { class: "class" }, known.text),
  ];
}

function sizeCells(item, bytes, whole) {
  const text = item.totals.tensors || bytes ? sizeText(bytes) : "";
  const bar = item.totals.bytes > 0 && html("span", { class: "bar" });
  if (bar) bar.style.setProperty("--share", Math.min(1, item.totals.bytes / whole));
  return [cell("bytes number", text), cell("share", bar)];
}

/** A histogram of one tensor, or a strip over the copies of several. */
function chart(tensors, shown) {
  const hasAny = tensors.some((tensor) => tensor.statistics);
  if (tensors.length < 2 || !hasAny) {
    return cell("chart", hasAny && histogram(tensors[0], CHART_HEIGHT));
  }
  const drawn = strip(tensors, shown, CHART_HEIGHT);
  const made = cell("chart", drawn);
  made.addEventListener("pointermove", (event) => {
    const tensor = tensors[copyAt(event, drawn, tensors.length)];
    made.title = `${tensor.key}: ${SHOWN[shown]} ${measureText(tensor, shown)}`;
  });
  return made;
}

function statisticCells(statistics, tensors, shown) {
  const isWhole = tensors.length > 0 && hasWholes(tensors[0]);
  const numbers = NUMBERS.map((name) => {
    const text = columnText(statistics?.[name], isWhole && name.endsWith("imum"));
    return cell(`${name} number statistic`, text);
  });
  return [chart(tensors, shown), ...numbers];
}

/** The node whose shape and values stand in a node's row: a closed module shows those of its largest tensor. */
function shownOf(node) {
  return node.lead && !node.isOpen ? node.lead : node;
}

/** The row of a node or a tensor; `view` has what all rows share. */
export function rowOf(item, view) {
  const isNode = item.depth !== undefined;
  const shown = isNode ? shownOf(item) : item;
  const tensors = isNode ? shown.copies : [item];
  const [first] = tensors;
  const { parameters } = item.totals;
  const bytes = isNode && (!item.isLeaf || tensors.length > 1) ? item.totals.bytes : first.bytes;
  const state = `${first && !first.isKept ? " out" : ""}${first?.isFaulty ? " faulty" : ""}`;
  const row = html(
    "div",
    { role: "row", class: `row${state}`, "aria-level": isNode ? item.depth + 1 : 1 },
    cell("key", ...(isNode ? nodeName(item) : tensorName(item))),
    cell("shape", first && shown !== item ? [hidden(shown.label), first.shape] : first?.shape),
    dtypeCell(first?.dtype),
    cell(
      "parameters number",
      parameters > 0 && [countText(parameters), html("i", {}, " parameters")],
    ),
    ...sizeCells(item, bytes, view.bytes),
    ...(view.hasStatistics ? statisticCells(shown.statistics, tensors, view.shown) : []),
  );
  if (isNode) placeInTree(row, item);
  return row;
}

function placeInTree(row, node) {
  row.setAttribute("aria-posinset", node.position);
  row.setAttribute("aria-setsize", node.siblings);
  if (node.isFoldable) row.setAttribute("aria-expanded", node.isOpen);
  row.style.setProperty("--level", Math.min(node.depth, MAX_INDENT));
}
