/* The newest mail of a waiting sender, as plain text, and the decision beside it. */

import { categoryButtons } from "./categorybuttons.js";
import { openDialog } from "./dialog.js";
import { alertBox, fill, make } from "./dom.js";
import { _, domainOf, format, instant, plain, plainLines } from "./words.js";

export class Preview {
    /* `onDecided(category, isDomain)`; `refusal` says why the last decision was not carried out. */
    constructor(page, entry, { refusal, onDecided }) {
        this._entry = entry;
        const title = plain(entry.newest.subject, "subject") || _("(no subject)");
        this._dialog = openDialog(title);
        this._dialog.node.classList.add("preview");
        fill(this._dialog.body, make("p", { class: "subtle" }, _("The mail is being fetched …")));
        if (entry.address)
            this._offer(page, onDecided);
        if (refusal)
            this._dialog.body.before(make("div", { class: "said" }, alertBox("danger", _("Not decided yet"), refusal)));
        this._show(page);
    }

    close() {
        this._dialog.close();
    }

    async _show(page) {
        try {
            const mail = await page.service.get(`/mail?id=${encodeURIComponent(this._entry.newest.id)}`);
            fill(this._dialog.body, head(mail), text(mail));
        } catch (error) {
            fill(this._dialog.body, alertBox("danger", _("This mail cannot be shown"), plain(error.message)));
        }
    }

    _offer(page, onDecided) {
        const whom = plain(this._entry.name || this._entry.address, "name");
        const domain = plain(domainOf(this._entry.address), "address");
        const isDomain = make("input", { type: "checkbox", id: "whole-domain" });
        const decide = category => { this.close(); onDecided(category, isDomain.checked) };
        fill(this._dialog.footer,
             categoryButtons(page.categories, whom, decide),
             make("label", { for: "whole-domain", class: "check" }, isDomain, format(_("everybody at $0"), domain)));
        this._dialog.node.addEventListener("keydown", event => {
            const category = page.categories.find(each => each.key === event.key);
            if (category && !event.ctrlKey && !event.altKey && !event.metaKey) {
                event.preventDefault();
                decide(category.name);
            }
        });
    }
}

function head(mail) {
    const people = list => list.map(each => plain(each.name ? `${each.name} <${each.email}>` : each.email, "line")).join(", ");
    const lines = [
        [_("From"), people(mail.from)],
        [_("To"), people(mail.to)],
        [_("Received"), instant(mail.received_at)],
        [_("Attachments"), mail.attachments.map(each => plain(each, "name")).join(", ")],
    ];
    return make("dl", { class: "head" }, lines.filter(([, value]) => value).map(
        ([name, value]) => [make("dt", {}, name), make("dd", { dir: "auto" }, value)]));
}

function text(mail) {
    const shown = plainLines(mail.text).trim();
    return [
        make("pre", { class: "mail", dir: "auto" }, shown || _("There is no text in this mail.")),
        mail.is_truncated ? make("p", { class: "subtle" }, _("The mail is longer than this.")) : null,
    ].filter(each => each);
}
