// The page: puts the parts together, and says what keys, buttons and the address do.

import { SHOWN } from "./charts.js";
import { copy, Details } from "./details.js";
import { button, html } from "./elements.js";
import { Grid } from "./grid.js";
import { find, readModel } from "./model.js";
import { sorted } from "./order.js";
import { rowOf } from "./rows.js";
import { search } from "./search.js";
import { counted } from "./words.js";

const FIRST_ROWS = 30; // about as many are open at first
const PRINTED_ROWS = 2000;

const one = (selector) => document.querySelector(selector);
const model = readModel(JSON.parse(one("#data").textContent));
const view = { bytes: model.bytes, hasStatistics: model.hasStatistics, shown: "std" };
const order = { by: null, isDown: false };
const field = one("#search");
const status = one("#status");
const table = one("#tensors");
const panel = one("#details");

// The rows there are to see

function treeRows() {
  const rows = [];
  for (let i = 0; i < model.nodes.length; ) {
    const node = model.nodes[i];
    rows.push(node);
    i = node.isOpen ? i + 1 : node.end;
  }
  return rows;
}

function childrenOf(node) {
  return model.nodes.slice(node.index + 1, node.end).filter((below) => below.parent === node);
}

/** Open the tree level by level, as far as it stays short enough to see. */
function openFirst() {
  let level = model.roots;
  let rows = level.length;
  while (level.length) {
    const below = level.map((node) => (node.lead ? [] : childrenOf(node)));
    const more = below.reduce((sum, each) => sum + each.length, 0);
    if (!more || rows + more > FIRST_ROWS) break;
    level.forEach((node) => {
      node.isOpen = node.isFoldable && !node.lead;
    });
    rows += more;
    level = below.flat();
  }
  for (const node of level) {
    const below = node.lead ? [] : childrenOf(node);
    if (below.length && rows + below.length <= FIRST_ROWS) {
      node.isOpen = true;
      rows += below.length;
    }
  }
}

const isList = () => order.by !== null || field.value.trim() !== "";

function update() {
  const text = field.value.trim();
  const found = text ? search(model.tensors, text) : model.tensors;
  grid.show(isList() ? (order.by ? sorted(found, order.by, order.isDown) : found) : treeRows());
  one("#to-tree").hidden = !isList();
  one("#folding").hidden = isList();
  table.classList.toggle("list", isList());
  one("#nothing").hidden = !text || found.length > 0;
  status.textContent = text
    ? `${found.length.toLocaleString("en")} of ${counted(model.tensors.length, "tensor")}`
    : "";
  for (const head of table.querySelectorAll("[data-sort]")) {
    const is = head.dataset.sort === order.by;
    head.setAttribute("aria-sort", is ? (order.isDown ? "descending" : "ascending") : "none");
  }
}

function toTree() {
  field.value = "";
  order.by = null;
  update();
}

// What keys and pointers do

function fold(node, isOpen) {
  if (!node.isFoldable || node.isOpen === isOpen) return false;
  node.isOpen = isOpen;
  update();
  return true;
}

function foldAll(isOpen) {
  for (const node of model.nodes) node.isOpen = isOpen && node.isFoldable;
  grid.active = 0;
  update();
}

function right(node) {
  if (fold(node, true)) return;
  if (node.isOpen) grid.go(grid.active + 1);
}

function left(node) {
  if (fold(node, false)) return;
  if (node.parent) grid.go(grid.items.indexOf(node.parent));
}

function openDetails(item, { focus = false } = {}) {
  details.show(item.node ?? item, item.node ? item : null);
  document.body.classList.add("with-details");
  grid.measure();
  grid.reveal(grid.active); // the bar can have become higher
  if (focus) panel.querySelector("h2").focus({ preventScroll: true });
}

function onKey(key, item) {
  const isNode = item?.depth !== undefined;
  if (!item) return false;
  if (key === "ArrowRight" && isNode) right(item);
  else if (key === "ArrowLeft" && isNode) left(item);
  else if (key === " " && isNode) fold(item, !item.isOpen);
  else if (key === "Enter") openDetails(item, { focus: true });
  else return false;
  return true;
}

function onActivate(item) {
  const isShown = item.node ? item === details.tensor : item === details.node;
  if (details.isOpen && isBeside() && !isShown)
    details.show(item.node ?? item, item.node ? item : null);
}

/** Whether the details are beside the table, not over it. */
function isBeside() {
  return matchMedia("(min-width: 64rem)").matches;
}

function heightAbove() {
  return one("#columns").getBoundingClientRect().bottom;
}

const details = new Details(panel, model, {
  shown: () => view.shown,
  onClose: () => {
    document.body.classList.remove("with-details");
    setAddress("");
    grid.measure();
    grid.go(grid.active);
  },
  onTree: (node) => {
    toTree();
    unfoldTo(node);
  },
  isList,
  onLink: (node, tensor) => setAddress(linkTo(node.group, tensor ? tensor.key : node.key)),
});
const grid = new Grid(one("#rows"), (item) => rowOf(item, view), {
  onActivate,
  onKey,
  heightAbove,
});

one("#rows").addEventListener("click", (event) => {
  const row = event.target.closest("[role=row]");
  if (!row) return;
  const item = grid.items[row.index];
  row.focus({ preventScroll: true });
  if (item.isFoldable && !event.target.closest(".more")) fold(item, !item.isOpen);
  else openDetails(item);
});

// The address: `#key`, or `#group:key` where there are several groups

function linkTo(group, key) {
  const name = group === model.groups[0] ? "" : `${encodeURIComponent(group.name)}:`;
  return `#${name}${encodeURIComponent(key)}`;
}

function setAddress(link) {
  try {
    history.replaceState(null, "", link || location.pathname + location.search);
  } catch {
    // a frame without an address of its own
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function followAddress() {
  const parts = location.hash.slice(1).split(":").map(decoded);
  const key = parts.pop();
  if (!key && !parts.length) return;
  const group = model.groups.find((each) => each.name === parts[0]) ?? model.groups[0];
  const found = find(model, group, key);
  if (!found) return;
  if (isList()) toTree();
  openDetails(found.tensor ?? found.node);
  unfoldTo(found.node);
}

function unfoldTo(node) {
  for (let above = node.parent; above; above = above.parent) above.isOpen = true;
  update();
  grid.go(grid.items.indexOf(node));
}

// What is around the table

/** Begin with the first row again, without hiding what sticks to the top. */
function toFirst() {
  grid.active = 0;
  scrollBy(0, Math.min(0, one("#rows").getBoundingClientRect().top - heightAbove()));
}

function sortBy(name) {
  const firstDown = name !== "key" && name !== "dtype";
  if (order.by !== name) Object.assign(order, { by: name, isDown: firstDown });
  else if (order.isDown === firstDown) order.isDown = !firstDown;
  else order.by = null;
  toFirst();
  update();
}

function makeHeadings() {
  for (const head of table.querySelectorAll("[data-sort]")) {
    head.replaceChildren(button(head.textContent, {}, () => sortBy(head.dataset.sort)));
  }
}

function makeChoice() {
  const choice = one("#shown");
  choice.append(...Object.entries(SHOWN).map(([value, name]) => html("option", { value }, name)));
  choice.value = view.shown;
  nameChoice();
  choice.addEventListener("change", () => {
    if (order.by === view.shown) order.by = choice.value;
    view.shown = choice.value;
    nameChoice();
    update();
    if (details.isOpen) details.show(details.node, details.tensor);
  });
}

/** Say what the heading over the charts sorts by. */
function nameChoice() {
  const head = one("#columns .chart");
  if (!head) return;
  head.dataset.sort = view.shown;
  head.title = `Sort by ${SHOWN[view.shown]}`;
}

function makeCopying() {
  for (const block of document.querySelectorAll("pre.copied")) {
    const said = html("span", { class: "said", role: "status" });
    block.before(
      html(
        "p",
        { class: "copying" },
        button("Copy", {}, () => copy(block.textContent, block, said)),
        said,
      ),
    );
  }
}

/** Say in the bar what the header says, once that is out of sight. */
function makeWhole() {
  const header = one("header");
  const line = header.querySelector("p").firstChild?.textContent ?? "";
  one("#whole").textContent = `${one("h1").lastChild.textContent}: ${line.split(" · ").at(-1)}`;
  new IntersectionObserver(([seen]) => {
    one("#whole").hidden = seen.isIntersecting;
  }).observe(header);
}

function start() {
  table.classList.toggle("with-statistics", view.hasStatistics);
  one("#choice").hidden = !view.hasStatistics;
  if (!view.hasStatistics)
    for (const head of table.querySelectorAll(".statistic, .chart")) head.remove();
  makeHeadings();
  makeChoice();
  makeCopying();
  makeWhole();
  one("#to-tree").addEventListener("click", toTree);
  one("#unfold").addEventListener("click", () => foldAll(true));
  one("#fold").addEventListener("click", () => foldAll(false));
  field.addEventListener("input", () => {
    toFirst();
    update();
  });
  one("#bar").hidden = model.nodes.length === 0;
  one("#work").hidden = model.nodes.length === 0;
  new ResizeObserver(() => {
    document.body.style.setProperty("--bar", `${one("#bar").offsetHeight}px`);
  }).observe(one("#bar"));
  openFirst();
  grid.measure();
  update();
  followAddress();
}

addEventListener("hashchange", followAddress);
addEventListener("beforeprint", () => {
  const more = grid.beginPrint(PRINTED_ROWS);
  one("#unprinted").textContent = more ? `${counted(more, "row")} more in the page` : "";
});
addEventListener("afterprint", () => grid.endPrint());
addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, select, textarea");
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    field.focus();
  } else if (event.key === "Escape") {
    if (event.target === field && field.value) toTree();
    else details.close();
  } else if (event.target === field && (event.key === "ArrowDown" || event.key === "Enter")) {
    event.preventDefault();
    grid.go(0);
  }
});
start();
