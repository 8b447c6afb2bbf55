/* A parser of text/event-stream, as far as our service needs it: UTF-8 text in pieces, LF or CRLF,
   `id`, `event`, `data`; comments are pings. (WHATWG HTML, section 9.2.6) */

export class Parser {
    constructor(onEvent) {
        this._onEvent = onEvent;
        this._rest = "";
        this.lastId = "";
        this._begin();
    }

    feed(text) {
        const lines = (this._rest + text).split("\n");
        this._rest = lines.pop();
        for (const line of lines)
            this._take(line.endsWith("\r") ? line.slice(0, -1) : line);
    }

    _begin() {
        this._kind = "message";
        this._data = [];
    }

    _take(line) {
        if (line === "") {
            if (this._data.length)
                this._onEvent(this._kind, this._data.join("\n"));
            this._begin();
            return;
        }
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "event")
            this._kind = value;
        else if (field === "data")
            this._data.push(value);
        else if (field === "id")
            this.lastId = value;
    }
}
