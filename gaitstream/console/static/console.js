// What every page has: colours, dialogs, messages, times and the list on phones.
import { followRows } from "./rows.js";
import { listen } from "./news.js";
import { watchKeys } from "./keys.js";
import { say } from "./say.js";
import { keepTimes } from "./times.js";
import { watchUploads } from "./upload.js";
import { watchWall } from "./wall.js";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function chooseTheme(value) {
  if (value === "auto") {
    localStorage.removeItem("theme");
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem("theme", value);
    document.documentElement.dataset.theme = value;
  }
  showTheme();
}

function showTheme() {
  const now = localStorage.getItem("theme") ?? "auto";
  for (const button of all("[data-theme-choice] button")) button.setAttribute("aria-pressed", String(button.value === now));
}

/** What the page before did is told once. */
function tellDone() {
  const said = document.cookie.split("; ").find((one) => one.startsWith("said="))?.slice(5);
  if (!said) return;
  document.cookie = "said=; max-age=0; path=/; samesite=strict";
  say(decodeURIComponent(said.replace(/^"|"$/g, "")));
}

function press(event) {
  const opener = event.target.closest("[data-open]");
  if (opener) document.getElementById(opener.dataset.open)?.showModal();
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
  const theme = event.target.closest("[data-theme-choice] button");
  if (theme) chooseTheme(theme.value);
  const more = event.target.closest("[data-rail]");
  if (more) more.setAttribute("aria-expanded", String(document.getElementById("rail").classList.toggle("open")));
}

/** The threshold that is tried follows the hand; what it would change comes from the server. */
function slide(event) {
  const slider = event.target.closest?.("[data-try]");
  const line = slider && document.querySelector("[data-tried]");
  if (!line) return;
  const place = `${(100 * slider.value) / line.dataset.top}%`;
  line.setAttribute("x1", place);
  line.setAttribute("x2", place);
}

/** A refusal is told beside the form it is about, or at the page's corner. */
function refused(event) {
  const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
  const words = page.querySelector("[data-words]")?.textContent ?? `The server answered ${event.detail.xhr.status}`;
  const place = event.detail.elt.closest("form")?.querySelector("[role=alert]");
  if (!place) return say(words, "bad");
  const note = document.createElement("p");
  note.className = "error";
  note.textContent = words;
  place.replaceChildren(note);
}

document.addEventListener("click", press);
document.addEventListener("input", slide);
document.addEventListener("htmx:responseError", refused);
document.addEventListener("htmx:sendError", () => say("The server cannot be reached", "bad"));
showTheme();
tellDone();
keepTimes();
watchKeys();
watchWall();
watchUploads();
followRows();
listen();
