// Histograms, and strips that show one statistic over layers that repeat.

import { html, svg } from "./elements.js";
import { hasWholes } from "./model.js";
import { counted, shareText, valueText } from "./words.js";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"; // the heights of `page_data.py`

/** The statistics that a strip can show, with their names. */
export const SHOWN = {
  std: "Std",
  mean: "Mean",
  minimum: "Min",
  maximum: "Max",
  zeros: "Zeros",
  nonfinite: "NaN, inf",
};

/** What a strip shows of a tensor, as a number; null if it is unknown or not finite. */
export function measure(tensor, name) {
  const { statistics } = tensor;
  if (!statistics) return null;
  if (name === "zeros") return tensor.values ? statistics.zeros / tensor.values : null;
  if (name === "nonfinite") return Number(statistics.nans) + Number(statistics.infinities);
  const value = statistics[name] === null ? Number.NaN : Number(statistics[name]);
  return Number.isFinite(value) ? value : null;
}

/** What a strip shows of a tensor, as text. */
export function measureText(tensor, name) {
  if (!tensor.statistics) return "unknown";
  if (name === "zeros") return shareText(tensor.statistics.zeros, tensor.values);
  if (name === "nonfinite") return `${measure(tensor, name)}`;
  const isWhole = hasWholes(tensor) && name !== "mean" && name !== "std";
  return valueText(tensor.statistics[name], isWhole) || "none";
}

function picture(width, height, attributes, ...children) {
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", ...attributes },
    ...children,
  );
}

/** A histogram: 64 columns, the tallest as high as the picture, and a line where 0 is. */
export function histogram(tensor, height) {
  const { statistics } = tensor;
  const text = statistics.histogram;
  if (!text) return null;
  let path = `M0 ${height}`;
  for (let i = 0; i < text.length; i++) {
    path += `V${(height - (height * DIGITS.indexOf(text[i])) / 63).toFixed(1)}H${i + 1}`;
  }
  const [low, high] = [Number(statistics.minimum), Number(statistics.maximum)];
  const zero = low < 0 && high > 0 ? text.length / (1 - high / low) : null; // high - low may overflow
  const [from, to] = ["minimum", "maximum"].map((name) => measureText(tensor, name));
  const label = `Histogram from ${from} to ${to}`;
  return picture(
    text.length,
    height,
    { class: "histogram", role: "img", "aria-label": label },
    svg("path", { d: `${path}V${height}Z` }),
    zero === null ? null : svg("line", { x1: zero, x2: zero, y1: 0, y2: height }),
  );
}

/** The range that the bars of a strip share; 0 is in it, so that heights can be compared. */
function rangeOf(values) {
  const known = values.filter((value) => value !== null);
  return [known.reduce((a, b) => Math.min(a, b), 0), known.reduce((a, b) => Math.max(a, b), 0)];
}

/** A strip: a bar for each copy of a tensor. `chosen` is the one that is set off. */
export function strip(copies, name, height, chosen = -1) {
  const values = copies.map((tensor) => measure(tensor, name));
  const [low, high] = rangeOf(values);
  const scale = high > low ? height / (high - low) : 0;
  const ground = scale ? high * scale : height;
  const gap = copies.length > 40 ? 0 : copies.length < 10 ? 0.4 : 0.2; // of a bar
  const bar = (value, i) => {
    if (value === null) return "";
    const top = value > 0 ? ground - value * scale : Math.min(ground, height - 0.5);
    const tall = Math.max(Math.abs(value) * scale, 0.5);
    return `M${i + gap / 2} ${top.toFixed(2)}h${1 - gap}v${tall.toFixed(2)}h${gap - 1}z`;
  };
  return picture(
    copies.length,
    height,
    { class: "strip", role: "img", "aria-label": stripText(copies, name) },
    svg("path", { d: values.map(bar).join("") }),
    chosen < 0 ? null : svg("path", { class: "chosen", d: bar(values[chosen], chosen) }),
  );
}

/** A strip in words. */
export function stripText(copies, name) {
  const known = copies.filter((tensor) => measure(tensor, name) !== null);
  if (!known.length) return `${SHOWN[name]}: unknown`;
  const ranked = [...known].sort((a, b) => measure(a, name) - measure(b, name));
  const [low, high] = [ranked[0], ranked.at(-1)].map((tensor) => measureText(tensor, name));
  return `${SHOWN[name]} over ${counted(copies.length, "layer")}: ${low === high ? low : `${low} to ${high}`}`;
}

/** The copy under a pointer. */
export function copyAt(event, element, count) {
  const box = element.getBoundingClientRect();
  return Math.max(
    0,
    Math.min(count - 1, Math.floor(((event.clientX - box.left) / box.width) * count)),
  );
}

/** A strip that is a slider over the copies: by keys, pointer and touch. `choose` is told the number of one. */
export function stripSlider(copies, name, chosen, choose) {
  const slider = html("div", {
    class: "slider",
    role: "slider",
    tabindex: 0,
    "aria-label": `${SHOWN[name]} over ${counted(copies.length, "layer")}`,
    "aria-valuemin": 1,
    "aria-valuemax": copies.length,
    "aria-valuenow": chosen + 1,
    "aria-valuetext": `${copies[chosen].key}: ${measureText(copies[chosen], name)}`,
  });
  slider.append(strip(copies, name, 48, chosen));
  const steps = {
    ArrowLeft: -1,
    ArrowDown: -1,
    ArrowRight: 1,
    ArrowUp: 1,
    Home: -copies.length,
    End: copies.length,
  };
  slider.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(Math.max(0, Math.min(copies.length - 1, chosen + steps[event.key])));
  });
  slider.addEventListener("click", (event) => choose(copyAt(event, slider, copies.length)));
  return slider;
}
