// One stream of news from the server. News of a kind are told to the page at most every PERIOD_MS, however many come,
// as the event `news:<kind>` on the body; parts of a page ask for themselves when they hear it.
const PERIOD_MS = 250;
const KINDS = {
  "identity.decided": ["identity"],
  "identity.revised": ["identity"],
  "identity.confirmed": ["identity"],
  "identity.final": ["identity", "review"],
  "visitor.seen": ["visitor"],
  "visitor.named": ["visitor", "identity"],
  "camera.online": ["camera"],
  "camera.offline": ["camera"],
  "gallery.changed": ["people"],
  dropped: ["identity", "review", "visitor", "camera"],
};

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
    KINDS.dropped.forEach((kind) => waiting.add(kind)); // what came since the page was made, or while away
  });
  source.addEventListener("error", () => show("lost", "connection lost"));
  for (const [type, kinds] of Object.entries(KINDS)) {
    source.addEventListener(type, () => kinds.forEach((kind) => waiting.add(kind)));
  }
  setInterval(tell, PERIOD_MS);
  addEventListener("pagehide", () => source.close());
}
