/* Decisions sent to the service: several at once, each with its answer. */

import { Refused } from "./service.js";
import { _, format, plain } from "./words.js";

/* As many as the service can take at once: it carries them out together. */
const AT_ONCE = 8;

export class Decisions {
    constructor(service) {
        this._service = service;
        this._queue = [];
        this._running = 0;
    }

    /* `about` is {address}, {domain} or {list}; null for a category: back to Screener. */
    decide(about, category) {
        return this._run(() => this._service.post("/triage", { ...about, category }));
    }

    /* Back to the former category. The service looks it up; if it does not know, this page does, as
       it made the decision: `previous`. */
    undo(about, previous) {
        return this._run(async () => {
            try {
                return await this._service.post("/undo", about);
            } catch (error) {
                if (!(error instanceof Refused && error.more.is_unknown) || previous === undefined)
                    throw error;
                return this._service.post("/triage", { ...about, category: previous });
            }
        });
    }

    _run(job) {
        return new Promise((resolve, reject) => {
            this._queue.push(() => job().then(resolve, reject).finally(() => { this._running--; this._next() }));
            this._next();
        });
    }

    _next() {
        while (this._running < AT_ONCE && this._queue.length) {
            this._running++;
            this._queue.shift()();
        }
    }
}

/* A line that says why a decision was not carried out. */
export function reasonOf(error) {
    if (!(error instanceof Refused))
        throw error;
    if (error.status === 0)
        return format(_("It is not known whether this was done: $0. If the sender still waits, repeat it."), plain(error.message));
    return plain(error.message);
}
