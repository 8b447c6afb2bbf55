/* The list of who waits, as shown: the service's answer, and the decisions since.

   A decision is shown at once, but its row stays, as a line that can be undone, until the service has
   confirmed it and a minute has passed. If it is refused, the row comes back with the reason; if the
   sender is gone by then, because somebody else has decided, the reason alone stays for a minute.
   Nothing here asks or draws. */

export const UNDO_MS = 60000;
const REASON_MS = 60000;

export class Listing {
    constructor() {
        this.listed = [];
        this.isKnown = false;
        this._decided = new Map();
        this._refusals = new Map();
    }

    _isListed(address) {
        return this.listed.some(each => each.address === address);
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
    }

    /* The rows, newest first: {entry, decision, refusal, isWaiting}. */
    rows(search = "") {
        const there = new Map(this.listed.map(each => [each.address, each]));
        const kept = [...this._decided.values(), ...this._refusals.values()].map(each => [each.entry.address, each.entry]);
        const entries = [...new Map([...kept, ...there]).values()].sort(newestFirst);
        const wanted = search.trim().toLowerCase();
        return entries.filter(each => !wanted || matches(each, wanted)).map(entry => ({
            entry,
            decision: this._decided.get(entry.address) ?? null,
            refusal: this.refusalOf(entry.address),
            isWaiting: there.has(entry.address) && !this._decided.has(entry.address),
        }));
    }

    decisionOf(address) {
        return this._decided.get(address) ?? null;
    }

    refusalOf(address) {
        return this._refusals.get(address)?.reason ?? null;
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

    refuse(address, reason, now) {
        const { entry } = this._decided.get(address);
        this._decided.delete(address);
        this._refusals.set(address, { entry, reason, until: now + REASON_MS });
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
        if (!this._isListed(address))
            this.listed = [...this.listed, decision.entry];
    }

    /* Forget what can no longer be undone, and why senders who are gone were not decided about;
       returns whether there was any. */
    expire(now) {
        const before = this._decided.size + this._refusals.size;
        for (const [address, { phase, until }] of this._decided) {
            if (phase === "done" && until <= now)
                this._decided.delete(address);
        }
        for (const [address, { until }] of this._refusals) {
            if (until <= now && !this._isListed(address))
                this._refusals.delete(address);
        }
        return this._decided.size + this._refusals.size < before;
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
