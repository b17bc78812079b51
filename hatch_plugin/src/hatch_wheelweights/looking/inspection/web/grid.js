// A grid of which only the rows in sight are in the document, and how it obeys keys.

const SPARE = 8; // rows above and below those in sight
const MAX_HEIGHT = 15_000_000; // pixels, which every browser can scroll

/** Keeps the rows in sight in `body`. `draw(item)` makes a row; `onKey` gets keys that are not about moving. */
export class Grid {
  constructor(body, draw, { onActivate, onKey, heightAbove }) {
    this.body = body;
    this.draw = draw;
    this.onActivate = onActivate;
    this.heightAbove = heightAbove;
    this.items = [];
    this.active = 0;
    this.rows = new Map();
    this.isWaiting = false;
    this.isPrinting = false;
    addEventListener("scroll", () => this.soon(), { passive: true });
    addEventListener("resize", () => {
      if (!this.isPrinting) this.measure();
    });
    body.addEventListener("keydown", (event) => {
      if (
        event.target.getAttribute("role") === "row" &&
        !event.ctrlKey &&
        !event.metaKey &&
        !event.altKey
      ) {
        if (this.move(event.key) || onKey(event.key, this.items[this.active]))
          event.preventDefault();
      }
    });
    body.addEventListener("focusin", (event) => this.focused(event.target.closest("[role=row]")));
    this.measure();
  }

  /** Show other items, or the same ones drawn anew. */
  show(items) {
    this.items = items;
    this.active = Math.max(0, Math.min(this.active, items.length - 1));
    const hadFocus = this.body.contains(document.activeElement);
    this.body.parentNode.setAttribute("aria-rowcount", items.length + 1);
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
    this.body.style.height = `${Math.min(items.length * this.height, MAX_HEIGHT)}px`;
    this.render();
    if (hadFocus) this.rows.get(this.active)?.focus({ preventScroll: true });
  }

  measure() {
    this.height = Number.parseFloat(getComputedStyle(this.body).getPropertyValue("--row"));
    this.show(this.items);
  }

  soon() {
    if (this.isWaiting || this.isPrinting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      this.render();
    });
  }

  /** Draw the rows in sight, and the active one, which can have the focus; remove the others. */
  render() {
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / this.height) - SPARE);
    const last = Math.min(
      this.items.length,
      Math.floor(MAX_HEIGHT / this.height),
      Math.ceil((innerHeight - top) / this.height) + SPARE,
    );
    for (const [i, row] of this.rows) {
      if ((i < first || i >= last) && i !== this.active) {
        row.remove();
        this.rows.delete(i);
      }
    }
    for (let i = first; i < last; i++) this.place(i);
    if (this.active < this.items.length) this.place(this.active);
  }

  place(i) {
    if (this.rows.has(i)) return;
    const row = this.draw(this.items[i]);
    row.setAttribute("aria-rowindex", i + 2);
    row.tabIndex = i === this.active ? 0 : -1;
    row.style.setProperty("--top", `${i * this.height}px`);
    row.index = i;
    this.rows.set(i, row);
    let after = null; // in the order of the items, which screen readers follow
    for (let last = this.body.lastChild; last?.index > i; last = last.previousSibling) after = last;
    this.body.insertBefore(row, after);
  }

  /** Draw all rows, or as many as are asked for: paper cannot be scrolled. Return how many are left out. */
  beginPrint(most) {
    this.isPrinting = true;
    for (let i = 0; i < Math.min(most, this.items.length); i++) this.place(i);
    this.body.style.height = "";
    return Math.max(0, this.items.length - most);
  }

  endPrint() {
    this.isPrinting = false;
    this.measure();
  }

  focused(row) {
    if (!row || row.index === this.active) return;
    const before = this.rows.get(this.active);
    if (before) before.tabIndex = -1;
    this.active = row.index;
    row.tabIndex = 0;
    this.onActivate(this.items[this.active]);
  }

  /** Move to an item and into its sight; with focus if asked for. */
  go(i, { focus = true } = {}) {
    const to = Math.max(0, Math.min(i, this.items.length - 1));
    if (!this.items.length) return;
    this.reveal(to);
    this.render();
    this.place(to);
    if (focus) this.rows.get(to).focus({ preventScroll: true });
    else this.focused(this.rows.get(to));
  }

  /** Scroll as little as puts an item between what sticks to the top and the end of the window. */
  reveal(i) {
    const above = this.heightAbove();
    const top = this.body.getBoundingClientRect().top + i * this.height;
    if (top < above) scrollBy(0, top - above);
    else if (top + this.height > innerHeight) scrollBy(0, top + this.height - innerHeight + 8);
  }

  move(key) {
    const page = Math.max(1, Math.floor((innerHeight - this.heightAbove()) / this.height) - 1);
    const steps = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -this.active,
      End: this.items.length,
    };
    if (!(key in steps)) return false;
    this.go(this.active + steps[key]);
    return true;
  }
}
