/* How things are shown: text that strangers wrote, instants, spans, counts. */

const cockpit = window.cockpit;
export const _ = cockpit.gettext;
export const ngettext = cockpit.ngettext;
export const format = cockpit.format;

/* Characters that move, hide or end text: control characters, marks that change its direction, halves
   of characters, tags. Joiners stay: languages and emoji need them. */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
const SHOWN = "\ufffd";

const LIMITS = { name: 120, address: 254, subject: 200, line: 500 };

/* One line of text from elsewhere, made harmless and no longer than the page has room for. */
export function plain(text, kind = "line") {
    return cut(String(text ?? ""), LIMITS[kind]).replace(UNSEEN, SHOWN);
}

/* Text of many lines. */
export function plainLines(text) {
    return String(text ?? "").replaceAll("\r\n", "\n").replace(UNSEEN, found => "\n\t".includes(found) ? found : SHOWN);
}

function cut(text, limit) {
    if (text.length <= limit)
        return text;
    const characters = [...text.slice(0, 2 * limit)];
    return characters.length <= limit && text.length <= 2 * limit ? text : characters.slice(0, limit).join("") + "…";
}

const language = () => cockpit.language?.replace("_", "-") || "en";

const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];

/* "3 hours ago", "in 2 minutes". */
export function relative(timestamp, now = Date.now()) {
    const seconds = (Date.parse(timestamp) - now) / 1000;
    const words = new Intl.RelativeTimeFormat(language(), { numeric: "auto" });
    const [unit, size] = UNITS.find(each => Math.abs(seconds) >= each[1]) ?? ["second", 1];
    if (unit === "second" && seconds < 0)
        return _("just now");
    return words.format(Math.trunc(seconds / size), unit);
}

/* "Nov 27, 2026, 2:02 PM", in the reader's own format. */
export function instant(timestamp, { withSeconds = false } = {}) {
    const style = { dateStyle: "medium", timeStyle: withSeconds ? "medium" : "short" };
    return new Intl.DateTimeFormat(language(), style).format(new Date(timestamp));
}

export function day(date) {
    return new Intl.DateTimeFormat(language(), { dateStyle: "medium" }).format(new Date(date));
}

/* "2 days 3 hours": the two largest units. */
export function span(seconds) {
    const parts = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
    const words = [];
    let rest = Math.max(0, Math.floor(seconds));
    for (const [unit, size] of parts) {
        const number = Math.floor(rest / size);
        rest -= number * size;
        if (number || (unit === "second" && !words.length))
            words.push(new Intl.NumberFormat(language(), { style: "unit", unit, unitDisplay: "long" }).format(number));
    }
    return words.slice(0, 2).join(" ");
}

export const senders = n => format(ngettext("$0 sender", "$0 senders", n), n);
export const mails = n => format(ngettext("$0 mail", "$0 mails", n), n);

export function domainOf(address) {
    return address.slice(address.lastIndexOf("@") + 1);
}
