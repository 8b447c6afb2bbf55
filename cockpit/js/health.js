/* The view Health: whether the service works, and what needs attention. */

import { attention } from "./attention.js";
import { alertBox, fill, make, say } from "./dom.js";
import { _, format, instant, mails, ngettext, plain, relative, senders, span } from "./words.js";

const EVERY_MS = 5000;

export class HealthView {
    static outdatedBy = new Set(["status"]);

    constructor(page) {
        this._page = page;
        this._poll = make("button", { type: "button", class: "primary", onclick: () => this._pollNow() }, _("Poll now"));
        this._notes = make("div", { class: "notes" });
        this._cards = make("div", { class: "cards" });
        const bar = make("div", { class: "toolbar", role: "toolbar", "aria-label": _("Health") }, this._poll);
        this.node = make("section", { "aria-label": _("Health") }, bar, this._notes, this._cards);
        this._timer = setInterval(() => page.outdate("status"), EVERY_MS);
    }

    close() {
        clearInterval(this._timer);
    }

    /* The page has just asked for the status. */
    async refresh() {
        const status = this._page.status;
        if (!status)
            return;
        update(this._notes, notes(status));
        update(this._cards, [polls(status), push(status), work(status), program(status)]);
    }

    async _pollNow() {
        this._poll.disabled = true;
        try {
            await this._page.service.post("/poll");
            say(_("A poll was asked for"));
            this._page.outdate("status");
        } catch (error) {
            fill(this._notes, alertBox("danger", _("No poll was made"), plain(error.message)));
            say(format(_("No poll was made: $0"), plain(error.message)), { isUrgent: true });
        } finally {
            this._poll.disabled = false;
        }
    }
}

/* Unchanged parts stay as they are, so nobody's reading is disturbed. */
function update(node, children) {
    const print = make("div", {}, children).textContent;
    if (node.dataset.print !== print)
        fill(node, children);
    node.dataset.print = print;
}

function polls(status) {
    const next = status.next_poll;
    return section(_("Polls"), [
        [_("Last"), status.last_poll_at && `${relative(status.last_poll_at)} (${triggerName(status.last_poll_trigger)})`],
        [_("Next"), next ? `${relative(next.at)} (${triggerName(next.trigger)})` : _("one is running")],
        [_("Every"), span(status.poll_interval_seconds)],
        [_("Since the start"), format(_("$0, $1 failed"), status.poll_count, status.totals.polls_failed)],
    ]);
}

function notes(status) {
    const bad = status.status === "ok" ? [] : [alertBox("danger", _("Unhealthy"), plain(status.reason))];
    const listed = attention(status).map(({ title, text, advice }) => alertBox("warning", title, text, advice));
    return bad.length + listed.length ? [...bad, ...listed] : [alertBox("success", _("All is well"))];
}

function push(status) {
    const stream = status.eventsource;
    const words = { connected: _("connected"), connecting: _("connecting"), disconnected: _("disconnected"),
                    unavailable: _("the server has none; polls replace it") };
    return section(_("Push"), [
        [_("State"), words[stream.status]],
        [_("Since"), stream.connected_since && instant(stream.connected_since)],
        [_("Last event"), stream.last_event && relative(stream.last_event)],
        [_("Reconnected"), format(ngettext("$0 time", "$0 times", stream.reconnect_count), stream.reconnect_count)],
        [_("Trouble"), stream.error && plain(stream.error)],
        [_("Server"), stream.url && plain(stream.url)],
    ]);
}

function work(status) {
    const { totals, waiting } = status;
    const triaged = Object.values(totals.senders_triaged).reduce((sum, each) => sum + each, 0);
    const arrived = Object.values(totals.arrivals).reduce((sum, each) => sum + each, 0);
    return section(_("Mail"), [
        [_("Account"), plain(status.account)],
        [_("Waiting"), waiting && format(_("$0 with $1"), senders(waiting.senders), mails(waiting.mails))],
        [_("The oldest"), waiting?.oldest && relative(waiting.oldest)],
        [_("Triaged since the start"), `${senders(triaged)}, ${mails(totals.mails_filed)}`],
        [_("New since the start"), mails(arrived)],
    ]);
}

function program(status) {
    return section(_("Service"), [
        [_("Version"), plain(status.version)],
        [_("Phase"), plain(status.phase)],
        [_("Running for"), span(status.uptime_seconds)],
        [_("Process"), String(status.pid)],
        [_("Last error"), status.last_error && `${plain(status.last_error.reason)} (${relative(status.last_error.since)})`],
    ]);
}

function section(title, lines) {
    const known = lines.filter(([, value]) => value);
    return make("section", { class: "card" }, make("h2", {}, title),
                make("dl", {}, known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", { dir: "auto" }, value)))));
}

function triggerName(trigger) {
    const words = { startup: _("start"), push: _("push"), reconnect: _("push is back"), scheduled: _("schedule"),
                    fallback: _("schedule, without push"), manual: _("asked for"), command: _("a decision") };
    return words[trigger] ?? plain(trigger);
}
