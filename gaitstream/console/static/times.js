// Times come from the server in UTC and are shown in the reader's zone.
const FORMS = {
  clock: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
  full: { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  day: { year: "numeric", month: "short", day: "numeric" },
};
const DAY_MS = 86_400_000;
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "narrow" });

function ago(time) {
  const seconds = Math.round((time - Date.now()) / 1000);
  if (Math.abs(seconds) < 60) return relative.format(seconds, "second");
  if (Math.abs(seconds) < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (Math.abs(seconds) < 86_400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86_400), "day");
}

function show(element) {
  const time = new Date(element.dateTime);
  let form = element.dataset.form;
  if (form === "clock" && Date.now() - time > DAY_MS) form = "full";
  element.textContent = form === "ago" ? ago(time) : time.toLocaleString(undefined, { ...FORMS[form], hourCycle: "h23" });
  element.title = time.toLocaleString(undefined, FORMS.full);
}

/** Times below a drawing: the clock, or the day where it is midnight or marks are days apart. */
function mark(element) {
  const time = new Date(element.dataset.time);
  const midnight = time.getHours() === 0 && time.getMinutes() === 0;
  const form = midnight || element.dataset.form === "day" ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit" };
  element.textContent = time.toLocaleString(undefined, { ...form, hourCycle: "h23" });
}

function showAll(root) {
  root.querySelectorAll?.("time").forEach(show);
  root.querySelectorAll?.("[data-time]").forEach(mark);
}

/** Fields for a time are filled in in the reader's zone, and sent in UTC. */
function watchField(field) {
  const sent = field.form.elements[field.dataset.utc];
  if (sent.value) {
    const time = new Date(sent.value);
    field.value = new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  }
  field.addEventListener("change", () => {
    sent.value = field.value ? new Date(field.value).toISOString() : "";
  });
}

export function keepTimes() {
  document.querySelectorAll("[data-utc]").forEach(watchField);
  showAll(document);
  document.addEventListener("htmx:load", (event) => showAll(event.detail.elt));
  setInterval(() => document.querySelectorAll('time[data-form="ago"]').forEach(show), 5000);
}
