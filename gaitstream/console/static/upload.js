// Clips are sent as they are, the other fields in the address; what comes of them is asked for until it is there.
import { say } from "./say.js";

const MOST_BYTES = 64 * 1024 * 1024; // the server takes no more, and would hang up in the middle

async function send(form, address) {
  const { files, name } = form.querySelector("input[type=file]");
  const clip = files[0];
  if (clip.size > MOST_BYTES) throw new Error(`the clip is ${Math.ceil(clip.size / 2 ** 20)} MiB; at most 64 MiB are taken: cut it`);
  const fields = new URLSearchParams([...new FormData(form)].filter(([key, value]) => key !== name && key !== "csrf" && value !== ""));
  const answer = await fetch(`${address}?${fields}`, {
    method: "POST",
    body: clip,
    headers: { "X-CSRF-Token": document.querySelector("meta[name=csrf]").content, "Content-Type": clip.type || "video/mp4" },
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  await htmx.ajax("GET", `/jobs/${told.job_id}`, { target: form.dataset.target, swap: "innerHTML" });
}

async function submit(event) {
  const form = event.target.closest("form[data-upload]");
  if (!form) return;
  event.preventDefault();
  const address = event.submitter?.getAttribute("formaction") ?? form.action;
  const buttons = [...form.querySelectorAll("button[type=submit]")];
  const place = form.querySelector("[role=alert]");
  const target = document.querySelector(form.dataset.target);
  place.textContent = "";
  target.textContent = "Sending the clip";
  for (const button of buttons) button.disabled = true;
  try {
    await send(form, address);
  } catch (error) {
    target.textContent = "";
    place.textContent = error.message;
    say("The clip was not taken", "bad");
  }
  for (const button of buttons) button.disabled = false;
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
