// Drawing on canvases: sharp on every screen, in the colours of the page's CSS variables. Nothing here knows a model or a recording.

let ofTheme = {};  // the colours of a theme: to ask for one takes as long as to draw a hundred marks

export function colour(name) {
  const { theme } = document.documentElement.dataset;
  if (ofTheme.theme !== theme) ofTheme = { theme };
  return ofTheme[name] ??= getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export const waveColours = () => [0, 1, 2, 3].map(number => colour(`wave-${number}`));

/** A canvas' context in CSS pixels, cleared, and its size. */
export function sheet(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = `11px ${colour('font')}`;
  context.lineJoin = 'round';
  return { context, width, height };
}

/** A scale from numbers to pixels. */
export function scale(from, until, first, last) {
  const factor = until === from ? 0 : (last - first) / (until - from);
  const to = value => first + (value - from) * factor;
  to.back = pixel => factor ? from + (pixel - first) / factor : from;
  return to;
}

/** Round numbers between two ends, about as many as asked for. */
export function ticks(from, until, count) {
  const raw = (until - from) / Math.max(count, 1);
  if (!(raw > 0)) return [from];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(each => each * power).find(each => each >= raw);
  const places = [];
  for (let place = Math.ceil(from / step - 1e-9) * step; place <= until + step * 1e-9; place += step) places.push(Number(place.toPrecision(10)));
  return places;
}

/** Moments of whole minutes, for long times. */
export function minutes(from, until, count) {
  const step = [60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400].find(each => (until - from) / each <= count) ?? 86400;
  return Array.from({ length: Math.floor(until / step) - Math.ceil(from / step) + 1 }, (_, place) => (Math.ceil(from / step) + place) * step);
}

/** A number as it is printed, with a true minus sign. */
export const minus = value => String(value).replace('-', '−');

/** A line through points; NaN and null break it. */
export function line(context, xs, ys, stroke, width = 1, dash = []) {
  context.strokeStyle = stroke;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.beginPath();
  let isDown = false;
  for (let place = 0; place < xs.length; place += 1) {
    if (ys[place] === null || !Number.isFinite(ys[place])) { isDown = false; continue; }
    if (isDown) context.lineTo(xs[place], ys[place]); else context.moveTo(xs[place], ys[place]);
    isDown = true;
  }
  context.stroke();
  context.setLineDash([]);
}

/** A signal by the least and largest sample of each column; `x` is the middle of a column in pixels. Columns without samples are null.
 *
 * The columns of one pixel are one bar as wide as it, so that no peak is lost; each bar reaches to the one before it.
 */
export function envelope(context, { least, largest }, first, last, x, y, fill) {
  const pixel = 1 / (window.devicePixelRatio || 1);
  let isOfSamples = true;
  for (let column = first; column <= last && isOfSamples; column += 1) isOfSamples = least[column] === largest[column];
  if (isOfSamples || x(1) - x(0) > 1.5 * pixel) { sparse(context, least, largest, first, last, x, y, fill); return; }
  let bar = null, before = null;
  const draw = right => {
    const low = before ? Math.min(bar.low, before.high) : bar.low, high = before ? Math.max(bar.high, before.low) : bar.high;
    context.fillRect(bar.left, y(high) - 0.5, right - bar.left, y(low) - y(high) + 1);
  };
  context.fillStyle = fill;
  for (let column = first; column <= last; column += 1) {
    const low = least[column], high = largest[column], left = Math.floor(x(column) / pixel) * pixel;
    if (bar?.left === left && low !== null) { bar.low = Math.min(bar.low, low); bar.high = Math.max(bar.high, high); continue; }
    if (bar) draw(low === null ? bar.left + pixel : left);
    before = low === null ? null : bar;
    bar = low === null ? null : { left, low, high };
  }
  if (bar) draw(bar.left + pixel);
}

/** The same where columns are single samples, or wider than a pixel: a line for each, and lines between their middles. */
function sparse(context, least, largest, first, last, x, y, stroke) {
  context.strokeStyle = stroke;
  context.lineWidth = 1;
  context.beginPath();
  for (let column = first; column <= last; column += 1) {
    if (least[column] === null) continue;
    const place = x(column), next = column < last && least[column + 1] !== null;
    context.moveTo(place, y(least[column]) + 0.5);
    context.lineTo(place, y(largest[column]) - 0.5);
    if (next) { context.moveTo(place, y((least[column] + largest[column]) / 2)); context.lineTo(x(column + 1), y((least[column + 1] + largest[column + 1]) / 2)); }
  }
  context.stroke();
}

/** Diagonal lines over a rectangle: what is not used. */
export function hatch(context, left, top, width, height, stroke) {
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.strokeStyle = stroke;
  context.lineWidth = 1;
  context.beginPath();
  for (let place = left - height; place < left + width; place += 7) {
    context.moveTo(place, top + height);
    context.lineTo(place + height, top);
  }
  context.stroke();
  context.restore();
}

/** A colour between two, as [red, green, blue]: the first where `part` is 0, the second where it is 1. */
export function mix(from, to, part) {
  const first = rgb(from), last = rgb(to);
  return first.map((value, place) => Math.round(value + (last[place] - value) * part));
}

export function rgb(text) {
  const hex = text.replace('#', '');
  return [0, 2, 4].map(place => parseInt(hex.slice(place, place + 2), 16));
}

/** Viridis in nine steps, between which colours are mixed; the map of the figures. */
const VIRIDIS = ['#440154', '#472d7b', '#3b528b', '#2c728e', '#21918c', '#28ae80', '#5ec962', '#addc30', '#fde725'];
export const VIRIDIS_TABLE = Array.from({ length: 256 }, (_, number) => {
  const place = number / 255 * 8, low = Math.min(Math.floor(place), 7);
  return mix(VIRIDIS[low], VIRIDIS[low + 1], place - low);
});

/** Blue for less, orange for more, the ground between: for -1 to 1. */
export function signed(part) {
  return mix(colour('ground'), colour(part < 0 ? 'less' : 'more'), Math.min(Math.abs(part), 1));
}

export const css = values => `rgb(${values.join(' ')})`;

/** Black or white, whichever can be read on a colour. */
export function readable([red, green, blue]) {
  const light = [red, green, blue].map(value => { const part = value / 255; return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] > 0.18 ? '#000000' : '#ffffff';
}

/** An element with properties, attributes (`role`, and names with a dash) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'on') for (const [event, handler] of Object.entries(value)) made.addEventListener(event, handler);
    else if (name.includes('-') || name === 'role') made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

/** Other children in a place. The focus stays on the control with the same label, else in the same place, so that the keyboard can go on. */
export function replace(place, ...children) {
  const controls = () => [...place.querySelectorAll('button, input, select')], label = control => control.getAttribute('aria-label') ?? control.textContent;
  const before = document.activeElement, at = controls().indexOf(before);
  place.replaceChildren(...children);
  if (at < 0) return;
  const after = controls(), next = [after.find(each => label(each) === label(before)), ...after.slice(at), ...after.slice(0, at).reverse()].find(each => each && !each.disabled);
  if (!next) place.tabIndex = -1;
  (next ?? place).focus();
}
