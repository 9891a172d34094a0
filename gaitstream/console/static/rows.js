// The list of events: what is new comes on top, and a track has one line, the newest.
const list = () => document.querySelector("[data-follows]");
const rows = () => [...list().querySelectorAll("[data-event]")];

/** Asks from the newest line on; not at all while somebody wants to read in peace. */
function ask(event) {
  if (event.detail.elt !== list()) return;
  if (document.querySelector("[data-follow]")?.checked === false) event.preventDefault();
  event.detail.parameters.set("after_ns", rows()[0]?.dataset.timeNs ?? "0");
}

let known = new Set();

function remember(event) {
  if (event.detail.target?.id === "rows") known = new Set(rows().map((row) => row.dataset.event));
}

function tidy(event) {
  const onTop = event.detail.target?.id === "rows";
  const tracks = new Set();
  for (const row of rows()) {
    if (tracks.has(row.dataset.track)) row.remove();
    else if (onTop && !known.has(row.dataset.event)) row.classList.add("fresh");
    tracks.add(row.dataset.track);
  }
}

export function followRows() {
  if (!list()) return;
  document.addEventListener("htmx:configRequest", ask);
  document.addEventListener("htmx:beforeSwap", remember);
  document.addEventListener("htmx:afterSwap", tidy);
}
