/* A running service, asked over its sockets with the rights of who has logged in. */

import { findAccounts } from "./accounts.js";
import { exchange } from "./wire.js";
import { _, format, plain } from "./words.js";

/* What a question ended in that had no good answer. `status` is HTTP's, 0 where nobody answered;
   `more` is what the answer had beside the reason; `isClosed`: the socket may not be opened. */
export class Refused extends Error {
    constructor(status, message, { more = {}, isClosed = false } = {}) {
        super(message);
        Object.assign(this, { status, more, isClosed });
    }
}

export class Service {
    /* `account` as accounts.js finds them. */
    constructor(account) {
        this.account = account;
        this.mayDecide = false;
        this.isOpen = false;
        this._socket = null;
    }

    /* Find the socket that this person may use; returns the status. Again after a while: groups
       and services come and go. */
    async open() {
        this.isOpen = false;
        const account = (await findAccounts()).find(each => each.id === this.account.id);
        if (!account)
            throw new Refused(0, _("the socket of the service is not there"));
        const name = ["control", "status"].find(each => account.sockets[each]);
        if (!name)
            throw new Refused(0, _("you may not open the socket of the service"), { isClosed: true });
        this._socket = `${account.folder}/${name}.sock`;
        const status = await this.get("/status");
        Object.assign(this, { mayDecide: name === "control", isOpen: true });
        return status;
    }

    get(path) {
        return this._ask("GET", path);
    }

    post(path, body) {
        return this._ask("POST", path, body);
    }

    /* The stream of events. `onEnd(status)`; `close()` what is returned. */
    stream(lastId, { onOpen, onData, onEnd }) {
        const headers = { Accept: "text/event-stream", ...(lastId ? { "Last-Event-ID": lastId } : {}) };
        let status = 0;
        return exchange(this._socket, { method: "GET", path: "/events", headers }, {
            onHead: code => { status = code; if (code === 200) onOpen() },
            onData: text => { if (status === 200) onData(text) },
            onEnd: () => onEnd(status),
        });
    }

    _ask(method, path, body) {
        if (!this._socket)
            return Promise.reject(unanswered());
        const headers = body === undefined ? {} : { "Content-Type": "application/json" };
        const question = { method, path, headers, body: body === undefined ? "" : JSON.stringify(body) };
        return new Promise((resolve, reject) => {
            const pieces = [];
            let status = 0;
            exchange(this._socket, question, {
                onHead: code => { status = code },
                onData: text => pieces.push(text),
                onEnd: error => (error ? reject(unanswered()) : settle(status, pieces.join(""), resolve, reject)),
            });
        });
    }
}

function settle(status, text, resolve, reject) {
    const told = parsed(text);
    // An unhealthy service answers 503 to /healthz only; what else is 503 is a refusal.
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

function unanswered() {
    return new Refused(0, _("the service gave no answer; it may be restarting"));
}
