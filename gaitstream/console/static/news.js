// One stream of news from the server. News of a kind are told to the page at most every PERIOD_MS, however many come,
// as the event `news:<kind>` on the body; parts of a page ask for themselves when they hear it.
const PERIOD_MS = 300;

const waiting = new Set();

function tell() {
  for (const kind of waiting) document.body.dispatchEvent(new CustomEvent(`news:${kind}`));
  waiting.clear();
}

function show(state, text) {
  for (const light of document.querySelectorAll("[data-link]")) {
    light.dataset.state = state;
    light.firstElementChild.textContent = text;
  }
}

export function listen() {
  const address = document.body.dataset.stream;
  if (!address) return;
  const source = new EventSource(address);
  source.addEventListener("open", () => {
    show("live", "connected");
    waiting.add("identity").add("review"); // what was missed while away
  });
  source.addEventListener("error", () => show("lost", "connection lost"));
  for (const kind of ["identity", "review", "camera"]) source.addEventListener(kind, () => waiting.add(kind));
  setInterval(tell, PERIOD_MS);
  addEventListener("pagehide", () => source.close());
}
