/* A button for each category, with its key. */

import { make } from "./dom.js";
import { _, format } from "./words.js";

/* `onChosen(category name)`; `whom` completes the label of the group: "Decide about Bob". */
export function categoryButtons(categories, whom, onChosen) {
    const buttons = categories.map(category => make("button", {
        type: "button",
        class: "category",
        "data-part": category.name,
        "aria-keyshortcuts": category.key,
        title: category.parent ? format(_("$0, a part of $1"), category.name, category.parent) : null,
        onclick: event => { event.stopPropagation(); onChosen(category.name) },
    }, underlined(category)));
    return make("div", { class: "categories", role: "group", "aria-label": format(_("Decide about $0"), whom) }, buttons);
}

/* The name with the letter of its key underlined, as in menus. */
function underlined({ name, key }) {
    const at = key === null ? -1 : name.toLowerCase().indexOf(key);
    if (key === null)
        return name;
    if (at < 0)
        return [name, " ", make("kbd", { "aria-hidden": "true" }, key)];
    return [name.slice(0, at), make("u", {}, name.slice(at, at + 1)), name.slice(at + 1)];
}
