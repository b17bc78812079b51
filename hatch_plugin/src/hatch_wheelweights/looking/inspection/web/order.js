// How tensors are sorted.

/** Text whose order is that of numbers where numbers are in it; comparing it is faster than a collator. */
function natural(text) {
  return text.replace(/\d+/g, (digits) => digits.padStart(12, "0"));
}

function statistic(name) {
  return (tensor) => tensor.statistics?.[name] ?? null;
}

/** What tensors are sorted by; those without a value come last either way. */
export const SORTS = {
  key: (tensor) => {
    tensor.natural ??= natural(tensor.key);
    return tensor.natural;
  },
  shape: (tensor) => tensor.values,
  dtype: (tensor) => tensor.dtype,
  parameters: (tensor) => tensor.totals.parameters,
  bytes: (tensor) => tensor.bytes,
  minimum: statistic("minimum"),
  maximum: statistic("maximum"),
  mean: statistic("mean"),
  std: statistic("std"),
  zeros: (tensor) => tensor.statistics && tensor.values && tensor.statistics.zeros / tensor.values,
  nonfinite: (tensor) => tensor.statistics && tensor.statistics.nans + tensor.statistics.infinities,
};

/** The tensors in order; equal ones stay in that of the file. */
export function sorted(tensors, by, isDown) {
  const values = tensors
    .map(SORTS[by])
    .map((value) =>
      typeof value === "string" && by !== "key" && by !== "dtype" ? Number(value) : value,
    );
  const sign = isDown ? -1 : 1;
  return tensors
    .map((_, i) => i)
    .sort((a, b) => {
      const [one, other] = [values[a], values[b]];
      if (one === other) return a - b;
      if (one === null || other === null) return one === null ? 1 : -1;
      return one < other ? -sign : sign;
    })
    .map((i) => tensors[i]);
}
