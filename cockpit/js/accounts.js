/* Which services there are on this host: their sockets tell. The account that was looked at last is
   remembered. */

import { _ } from "./words.js";

const cockpit = window.cockpit;
const SYSTEM = "/run/mailroom";
const REMEMBERED = "mailroom:account";
/* Names of instances have neither of these. */
const MAIN = ".";
const OWN = "~";

/* All of them, the host's first: {id, name, folder, journal, sockets}. `journal` is what journalctl
   has to be told to speak of it; `sockets.control` and `sockets.status` are whether this person may
   open them. */
export async function findAccounts() {
    const own = `/run/user/${(await cockpit.user()).id}/mailroom`;
    const accounts = new Map();
    for (const [isOpen, path] of await list(SYSTEM, own)) {
        const cut = path.lastIndexOf("/");
        const folder = path.slice(0, cut);
        if (!accounts.has(folder))
            accounts.set(folder, describe(folder, own));
        accounts.get(folder).sockets[path.slice(cut + 1, -".sock".length)] = isOpen;
    }
    return [...accounts.values()].sort((one, other) => one.id.localeCompare(other.id));
}

/* [whether it may be opened, path] of all sockets. */
function list(...folders) {
    const told = ["(", "-writable", "-printf", "1 %p\\n", "-o", "-printf", "0 %p\\n", ")"];
    const command = ["find", ...folders, "-maxdepth", "2", "-type", "s", "-name", "*.sock", ...told];
    const lines = output => (output ?? "").split("\n").filter(line => line).map(line => [line[0] === "1", line.slice(2)]);
    return new Promise(resolve => {
        // A folder that is not there, or may not be read, is as good as one without a socket.
        cockpit.spawn(command, { err: "ignore" }).then(
            output => resolve(lines(output)), (_error, output) => resolve(lines(output)));
    });
}

function describe(folder, own) {
    const sockets = {};
    if (folder === own)
        return { id: OWN, name: _("My own"), folder, sockets, journal: ["--user-unit=mailroom.service"] };
    const id = folder.slice(SYSTEM.length + 1);
    const unit = id ? `mailroom@${id}.service` : "mailroom.service";
    return { id: id || MAIN, name: id || _("This host"), folder, sockets, journal: [`--unit=${unit}`] };
}

export function remembered() {
    return cockpit.localStorage.getItem(REMEMBERED);
}

export function remember(id) {
    cockpit.localStorage.setItem(REMEMBERED, id);
}
