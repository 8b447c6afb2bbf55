/* What needs attention, and what to do about it, as in `mailroom status`. */

import { _, format, instant, ngettext, plain, senders } from "./words.js";

const MOST_DRAGGED = 50;

/* {title, text, advice} for each. */
export function attention(status) {
    const found = [];
    const add = (title, text, advice) => found.push({ title, text, advice });
    if (status.refused_reload)
        add(_("A changed configuration was refused"), status.refused_reload.problems.map(each => plain(each)).join("; "),
            _("Correct it and reload; until then, the old configuration is in effect."));
    if (status.trouble && !status.trouble.lasting)
        add(_("Trouble"), format(_("$0, since $1"), plain(status.trouble.reason), instant(status.trouble.since)),
            _("Nothing is lost: it tries again by itself, and then catches up."));
    for (const each of status.conflicts)
        add(_("Conflict"), format(_("$0 is labelled for $1"), plain(each.sender, "address"), each.categories.map(name => plain(name, "name")).join(", ")),
            _("Take off all labels but one; until then, nothing of this sender is triaged."));
    if (status.rules_failed_at)
        add(_("The server's own rules failed for a mail"), instant(status.rules_failed_at),
            _("Run mailroom check --rules; until then such mail comes to Inbox, and is screened there."));
    if (status.moved_at_once)
        add(_("Many moved at once"), format(_("mail of $0 was moved out of Screener at once"), senders(status.moved_at_once)),
            format(_("Nothing is done, because so many moves at once are not decisions: move them back, then $0 at most at a time."), MOST_DRAGGED));
    for (const each of status.failing_senders)
        add(_("A sender cannot be triaged"), `${plain(each.sender, "address")}: ${plain(each.reason)}`, tried(each));
    return found;
}

function tried({ attempts, next_try_at: next }) {
    const times = format(ngettext("Tried $0 time", "Tried $0 times", attempts), attempts);
    const again = next ? format(_("$0, again at $1"), times, instant(next)) : times;
    return format(_("$0; the others go on. A new label on this sender's mail tries at once."), again);
}
