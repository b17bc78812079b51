// The file as objects: tensors in its order, and nodes of the tree in theirs, each before those below it.

const COUNTED = 1; // the flags of `page_data.py`
const KEPT = 2;
const PARAMETER = 4;
const MAX_LED = 8; // tensors that one of them can stand for

/** Texts that were written as how much each shares with the one before, and the rest. */
function unshared({ shared, rest }) {
  let last = "";
  return rest.map((text, i) => {
    last = last.slice(0, shared[i]) + text;
    return last;
  });
}

/** How many elements a shape has; only as exact as a number of JavaScript. */
function elementsOf(shape) {
  return (shape.match(/\d+/g) ?? []).reduce((product, size) => product * Number(size), 1);
}

function statisticsOf(columns, i) {
  if (!columns || columns.zeros[i] === null) return null;
  const found = {};
  for (const [name, column] of Object.entries(columns)) found[name] = column[i];
  return found;
}

function tensorsOf(group, first) {
  const keys = unshared(group.keys);
  const faults = new Set(group.faults);
  const sources = group.sources ? unshared(group.sources) : keys;
  return keys.map((key, i) => {
    const flags = group.flags.charCodeAt(i) - 48;
    const shape = group.shapes[group.shape[i]];
    const exact = group.bytes[i];
    const values = exact === null ? 0 : elementsOf(shape);
    const isCounted = (flags & COUNTED) !== 0;
    return {
      index: first + i,
      key,
      source: sources[i] === key ? null : sources[i],
      shape,
      dtype: group.dtypes[group.dtype[i]],
      exact,
      bytes: exact === null ? null : Number(exact),
      values,
      isKept: (flags & KEPT) !== 0,
      totals: {
        tensors: flags & KEPT ? 1 : 0,
        values: isCounted ? values : 0,
        parameters: isCounted && flags & PARAMETER ? values : 0,
        bytes: isCounted ? Number(exact) : 0,
        findings: group.findings[i]?.length ?? 0,
      },
      note: group.notes[i] ?? "",
      isFaulty: faults.has(i),
      findings: group.findings[i] ?? [],
      statistics: statisticsOf(group.statistics, i),
      node: null,
    };
  });
}

/** The nodes of a group; `tensors` are those of all groups, of which `first` is the first of this one. */
function nodesOf(group, tensors, first, top) {
  const { depths, parts, leaves } = group.nodes;
  const above = [top];
  const offset = top ? 1 : 0;
  return parts.map((part, i) => {
    const depth = depths[i];
    const parent = above[depth] ?? null;
    const copies = group.nodes.copies[i] ?? (leaves[i] < 0 ? [] : [leaves[i]]);
    const key = parent?.key ? `${parent.key}.${part}` : part;
    const node = {
      key,
      part,
      label: group.nodes.labels[i] ?? part,
      depth: depth + offset,
      parent,
      count: group.nodes.counts[i] ?? 1,
      copies: copies.map((copy) => tensors[first + copy]),
      class: group.classes[group.nodes.classes[i]] ?? null,
      source: group.nodes.sources[i] ?? null,
      renamed: group.nodes.renamed[i] ?? 0,
      mark: group.nodes.marks[i] ?? null,
      statistics: statisticsOf(columnsOf(group, group.nodes.statistics[i]), 0),
      group,
      isLeaf: leaves[i] >= 0,
      isOpen: false,
    };
    for (const copy of node.copies) copy.node = node;
    if (node.isLeaf) node.key = node.copies[0].key;
    if (node.copies.length === 1) node.statistics = node.copies[0].statistics;
    above[depth + 1] = node;
    above.length = depth + 2;
    return node;
  });
}

function columnsOf(group, row) {
  return row && Object.fromEntries(group.names.map((name, i) => [name, [row[i]]]));
}

/** A node above all of a group; without a name, the group is the only one, and its class is name enough. */
function topNode(group, name) {
  const known = group.classes[group.nodes.top] ?? null;
  return {
    key: "",
    part: name,
    label: name || known.text,
    depth: 0,
    parent: null,
    count: 1,
    copies: [],
    class: known,
    source: null,
    renamed: 0,
    mark: null,
    statistics: group.nodes.below && statisticsOf(columnsOf(group, group.nodes.below), 0),
    group,
    isLeaf: false,
    isGroup: true,
    isOpen: false,
  };
}

/** Say where the nodes below each one end, what they count together, and where each is among its siblings. */
function finish(nodes) {
  const siblings = new Map();
  nodes.forEach((node, i) => {
    node.index = i;
    node.totals = { tensors: 0, values: 0, parameters: 0, bytes: 0, findings: 0 };
    const seen = siblings.get(node.parent) ?? [];
    seen.push(node);
    siblings.set(node.parent, seen);
  });
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i];
    node.end = Math.max(node.end ?? 0, i + 1);
    node.isFoldable = node.end > i + 1;
    node.lead = leadOf(node, nodes);
    for (const copy of node.copies) add(node.totals, copy.totals);
    if (node.parent) {
      add(node.parent.totals, node.totals);
      node.parent.end = Math.max(node.parent.end ?? 0, node.end);
    }
  }
  for (const all of siblings.values())
    all.forEach((node, i) => {
      node.position = i + 1;
      node.siblings = all.length;
    });
}

/** The largest tensor of a module that holds nothing but tensors: it stands for them while the module is closed. */
function leadOf(node, nodes) {
  if (node.isGroup) return null;
  const count = node.end - node.index - 1;
  const below = count > 0 && count <= MAX_LED ? nodes.slice(node.index + 1, node.end) : [];
  if (!below.length || below.some((each) => !each.isLeaf)) return null;
  return below.reduce((lead, each) =>
    each.copies[0].values > lead.copies[0].values ? each : lead,
  );
}

function add(totals, more) {
  for (const name of Object.keys(totals)) totals[name] += more[name];
}

/** The class of the module that holds a tensor. */
export function classAbove(tensor) {
  return tensor.node?.parent?.class ?? null;
}

/** Whether the values of a tensor are integers or bools. */
export function hasWholes(tensor) {
  return /^(u?int|bool)/.test(tensor.dtype);
}

/** The key of a node as the tree shows it, with `0-11` for layers that repeat. */
export function pathOf(node) {
  const labels = [];
  for (let each = node; each && !each.isGroup; each = each.parent) labels.unshift(each.label);
  return labels.join(".") || node.label;
}

/** The key that a node has in each of its copies: that of a tensor, without the parts below the node. */
export function copyKeys(node, nodes) {
  if (node.isLeaf) return node.copies.map((tensor) => tensor.key);
  let leaf = nodes.slice(node.index, node.end).find((below) => below.isLeaf);
  if (!leaf || !node.key) return [node.key];
  let keys = leaf.copies.map((tensor) => tensor.key);
  for (; leaf !== node; leaf = leaf.parent) {
    const dots = leaf.part.split(".").length;
    keys = keys.map((key) => key.split(".").slice(0, -dots).join("."));
  }
  return [...new Set(keys)];
}

/** The node above a tensor or below it that has a key, as it is in the first or another copy; null if none has. */
export function find(model, group, key) {
  const tensor = model.tensors.find((each) => each.key === key && each.node?.group === group);
  if (tensor) return { node: tensor.node, tensor };
  const nodes = model.nodes.filter((node) => node.group === group && !node.isLeaf);
  const node =
    nodes.find((each) => each.key === key) ??
    nodes.find((each) =>
      each.count > 1 || each.parent ? copyKeys(each, model.nodes).includes(key) : false,
    );
  return node ? { node, tensor: null } : null;
}

/** Everything that the page has been given. */
export function readModel(data) {
  const tensors = [];
  const nodes = [];
  for (const group of data.groups) {
    const first = tensors.length;
    group.names = data.statistics;
    for (const tensor of tensorsOf(group, first)) tensors.push(tensor);
    const isTold = data.groups.length > 1 || group.nodes.top !== undefined;
    const top = isTold ? topNode(group, data.groups.length > 1 ? group.name : "") : null;
    if (top) nodes.push(top);
    for (const node of nodesOf(group, tensors, first, top)) nodes.push(node);
  }
  finish(nodes);
  const roots = nodes.filter((node) => node.depth === 0);
  return {
    tensors,
    nodes,
    roots,
    groups: data.groups,
    bytes: roots.reduce((sum, node) => sum + node.totals.bytes, 0),
    hasStatistics: data.statistics.length > 0 && tensors.some((tensor) => tensor.statistics),
  };
}
