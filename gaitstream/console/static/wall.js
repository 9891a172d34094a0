// The wall's pictures are fetched one by one: a browser has six connections to a server, and there may be more cameras.
const AT_ONCE = 3;
const PERIOD_MS = 250;

const seen = new Set(); // tiles of cameras that are in sight
const busy = new Set();

/** Puts the picture of an address into an image once it is there. */
async function load(image, address) {
  const next = new Image();
  next.src = `${address}?t=${Date.now()}`;
  await next.decode();
  image.src = next.src;
  image.hidden = false;
}

/** Without a live picture the last one is shown that was kept, until it is erased. */
async function fallBack(view) {
  const kept = view?.querySelector("img[data-kept]");
  const why = view?.querySelector("p");
  if (!kept) return;
  try {
    await load(kept, kept.dataset.kept);
    why.textContent = "No live picture now: the last one that was kept";
  } catch {
    kept.hidden = true;
    why.textContent = "No picture yet";
  }
}

async function refresh(image) {
  busy.add(image);
  try {
    await load(image, image.dataset.live);
  } catch {
    if (image.hidden) await fallBack(image.closest(".view"));
    await new Promise((done) => setTimeout(done, 2000)); // no picture now
  }
  image.dataset.last = String(Date.now());
  busy.delete(image);
}

function turn() {
  if (document.hidden) return;
  const images = [...seen].map((tile) => tile.querySelector("img[data-live]")).filter(Boolean);
  const due = images.filter((image) => image.isConnected && !busy.has(image) && Date.now() - (image.dataset.last ?? 0) > PERIOD_MS);
  due.sort((one, other) => (one.dataset.last ?? 0) - (other.dataset.last ?? 0));
  for (const image of due.slice(0, AT_ONCE - busy.size)) refresh(image);
}

/** Which cameras are shown, of those that are there now. */
function choose() {
  const value = document.querySelector("[data-wall-choice] [aria-pressed=true]")?.value;
  for (const camera of document.querySelectorAll("[data-camera]")) {
    const { state, people } = camera.dataset;
    camera.hidden = (value === "people" && !Number(people)) || (value === "trouble" && (state === "online" || state === "ended"));
  }
}

export function watchWall() {
  const wall = document.querySelector("[data-wall]");
  if (!wall) return;
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) seen[isIntersecting ? "add" : "delete"](target);
  });
  const watch = () => {
    wall.querySelectorAll("[data-camera]").forEach((tile) => observer.observe(tile));
    choose();
  };
  watch();
  wall.addEventListener("htmx:load", watch);
  setInterval(turn, 80);
  document.querySelector("[data-wall-choice]")?.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    for (const one of button.parentElement.children) one.setAttribute("aria-pressed", String(one === button));
    choose();
  });
}
