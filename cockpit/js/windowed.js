/* A list with only its visible rows on the page, so that thousands cost no more than ten.

   All rows have the same height, measured on a sample: it changes with the width, the font and the
   categories. The row that has the focus stays on the page wherever the list is scrolled to.
   For screen readers it is a grid (ARIA, section 5.3): one row is in the tab order, the arrow keys go to
   others. */

import { make } from "./dom.js";

/* Extra rows above and below the visible ones. */
const MARGIN = 8;
const STEPS = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };

export class Windowed {
    /* `makeRow(row)` returns a node; `keyOf(row)` tells rows apart; `printOf(row)` changes when the
       node has to be made anew; `onKey(event, row)` returns whether it knew the key. */
    constructor({ label, makeRow, keyOf, printOf, onKey }) {
        Object.assign(this, { _makeRow: makeRow, _keyOf: keyOf, _printOf: printOf, _onKey: onKey });
        this.node = make("div", { class: "windowed", role: "grid", "aria-label": label,
                                  onkeydown: event => this._keyed(event),
                                  onfocusin: event => this._focused(event) });
        this._rows = [];
        this._places = new Map();
        this._shown = new Map();
        this._current = null;
        this._height = 0;
        this._plan = () => {
            this._frame ??= requestAnimationFrame(() => { this._frame = null; this._draw() });
        };
        this._replan = () => { this._height = 0; this._plan() };
        window.addEventListener("scroll", this._plan, { passive: true });
        window.addEventListener("resize", this._replan);
        document.fonts?.ready.then(this._replan);
    }

    close() {
        window.removeEventListener("scroll", this._plan);
        window.removeEventListener("resize", this._replan);
        cancelAnimationFrame(this._frame);
    }

    get rows() {
        return this._rows;
    }

    /* The row that keys act on. */
    get current() {
        return this._rows[this._indexOf(this._current)] ?? null;
    }

    show(rows) {
        const anchor = this._anchor();
        this._rows = rows;
        this._places = new Map(rows.map((row, index) => [this._keyOf(row), index]));
        if (this._indexOf(this._current) < 0)
            this._current = rows.length ? this._keyOf(rows[0]) : null;
        this.node.setAttribute("aria-rowcount", rows.length);
        this._draw();
        this._hold(anchor);
    }

    /* Focus a row, by its distance from the current one. */
    step(distance) {
        const index = Math.min(Math.max(this._indexOf(this._current) + distance, 0), this._rows.length - 1);
        if (index >= 0)
            this.focus(this._keyOf(this._rows[index]));
    }

    focus(key) {
        const index = this._indexOf(key);
        if (index < 0)
            return;
        this._current = key;
        this._reveal(index);
        this._draw();
        this._shown.get(key).node.focus({ preventScroll: true });
    }

    _indexOf(key) {
        return this._places.get(key) ?? -1;
    }

    _measure() {
        if (this._height || !this._rows.length)
            return;
        const sample = this._makeRow(this._rows[0]);
        sample.classList.add("sample");
        this.node.append(sample);
        this._height = sample.offsetHeight;
        sample.remove();
    }

    _draw() {
        this._measure();
        this.node.style.setProperty("height", `${this._rows.length * this._height}px`);
        const top = this.node.getBoundingClientRect().top;
        const first = Math.max(0, Math.floor(-top / this._height) - MARGIN);
        const last = Math.min(this._rows.length, Math.ceil((innerHeight - top) / this._height) + MARGIN);
        const wanted = new Map();
        for (let index = first; index < last; index++)
            wanted.set(this._keyOf(this._rows[index]), index);
        const current = this._indexOf(this._current);
        if (current >= 0)
            wanted.set(this._current, current);
        for (const [key, each] of this._shown) {
            if (!wanted.has(key)) {
                each.node.remove();
                this._shown.delete(key);
            }
        }
        [...wanted].sort((one, other) => one[1] - other[1]).forEach(([key, index]) => this._put(key, index));
    }

    _put(key, index) {
        const row = this._rows[index];
        const print = this._printOf(row);
        const before = this._shown.get(key);
        let node = before?.node;
        if (before?.print !== print) {
            node = this._makeRow(row);
            node.dataset.key = key;
            node.tabIndex = -1;  // otherwise it could not get the focus
            this._replace(before?.node, node);
        }
        node.setAttribute("aria-rowindex", index + 1);
        node.style.setProperty("transform", `translateY(${index * this._height}px)`);
        node.style.setProperty("height", `${this._height}px`);
        const isCurrent = key === this._current;
        node.tabIndex = isCurrent ? 0 : -1;
        // The Tab key stops at only one of thousands of rows.
        for (const part of node.querySelectorAll("button, input, select"))
            part.tabIndex = isCurrent ? 0 : -1;
        this._shown.set(key, { node, print });
    }

    /* Move the focus from the old node to the new one, to the same part if it is still there. */
    _replace(old, node) {
        if (!old) {
            this._insert(node);
            return;
        }
        const active = document.activeElement;
        const hadFocus = old.contains(active);
        const part = hadFocus && active.dataset.part;
        old.replaceWith(node);
        if (hadFocus)
            ((part && node.querySelector(`[data-part="${part}"]`)) || node).focus({ preventScroll: true });
    }

    /* In the order of the rows, for screen readers. */
    _insert(node) {
        const index = this._indexOf(node.dataset.key);
        const after = [...this.node.children].find(each => this._indexOf(each.dataset.key) > index);
        this.node.insertBefore(node, after ?? null);
    }

    /* The first visible row: rows above it may come and go. */
    _anchor() {
        const top = this.node.getBoundingClientRect().top;
        if (top >= 0 || !this._height || !this._rows.length)
            return null;
        const index = Math.min(this._rows.length - 1, Math.floor(-top / this._height));
        return { key: this._keyOf(this._rows[index]), index };
    }

    _hold(anchor) {
        const index = anchor ? this._indexOf(anchor.key) : -1;
        if (index >= 0 && index !== anchor.index)
            window.scrollBy(0, (index - anchor.index) * this._height);
    }

    _reveal(index) {
        const above = document.getElementById("top").getBoundingClientRect().bottom;
        const bar = document.querySelector(".toolbar")?.getBoundingClientRect().bottom ?? 0;
        const top = this.node.getBoundingClientRect().top + index * this._height;
        const hidden = Math.max(above, bar, 0);
        if (top < hidden)
            window.scrollBy(0, top - hidden);
        else if (top + this._height > innerHeight)
            window.scrollBy(0, top + this._height - innerHeight);
    }

    _focused(event) {
        const key = event.target.closest("[role=row]")?.dataset.key;
        if (key === undefined || key === this._current)
            return;
        this._current = key;
        this._plan();
    }

    _keyed(event) {
        if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input[type=text]"))
            return;
        if (event.key in STEPS) {
            event.preventDefault();
            this.step(STEPS[event.key]);
        } else if (this.current && this._onKey(event, this.current)) {
            event.preventDefault();
        }
    }
}
