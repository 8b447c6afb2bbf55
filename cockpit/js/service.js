/* A running service, asked through its sockets with the rights of the logged-in person. */

import { findAccounts } from "./accounts.js";
import { ask, Refused, unanswered } from "./asking.js";
import { exchange } from "./wire.js";
import { _ } from "./words.js";

export { Refused };

export class Service {
    /* `account` as accounts.js finds them. */
    constructor(account) {
        this.account = account;
        this.mayDecide = false;
        this.isOpen = false;
        this._socket = null;
    }

    /* Find the socket that this person may use; returns the status. To be repeated: groups and
       services come and go. */
    async open() {
        this.isOpen = false;
        const account = (await findAccounts()).find(each => each.id === this.account.id);
        if (!account)
            throw new Refused(0, _("the service's socket does not exist"));
        const name = ["control", "status"].find(each => account.sockets[each]);
        if (!name)
            throw new Refused(0, _("you may not open the service's socket"), { isClosed: true });
        this._socket = `${account.folder}/${name}.sock`;
        const status = await this.get("/status");
        if (status.members && !this.account.prefix)
            throw unanswered();  // it has several accounts by now, which have to be found
        const mayDecide = name === "control" || await this._isOwner();
        Object.assign(this, { mayDecide, isOpen: true });
        return status;
    }

    /* Owners of one of several accounts can see and decide without being in the group. */
    async _isOwner() {
        if (!this.account.prefix)
            return false;
        try {
            await this.get("/categories");
            return true;
        } catch {
            return false;
        }
    }

    get(path) {
        return this._ask("GET", path);
    }

    post(path, body) {
        return this._ask("POST", path, body);
    }

    /* The stream of events of all accounts of the process. `onEnd(status)`; `close()` what this
       returns. */
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
        const question = { method, path: this.account.prefix + path, headers, body: body === undefined ? "" : JSON.stringify(body) };
        return ask(this._socket, question);
    }
}
