"use strict";
// A line under the pointer in every chart, and the values there; the page is complete without it.
const nearest = (points, step) => {
  let low = 0, high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < step) low = middle + 1; else high = middle;
  }
  return low > 0 && step - points[low - 1][0] < points[low][0] - step ? points[low - 1] : points[low];
};
const make = (name, parent) => parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name));
const numbers = text => text.split(" ").map(Number);
const charts = [...document.querySelectorAll("svg.chart")].map(svg => ({
  svg, x: numbers(svg.dataset.x), box: numbers(svg.dataset.box), layer: make("g", svg), lines: null,
}));
const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip";
tip.hidden = true;

const linesOf = chart => chart.lines ??= [...chart.svg.querySelectorAll("[data-points]")].map(path => ({
  label: path.dataset.label, color: path.classList[1],
  points: path.dataset.points.split(" ").map(pair => pair.split(":").map(Number)).sort((a, b) => a[0] - b[0]),
}));

const draw = (chart, step) => {
  const [left, top, width, height] = chart.box, [first, last] = chart.x;
  const isLog = chart.svg.parentNode.querySelector(".toggle")?.checked;
  const [low, high] = numbers(chart.svg.querySelector(isLog ? ".log" : ".lin").dataset.y);
  const scale = isLog ? Math.log : Number;
  const across = at => left + (at - first) / Math.max(1, last - first) * width;
  chart.layer.replaceChildren();
  const cursor = make("path", chart.layer);
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("d", `M${across(step)},${top}v${height}`);
  return linesOf(chart).map(line => {
    const [at, value] = nearest(line.points, step);
    if (!isLog || value > 0) {
      const spot = make("circle", chart.layer);
      spot.setAttribute("class", `spot ${line.color}`);
      spot.setAttribute("r", 4);
      spot.setAttribute("cx", across(at));
      spot.setAttribute("cy", top + height * (1 - (scale(value) - scale(low)) / (scale(high) - scale(low))));
    }
    return { ...line, at, value };
  }).filter(({ at }) => Math.abs(at - step) <= (last - first) / 10);
};

const tell = (event, step, found) => {
  tip.replaceChildren(`step ${step.toLocaleString("en")}`);
  for (const { label, color, at, value } of found) {
    const row = tip.appendChild(document.createElement("div"));
    const key = row.appendChild(document.createElement("i"));
    key.className = color;
    row.append(label);
    row.appendChild(document.createElement("b")).textContent = value;
    if (at !== step) row.appendChild(document.createElement("small")).textContent = ` at ${at.toLocaleString("en")}`;
  }
  tip.hidden = false;
  const right = event.clientX + 16 + tip.offsetWidth > innerWidth;
  tip.style.left = `${right ? event.clientX - 16 - tip.offsetWidth : event.clientX + 16}px`;
  tip.style.top = `${Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 8)}px`;
};

for (const chart of charts) {
  chart.svg.addEventListener("pointermove", event => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.svg.getScreenCTM().inverse());
    const [first, last] = chart.x, [left, , width] = chart.box;
    const wanted = Math.min(last, Math.max(first, first + (place.x - left) / width * (last - first)));
    const candidates = linesOf(chart).map(line => nearest(line.points, wanted)[0]);
    const step = candidates.reduce((a, b) => Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a);
    for (const other of charts) if (other !== chart && other.x.join() === chart.x.join()) draw(other, step);
    tell(event, step, draw(chart, step));
  });
  chart.svg.addEventListener("pointerleave", () => {
    tip.hidden = true;
    for (const other of charts) other.layer.replaceChildren();
  });
}
