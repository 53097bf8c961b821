"use strict";
const stage = document.getElementById("stage");
const photo = document.getElementById("photo");
const frame = document.getElementById("frame");
const fields = document.getElementById("crop").elements;
let start = null;

function show() {
  const scale = photo.clientWidth / photo.getAttribute("width");
  const px = (name) => `${fields[name].value * scale}px`;
  Object.assign(frame.style, { left: px("x"), top: px("y"), width: px("w"), height: px("h") });
}

function place(event) {
  const box = photo.getBoundingClientRect();
  const scale = photo.getAttribute("width") / box.width;
  const clamp = (value, most) => Math.round(Math.max(0, Math.min(value, most)) * scale);
  return { x: clamp(event.clientX - box.left, box.width), y: clamp(event.clientY - box.top, box.height) };
}

stage.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  stage.setPointerCapture(event.pointerId);
  start = place(event);
});
stage.addEventListener("pointermove", (event) => {
  if (!start) return;
  const end = place(event);
  const side = Math.max(1, Math.min(Math.abs(end.x - start.x), Math.abs(end.y - start.y)));
  fields.x.value = end.x < start.x ? start.x - side : start.x;
  fields.y.value = end.y < start.y ? start.y - side : start.y;
  fields.w.value = fields.h.value = side;
  show();
});
stage.addEventListener("pointerup", () => { start = null; });
document.getElementById("crop").addEventListener("input", show);
window.addEventListener("resize", show);
window.addEventListener("load", show);
