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
  if (form === "date") {
    element.textContent = time.toLocaleDateString(undefined, { ...FORMS.day, timeZone: "UTC" }); // a day, wherever one is
    return;
  }
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

/** Round times of the reader's zone from a time on: so many hours apart, or at midnights where these make whole days. */
function* roundTimes(since, hours) {
  const time = new Date(since);
  time.setHours(0, 0, 0, 0);
  const days = hours % 24 ? 0 : hours / 24;
  while (time < since) days ? time.setDate(time.getDate() + 1) : time.setHours(time.getHours() + hours);
  for (;;) {
    yield new Date(time);
    days ? time.setDate(time.getDate() + days) : time.setHours(time.getHours() + hours);
  }
}

/** Marks an hour or more apart are put by the reader's clock: the server knows no zone. */
function place(axis) {
  const [since, until] = [new Date(axis.dataset.since), new Date(axis.dataset.until)];
  const pattern = axis.querySelector("[data-time]");
  if (!pattern || !(since < until)) return;
  const marks = [];
  for (const time of roundTimes(since, Number(axis.dataset.step) / 3600)) {
    if (time > until) break;
    const made = pattern.cloneNode();
    const left = (100 * (time - since)) / (until - since);
    made.setAttribute("x", `${left.toFixed(3)}%`);
    made.setAttribute("text-anchor", left < 4 ? "start" : left > 96 ? "end" : "middle");
    made.dataset.time = time.toISOString();
    marks.push(made);
  }
  axis.replaceChildren(...marks);
}

function showAll(root) {
  root.querySelectorAll?.("time").forEach(show);
  root.querySelectorAll?.("svg[data-step]").forEach(place);
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
