/* The view Waiting: who waits in Screener, and a button for each category. */

import { categoryButtons } from "./categorybuttons.js";
import { Decisions, reasonOf } from "./decisions.js";
import { emptyState, fill, icon, make, say } from "./dom.js";
import { Listing } from "./listing.js";
import { Preview } from "./preview.js";
import { _, format, instant, mails, ngettext, plain, relative, senders } from "./words.js";
import { Windowed } from "./windowed.js";

const SECOND_MS = 1000;

export class WaitingView {
    static outdatedBy = new Set(["waiting", "categories"]);

    constructor(page) {
        this._page = page;
        this._service = page.service;
        this._listing = new Listing();
        this._decisions = new Decisions(this._service);
        this._chosen = new Set();
        this._batch = [];
        this._search = make("input", {
            type: "search", class: "search", placeholder: _("Search"), "aria-label": _("Search who waits"),
            oninput: () => this._draw(),
        });
        this._bar = make("div", { class: "toolbar", role: "toolbar", "aria-label": _("Senders who wait") });
        this._list = new Windowed({
            label: _("Senders who wait"),
            makeRow: row => this._row(row),
            keyOf: row => row.entry.address,
            printOf: row => this._print(row),
            onKey: (event, row) => this._keyed(event, row),
        });
        this._body = make("div", { class: "card flush" });
        this.node = make("section", { "aria-label": _("Waiting") }, this._bar, this._body);
        this._timer = setInterval(() => this._tick(), SECOND_MS);
    }

    close() {
        clearInterval(this._timer);
        this._list.close();
        this._preview?.close();
    }

    async refresh() {
        if (!this._service.mayDecide) {
            this._showCounts();
            return;
        }
        const askedAt = Date.now();
        const answer = await this._service.get("/waiting");
        this._listing.take(answer.waiting, askedAt);
        this._page.countWaiting(answer.senders);
        this._draw();
    }

    /* For those who may not see names: how many wait. */
    _showCounts() {
        const waiting = this._page.status?.waiting;
        this._bar.hidden = true;
        if (waiting)
            this._page.countWaiting(waiting.senders);
        const counts = waiting?.mails
            ? format(_("$0 with $1, the oldest came $2"), senders(waiting.senders), mails(waiting.mails), relative(waiting.oldest))
            : _("Nobody waits");
        fill(this._body, emptyState("mail", counts, this._page.whoMayDecide()));
    }

    _draw() {
        const rows = this._listing.rows(this._search.value);
        const there = new Set(rows.map(row => row.entry.address));
        this._chosen.forEach(each => { if (!there.has(each)) this._chosen.delete(each) });
        this._drawBar(rows);
        if (!this._listing.isKnown)
            return;
        if (!rows.length) {
            fill(this._body, this._search.value
                ? emptyState("mail", _("No sender who waits matches this"))
                : emptyState("good", _("Nobody waits"), _("Mail from new senders appears here by itself.")));
            return;
        }
        if (this._list.node.parentNode !== this._body)
            fill(this._body, this._list.node);
        this._list.show(rows);
    }

    /* ---- above the list ---- */

    _drawBar(rows) {
        this._bar.hidden = false;
        const undecided = rows.filter(row => row.isWaiting);
        const open = undecided.filter(row => this._isOpen(row));
        const all = make("input", {
            type: "checkbox", "aria-label": _("Choose all"), title: _("Choose all"),
            checked: open.length > 0 && this._chosen.size === open.length,
            indeterminate: this._chosen.size > 0 && this._chosen.size < open.length,
            disabled: !open.length, "data-part": "all",
            onchange: event => this._chooseAll(event.target.checked),
        });
        const total = undecided.reduce((sum, row) => sum + row.entry.mails, 0);
        const print = [this._chosen.size, open.length, undecided.length, total, this._undoable().length, this._page.categories.length].join();
        if (print === this._barPrint)
            return;
        this._barPrint = print;
        const part = this._bar.contains(document.activeElement) ? document.activeElement.dataset.part : null;
        const wasSearching = document.activeElement === this._search;
        fill(this._bar, all, this._search, this._chosen.size ? this._bulk() : this._count(undecided.length, total), this._undoBatch());
        if (wasSearching)
            this._search.focus();
        else if (part)
            this._bar.querySelector(`[data-part="${part}"]`)?.focus();
    }

    _count(number, total) {
        return make("span", { class: "count" }, number ? `${senders(number)}, ${mails(total)}` : "");
    }

    _bulk() {
        const chosen = format(ngettext("$0 chosen", "$0 chosen", this._chosen.size), this._chosen.size);
        const buttons = categoryButtons(this._page.categories, chosen, category => this._decideChosen(category));
        return make("div", { class: "bulk" }, make("strong", {}, chosen), buttons);
    }

    _undoBatch() {
        const open = this._undoable();
        if (open.length < 2)
            return null;
        return make("button", {
            type: "button", class: "secondary", "data-part": "undo-all",
            onclick: () => { this._batch = []; open.forEach(each => this._undo(each)) },
        }, format(_("Undo all $0"), open.length));
    }

    _undoable() {
        return this._batch.filter(each => this._listing.decisionOf(each)?.phase === "done");
    }

    _chooseAll(isOn) {
        this._chosen = new Set(isOn ? this._list.rows.filter(row => this._isOpen(row)).map(row => row.entry.address) : []);
        this._draw();
    }

    _decideChosen(category) {
        const rows = this._list.rows.filter(row => this._chosen.has(row.entry.address));
        this._chosen.clear();
        this._batch = rows.map(row => row.entry.address);
        rows.forEach(row => this._decide(row.entry, category));
    }

    _isOpen(row) {
        return row.isWaiting && row.entry.address !== "";
    }

    /* ---- one row ---- */

    _print({ entry, decision, refusal, isWaiting }) {
        const minute = relative(entry.since);
        const isChosen = this._chosen.has(entry.address);
        return JSON.stringify([entry, decision?.phase, decision?.category, decision?.reason, refusal, isWaiting, minute, isChosen, this._page.categories.length]);
    }

    _row(row) {
        const { entry } = row;
        const name = nameOf(entry);
        const given = { class: "row", role: "row", "aria-label": format(_("$0, $1, $2"), name, mails(entry.mails), plain(entry.newest.subject, "subject")) };
        if (!row.isWaiting)
            return make("div", { ...given, class: `row decided ${row.decision?.phase ?? "gone"}` }, this._decided(row));
        const isChosen = this._chosen.has(entry.address);
        return make("div", { ...given, class: `row${isChosen ? " chosen" : ""}`, "aria-selected": String(isChosen) },
                    cell("choose", this._checkbox(entry, name, isChosen)),
                    cell("who", make("bdi", { class: "name", title: name }, name), address(entry)),
                    cell("what", row.refusal ? refused(row.refusal) : [this._subject(entry), counted(entry)]),
                    cell("since", make("time", { datetime: entry.since, title: instant(entry.since) }, relative(entry.since))),
                    cell("decide", entry.address ? categoryButtons(this._page.categories, name, category => this._decide(entry, category))
                        : make("span", { class: "subtle" }, _("decide in your mail app"))));
    }

    _checkbox(entry, name, isChosen) {
        return make("input", {
            type: "checkbox", checked: isChosen, disabled: !entry.address, "data-part": "choose",
            "aria-label": format(_("Choose $0"), name), onchange: () => this._choose(entry.address),
        });
    }

    _subject(entry) {
        const subject = plain(entry.newest.subject, "subject") || _("(no subject)");
        return make("button", {
            type: "button", class: "link subject", "data-part": "look", title: subject, onclick: () => this._look(entry),
        }, make("bdi", {}, subject));
    }

    _decided({ entry, decision, refusal }) {
        const name = make("bdi", { class: "name" }, nameOf(entry));
        if (!decision)
            return [cell("done", name, refused(refusal))];
        const { phase, category, answer, reason } = decision;
        const words = {
            sending: format(_("to $0 …"), category),
            undoing: _("back to where it was …"),
            done: answer && format(_("is in $0 now, $1 filed"), category, mails(answer.filed)),
        }[phase];
        const undo = phase !== "done" ? null : make("button", {
            type: "button", class: "secondary", "data-part": "undo", "aria-keyshortcuts": "u", onclick: () => this._undo(entry.address),
        }, make("u", {}, _("Undo").slice(0, 1)), _("Undo").slice(1));
        return [cell("done", icon(phase === "done" ? "good" : "wait"), name, make("span", {}, words), reason ? refused(reason) : null),
                cell("undo", undo)];
    }

    _keyed(event, row) {
        const category = this._page.categories.find(each => each.key === event.key);
        const isPart = event.target.matches("button, input");
        if (event.key === "Enter" && !isPart && row.isWaiting)
            this._look(row.entry);
        else if (event.key === " " && !isPart && this._isOpen(row))
            this._choose(row.entry.address);
        else if (event.key === "u" && row.decision?.phase === "done")
            this._undo(row.entry.address);
        else if (event.key === "*")
            this._chooseAll(!this._chosen.size);
        else if (event.key === "/")
            this._search.focus();
        else if (category && this._chosen.size)
            this._decideChosen(category.name);
        else if (category && this._isOpen(row)) {
            this._list.step(1);
            this._decide(row.entry, category.name);
        } else
            return false;
        return true;
    }

    _choose(address) {
        if (!this._chosen.delete(address))
            this._chosen.add(address);
        this._draw();
    }

    _look(entry) {
        this._preview = new Preview(this._page, entry, { refusal: this._listing.refusalOf(entry.address), onDecided: (category, isDomain) => this._decide(entry, category, isDomain) });
    }

    /* ---- what was decided ---- */

    async _decide(entry, category, isDomain = false) {
        const name = nameOf(entry);
        const about = isDomain ? { domain: entry.address.slice(entry.address.lastIndexOf("@") + 1) } : { address: entry.address };
        this._chosen.delete(entry.address);
        this._listing.begin(entry, category);
        this._draw();
        try {
            const answer = await this._decisions.decide(about, category);
            this._listing.confirm(entry.address, { ...answer, about }, Date.now());
            say(format(_("$0 is in $1 now"), name, category));
        } catch (error) {
            const reason = reasonOf(error);
            this._listing.refuse(entry.address, reason, Date.now());
            say(format(_("$0 was not decided about: $1"), name, reason), { isUrgent: true });
        }
        this._page.outdate("waiting");
        this._draw();
    }

    async _undo(address) {
        const { answer } = this._listing.decisionOf(address);
        this._listing.beginUndo(address);
        this._draw();
        try {
            await this._decisions.undo(answer.about, answer.previous);
            this._listing.endUndo(address);
            say(_("Taken back"));
        } catch (error) {
            const reason = reasonOf(error);
            this._listing.endUndo(address, reason);
            say(format(_("It was not taken back: $0"), reason), { isUrgent: true });
        }
        this._page.outdate("waiting");
        this._draw();
    }

    /* Removes lines that can no longer be undone, unless the pointer is in the list: the rows below
       would move under it. */
    _tick() {
        if (!this._list.node.matches(":hover") && this._listing.expire(Date.now()))
            this._draw();
    }
}

export function nameOf(entry) {
    return plain(entry.name, "name") || plain(entry.address, "address") || _("Unusable sender");
}

function address(entry) {
    const shown = entry.address ? plain(entry.address, "address") : _("no address to decide about");
    return make("span", { class: "address", title: shown, dir: "ltr" }, shown);
}

function counted(entry) {
    return make("span", { class: "subtle" }, mails(entry.mails));
}

function refused(reason) {
    return make("div", { class: "refused", title: reason }, icon("bad"), make("span", {}, reason));
}

function cell(name, ...children) {
    return make("div", { class: name, role: "gridcell" }, children);
}
