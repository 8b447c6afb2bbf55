/* A dialog over the page. Focus stays in it while it is open, and then returns; Escape closes it (the
   browser does both). */

import { make } from "./dom.js";
import { _ } from "./words.js";

let opened = 0;

/* Shows it; returns {node, body, footer, close}. */
export function openDialog(title, { onClose } = {}) {
    const heading = `dialog-${++opened}`;
    const close = () => node.close();
    const body = make("div", { class: "dialog-body", tabIndex: 0, role: "region", "aria-labelledby": heading });
    const footer = make("footer", {});
    const node = make("dialog", { "aria-labelledby": heading, onclose: () => { node.remove(); onClose?.() } },
                      make("header", {}, make("h1", { id: heading }, make("bdi", {}, title)),
                           make("button", { class: "plain", type: "button", "aria-label": _("Close"), onclick: close }, "✕")),
                      body, footer);
    document.body.append(node);
    node.showModal();
    return { node, body, footer, close };
}
