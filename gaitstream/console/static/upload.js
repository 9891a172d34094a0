// Clips are sent as they are, the other fields in the address; what comes of them is asked for until it is there.
import { say } from "./say.js";

async function send(form) {
  const { files, name } = form.querySelector("input[type=file]");
  const fields = new URLSearchParams([...new FormData(form)].filter(([key, value]) => key !== name && key !== "csrf" && value !== ""));
  const answer = await fetch(`${form.action}?${fields}`, {
    method: "POST",
    body: files[0],
    headers: { "X-CSRF-Token": document.querySelector("meta[name=csrf]").content, "Content-Type": files[0].type || "video/mp4" },
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  await htmx.ajax("GET", `/jobs/${told.job_id}`, { target: form.dataset.target, swap: "innerHTML" });
}

async function submit(event) {
  const form = event.target.closest("form[data-upload]");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button[type=submit]");
  const place = form.querySelector("[role=alert]");
  place.textContent = "";
  button.disabled = true;
  try {
    await send(form);
  } catch (error) {
    place.textContent = error.message;
    say("The clip was not taken", "bad");
  }
  button.disabled = false;
}

/** Where several people walk in a clip, it is sent again with the one who is meant. */
function chooseTrack(event) {
  const button = event.target.closest("[data-track-of]");
  if (!button) return;
  const form = document.querySelector(button.dataset.trackOf);
  form.elements.track.value = button.value;
  form.requestSubmit();
}

export function watchUploads() {
  document.addEventListener("submit", submit);
  document.addEventListener("click", chooseTrack);
}
