/* The page: which account, which view, and whether it is up to date. */

import { findAccounts, remember, remembered } from "./accounts.js";
import { alertBox, emptyState, fill, make, say } from "./dom.js";
import { HealthView } from "./health.js";
import { keysOf } from "./keys.js";
import { Live } from "./live.js";
import { LogView } from "./log.js";
import { SendersView } from "./senders.js";
import { Refused, Service } from "./service.js";
import { followTheme } from "./theme.js";
import { WaitingView } from "./waiting.js";
import { _, format, plain } from "./words.js";

const cockpit = window.cockpit;

const VIEWS = {
    waiting: { title: () => _("Waiting"), View: WaitingView },
    senders: { title: () => _("Senders"), View: SendersView },
    log: { title: () => _("Log"), View: LogView },
    health: { title: () => _("Health"), View: HealthView },
};

/* What the views see: the service, its status, and the categories. */
class Page {
    constructor() {
        this.account = null;
        this.service = null;
        this.status = null;
        this.categories = [];
        this._accounts = [];
        this._outdated = new Set();
        this._top = document.getElementById("top");
        this._place = document.getElementById("view");
        this._notice = make("div", { class: "notice" });
        cockpit.addEventListener("locationchanged", () => this._go());
        document.addEventListener("visibilitychange", () => { if (!document.hidden) this._lookForAccounts() });
    }

    async start() {
        await this._lookForAccounts();
        this._go();
    }

    /* ---- for the views ---- */

    /* Something has to be asked for again, and shown if it is visible. */
    outdate(...what) {
        what.forEach(each => this._outdated.add(each));
        if (this._refreshing)
            return;
        this._refreshing = this._refresh().finally(() => { this._refreshing = null; if (this._outdated.size && this.service?.isOpen) this.outdate() });
    }

    countWaiting(number) {
        this._badge.textContent = number ? String(number) : "";
        this._badge.hidden = !number;
    }

    whoMayDecide() {
        const user = this._user ?? _("your account");
        return format(_("Only members of the group mailroom-control can see who writes, and decide. An administrator can add $0 to it: usermod --append --groups mailroom-control $0. Then log in again."), user);
    }

    /* ---- which account, which view ---- */

    async _lookForAccounts() {
        this._user ??= (await cockpit.user()).name;
        this._accounts = await findAccounts();
        const isThere = this._accounts.some(each => each.id === this.account?.id);
        if (this._accounts.length && !isThere)
            this._go();
        else if (this.account)
            this._drawTop();
    }

    _go() {
        const { path, options } = cockpit.location;
        const name = path[0] in VIEWS ? path[0] : "waiting";
        const wanted = options.account ?? remembered() ?? "";
        const account = this._accounts.find(each => each.id === wanted) ?? this._accounts[0] ?? null;
        if (!account) {
            this._showNone();
            return;
        }
        if (account.id !== this.account?.id)
            this._open(account);
        if (name !== this._viewName || !this._view)
            this._show(name);
    }

    _open(account) {
        this._live?.close();
        this._view?.close();
        this._view = null;
        this.account = account;
        this.service = new Service(account);
        this.status = null;
        this.categories = [];
        remember(account.id);
        this._drawTop();
        this._connect(this.service);
    }

    async _connect(service) {
        const reopen = async () => {
            try {
                this.status = await service.open();
            } catch (error) {
                this._lookForAccounts();
                throw error;
            }
            this._drawState();
        };
        let failure = null;
        try {
            await reopen();
        } catch (error) {
            failure = error;
        }
        if (service !== this.service)
            return;
        this._onState(failure ? "lost" : "asking", failure);
        this._live = new Live(service, {
            reopen,
            isOpen: !failure,
            onOutdated: what => this.outdate(...what),
            onState: (state, error) => this._onState(state, error),
        });
        if (!failure)
            this.outdate("categories", "status", "waiting", "senders", "log");
    }

    _show(name) {
        this._view?.close();
        this._viewName = name;
        this._view = new VIEWS[name].View(this);
        const title = VIEWS[name].title();
        fill(this._place, make("h1", { class: "unseen" }, format(_("Mailroom: $0"), title)), this._notice, this._view.node);
        document.title = `${title} - Mailroom`;
        this._drawTop();
        this.outdate(...VIEWS[name].View.outdatedBy);
    }

    _showNone() {
        fill(this._top);
        fill(this._place, emptyState("mail", _("Mailroom does not run on this host"),
                                     _("There is no socket below /run/mailroom. Start the service with: systemctl enable --now mailroom. To see what is missing: mailroom check.")));
    }

    /* ---- asking ---- */

    async _refresh() {
        await Promise.resolve();  // several things outdated at the same time need one request
        const outdated = this._outdated;
        this._outdated = new Set();
        const { service, _view: view } = this;
        if (!service?.isOpen || !view)
            return;
        try {
            await this._ask(service, outdated);
            if (view === this._view && [...view.constructor.outdatedBy].some(each => outdated.has(each)))
                await view.refresh();
            if (service === this.service)
                fill(this._notice);
        } catch (error) {
            if (!(error instanceof Refused))
                throw error;
            if (service === this.service)
                this._showTrouble(error);
        }
        this._drawState();
    }

    async _ask(service, outdated) {
        if (outdated.has("categories") && service.mayDecide) {
            const { categories } = await service.get("/categories");
            const keys = keysOf(categories.map(each => each.name));
            if (service === this.service)
                this.categories = categories.map(each => ({ ...each, key: keys.get(each.name) ?? null }));
        }
        if (outdated.has("status") || (outdated.has("waiting") && !service.mayDecide)) {
            const status = await service.get("/status");
            if (service !== this.service)
                return;
            this.status = status;
            if (this._viewName !== "waiting" && status.waiting)
                this.countWaiting(status.waiting.senders);
        }
    }

    _showTrouble(error) {
        fill(this._notice, alertBox("danger", _("The service could not be asked"), plain(error.message)));
    }

    /* ---- the top of the page ---- */

    _onState(state, error) {
        if (state === "lost") {
            const what = error?.isClosed ? this._noRights() : alertBox("danger", _("No connection to the service"), plain(error?.message), _("The page continues by itself as soon as the service is back."));
            if (this._state !== "lost")
                say(_("No connection to the service"), { isUrgent: true });
            fill(this._notice, what);
        } else if (this._state === "lost") {
            fill(this._notice);
            say(_("The service is back"));
        }
        this._state = state;
        this._drawState();
    }

    _noRights() {
        return alertBox("warning", _("You may not look at this service"),
                        format(_("Members of the group mailroom-status may look, those of mailroom-control may decide. An administrator can add $0: usermod --append --groups mailroom-control $0. Then log in again."), this._user ?? _("your account")));
    }

    _drawTop() {
        this._badge ??= make("span", { class: "badge count", hidden: true });
        this._freshness ??= make("span", { class: "state" });
        const links = Object.entries(VIEWS).map(([name, { title }]) => make("a", {
            href: `#/${name}?account=${encodeURIComponent(this.account.id)}`,
            "aria-current": name === this._viewName ? "page" : null,
        }, title(), name === "waiting" ? this._badge : null));
        const part = this._top.contains(document.activeElement) ? document.activeElement.getAttribute("href") ?? "chooser" : null;
        fill(this._top, make("nav", { "aria-label": _("Mailroom") }, links), make("div", { class: "account" }, this._chooser(), this._freshness));
        if (part)
            (part === "chooser" ? this._top.querySelector("select") : this._top.querySelector(`a[href="${part}"]`))?.focus();
    }

    _chooser() {
        if (this._accounts.length < 2)
            return make("span", {}, plain(this.account.name, "name"));
        const choice = make("select", {
            "aria-label": _("Account"),
            onchange: event => cockpit.location.go([this._viewName], { account: event.target.value }),
        }, this._accounts.map(each => make("option", { value: each.id }, plain(each.name, "name"))));
        choice.value = this.account.id;
        return choice;
    }

    _drawState() {
        const words = { live: _("live"), asking: _("asks every few seconds"), lost: _("not connected") };
        this._freshness.className = `state ${this._state ?? ""}`;
        this._freshness.textContent = words[this._state] ?? "";
        this._freshness.title = this.status ? plain(this.status.account) : "";
        if (this.service?.isOpen && !this.service.mayDecide && this._state !== "lost")
            this._freshness.textContent = format(_("$0, read-only"), this._freshness.textContent);
    }
}

followTheme();
cockpit.translate?.();
document.documentElement.lang = cockpit.language?.replace("_", "-") || "en";
new Page().start();
