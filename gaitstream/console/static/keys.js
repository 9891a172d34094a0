// The keyboard: `g` and a letter goes to a page, other letters press what carries them.
const PAUSE_MS = 1200;
const QUIET_MS = 300; // after something else came under the keys: nobody has looked at it before

const busy = (target) => target.closest("input, select, textarea, [contenteditable], svg[role=application]");

function step(forward) {
  const steps = [...document.querySelectorAll("[data-step]")];
  const now = steps.findIndex((one) => one.ariaCurrent === "true");
  steps[Math.min(Math.max(now + (forward ? 1 : -1), 0), steps.length - 1)]?.click();
}

function goTo(key) {
  document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.click();
}

/** Says whether what is under the keys is being replaced, or has been just now; by `j` and `k` one asks for that. */
function watchSwaps() {
  const asked = new Map();
  let quiet = 0;
  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    const steps = detail.elt.matches("[data-step]");
    if (steps || detail.elt.querySelector("[data-press]")) asked.set(detail.xhr, steps);
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (asked.get(detail.xhr) === false) quiet = Date.now() + QUIET_MS;
    asked.delete(detail.xhr);
  });
  return () => asked.size > 0 || Date.now() < quiet;
}

export function watchKeys() {
  let gone = 0;
  const changes = watchSwaps();
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || busy(event.target) || document.querySelector("dialog[open]")) return;
    const key = event.key;
    const going = Date.now() - gone < PAUSE_MS;
    gone = key === "g" ? Date.now() : 0;
    if (going && key !== "g") goTo(key);
    else if (key === "j" || key === "k") step(key === "j");
    else if (key === "?") document.getElementById("keys")?.showModal();
    else if (key === "/") {
      event.preventDefault();
      document.querySelector("main input:not([type=hidden]), main select")?.focus();
    } else if (/^[a-z]$/.test(key)) {
      const button = document.querySelector(`[data-press="${key}"]`);
      if (button) event.preventDefault();
      if (!event.repeat && !changes()) button?.click();
    }
  });
}
