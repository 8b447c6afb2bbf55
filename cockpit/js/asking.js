/* One request to a service, through one of its sockets. */

import { exchange } from "./wire.js";
import { _, format, plain } from "./words.js";

/* Why a request failed. `status` is HTTP's, 0 if nobody answered; `more` is what the answer had beside
   the reason; `isClosed`: the socket may not be opened. */
export class Refused extends Error {
    constructor(status, message, { more = {}, isClosed = false } = {}) {
        super(message);
        Object.assign(this, { status, more, isClosed });
    }
}

/* The parsed answer to a request {method, path, headers, body}; rejects with Refused. */
export function ask(socket, question) {
    return new Promise((resolve, reject) => {
        const pieces = [];
        let status = 0;
        exchange(socket, question, {
            onHead: code => { status = code },
            onData: text => pieces.push(text),
            onEnd: error => (error ? reject(unanswered()) : settle(status, pieces.join(""), resolve, reject)),
        });
    });
}

function settle(status, text, resolve, reject) {
    const told = parsed(text);
    // Only /healthz answers 503 for an unhealthy service; any other 503 is a refusal.
    if (status < 300 && told)
        resolve(told);
    else if (typeof told?.error === "string")
        reject(new Refused(status, plain(told.error), { more: told }));
    else
        reject(new Refused(status, format(_("the service answered $0"), status)));
}

function parsed(text) {
    try {
        return JSON.parse(text);
    } catch {
        return null;
    }
}

export function unanswered() {
    return new Refused(0, _("the service gave no answer; it may be restarting"));
}
