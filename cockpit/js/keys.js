/* One key for each category, the same as in `mailroom screen`: a free letter of its name, else a digit,
   else a capital. Earlier categories in the configuration choose first, but a first letter of one goes
   before a second letter of another. */

/* The other keys there: quit, undo. */
const TAKEN = ["q", "u"];

const LAST_WISHES = "123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/* Name -> key; if keys run out, the last names have none. */
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

/* In lower case without accents, with only letters and digits. */
function wordsOf(name) {
    return name.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "").match(/[\p{L}\p{N}]+/gu) ?? [];
}
