/* The view Senders: shows who is where, and changes it. */

import { categoryButtons } from "./categorybuttons.js";
import { Decisions, reasonOf } from "./decisions.js";
import { openDialog } from "./dialog.js";
import { alertBox, emptyState, fill, make, say } from "./dom.js";
import { Windowed } from "./windowed.js";
import { _, day, domainOf, format, mails, ngettext, plain } from "./words.js";

export class SendersView {
    static outdatedBy = new Set(["senders", "categories"]);

    constructor(page) {
        this._page = page;
        this._decisions = new Decisions(page.service);
        this._all = null;
        this._search = make("input", {
            type: "search", class: "search", placeholder: _("Search"), "aria-label": _("Search senders"), oninput: () => this._draw(),
        });
        this._category = make("select", { "aria-label": _("Category"), onchange: () => this._draw() });
        this._count = make("span", { class: "count", role: "status" });
        this._bar = make("div", { class: "toolbar", role: "toolbar", "aria-label": _("Senders") }, this._search, this._category, this._count);
        this._list = new Windowed({
            label: _("Senders"),
            makeRow: row => this._row(row),
            keyOf: row => row.key,
            printOf: row => JSON.stringify(row),
            onKey: (event, row) => this._keyed(event, row),
        });
        this._body = make("div", { class: "card flush" });
        this.node = make("section", { "aria-label": _("Senders") }, this._bar, this._body);
    }

    close() {
        this._list.close();
        this._dialog?.close();
    }

    async refresh() {
        this._bar.hidden = !this._page.service.mayDecide;
        if (!this._page.service.mayDecide) {
            fill(this._body, emptyState("mail", _("Only those who may decide see who is where"), this._page.whoMayDecide()));
            return;
        }
        this._all = rowsOf(await this._page.service.get("/senders"));
        this._draw();
    }

    _draw() {
        if (!this._all)
            return;
        this._drawChoice();
        const wanted = this._search.value.trim().toLowerCase();
        const rows = this._all.filter(row => (!this._category.value || row.category === this._category.value) &&
            (!wanted || `${row.name} ${row.addresses.join(" ")}`.toLowerCase().includes(wanted)));
        this._count.textContent = format(ngettext("$0 decision", "$0 decisions", rows.length), rows.length);
        if (!rows.length) {
            fill(this._body, emptyState("mail", this._all.length ? _("No sender matches this") : _("Nobody has been decided about yet")));
            return;
        }
        if (this._list.node.parentNode !== this._body)
            fill(this._body, this._list.node);
        this._list.show(rows);
    }

    _drawChoice() {
        const names = this._page.categories.map(each => each.name);
        const print = names.join("\n");
        if (print === this._choicePrint)
            return;
        this._choicePrint = print;
        const before = this._category.value;
        fill(this._category, make("option", { value: "" }, _("All categories")), names.map(name => make("option", { value: name }, name)));
        this._category.value = names.includes(before) ? before : "";
    }

    _row(row) {
        const name = plain(row.name, "name") || plain(row.addresses[0], "address");
        return make("div", { class: "row sender", role: "row", "aria-label": `${name}, ${plain(row.category, "name")}` },
                    cell("who", make("bdi", { class: "name", title: name }, name),
                         make("span", { class: "address", dir: "ltr" }, describe(row))),
                    cell("category", make("span", { class: "badge" }, plain(row.category, "name"))),
                    cell("since", row.since ? make("time", { datetime: row.since }, day(row.since)) : null),
                    cell("change", make("button", { type: "button", class: "secondary", "data-part": "change",
                                                    "aria-label": format(_("Change $0"), name), onclick: () => this._change(row) }, _("Change"))));
    }

    _keyed(event, row) {
        if (event.key !== "Enter" || event.target.matches("button"))
            return false;
        this._change(row);
        return true;
    }

    /* ---- a change ---- */

    _change(row) {
        const name = plain(row.name, "name") || plain(row.addresses[0], "address");
        this._dialog = openDialog(name);
        const told = make("div", {});
        const isDomain = make("input", { type: "checkbox", id: "sender-domain" });
        const decide = category => { this._dialog.close(); this._decide(aboutOf(row, isDomain.checked), name, category) };
        const domain = row.about.address ? plain(domainOf(row.about.address), "address") : null;
        fill(this._dialog.body, make("p", {}, format(_("Now in $0."), plain(row.category, "name"))), told);
        fill(this._dialog.footer, categoryButtons(this._page.categories, name, decide),
             make("button", { type: "button", class: "secondary danger", onclick: () => decide(null) }, _("Take back to Screener")),
             domain && make("label", { for: "sender-domain", class: "check" }, isDomain, format(_("everybody at $0"), domain)));
        if (row.about.address)
            this._tell(row.about.address, told);
    }

    async _tell(address, told) {
        try {
            const sender = await this._page.service.get(`/sender?address=${encodeURIComponent(address)}`);
            fill(told, facts(sender));
        } catch (error) {
            fill(told, alertBox("warning", _("What else is known could not be fetched"), plain(error.message)));
        }
    }

    async _decide(about, name, category) {
        this._notice?.remove();
        const where = category ?? _("Screener");
        try {
            const answer = await this._decisions.decide(about, category);
            const words = format(_("$0 is in $1 now, $2 filed"), name, where, mails(answer.filed));
            say(words);
            this._show(alertBox("success", words));
        } catch (error) {
            const reason = reasonOf(error);
            say(format(_("$0 was not changed: $1"), name, reason), { isUrgent: true });
            this._show(alertBox("danger", format(_("$0 was not changed"), name), reason));
        }
        this._page.outdate("senders");
    }

    _show(notice) {
        this._notice?.remove();
        this._notice = notice;
        this._body.before(notice);
    }
}

function rowsOf({ senders, domains, lists }) {
    const whole = (key, each) => ({
        key: `${key}:${each[key]}`, about: { [key]: each[key] }, name: "", addresses: [each[key]], category: each.category, since: each.since,
    });
    const single = each => ({
        key: `address:${each.address}`, about: { address: each.address }, name: each.name, addresses: each.addresses,
        category: each.category, since: each.since,
    });
    return [...domains.map(each => whole("domain", each)), ...lists.map(each => whole("list", each)),
            ...senders.map(single).sort((one, other) => (one.name || one.addresses[0]).localeCompare(other.name || other.addresses[0]))];
}

function describe(row) {
    if (row.about.domain)
        return _("everybody at this domain");
    if (row.about.list)
        return _("everything on this mailing list");
    return row.addresses.map(each => plain(each, "address")).join(", ");
}

function aboutOf(row, isDomain) {
    return isDomain ? { domain: domainOf(row.about.address) } : row.about;
}

function facts(sender) {
    const next = sender.next?.category ?? sender.next?.mailbox ?? "";  // null: nothing is screened
    const lines = [
        [_("Addresses"), sender.addresses.map(each => plain(each, "address")).join(", ")],
        [_("Decided"), sender.history.map(decided).join("; ")],
        [_("Waiting"), mails(sender.waiting)],
        [_("New mail goes to"), plain(next, "name")],
    ];
    return make("dl", { class: "head" }, lines.filter(([, value]) => value).map(
        ([name, value]) => [make("dt", {}, name), make("dd", { dir: "auto" }, value)]));
}

/* A contact's note does not always tell the day. */
function decided({ category, on }) {
    const where = plain(category ?? _("Screener"), "name");
    return on ? `${where}, ${day(on)}` : where;
}

function cell(name, ...children) {
    return make("div", { class: name, role: "gridcell" }, children);
}
