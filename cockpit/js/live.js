/* Keeps the page up to date: with the stream of events, and by asking again whenever the stream may
   have missed something (it broke off, the computer slept, the page was hidden).

   Events only tell what to ask for again; what is shown always comes from answers. */

import { Parser } from "./sse.js";

/* How often the page asks if there is no stream. */
const ASK_AGAIN_MS = 5000;
/* If more time passed between two ticks, the computer slept. */
const TICK_MS = 5000;
const SLEPT_MS = 3 * TICK_MS;
/* A stream has pings more often than this; a silent one has broken off unnoticed. */
const SILENT_MS = 60000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15000;

/* What each event makes outdated. */
const OUTDATES = {
    arrival: ["waiting"],
    waiting: ["waiting", "status"],
    triage: ["waiting", "senders", "log", "status"],
    poll: ["status"],
    push: ["status"],
    trouble: ["status"],
    reload: ["categories", "waiting", "status"],
};
const EVERYTHING = ["categories", "waiting", "senders", "log", "status"];

export class Live {
    /* `onOutdated(what)` gets a set of the words above; `onState("live" | "asking" | "lost")`;
       `reopen()` finds the socket again and fails if there is none; `isOpen`: it has been found. */
    constructor(service, { onOutdated, onState, reopen, isOpen }) {
        Object.assign(this, { _service: service, _onOutdated: onOutdated, _onState: onState, _reopen: reopen });
        this._retryMs = FIRST_RETRY_MS;
        this._lastId = "";
        this._isClosed = false;
        this._lastTick = Date.now();
        this._timer = setInterval(() => this._tick(), TICK_MS);
        this._onWake = () => { if (!document.hidden) this._wake() };
        document.addEventListener("visibilitychange", this._onWake);
        window.addEventListener("online", this._onWake);
        if (isOpen)
            this._connect();
        else
            this._ended(0);
    }

    close() {
        this._isClosed = true;
        clearInterval(this._timer);
        clearTimeout(this._retry);
        document.removeEventListener("visibilitychange", this._onWake);
        window.removeEventListener("online", this._onWake);
        this._stream?.close();
    }

    _connect() {
        clearTimeout(this._retry);
        this._stream?.close();
        const parser = new Parser((kind, data) => this._onEvent(kind, data));
        parser.lastId = this._lastId;
        const stream = this._service.stream(this._lastId, {
            onOpen: () => {
                this._isStreaming = true;
                this._lastData = Date.now();
                this._onState("live");
                this._onOutdated(new Set(EVERYTHING));
            },
            onData: text => {
                this._lastData = Date.now();
                this._retryMs = FIRST_RETRY_MS;
                parser.feed(text);
                this._lastId = parser.lastId;
            },
            onEnd: status => {
                if (this._stream === stream)
                    this._ended(status);
            },
        });
        this._stream = stream;
    }

    /* Without a stream, look for the service again and try another one. */
    _ended(status) {
        this._isStreaming = false;
        this._stream = null;
        if (this._isClosed)
            return;
        const isOld = status === 404;
        this._retry = setTimeout(() => this._again(isOld), isOld ? ASK_AGAIN_MS : this._retryMs);
        this._retryMs = Math.min(2 * this._retryMs, LAST_RETRY_MS);
    }

    /* Of several attempts at once, as when a page is hidden and shown, the last one counts. */
    async _again() {
        const turn = this._turn = (this._turn ?? 0) + 1;
        const isOver = () => this._isClosed || turn !== this._turn;
        try {
            await this._reopen();
        } catch (error) {
            if (isOver())
                return;
            this._onState("lost", error);
            this._ended(0);
            return;
        }
        if (isOver())
            return;
        this._onState("asking");
        this._onOutdated(new Set(EVERYTHING));
        this._connect();
    }

    /* If a process has several accounts, each event names its own. */
    _onEvent(kind, data) {
        const { key } = this._service.account;
        if (key !== null && kind !== "lost" && (JSON.parse(data).account ?? key) !== key)
            return;
        this._onOutdated(new Set(OUTDATES[kind] ?? EVERYTHING));
    }

    _tick() {
        const now = Date.now();
        const hasSlept = now - this._lastTick > SLEPT_MS;
        this._lastTick = now;
        if (hasSlept || (this._isStreaming && now - this._lastData > SILENT_MS))
            this._wake();
    }

    /* Nobody can see whether the stream is still alive, so open a new one. */
    _wake() {
        this._retryMs = FIRST_RETRY_MS;
        const old = this._stream;
        this._stream = null;
        this._isStreaming = false;
        old?.close();
        clearTimeout(this._retry);
        this._again();
    }
}
