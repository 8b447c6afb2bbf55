/* Light or dark, as chosen in Cockpit's own menu ("auto": as the computer is set). Each of Cockpit's
   pages does it like this: the choice is in localStorage, and an event tells of a change. */

const KEY = "shell:style";
const computer = window.matchMedia("(prefers-color-scheme: dark)");

function apply(style) {
    const chosen = style ?? localStorage.getItem(KEY) ?? "auto";
    const isDark = chosen === "dark" || (chosen === "auto" && computer.matches);
    document.documentElement.classList.toggle("pf-v6-theme-dark", isDark);
}

export function followTheme() {
    window.addEventListener("storage", event => { if (event.key === KEY) apply() });
    window.addEventListener("cockpit-style", event => apply(event.detail?.style));
    computer.addEventListener("change", () => apply());
    apply();
}
