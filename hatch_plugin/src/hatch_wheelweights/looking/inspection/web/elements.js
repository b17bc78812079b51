// How elements are made. What comes from the file is only ever their text or the value of an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child || child === 0));
  return element;
}

/** An element of HTML; attributes that are false or null are left out, and so are such children. */
export function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A button. */
export function button(text, attributes, onclick) {
  const made = html("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", onclick);
  return made;
}

/** A list of terms and what there is to say of each; those with nothing are left out. */
export function terms(pairs, attributes = {}) {
  const said = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html(
    "dl",
    attributes,
    ...said.map(([name, value]) => [html("dt", {}, name), html("dd", {}, value)]),
  );
}
