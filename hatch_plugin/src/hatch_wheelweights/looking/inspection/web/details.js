// The panel about one tensor or module.

import { histogram, measureText, SHOWN, stripSlider } from "./charts.js";
import { button, html, terms } from "./elements.js";
import { classAbove, copyKeys, hasWholes, pathOf } from "./model.js";
import { counted, exactText, shareText, sizeText, valueText } from "./words.js";

const MAX_FINDINGS = 20;

/** Put a text on the clipboard; where a page may not (a file in some browsers), select it. */
export async function copy(text, element, said) {
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(element);
    said.textContent = "Selected, ready to copy";
  }
}

function heading(key, close, ...buttons) {
  const title = html("h2", { tabindex: -1 }, key || "(no name)");
  const said = html("span", { class: "said", role: "status" });
  return [
    html(
      "div",
      { class: "heading" },
      title,
      button("×", { class: "close", "aria-label": "Close the details" }, close),
    ),
    html(
      "p",
      { class: "copying" },
      button("Copy the key", {}, () => copy(key, title, said)),
      ...buttons,
      said,
    ),
  ];
}

function sizeOf(item, whole, exact) {
  if (exact === null) return "unknown";
  const share = item.totals.bytes && whole ? `, ${shareText(item.totals.bytes, whole)} of all` : "";
  return Number(exact) < 1000
    ? `${exact} B${share}`
    : `${sizeText(Number(exact))} (${exactText(exact)} bytes${share})`;
}

function classTerms(known) {
  if (!known) return null;
  return [
    html("h3", {}, "Class"),
    html("p", { class: "qualified" }, known.name),
    terms(known.settings, { class: "settings" }),
  ];
}

function statisticTerms(statistics, values, isWhole = false) {
  const share = (part) => (part ? `${exactText(part)} (${shareText(part, values)})` : "none");
  return terms(
    [
      ["Mean", valueText(statistics.mean) || "none"],
      ["Std", valueText(statistics.std) || "none"],
      ["Min", valueText(statistics.minimum, isWhole) || "none"],
      ["Max", valueText(statistics.maximum, isWhole) || "none"],
      ["Zeros", share(statistics.zeros)],
      ["NaN", share(statistics.nans)],
      ["Infinite", share(statistics.infinities)],
      [
        "Dead rows",
        statistics.rows ? `${exactText(statistics.deadRows)} of ${exactText(statistics.rows)}` : "",
      ],
    ],
    { class: "numbers" },
  );
}

function distribution(tensor) {
  const { statistics } = tensor;
  const drawn = histogram(tensor, 80);
  if (!drawn) return null;
  const low = html("span", {}, valueText(statistics.minimum, hasWholes(tensor)));
  const high = html("span", {}, valueText(statistics.maximum, hasWholes(tensor)));
  return html("figure", {}, drawn, html("figcaption", { "aria-hidden": "true" }, low, high));
}

/** The panel as an element that is filled again and again. */
export class Details {
  constructor(panel, model, { onClose, onLink, onTree, isList, shown }) {
    this.panel = panel;
    this.model = model;
    this.onClose = onClose;
    this.onLink = onLink;
    this.onTree = onTree;
    this.isList = isList;
    this.shown = shown;
    this.node = null;
  }

  get isOpen() {
    return !this.panel.hidden;
  }

  /** Show a node, or one tensor of those that it stands for. */
  show(node, tensor) {
    const scrolled = node === this.node ? this.panel.scrollTop : 0;
    this.node = node;
    this.tensor = tensor ?? node.copies[0] ?? null;
    this.panel.hidden = false;
    this.panel.replaceChildren(
      ...(this.tensor ? this.ofTensor() : this.ofModule()).flat(2).filter(Boolean),
    );
    this.panel.scrollTop = scrolled;
    this.onLink(node, this.tensor);
  }

  close() {
    if (!this.isOpen) return;
    this.panel.hidden = true;
    this.onClose();
  }

  ofTensor() {
    const { tensor } = this;
    const known = classAbove(tensor);
    const warnings = [...tensor.findings, tensor.note].filter(Boolean);
    return [
      heading(
        tensor.key,
        () => this.close(),
        this.isList() && button("Show in the tree", {}, () => this.onTree(this.node)),
      ),
      warnings.length
        ? html("ul", { class: "warnings" }, ...warnings.map((text) => html("li", {}, text)))
        : null,
      terms([
        ["Original key", tensor.source],
        ["Shape", tensor.shape],
        ["Dtype", tensor.dtype.replace(" -> ", " → ")],
        ["Values", tensor.exact === null ? "unknown" : exactText(tensor.values)],
        ["Size", sizeOf(tensor, this.model.bytes, tensor.exact)],
      ]),
      tensor.statistics && [
        html("h3", {}, "Values"),
        distribution(tensor),
        statisticTerms(tensor.statistics, tensor.values, hasWholes(tensor)),
      ],
      this.layers(),
      classTerms(known),
    ];
  }

  /** The strip over the layers that repeat, to choose one from. */
  layers() {
    const { copies } = this.node;
    if (copies.length < 2) return null;
    const chosen = copies.indexOf(this.tensor);
    const name = this.shown();
    const choose = (i) => {
      this.show(this.node, copies[i]);
      this.panel.querySelector("[role=slider]")?.focus();
    };
    const said = html(
      "p",
      { class: "chosen" },
      `${chosen + 1} of ${copies.length}`,
      this.tensor.statistics && `: ${SHOWN[name]} ${measureText(this.tensor, name)}`,
    );
    const steps = html(
      "p",
      { class: "steps" },
      button("Previous", { disabled: chosen === 0 }, () =>
        this.show(this.node, copies[chosen - 1]),
      ),
      button("Next", { disabled: chosen === copies.length - 1 }, () =>
        this.show(this.node, copies[chosen + 1]),
      ),
    );
    return [
      html("h3", {}, `In ${counted(copies.length, "layer")}`),
      this.tensor.statistics && stripSlider(copies, name, chosen, choose),
      html("div", { class: "choice" }, said, steps),
    ];
  }

  ofModule() {
    const { node } = this;
    const keys = node.isGroup ? [node.label] : copyKeys(node, this.model.nodes);
    const copies = keys.length;
    const { totals, statistics } = node;
    const warnings = findingsIn(node, this.model);
    return [
      heading(pathOf(node), () => this.close()),
      warnings.length
        ? html("ul", { class: "warnings" }, ...warnings.map((text) => html("li", {}, text)))
        : null,
      terms([
        ["Keys", copies > 1 ? `${keys[0]} to ${keys.at(-1)}` : ""],
        ["Original key", node.source],
        ["Tensors", counts(totals.tensors, copies)],
        ["Parameters", counts(totals.parameters, copies)],
        [
          "Other values",
          totals.values > totals.parameters
            ? counts(totals.values - totals.parameters, copies)
            : "",
        ],
        ["Size", sizeOf(node, this.model.bytes, totals.bytes)],
      ]),
      statistics && [html("h3", {}, "Values"), statisticTerms(statistics, totals.values)],
      classTerms(node.class),
    ];
  }
}

/** What is odd below a node, as far as there is room for it. */
function findingsIn(node, model) {
  const leaves = model.nodes
    .slice(node.index, node.end)
    .filter((below) => below.isLeaf && below.totals.findings);
  const found = leaves
    .flatMap((leaf) => leaf.copies)
    .flatMap((tensor) => tensor.findings.map((text) => `${tensor.key}: ${text}`));
  return found.length > MAX_FINDINGS
    ? [...found.slice(0, MAX_FINDINGS), `and ${found.length - MAX_FINDINGS} more`]
    : found;
}

function counts(number, copies) {
  return copies > 1 && number
    ? `${exactText(number)} (${exactText(number / copies)} each)`
    : exactText(number);
}
