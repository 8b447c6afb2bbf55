/* The list of who waits, as shown: the service's answer, and the decisions since.

   A decision is shown at once, but its row stays, as a line that can be undone, until the service has
   confirmed it and a minute has passed. If it is refused, the row comes back with the reason. Nothing
   here asks or draws. */

export const UNDO_MS = 60000;

export class Listing {
    constructor() {
        this.listed = [];
        this.isKnown = false;
        this._decided = new Map();
        this._refusals = new Map();
    }

    /* What the service answered; `askedAt` is when it was asked. */
    take(waiting, askedAt) {
        this.listed = waiting;
        this.isKnown = true;
        const there = new Set(waiting.map(each => each.address));
        for (const [address, decision] of this._decided) {
            // A sender who waits again after that has been taken back, or has written again.
            if (decision.phase === "done" && decision.doneAt < askedAt && there.has(address))
                this._decided.delete(address);
        }
        for (const address of this._refusals.keys()) {
            if (!there.has(address))
                this._refusals.delete(address);
        }
    }

    /* The rows, newest first: {entry, decision, refusal}. */
    rows(search = "") {
        const decided = [...this._decided.values()];
        const there = this.listed.filter(each => !this._decided.has(each.address));
        const entries = [...there, ...decided.map(each => each.entry)].sort(newestFirst);
        const wanted = search.trim().toLowerCase();
        return entries.filter(each => !wanted || matches(each, wanted)).map(entry => ({
            entry,
            decision: this._decided.get(entry.address) ?? null,
            refusal: this._refusals.get(entry.address) ?? null,
        }));
    }

    decisionOf(address) {
        return this._decided.get(address) ?? null;
    }

    refusalOf(address) {
        return this._refusals.get(address) ?? null;
    }

    begin(entry, category) {
        this._refusals.delete(entry.address);
        this._decided.set(entry.address, { entry, category, phase: "sending" });
    }

    confirm(address, answer, now) {
        const decision = this._decided.get(address);
        if (decision)
            Object.assign(decision, { phase: "done", answer, doneAt: now, until: now + UNDO_MS });
    }

    refuse(address, reason) {
        this._decided.delete(address);
        this._refusals.set(address, reason);
    }

    beginUndo(address) {
        this._decided.get(address).phase = "undoing";
    }

    /* If undoing was refused, the decision stands; else the sender is shown as waiting, as before,
       until the service is asked again. */
    endUndo(address, reason = null) {
        const decision = this._decided.get(address);
        if (reason !== null) {
            Object.assign(decision, { phase: "done", reason });
            return;
        }
        this._decided.delete(address);
        if (!this.listed.some(each => each.address === address))
            this.listed = [...this.listed, decision.entry];
    }

    /* Forget what can no longer be undone; returns whether there was any. */
    expire(now) {
        const over = [...this._decided.values()].filter(each => each.phase === "done" && each.until <= now);
        over.forEach(each => this._decided.delete(each.entry.address));
        return over.length > 0;
    }
}

function newestFirst(one, other) {
    return other.newest.received_at.localeCompare(one.newest.received_at) ||
        one.address.localeCompare(other.address);
}

function matches(entry, wanted) {
    return [entry.name, entry.address, entry.newest.subject].some(
        text => (text ?? "").toLowerCase().includes(wanted));
}
