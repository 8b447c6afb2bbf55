/* HTTP/1.1 on a Unix socket, one exchange per connection, over a plain stream of Cockpit's bridge.

   Not with cockpit.http(): the bridge (seen: Cockpit 337) gives each such exchange a thread of a pool,
   which has six on four cores, and keeps it until the answer has ended, even if the page is closed. It
   serves the files of its pages from the same pool. With six open event streams, or the same page
   loaded six times, all of that person's Cockpit stands still. */

const cockpit = window.cockpit;
const END_OF_HEAD = "\r\n\r\n";

export class Broken extends Error {}

/* Send a request; `onHead(status)` and `onData(text)` are called as the answer comes in, then
   `onEnd(error or null)`, once. Returns an object whose `close()` ends it. */
export function exchange(socket, { method, path, headers = {}, body = "" }, { onHead, onData, onEnd }) {
    const channel = cockpit.channel({ payload: "stream", unix: socket, binary: true });
    const decoder = new TextDecoder();
    const answer = { head: "", isHeaded: false, missing: null };
    let isOver = false;
    const end = error => {
        if (!isOver) {
            isOver = true;
            channel.close();
            onEnd(error);
        }
    };
    channel.addEventListener("ready", () => channel.send(encoded(method, path, headers, body)));
    channel.addEventListener("message", (_event, data) => {
        try {
            take(answer, data, decoder, onHead, onData);
        } catch (error) {
            end(error);
            return;
        }
        if (answer.missing === 0)
            end(null);
    });
    channel.addEventListener("close", (_event, options) => {
        const isWhole = answer.isHeaded && !answer.missing;
        end(isWhole ? null : new Broken(options.message || options.problem || ""));
    });
    return { close: () => { isOver = true; channel.close() } };
}

function encoded(method, path, headers, body) {
    const bytes = new TextEncoder().encode(body);
    const lines = [`${method} ${path} HTTP/1.1`, "Host: mailroom", "Connection: close"];
    for (const [name, value] of Object.entries(headers))
        lines.push(`${name}: ${value}`);
    if (bytes.length)
        lines.push(`Content-Length: ${bytes.length}`);
    const head = new TextEncoder().encode(lines.join("\r\n") + END_OF_HEAD);
    const whole = new Uint8Array(head.length + bytes.length);
    whole.set(head);
    whole.set(bytes, head.length);
    return whole;
}

/* Some bytes of the answer. `missing` is how many are to come, null if only the end will tell. */
function take(answer, data, decoder, onHead, onData) {
    let bytes = new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
    if (!answer.isHeaded) {
        const before = answer.head.length;
        answer.head += String.fromCharCode(...bytes.subarray(0, 8192));
        const end = answer.head.indexOf(END_OF_HEAD);
        if (end < 0)
            return;
        bytes = bytes.subarray(end + END_OF_HEAD.length - before);
        answer.isHeaded = true;
        readHead(answer, answer.head.slice(0, end), onHead);
    }
    if (answer.missing !== null)
        answer.missing -= bytes.length;
    const text = decoder.decode(bytes, { stream: true });
    if (text)
        onData(text);
}

function readHead(answer, head, onHead) {
    const status = /^HTTP\/1\.1 (\d{3})/.exec(head);
    if (!status)
        throw new Broken("no HTTP");
    const length = /^content-length: *(\d+)/im.exec(head);
    answer.missing = length ? Number(length[1]) : null;
    onHead(Number(status[1]));
}
