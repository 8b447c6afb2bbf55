/* Elements of the page. Text is only set as text: nothing here accepts markup. */

/* These are set as properties: as attributes they mean something else. */
const PROPERTIES = new Set(["checked", "disabled", "hidden", "indeterminate", "tabIndex", "value"]);

/* An element: `onclick` and the like are listeners, all others attributes; null leaves one out. */
export function make(tag, given = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
        if (typeof value === "function")
            node.addEventListener(name.slice("on".length), value);
        else if (PROPERTIES.has(name))
            node[name] = value;
        else if (value !== null && value !== undefined)
            node.setAttribute(name, value);
    }
    node.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
    return node;
}

export function fill(node, ...children) {
    node.replaceChildren(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
    return node;
}

const SVG = "http://www.w3.org/2000/svg";

/* Drawn on 16 by 16. */
const ICONS = {
    good: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm-1.2 10.4L3.6 8.2l1.1-1.1 2.1 2.1 4.5-4.5 1.1 1.1Z",
    bad: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm.9 10.9H7.1v-1.8h1.8Zm0-3.2H7.1V4h1.8Z",
    warning: "M8 1 .6 14.5h14.8ZM8.8 12.8H7.2v-1.6h1.6Zm0-2.8H7.2V5.6h1.6Z",
    mail: "M1 3h14v10H1Zm1.8 1.5L8 8.4l5.2-3.9Zm-.3 1.6v5.4h11V6.1L8 10.2Z",
    wait: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.6a5.4 5.4 0 1 1 0 10.8A5.4 5.4 0 0 1 8 2.6Zm-.8 1.8v4l3 2.4 1-1.2-2.4-1.9V4.4Z",
};

/* A picture beside words that say the same: hidden from screen readers. */
export function icon(name) {
    const svg = document.createElementNS(SVG, "svg");
    const path = document.createElementNS(SVG, "path");
    for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", class: `icon ${name}`, "aria-hidden": "true" }))
        svg.setAttribute(key, value);
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
}

/* Tells screen readers what has changed: a failure at once, other news when there is time. */
export function say(text, { isUrgent = false } = {}) {
    document.getElementById(isUrgent ? "warned" : "said").textContent = text;
}

/* Shown in place of an empty list. */
export function emptyState(picture, title, ...paragraphs) {
    return make("div", { class: "empty" }, icon(picture), make("h2", {}, title),
                paragraphs.map(each => make("p", {}, each)));
}

export function alertBox(kind, title, ...more) {
    const picture = { danger: "bad", warning: "warning", success: "good" }[kind] ?? "wait";
    return make("div", { class: `alert ${kind}` }, icon(picture),
                make("div", {}, make("strong", {}, title), more.map(each => make("p", {}, each))));
}
