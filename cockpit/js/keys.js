/* One key for each category, the same as `mailroom screen` gives it: a letter of its name that is free,
   else a digit, else a capital. Whoever comes first in the configuration chooses first, and a first
   letter goes before another's second. */

/* What else keys do there: quit, undo. */
const TAKEN = ["q", "u"];

const LAST_WISHES = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/* Name -> key; more names than keys: the last ones have none. */
export function keysOf(names) {
    const taken = new Set(TAKEN);
    const keys = new Map();
    const give = (name, wishes) => {
        const key = keys.has(name) ? undefined : [...wishes].find(wish => !taken.has(wish));
        if (key !== undefined) {
            keys.set(name, key);
            taken.add(key);
        }
    };
    names.forEach(name => give(name, wordsOf(name).map(word => [...word][0])));
    names.forEach(name => give(name, wordsOf(name).join("")));
    names.forEach(name => give(name, LAST_WISHES));
    return keys;
}

/* In lower case without accents, of letters and digits alone. */
function wordsOf(name) {
    return name.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "").match(/[\p{L}\p{N}]+/gu) ?? [];
}
