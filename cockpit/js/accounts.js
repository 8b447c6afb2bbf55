/* The accounts of this host: sockets show the services, and a service with several accounts lists
   them. The account shown last is remembered. */

import { ask } from "./asking.js";
import { _, format } from "./words.js";

const cockpit = window.cockpit;
const SYSTEM = "/run/mailroom";
const REMEMBERED = "mailroom:account";
/* No instance has such a name. */
const MAIN = ".";
const OWN = "~";

/* All of them, the host's first: {id, name, folder, prefix, key, journal, matches, sockets}. `prefix`
   comes before the path of every request; `key` is the account's name in events, null for the only
   one; `journal` are journalctl's options for the service, `matches` those for the account;
   `sockets.control` and `sockets.status` say whether this person may open them. */
export async function findAccounts() {
    const services = await findServices();
    return (await Promise.all(services.map(accountsOf))).flat();
}

async function findServices() {
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

/* [whether it may be opened, path] for all sockets. */
function list(...folders) {
    const told = ["(", "-writable", "-printf", "1 %p\\n", "-o", "-printf", "0 %p\\n", ")"];
    const command = ["find", ...folders, "-maxdepth", "2", "-type", "s", "-name", "*.sock", ...told];
    const lines = output => (output ?? "").split("\n").filter(line => line).map(line => [line[0] === "1", line.slice(2)]);
    return new Promise(resolve => {
        // A folder that is missing or may not be read counts as one without a socket.
        cockpit.spawn(command, { err: "ignore" }).then(
            output => resolve(lines(output)), (_error, output) => resolve(lines(output)));
    });
}

function describe(folder, own) {
    const only = { folder, prefix: "", key: null, matches: [], sockets: {} };
    if (folder === own)
        return { ...only, id: OWN, name: _("My own"), journal: ["--user-unit=mailroom.service"] };
    const id = folder.slice(SYSTEM.length + 1);
    const unit = id ? `mailroom@${id}.service` : "mailroom.service";
    return { ...only, id: id || MAIN, name: id || _("This host"), journal: [`--unit=${unit}`] };
}

/* The services' last answers, used while they restart: id → names and their status. */
const answered = new Map();

/* The accounts of a service: the service itself if it has only one, or may not be asked. */
async function accountsOf(service) {
    const socket = ["control", "status"].find(each => service.sockets[each]);
    if (!socket)
        return [service];
    try {
        const question = { method: "GET", path: "/accounts" };
        answered.set(service.id, (await ask(`${service.folder}/${socket}.sock`, question)).accounts);
    } catch (error) {
        if (error.status !== 0)
            answered.delete(service.id);
    }
    const accounts = answered.get(service.id) ?? [];
    return accounts.length ? accounts.map(each => member(service, each)) : [service];
}

function member(service, { account: key, status }) {
    const name = service.id === MAIN ? key : `${service.name}: ${key}`;
    return {
        ...service,
        id: `${service.id}/${key}`,
        name: status === "ok" ? name : format(_("$0, unhealthy"), name),
        prefix: `/accounts/${encodeURIComponent(key)}`,
        key,
        matches: [`MAILROOM_ACCOUNT=${key}`],
    };
}

export function remembered() {
    return cockpit.localStorage.getItem(REMEMBERED);
}

export function remember(id) {
    cockpit.localStorage.setItem(REMEMBERED, id);
}
