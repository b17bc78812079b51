// How numbers are written. Sizes and counts follow the rules of `looking/texts.py`.

const grouped = new Intl.NumberFormat("en");

/** Three digits with a unit: `45.1 MB`, `25.6M`. */
function scaled(amount, units) {
  let rest = amount;
  for (const unit of units.slice(0, -1)) {
    if (rest < 999.5) return `${toEven(rest, rest.toPrecision(3))}${unit}`;
    rest /= 1000;
  }
  const [whole, part] = toEven(rest, rest.toFixed(2)).split(".");
  return `${grouped.format(whole)}.${part}${units.at(-1)}`;
}

/** A rounded number as Python rounds it: to the even digit where it is half way between two. */
function toEven(number, text) {
  const behind = number.toFixed(60).slice(text.length + (text.includes(".") ? 0 : 1)); // 60 digits are all
  const last = Number(text.at(-1));
  return /^50*$/.test(behind) && last % 2 ? text.slice(0, -1) + (last - 1) : text;
}

/** A number of bytes: `288 B`, `45.1 kB`. */
export function sizeText(bytes) {
  if (bytes === null) return "?";
  return bytes < 1000 ? `${bytes} B` : scaled(bytes / 1000, [" kB", " MB", " GB", " TB"]);
}

/** A number as it is below ten thousand, else with three digits: `9,408`, `25.6M`. */
export function countText(number) {
  return number < 10000 ? grouped.format(number) : scaled(number / 1000, ["k", "M", "B", "T"]);
}

/** A whole number with all its digits; it can come as text where JavaScript's numbers are too small for it. */
export function exactText(number) {
  return typeof number === "string" ? BigInt(number).toLocaleString("en") : grouped.format(number);
}

/** A counted noun: `1 tensor`, `161 tensors`. */
export function counted(number, noun) {
  return `${grouped.format(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** A measured value with three digits: `0.0412`, `3.40e38`; 0, and what is a whole number by its kind, as it is. */
export function valueText(value, isWhole = false) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  if (!value || (isWhole && size < 1e7)) return `${value}`;
  return size >= 1000 || size < 1e-3 ? scientific(value) : value.toPrecision(3);
}

/** A measured value in a narrow column: a whole number of many digits, which comes as text, is cut to three. */
export function columnText(value, isWhole = false) {
  const isLong = typeof value === "string" && Number.isFinite(Number(value));
  return isLong ? scientific(Number(value)) : valueText(value, isWhole);
}

function scientific(value) {
  return value.toExponential(2).replace("e+", "e");
}

/** A part of a whole in per cent, never 0 or 100 unless it is. */
export function shareText(part, whole) {
  if (!part || part === whole) return part ? "100%" : "0%";
  const percent = (100 * part) / whole;
  if (percent < 0.01) return "< 0.01%";
  if (percent > 99.99) return "> 99.99%";
  return `${percent < 10 ? percent.toFixed(2) : percent.toFixed(1)}%`;
}
