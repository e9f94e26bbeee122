"use strict";

// Before and after. The range carries the value and the keyboard; the pointer is read from the picture around it, as
// some browsers let a range be dragged by its thumb alone.
for (const compare of document.querySelectorAll(".compare:not(.alone)")) {
  const range = compare.querySelector("input");
  const show = () => compare.style.setProperty("--at", range.value + "%");
  const follow = (event) => {
    const box = compare.getBoundingClientRect();
    range.value = (100 * (event.clientX - box.left)) / box.width;
    show();
  };
  range.addEventListener("input", show);
  range.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageUp: 10, PageDown: -10 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    range.value = Number(range.value) + steps[event.key];
    show();
  });
  let dragged = false; // not hasPointerCapture: a quick last move comes after the capture's end
  compare.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    dragged = true;
    compare.setPointerCapture(event.pointerId);
    range.focus({ preventScroll: true });
    follow(event);
  });
  compare.addEventListener("pointermove", (event) => {
    if (dragged) follow(event);
    dragged &&= event.buttons !== 0;
  });
  compare.addEventListener("pointerup", (event) => {
    if (dragged) follow(event);
    dragged = false;
  });
  compare.addEventListener("pointercancel", () => { dragged = false; });
  show(); // a reloaded page may come with another value
}

// Commands to copy.
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    button.textContent = (await copyText(button.dataset.copy)) ? "Copied" : "Failed";
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
}

// The full-size view: a canvas of device pixels. `zoom` is device pixels for each pixel of the picture, `x` and `y` are
// the device pixels at which the picture begins.
const TILE = 512;
const TILES_KEPT = 240;
const dialog = document.getElementById("view");
const canvas = dialog.querySelector("canvas");
const context = canvas.getContext("2d", { alpha: false });
const buttons = [...document.querySelectorAll(".open")];
const action = (name) => dialog.querySelector(`[data-do=${name}]`);
let index = 0, picture = null, zoom = 1, x = 0, y = 0, fitted = true, waiting = 0;

function load(source) {
  const image = new Image();
  image.decoding = "async";
  image.onload = () => { image.state = "here"; redraw(); };
  image.onerror = () => { image.state = "missing"; redraw(); };
  image.src = source;
  return image;
}

function view(number) {
  index = number;
  const data = buttons[index].dataset;
  picture = {
    width: Number(data.width), height: Number(data.height), preview: load(data.preview),
    full: null, fullSource: data.full, tiles: data.tiles, levels: Number(data.levels || 0), cache: new Map(),
  };
  dialog.querySelector(".name").textContent = data.name;
  canvas.setAttribute("aria-label", data.name + ", painted. Arrow keys move, plus and minus zoom, 1 shows the actual size, 0 the whole picture.");
  action("previous").disabled = index === 0;
  action("next").disabled = index === buttons.length - 1;
  if (!dialog.open) dialog.showModal();
  canvas.focus();
  resize();
  fit();
}

function resize() {
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
}

function fitZoom() {
  const bar = dialog.querySelector(".bar").offsetHeight * window.devicePixelRatio;
  return Math.min(canvas.width / picture.width, (canvas.height - bar) / picture.height, 8);
}

function fit() {
  zoom = fitZoom();
  const bar = dialog.querySelector(".bar").offsetHeight * window.devicePixelRatio;
  x = (canvas.width - picture.width * zoom) / 2;
  y = (canvas.height - bar - picture.height * zoom) / 2;
  fitted = true;
  redraw();
}

function zoomTo(wanted, atX = canvas.width / 2, atY = canvas.height / 2) {
  const next = Math.min(8, Math.max(Math.min(fitZoom(), 1), wanted));
  x = atX - ((atX - x) * next) / zoom;
  y = atY - ((atY - y) * next) / zoom;
  zoom = next;
  fitted = false;
  redraw();
}

function move(byX, byY) {
  if (!byX && !byY) return;
  x += byX;
  y += byY;
  fitted = false;
  redraw();
}

function keepInSight() {
  const hold = (at, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));
  const bar = dialog.querySelector(".bar").offsetHeight * window.devicePixelRatio;
  x = hold(x, picture.width * zoom, canvas.width);
  y = hold(y, picture.height * zoom, canvas.height - bar);
}

function redraw() {
  if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; if (dialog.open) draw(); });
}

function draw() {
  keepInSight();
  const left = Math.round(x), top = Math.round(y);
  const width = Math.round(picture.width * zoom), height = Math.round(picture.height * zoom);
  context.fillStyle = "#0d0d0d";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = zoom < 1;
  context.imageSmoothingQuality = "high";
  const preview = picture.preview;
  let loading = !preview.state, missing = false;
  if (preview.state === "here") {
    const sharp = context.imageSmoothingEnabled;
    context.imageSmoothingEnabled = true;
    context.drawImage(preview, left, top, width, height);
    context.imageSmoothingEnabled = sharp;
  }
  const enough = preview.state === "here" && zoom < 1 && width <= preview.naturalWidth;
  if (!enough && picture.tiles) {
    [loading, missing] = drawTiles(left, top);
  } else if (!enough && picture.fullSource) {
    picture.full ??= load(picture.fullSource);
    if (picture.full.state === "here") context.drawImage(picture.full, left, top, width, height);
    loading = !picture.full.state;
    missing = picture.full.state === "missing";
  }
  canvas.dataset.state = missing ? "missing" : loading ? "loading" : "ready";
  canvas.dataset.zoom = zoom;
  canvas.dataset.left = left;
  canvas.dataset.top = top;
  const size = `${picture.width} × ${picture.height} px`;
  const note = missing ? ", the full-size file no longer exists" : loading ? ", loading" : "";
  dialog.querySelector(".state").textContent = `${Math.round(zoom * 100)} % of ${size}${note}`;
}

function drawTiles(left, top) {
  const level = Math.min(picture.levels - 1, Math.max(0, Math.floor(-Math.log2(zoom) + 1e-6)));
  const span = TILE * 2 ** level; // pixels of the picture in a tile
  const firstColumn = Math.max(0, Math.floor(-left / zoom / span)), firstRow = Math.max(0, Math.floor(-top / zoom / span));
  const right = Math.min(picture.width, (canvas.width - left) / zoom), bottom = Math.min(picture.height, (canvas.height - top) / zoom);
  let loading = false, missing = false;
  for (let row = firstRow; row * span < bottom; row++) {
    for (let column = firstColumn; column * span < right; column++) {
      const name = `${picture.tiles}/${level}-${row}-${column}.jpg`;
      let tile = picture.cache.get(name);
      picture.cache.delete(name); // and to the end again: the first one is the one unused for longest
      tile ??= load(name);
      picture.cache.set(name, tile);
      loading ||= !tile.state;
      missing ||= tile.state === "missing";
      if (tile.state !== "here") continue;
      const x0 = left + Math.round(column * span * zoom), y0 = top + Math.round(row * span * zoom);
      const x1 = left + Math.round(Math.min(picture.width, (column + 1) * span) * zoom);
      const y1 = top + Math.round(Math.min(picture.height, (row + 1) * span) * zoom);
      context.drawImage(tile, x0, y0, x1 - x0, y1 - y0);
    }
  }
  for (const name of picture.cache.keys()) {
    if (picture.cache.size <= TILES_KEPT) break;
    picture.cache.delete(name);
  }
  return [loading, missing];
}

const actions = {
  previous: () => { if (index > 0) view(index - 1); },
  next: () => { if (index < buttons.length - 1) view(index + 1); },
  in: () => zoomTo(zoom * Math.SQRT2),
  out: () => zoomTo(zoom / Math.SQRT2),
  fit,
  one: () => zoomTo(1),
  close: () => dialog.close(),
};
for (const [name, act] of Object.entries(actions)) action(name).addEventListener("click", act);
buttons.forEach((button, number) => {
  button.addEventListener("click", () => view(number));
  button.closest(".card").querySelector(".compare").addEventListener("dblclick", () => view(number));
});
dialog.addEventListener("close", () => {
  if (dialog.open) return; // the event comes later than the closing: it may be open again
  picture = null;
  buttons[index].focus();
});
window.addEventListener("resize", () => {
  if (!dialog.open) return;
  resize();
  if (fitted) fit();
  else redraw();
});

dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = (event.shiftKey ? 0.9 : 0.15) * Math.min(canvas.width, canvas.height);
  const keys = {
    ArrowLeft: () => move(step, 0), ArrowRight: () => move(-step, 0), ArrowUp: () => move(0, step), ArrowDown: () => move(0, -step),
    "+": actions.in, "=": actions.in, "-": actions.out, _: actions.out, 0: fit, 1: actions.one,
    PageUp: actions.previous, PageDown: actions.next,
  };
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});

// One pointer moves the picture, two pinch it.
const pointers = new Map();
const place = (event) => {
  const box = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio;
  return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
};
const middleAndSpread = () => {
  const [a, b] = [...pointers.values()];
  return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, Math.hypot(a[0] - b[0], a[1] - b[1]) || 1];
};
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, place(event));
  canvas.classList.add("moving");
});
canvas.addEventListener("pointermove", (event) => {
  if (!pointers.has(event.pointerId)) return;
  const before = pointers.get(event.pointerId), now = place(event);
  if (pointers.size === 1) {
    move(now[0] - before[0], now[1] - before[1]);
    pointers.set(event.pointerId, now);
  } else if (pointers.size === 2) {
    const [fromX, fromY, from] = middleAndSpread();
    pointers.set(event.pointerId, now);
    const [toX, toY, to] = middleAndSpread();
    move(toX - fromX, toY - fromY);
    zoomTo((zoom * to) / from, toX, toY);
  }
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) canvas.classList.remove("moving");
  });
}
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 16 : 1;
  zoomTo(zoom * Math.exp(-event.deltaY * lines * 0.0022), ...place(event));
}, { passive: false });
canvas.addEventListener("dblclick", (event) => {
  if (fitted) zoomTo(1, ...place(event));
  else fit();
});
