/* One key for each category: a letter of its name that no other has, else a digit. */

/* What else keys do in the list: choose all, look, search, undo. */
const TAKEN = new Set(["a", "u", "/"]);

/* Name -> key, for all of them, in the order of the configuration. */
export function keysOf(names) {
    const taken = new Set(TAKEN);
    const keys = new Map();
    names.forEach((name, index) => {
        const letters = [...name.toLowerCase()].filter(letter => /^[a-z]$/.test(letter));
        const key = letters.find(letter => !taken.has(letter)) ?? String((index + 1) % 10);
        taken.add(key);
        keys.set(name, key);
    });
    return keys;
}
