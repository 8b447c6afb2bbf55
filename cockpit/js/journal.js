/* What the service has written to the journal, read with the rights of the logged-in person. */

const cockpit = window.cockpit;

/* Decisions about senders; all else is shown only on request, or if it is bad. */
const DECIDED = ["sender_triaged", "sender_retriaged", "sender_unscreened", "domain_triaged", "list_triaged"];
const WARNING = 4;
const FIELDS = ["PRIORITY", "MESSAGE", "MAILROOM_EVENT", "MAILROOM_SENDER", "MAILROOM_DOMAIN", "MAILROOM_LIST", "MAILROOM_CATEGORY",
    "MAILROOM_PREVIOUS", "MAILROOM_FILED", "MAILROOM_BY", "MAILROOM_TRIGGER", "MAILROOM_REASON", "MAILROOM_ERROR"];

/* Newest first: {cursor, at, event, isDecision, isBad, who, category, previous, filed, by, trigger, message}.

   `before` is the cursor to continue from; `sender` one exact address. */
export async function read(account, { count, before = null, sender = null, isAll = false }) {
    const matches = isAll ? [] : DECIDED.map(each => `MAILROOM_EVENT=${each}`);
    const command = ["journalctl", ...account.journal, "--output=json", "--all", `--output-fields=${FIELDS.join(",")}`,
        "--reverse", "--quiet", "--no-pager", `--lines=${count}`];
    if (before)
        command.push(`--after-cursor=${before}`);
    // Values of one field are alternatives; all fields have to match.
    command.push(...account.matches, ...matches, ...(sender ? [`MAILROOM_SENDER=${sender}`] : []));
    return parse(await cockpit.spawn(command, { err: "message" }));
}

function parse(output) {
    const entries = [];
    for (const line of output.split("\n")) {
        if (line)
            entries.push(entryOf(JSON.parse(line)));
    }
    return entries;
}

function entryOf(fields) {
    const text = name => textOf(fields[name]);
    const event = text("MAILROOM_EVENT");
    return {
        cursor: fields.__CURSOR,
        at: new Date(Number(fields.__REALTIME_TIMESTAMP) / 1000).toISOString(),
        event,
        isDecision: DECIDED.includes(event),
        isBad: Number(fields.PRIORITY ?? 6) <= WARNING,
        who: text("MAILROOM_SENDER") || text("MAILROOM_DOMAIN") || text("MAILROOM_LIST"),
        category: text("MAILROOM_CATEGORY"),
        previous: text("MAILROOM_PREVIOUS"),
        filed: Number(text("MAILROOM_FILED") || 0),
        by: text("MAILROOM_BY"),
        trigger: text("MAILROOM_TRIGGER"),
        message: text("MESSAGE"),
    };
}

/* A value that is not UTF-8 is an array of bytes, one that is set twice an array of texts. */
function textOf(value) {
    if (Array.isArray(value))
        return typeof value[0] === "number" ? new TextDecoder().decode(new Uint8Array(value)) : textOf(value[0]);
    return value ?? "";
}
