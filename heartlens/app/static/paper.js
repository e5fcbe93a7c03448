// The recording as paper: all of it above, the window beneath it. Views lay things over the window through `layers` and `grab`.

import { Shapes } from './beat_marks.js';
import { colour, envelope, hatch, line, minus, minutes, readable, rgb, scale, sheet, ticks, waveColours } from './draw.js';

const LEFT = 46, RIGHT = 8, TOKENS = 500;

export class Paper {
  constructor(app) {
    this.app = app;
    this.overview = document.getElementById('overview');
    this.window = document.getElementById('window');
    this.layers = {};      // shade: {row, isSigned, most}, ghost: samples, handles: [{token, level, label, fill, isHeld}], beats: [{token, band}]
    this.grab = null;      // a view's {at(token, level, isShift), move(held, token, level), drop(held, token, level)}
    this.shown = null;     // [from, until] in seconds of the overview
    this.hidden = new Set();
    this._listen();
    new ResizeObserver(() => this.draw()).observe(this.overview);
  }

  /** The whole recording from now on, or a part of it. */
  async look(from, until) {
    const { recording } = this.app.state;
    if (!recording) return;
    this.shown = [Math.max(from ?? 0, 0), Math.min(until ?? recording.duration_s, recording.duration_s)];
    this.drawOverview();
    const columns = Math.min(Math.max(Math.round((this.overview.clientWidth - LEFT - RIGHT) * (window.devicePixelRatio || 1)), 2), 4000);
    const [first, last] = this.shown;
    await this.app.attempt(async () => {
      this.columns = await this.app.ask('signal', 'overview', { from_s: first, until_s: last, n_columns: columns }, { latest: 'overview' });
      this.drawOverview();
    });
  }

  draw() { this.drawOverview(); this.drawWindow(); }

  drawOverview() {
    const { recording, window } = this.app.state, { context, width, height } = sheet(this.overview);
    context.fillStyle = colour('sheet');
    context.fillRect(0, 0, width, height);
    if (!recording || !this.shown) return;
    const [from, until] = this.shown, x = scale(from, until, LEFT, width - RIGHT), bottom = height - 14;
    context.textAlign = 'center';
    for (const place of until - from > 600 ? minutes(from, until, width / 90) : ticks(from, until, width / 90)) {
      context.fillStyle = colour('grid');
      context.fillRect(x(place), 0, 1, bottom);
      context.fillStyle = colour('dim');
      const text = until > 600 ? clock(place) : `${place} s`, half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(Math.max(x(place), LEFT + half - 4), width - half - 2), height - 3);
    }
    if (this.columns && this.columns.least.length) {
      const { least, largest, from_s, until_s } = this.columns, finite = [...least, ...largest].filter(value => value !== null);
      const y = scale(Math.min(...finite), Math.max(...finite), bottom - 3, 4), own = scale(0, least.length - 1, x(from_s), x(until_s));
      envelope(context, this.columns, 0, least.length - 1, own, y, colour('trace'));
    }
    for (const [first, last, reason] of recording.skipped) {
      if (last < from || first > until) continue;
      const left = x(Math.max(first, from)), right = x(Math.min(last, until));
      hatch(context, left, 0, right - left, bottom, colour('hatch'));
      if (right - left > 60) {
        const length = Math.min(context.measureText(reason).width + 8, right - left - 4), middle = (left + right) / 2;
        context.fillStyle = colour('sheet');
        context.fillRect(middle - length / 2, bottom / 2 - 8, length, 15);
        context.fillStyle = colour('dim');
        context.fillText(reason, middle, bottom / 2 + 3, length - 4);
      }
    }
    if (window) {
      const left = x(window.start_s), right = x(window.start_s + TOKENS / window.rate_hz);
      context.globalAlpha = 0.16;
      context.fillStyle = colour('accent');
      context.fillRect(left, 0, Math.max(right - left, 2), bottom);
      context.globalAlpha = 1;
      context.strokeStyle = colour('accent');
      context.lineWidth = 1.5;
      context.strokeRect(left, 0.75, Math.max(right - left, 2), bottom - 1.5);
      this.overview.setAttribute('aria-valuemax', recording.duration_s.toFixed(1));
      this.overview.setAttribute('aria-valuenow', window.start_s.toFixed(2));
    }
  }

  /** From tokens and token values to pixels of the window's canvas. */
  get axes() {
    const width = this.window.clientWidth, height = this.window.clientHeight;
    return { x: scale(0, TOKENS - 1, LEFT, width - RIGHT), y: scale(-4, 104, height - 22, 12), width, height };
  }

  drawWindow() {
    const { window, token, recording } = this.app.state, { context, width, height } = sheet(this.window);
    context.fillStyle = colour('sheet');
    context.fillRect(0, 0, width, height);
    if (!window || !recording) return;
    const { x, y } = this.axes, { shade, ghost, handles, beats } = this.layers, bottom = height - 18;
    this._axes(context, window, recording, x, y, bottom);
    this._waves(context, window, recording, x, bottom);
    if (shade) this._shade(context, shade, x, bottom);
    const xs = Array.from({ length: TOKENS }, (_, place) => x(place));
    if (ghost) line(context, xs, Array.from(ghost, value => y(value)), colour('ghost'), 1.2, [4, 3]);
    line(context, xs, window.tokens.map(value => y(value)), colour('trace'), 1.3);
    if (beats) this._beats(context, beats, x, y);
    if (token !== null) {
      context.strokeStyle = colour('accent');
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x(token), 4);
      context.lineTo(x(token), bottom);
      context.stroke();
      dot(context, x(token), y(window.tokens[token]), 4, colour('accent'));
      this.window.setAttribute('aria-valuenow', token + 1);
      this.window.setAttribute('aria-valuetext', this._said(token));
    }
    const named = (handles ?? []).map(each => ({ middle: x(each.token), wide: 14, high: y(each.level) }));  // no name on a handle
    for (const handle of handles ?? []) {
      const fill = handle.fill ?? colour(handle.isHeld ? 'more' : 'accent');
      dot(context, x(handle.token), y(handle.level), 5, handle.isHeld ? fill : colour('ground'), fill);
      if (handle.label) {  // beside its handle; on the left of it where there is no room on the right
        const wide = context.measureText(handle.label).width + 12, right = x(handle.token) + 12, middle = right + wide < width ? right + wide / 2 : x(handle.token) - 12 - wide / 2;
        const beside = Math.max(y(handle.level), 12), isFree = high => high > 10 && high < bottom - 8 && !named.some(each => Math.abs(each.middle - middle) < (each.wide + wide) / 2 && Math.abs(each.high - high) < 18);
        const high = [0, 18, -18, 36, -36, 54, -54, 72, -72, 90, -90, 108, -108].map(by => beside + by).find(isFree) ?? beside;
        named.push({ middle, wide, high });
        context.fillStyle = fill;
        context.fillRect(middle - wide / 2, high - 9, wide, 17);
        context.fillStyle = readable(rgb(fill));
        context.textAlign = 'center';
        context.fillText(handle.label, middle, high + 3.5);
      }
    }
  }

  _axes(context, window, recording, x, y, bottom) {
    context.textAlign = 'right';
    const amplitude = scale(window.low, window.high, 0, 100);
    for (const place of ticks(window.low, window.high, 4)) {
      const level = amplitude(place);
      context.fillStyle = colour('grid');
      context.fillRect(LEFT, y(level), this.window.clientWidth - LEFT - RIGHT, 1);
      context.fillStyle = colour('dim');
      context.fillText(minus(Number(place.toPrecision(4))), LEFT - 5, y(level) + 4);
    }
    context.textAlign = 'left';
    context.fillText(recording.unit, 4, 11);
    context.textAlign = 'center';
    const until = window.start_s + (TOKENS - 1) / window.rate_hz;
    for (const place of ticks(window.start_s, until, 10)) {
      const left = x((place - window.start_s) * window.rate_hz);
      context.fillStyle = colour('grid');
      context.fillRect(left, 0, 1, bottom);
      context.fillStyle = colour('dim');
      context.fillText(`${place} s`, Math.min(left, this.window.clientWidth - 20), bottom + 14);
    }
  }

  _waves(context, window, recording, x, bottom) {
    const colours = waveColours(), half = (x(1) - x(0)) / 2;
    for (const { wave, first, last } of window.waves) {
      if (this.hidden.has(wave)) continue;
      const left = x(first) - half, wide = x(last) - x(first) + 2 * half;
      const number = recording.waves.indexOf(wave);
      context.fillStyle = colours[number];
      bar(context, number, left, bottom - 5, wide);
      context.globalAlpha = 0.07;
      context.fillRect(left, 0, wide, bottom - 5);
      context.globalAlpha = 1;
    }
  }

  /** Beats above the line, by how sure the detector is of each. */
  _beats(context, beats, x, y) {
    const { tokens } = this.app.state.window, shapes = new Shapes(context, 4);
    for (const { token, band } of beats) shapes.put(band, x(token), Math.max(y(tokens[Math.min(Math.round(token), TOKENS - 1)]) - 9, 7));
    shapes.show();
  }

  _shade(context, { row, isSigned, most }, x, bottom) {
    const half = (x(1) - x(0)) / 2, largest = most || 1e-9, middle = isSigned ? bottom / 2 : bottom - 5, room = isSigned ? bottom / 2 - 8 : bottom - 18;
    context.globalAlpha = 0.62;
    for (let place = 0; place < row.length; place += 1) {
      if (!row[place]) continue;
      const part = Math.max(Math.min(row[place] / largest, 1), -1);
      context.fillStyle = colour(isSigned ? (part < 0 ? 'less' : 'more') : 'shade');
      context.fillRect(x(place) - half, middle - Math.max(part, 0) * room, 2 * half + 0.4, Math.abs(part) * room);
    }
    context.globalAlpha = 1;
  }

  _said(token) {
    const { window } = this.app.state, wave = window.waves.find(each => each.first <= token && token <= each.last);
    const time = window.start_s + token / window.rate_hz;
    return `token ${token + 1} at ${time.toFixed(2)} s, value ${window.tokens[token]}, ${minus(Number(window.samples[token].toPrecision(3)))} ${this.app.state.recording.unit}${wave ? `, ${wave.wave.replace('_', ' ')}` : ''}`;
  }

  _listen() {
    let sliding = null, held = null;
    const seconds = event => {
      const x = scale(this.shown[0], this.shown[1], LEFT, this.overview.clientWidth - RIGHT);
      return x.back(event.offsetX);
    };
    const zoom = (factor, middle) => {
      const [from, until] = this.shown, least = 2 * TOKENS / (this.app.state.window?.rate_hz ?? 100);
      if ((until - from) * factor > least || factor > 1) this.look(middle - (middle - from) * factor, middle + (until - middle) * factor);
    };
    this.overview.addEventListener('pointerdown', event => {
      if (!this.app.state.window) return;
      this.overview.setPointerCapture(event.pointerId);
      const { window } = this.app.state, length = TOKENS / window.rate_hz, place = seconds(event);
      sliding = place >= window.start_s && place <= window.start_s + length ? place - window.start_s : length / 2;
      if (sliding === length / 2) this.app.slide(place - sliding);
    });
    this.overview.addEventListener('pointermove', event => { if (sliding !== null) this.app.slide(seconds(event) - sliding); });
    this.overview.addEventListener('pointerup', () => { sliding = null; });
    this.overview.addEventListener('wheel', event => {
      if (!this.shown) return;
      event.preventDefault();
      const [from, until] = this.shown, factor = event.deltaY > 0 ? 1.3 : 1 / 1.3;
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        const by = Math.sign(event.deltaX || event.deltaY) * (until - from) * 0.15;
        const first = Math.min(Math.max(from + by, 0), this.app.state.recording.duration_s - (until - from));
        this.look(first, first + until - from);
      } else zoom(factor, seconds(event));
    }, { passive: false });
    this.overview.addEventListener('keydown', event => {
      const steps = { ArrowLeft: -0.1, ArrowRight: 0.1, PageUp: -1, PageDown: 1 }, { window, recording } = this.app.state;
      if (!window) return;
      const length = TOKENS / window.rate_hz;
      if (event.key in steps) this.app.slide(window.start_s + steps[event.key] * length);
      else if (event.key === 'Home') this.app.slide(0);
      else if (event.key === 'End') this.app.slide(recording.duration_s);
      else if (event.key === '+' || event.key === '-') zoom(event.key === '+' ? 1 / 1.3 : 1.3, window.start_s + length / 2);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const place = event => {
      const { x, y } = this.axes;
      return [Math.min(Math.max(Math.round(x.back(event.offsetX)), 0), TOKENS - 1), y.back(event.offsetY)];
    };
    this.window.addEventListener('pointerdown', event => {
      if (!this.app.state.window) return;
      const [token, level] = place(event);
      held = this.grab?.at(token, level, event.shiftKey) ?? null;
      if (held) this.window.setPointerCapture(event.pointerId);
      else this.app.pick(token);
    });
    this.window.addEventListener('pointermove', event => {
      if (!this.app.state.window) return;
      const [token, level] = place(event);
      if (held) this.grab.move(held, token, level);
      else if (event.buttons === 1) this.app.pick(token);
      this.window.style.cursor = held || this.grab?.at(token, level) ? 'grab' : 'crosshair';
      document.getElementById('hover').textContent = this._said(token) + (this.app.view?.hover?.(token) ?? '');
    });
    this.window.addEventListener('pointerup', event => {
      if (held) this.grab.drop(held, ...place(event));
      held = null;
    });
    this.window.addEventListener('pointerleave', () => { document.getElementById('hover').textContent = ''; });
  }
}

/** Where a wave is, in a pattern of its own (the legend's swatches have the same): full, hollow, striped, thin. */
function bar(context, number, left, top, wide) {
  const pieces = [
    () => [[left, top, wide, 6]],
    () => [[left, top, wide, 1.5], [left, top + 4.5, wide, 1.5], [left, top, 1.5, 6], [left + wide - 1.5, top, 1.5, 6]],
    () => Array.from({ length: Math.ceil(wide / 5) }, (_, stripe) => [left + 5 * stripe, top, Math.min(3, wide - 5 * stripe), 6]),
    () => [[left, top + 2, wide, 2]],
  ][number]();
  for (const piece of pieces) context.fillRect(...piece);
}

function dot(context, x, y, radius, fill, stroke = null) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
  if (stroke) { context.strokeStyle = stroke; context.lineWidth = 2; context.stroke(); }
}

export function clock(seconds) {
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}:${String(whole % 60).padStart(2, '0')}`;
}

/** The token values of a window on the scale of another, which an edit may have stretched. */
export function onScale(window, other) {
  const range = other.high - other.low || 1;
  return window.samples.map(value => (value - other.low) / range * 100);
}
