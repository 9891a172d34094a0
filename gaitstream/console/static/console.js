// What every page has: colours, dialogs, messages, times and the list on phones.
import { listen } from "./news.js";
import { watchKeys } from "./keys.js";
import { keepTimes } from "./times.js";
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

export function say(text, tone = "") {
  const toast = document.createElement("div");
  toast.className = `toast ${tone}`;
  toast.textContent = text;
  document.querySelector("[data-toasts]").append(toast);
  setTimeout(() => toast.remove(), tone === "bad" ? 9000 : 4500);
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

/** New rows are asked for from the newest one that is shown; nothing comes while somebody reads older ones. */
function follow(event) {
  const list = event.target.closest?.("[data-follows]");
  if (!list || event.detail.elt !== list) return;
  if (document.querySelector("[data-follow]")?.checked === false) event.preventDefault();
  event.detail.parameters.set?.("after", list.querySelector("[data-event]")?.dataset.event ?? "");
}

function refused(event) {
  const { status, responseText } = event.detail.xhr;
  say(responseText && responseText.length < 400 && !responseText.startsWith("<") ? responseText : `The server answered ${status}`, "bad");
}

document.addEventListener("click", press);
document.addEventListener("input", slide);
document.addEventListener("htmx:configRequest", follow);
document.addEventListener("htmx:responseError", refused);
document.addEventListener("htmx:sendError", () => say("The server cannot be reached", "bad"));
document.addEventListener("said", (event) => say(event.detail.value));
showTheme();
keepTimes();
watchKeys();
watchWall();
listen();
