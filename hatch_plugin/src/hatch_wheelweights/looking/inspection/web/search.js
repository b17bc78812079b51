// What a search finds: every word of it must be in a tensor's names, its dtype, or the class of its module.

import { classAbove } from "./model.js";

const PARTS = /[([][^)\]]*[)\]]|\S+/g;
const SIZES = /^[([]?\s*((?:\d+|\*)(?:\s*[x×,]\s*(?:\d+|\*))*)?\s*,?\s*[)\]]?$/;
const MEASURE =
  /^(min|max|mean|std|zeros|nan|inf|dead|values|bytes)(<=|>=|<|>|=)(-?[\d.]+(?:e[-+]?\d+)?)([kMGT]?)B?$/;
const FACTORS = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
const COLUMNS = {
  min: "minimum",
  max: "maximum",
  mean: "mean",
  std: "std",
  zeros: "zeros",
  nan: "nans",
  inf: "infinities",
  dead: "deadRows",
};

/** What is searched of a tensor, a line for each, in lower case; kept, because searches follow each key. */
function linesOf(tensor) {
  tensor.lines ??= [tensor.key, tensor.source, tensor.dtype, classAbove(tensor)?.name]
    .filter(Boolean)
    .join("\n")
    .toLowerCase();
  return tensor.lines;
}

/** A pattern with `*` is for whole parts of a name: `*.bias`, `layer.*.weight`, `*norm*`. */
function starred(word) {
  const pattern = word.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace(/\*+/g, ".*");
  const regular = new RegExp(`(?:^|\\.)${pattern}(?:$|\\.)`, "m");
  return (tensor) => regular.test(linesOf(tensor));
}

/** A shape: `768x768`, `(768, *)`, `[64,3,7,7]`; `*` is any size. */
function shaped(sizes) {
  const wanted = sizes ? sizes.split(/[x×,]/).map((size) => size.trim()) : [];
  return (tensor) => {
    const found = tensor.shape.match(/\d+|\?/g) ?? [];
    return (
      found.length === wanted.length && wanted.every((size, i) => size === "*" || size === found[i])
    );
  };
}

function measured([, name, sign, number, unit]) {
  const limit = Number(number) * FACTORS[unit];
  return (tensor) => {
    const value = COLUMNS[name] ? tensor.statistics?.[COLUMNS[name]] : tensor[name];
    if (value === null || value === undefined) return false;
    const difference = Number(value) - limit;
    return (
      (sign.includes("<") && difference < 0) ||
      (sign.includes(">") && difference > 0) ||
      (sign.includes("=") && difference === 0)
    );
  };
}

function testOf(word) {
  const measure = word.replace(/^[A-Z]/, (first) => first.toLowerCase()).match(MEASURE); // phones begin with a capital
  if (measure) return measured(measure);
  const sizes = word.match(SIZES);
  if (sizes && /[([x×,]/.test(word)) return shaped(sizes[1]);
  const lower = word.toLowerCase();
  return lower.includes("*") ? starred(lower) : (tensor) => linesOf(tensor).includes(lower);
}

/** The tensors that a search finds, in the order of the file. */
export function search(tensors, text) {
  const tests = (text.match(PARTS) ?? []).map(testOf);
  return tensors.filter((tensor) => tests.every((test) => test(tensor)));
}
