// Polygons drawn on a camera's test picture; they are kept in the form as JSON, in pixels of the picture.
const SVG = "http://www.w3.org/2000/svg";
const STEP = 0.02; // of the picture's width, for the arrow keys

const form = document.getElementById("camera");
let regions = JSON.parse(form.elements.regions.value || "[]");
let open = null;
let hand = null;

const picture = () => form.querySelector("[data-picture]");
const size = () => [Number(picture().dataset.width), Number(picture().dataset.height)];

/** Regions that were drawn on a picture of another size are brought to this one's. */
function fit() {
  const drawn = JSON.parse(form.elements.region_size.value || "null");
  const [width, height] = size();
  if (drawn) regions = regions.map((corners) => corners.map(([x, y]) => [Math.round((x * width) / drawn[0]), Math.round((y * height) / drawn[1])]));
  keep();
}

function keep() {
  form.elements.regions.value = JSON.stringify(regions);
  form.elements.region_size.value = JSON.stringify(regions.length ? size() : null);
  draw();
  judge();
}

function add(parent, name, attributes, kind = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.setAttribute("class", kind);
  parent.append(element);
}

function draw() {
  const layer = picture().querySelector("[data-layer]");
  layer.replaceChildren();
  const points = (corners) => corners.map((corner) => corner.join()).join(" ");
  for (const corners of regions) add(layer, "polygon", { points: points(corners) });
  if (!open) return;
  add(layer, "polyline", { points: points(open) }, "drawing-now");
  const radius = size()[0] / 130;
  for (const [cx, cy] of hand ? [...open, hand] : open) add(layer, "circle", { cx, cy, r: radius });
}

function inside([x, y], corners) {
  let within = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [xi, yi] = corners[i];
    const [xj, yj] = corners[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) within = !within;
  }
  return within;
}

/** Who would not count because their feet are outside every region. */
function judge() {
  for (const line of form.querySelectorAll("[data-feet]")) {
    const feet = line.dataset.feet.split(",").map(Number);
    line.querySelector("[data-outside]").hidden = !regions.length || regions.some((corners) => inside(feet, corners));
  }
}

function place(event) {
  const svg = picture().querySelector("svg");
  const { left, top, width, height } = svg.getBoundingClientRect();
  const [w, h] = size();
  return [Math.round(((event.clientX - left) / width) * w), Math.round(((event.clientY - top) / height) * h)];
}

function close() {
  if (open?.length >= 3) regions.push(open);
  open = hand = null;
  keep();
}

function corner([x, y]) {
  if (!open) return;
  const [first] = open;
  if (open.length >= 3 && Math.hypot(x - first[0], y - first[1]) < size()[0] / 50) return close();
  open.push([x, y]);
  draw();
}

function begin() {
  if (!picture()) return;
  const [width, height] = size();
  open = [];
  hand = [Math.round(width / 2), Math.round(height / 2)];
  picture().querySelector("svg").focus();
  draw();
}

function move(key) {
  const by = size()[0] * STEP;
  const [dx, dy] = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] }[key];
  const [width, height] = size();
  hand = [Math.round(Math.min(Math.max(hand[0] + dx, 0), width)), Math.round(Math.min(Math.max(hand[1] + dy, 0), height))];
  draw();
}

form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-regions]");
  if (button?.dataset.regions === "new") begin();
  if (button?.dataset.regions === "clear") {
    regions = [];
    if (picture()) keep();
  }
  if (event.target.closest("[data-picture] svg")) corner(place(event));
});
form.addEventListener("keydown", (event) => {
  if (!open || !event.target.closest("[data-picture] svg")) return;
  if (event.key.startsWith("Arrow")) move(event.key);
  else if (event.key === " ") corner(hand);
  else if (event.key === "Enter") close();
  else if (event.key === "Backspace") open.pop();
  else if (event.key === "Escape") open = hand = null;
  else return;
  event.preventDefault();
  draw();
});
document.addEventListener("htmx:load", () => picture() && fit());
if (picture()) fit();
