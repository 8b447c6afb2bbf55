/* The view Log: what was done, when, by whom and why. */

import { alertBox, emptyState, fill, make } from "./dom.js";
import { read } from "./journal.js";
import { _, format, instant, mails, plain } from "./words.js";

const PAGE = 100;

export class LogView {
    static outdatedBy = new Set(["log"]);

    constructor(page) {
        this._page = page;
        this._entries = [];
        this._hasMore = false;
        this._search = make("input", {
            type: "search", class: "search", placeholder: _("Sender"), "aria-label": _("Only of this sender"),
            oninput: () => this._searched(),
        });
        this._all = make("input", { type: "checkbox", id: "log-all", onchange: () => this.refresh() });
        const bar = make("div", { class: "toolbar", role: "toolbar", "aria-label": _("Log") }, this._search,
                         make("label", { for: "log-all", class: "check" }, this._all, _("also what the service says about itself")));
        this._body = make("div", { class: "card flush" });
        this.node = make("section", { "aria-label": _("Log") }, bar, this._body);
    }

    close() {
        clearTimeout(this._timer);
    }

    async refresh() {
        await this._load(Math.max(PAGE, this._entries.length), null);
    }

    /* Only a whole address is looked up in the journal; a part of one filters what is shown. */
    _searched() {
        clearTimeout(this._timer);
        this._draw();
        this._timer = setTimeout(() => this.refresh(), 300);
    }

    async _load(count, before) {
        const wanted = this._search.value.trim();
        const sender = /^\S+@\S+$/.test(wanted) ? wanted.toLowerCase() : null;
        try {
            const found = await read(this._page.account, { count, before, sender, isAll: this._all.checked });
            this._entries = before ? [...this._entries, ...found] : found;
            this._hasMore = found.length === count;
            this._draw();
        } catch (error) {
            fill(this._body, alertBox("danger", _("The journal cannot be read"), plain(error.message.trim()),
                                      _("Members of the group systemd-journal may read it. New members have to log in again first.")));
        }
    }

    _draw() {
        const wanted = this._search.value.trim().toLowerCase();
        const entries = this._entries.filter(each => !wanted || `${each.who} ${each.message}`.toLowerCase().includes(wanted));
        if (!entries.length) {
            fill(this._body, emptyState("wait", _("Nothing has been done yet")));
            return;
        }
        const heads = [_("When"), _("What"), _("By"), _("Why")];
        const last = this._entries.at(-1);
        fill(this._body,
             make("table", {}, make("caption", { class: "unseen" }, _("Log")),
                  make("thead", {}, make("tr", {}, heads.map(each => make("th", { scope: "col" }, each)))),
                  make("tbody", {}, entries.map(line))),
             this._hasMore ? make("div", { class: "more" }, make("button", {
                 type: "button", class: "secondary", onclick: () => this._load(PAGE, last.cursor),
             }, _("Show older"))) : null);
    }
}

function line(entry) {
    return make("tr", { class: entry.isBad ? "bad" : null },
                make("td", { class: "when" }, make("time", { datetime: entry.at }, instant(entry.at, { withSeconds: true }))),
                make("td", { class: "what" }, entry.isDecision ? decision(entry) : plain(entry.message)),
                cell(plain(entry.by, "name")),
                cell(why(entry)));
}

function cell(text) {
    return make("td", { class: text ? null : "none" }, text || "—");
}

function decision(entry) {
    const who = make("bdi", { class: "name" }, plain(entry.who, "address"));
    const where = plain(entry.category, "name");
    const words = entry.previous ? format(_("from $0 to $1, $2 filed"), plain(entry.previous, "name"), where, mails(entry.filed))
        : format(_("to $0, $1 filed"), where, mails(entry.filed));
    return [who, make("span", {}, ` ${words}`)];
}

function why(entry) {
    const words = {
        command: _("a command"), push: _("a label or a move, reported by push"), scheduled: _("a label or a move"),
        fallback: _("a label or a move"), manual: _("a label or a move; poll asked for"), startup: _("a label or a move, before the start"),
        reconnect: _("a label or a move, while push was down"),
    };
    return words[entry.trigger] ?? plain(entry.trigger, "name");
}
