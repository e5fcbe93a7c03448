// The beats of the whole recording, coloured by confidence; signal, confidence and intervals share one zoom. Drawn from least and largest samples.

import { BANDS, FROM_BELOW, Shapes, Squares, bandNames } from '../beat_marks.js';
import { colour, element, envelope, hatch, line, minutes, scale, sheet, ticks } from '../draw.js';
import { keep } from '../saving.js';

const LEFT = 46, RIGHT = 10, FINE = 3; // the drawn columns reach over so many screens
const EXAMPLE = 'simulated pulse wave, sinus rhythm';
const MOST_SHAPES = 300;  // beats that are drawn as shapes; of more, a shape could not be seen

export function mount(place, app) {
  const view = new Beats(place, app);
  view.start();
  return view;
}

class Beats {
  constructor(place, app) { Object.assign(this, { place, app, job: null, detected: null, columns: null, squares: new Squares() }); }

  start() {
    const { recording } = this.app.state;
    this.detected = null;
    this.app.paper.layers = {};
    if (!recording) { this.place.replaceChildren(element('p', { className: 'empty', textContent: 'Open a recording.' })); return; }
    document.getElementById('saving').hidden = recording.kind !== 'ppg';
    if (recording.kind !== 'ppg') {
      this.place.replaceChildren(element('p', { className: 'empty' }, 'The beat detector reads pulse waves (PPG); this recording is an ECG, whose beats are marked on the window above. ',
        element('button', { type: 'button', textContent: 'Open a simulated pulse wave', on: { click: () => this.app.attempt(() => this.app.opening.open({ example: EXAMPLE }, EXAMPLE)) } })));
      return;
    }
    this.shown = [0, Math.min(recording.duration_s, 60)];
    const button = (text, title, click) => element('button', { type: 'button', textContent: text, title, className: 'small', on: { click } });
    this.chart = element('canvas', { className: 'beat-chart', tabIndex: 0, role: 'img', 'aria-label': 'signal with its beats, confidence of each, and intervals; arrow keys move, plus and minus zoom' });
    this.state = element('output', { className: 'dim' });
    this.numbers = element('div', { className: 'row' });
    this.stop = button('Cancel', 'Stop looking for beats', () => this.app.attempt(() => this.app.ask('beats', 'cancel', { job: this.job })));
    this.place.replaceChildren(
      element('div', { className: 'row' }, button('−', 'Zoom out (-)', () => this.zoom(1.6)), button('+', 'Zoom in (+)', () => this.zoom(1 / 1.6)), button('all', 'The whole recording', () => this.look(0, recording.duration_s)),
        element('span', { className: 'dim', textContent: 'confidence:' }), ...bandNames(),
        element('span', { className: 'space' }), button('WFDB annotations', 'Save the beats as a WFDB annotation file', () => this.save('annotations')), button('.mat', 'Save context, model_output and peaks_array, as published', () => this.save('mat')), this.stop, this.state),
      this.numbers, this.chart);
    this.listen();
    this.look(...this.shown);
    this.run();
  }

  run() {
    this.app.attempt(async () => {
      this.detected = null;
      const { job, model } = await this.app.ask('beats', 'begin');
      this.job = job;
      this.place.dataset.beats = '';
      for (;;) {
        const answer = await this.app.ask('beats', 'look', { job });
        if (this.job !== job) return;
        this.state.textContent = answer.is_cancelled ? 'cancelled' : answer.is_over ? `by ${model}` : `looking for beats: ${(100 * answer.done).toFixed(0)} %`;
        this.stop.hidden = answer.is_over;
        if (answer.time_s) { this.detected = answer; this.place.dataset.beats = answer.time_s.length; this.tell(); this.draw(); this.lay(); }
        if (answer.is_over) return;
      }
    });
  }

  tell() {
    const { numbers } = this.detected, text = (value, digits = 0) => (value === null ? '–' : value.toFixed(digits));
    const told = [['beats', text(numbers.n_beats)], ['confidence low, medium, high', BANDS.map(band => text(numbers[`n_${band}`])).join(', ')], ['overall quality (mean confidence)', text(numbers.mean_confidence, 3)],
      ['per minute', text(numbers.pulses_per_minute, 1)], ['median interval', `${text(numbers.median_interval_s, 3)} s`], ['RMSSD', `${text(numbers.rmssd_s, 3)} s`], ['used', `${text(numbers.used_s)} of ${text(numbers.duration_s)} s`], ['gaps', text(numbers.n_gaps)]];
    this.numbers.replaceChildren(...told.map(([name, value]) => element('span', {}, element('span', { className: 'dim', textContent: `${name} ` }), value)));
  }

  /** The beats of the window, on the window. */
  lay() {
    if (!this.detected) return;
    const { start_s, rate_hz } = this.app.state.window, { time_s, band } = this.detected, until_s = start_s + 500 / rate_hz;
    const first = lowerBound(time_s, start_s), shown = time_s.slice(first, lowerBound(time_s, until_s));
    this.app.paper.layers = { beats: shown.map((time, place) => ({ token: (time - start_s) * rate_hz, band: band[first + place] })) };
    this.app.paper.drawWindow();
  }

  /** Move or zoom: what is there is drawn at once, finer columns follow. */
  look(from, until) {
    const { duration_s: most } = this.app.state.recording, length = Math.min(Math.max(until - from, 2), most), first = Math.min(Math.max(from, 0), most - length);
    this.shown = [first, first + length];
    if (!this.isWaiting) { this.isWaiting = true; requestAnimationFrame(() => { this.isWaiting = false; this.draw(); }); }
    clearTimeout(this.later);
    const has = this.columns && this.columns.from_s <= Math.max(first, 0) && this.columns.until_s >= Math.min(first + length, most) && (this.columns.until_s - this.columns.from_s) / length < 1.6 * FINE;
    if (!has) this.later = setTimeout(() => this.fetch(), this.columns ? 60 : 0);
  }

  fetch() {
    return this.app.attempt(async () => {
      const { duration_s: most } = this.app.state.recording, [from, until] = this.shown, length = until - from, from_s = Math.max(from - length, 0), until_s = Math.min(until + length, most);
      const wide = Math.round(this.chart.clientWidth * (window.devicePixelRatio || 1) * (until_s - from_s) / length);
      this.columns = await this.app.ask('signal', 'overview', { from_s, until_s, n_columns: Math.min(Math.max(Math.min(wide, Math.floor((until_s - from_s) * this.app.state.recording.rate_hz)), 2), 4000) }, { latest: 'beats columns' });
      this.draw();
    });
  }

  zoom(factor, middle = (this.shown[0] + this.shown[1]) / 2) { this.look(middle - (middle - this.shown[0]) * factor, middle + (this.shown[1] - middle) * factor); }

  listen() {
    const { chart } = this, seconds = event => scale(LEFT, chart.clientWidth - RIGHT, ...this.shown)(event.offsetX);
    let held = null;
    chart.addEventListener('wheel', event => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) { const by = Math.sign(event.deltaX || event.deltaY) * (this.shown[1] - this.shown[0]) * 0.12; this.look(this.shown[0] + by, this.shown[1] + by); } else this.zoom(event.deltaY > 0 ? 1.25 : 0.8, seconds(event));
    }, { passive: false });
    chart.addEventListener('pointerdown', event => { held = { x: event.offsetX, shown: [...this.shown] }; chart.setPointerCapture(event.pointerId); });
    chart.addEventListener('pointermove', event => {
      if (!held) return;
      const by = (held.x - event.offsetX) / (chart.clientWidth - LEFT - RIGHT) * (held.shown[1] - held.shown[0]);
      this.look(held.shown[0] + by, held.shown[1] + by);
    });
    chart.addEventListener('pointerup', () => { held = null; });
    chart.addEventListener('dblclick', event => this.app.slide(seconds(event)));
    chart.addEventListener('keydown', event => {
      const length = this.shown[1] - this.shown[0], by = { ArrowLeft: -0.2, ArrowRight: 0.2, PageUp: -1, PageDown: 1 }[event.key];
      if (by) this.look(this.shown[0] + by * length, this.shown[1] + by * length);
      else if (event.key === '+' || event.key === '=') this.zoom(1 / 1.6);
      else if (event.key === '-') this.zoom(1.6);
      else if (event.key === 'Home') this.look(0, length);
      else if (event.key === 'End') this.look(this.app.state.recording.duration_s - length, this.app.state.recording.duration_s);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  draw() {
    if (!this.chart?.isConnected) return;
    const { context, width, height } = sheet(this.chart), [from, until] = this.shown, x = scale(from, until, LEFT, width - RIGHT);
    context.fillStyle = colour('sheet');
    context.fillRect(0, 0, width, height);
    const parts = { signal: [8, height * 0.52], confidence: [height * 0.6, height * 0.74], interval: [height * 0.82, height - 20] };
    context.textAlign = 'center';
    for (const second of until - from > 600 ? minutes(from, until, width / 100) : ticks(from, until, width / 100)) {
      context.fillStyle = colour('grid'); context.fillRect(x(second), 0, 1, height - 16);
      context.fillStyle = colour('dim'); context.fillText(until > 600 ? `${Math.floor(second / 60)}:${String(Math.round(second % 60)).padStart(2, '0')}` : `${second} s`, Math.min(x(second), width - 18), height - 4);
    }
    context.textAlign = 'left';
    for (const [name, [top]] of Object.entries(parts)) { context.fillStyle = colour('dim'); context.fillText(name === 'interval' ? 'interval (s)' : name === 'signal' ? this.app.state.recording.unit : name, 2, top - 2 + (name === 'signal' ? 6 : 0)); }
    for (const [first, last, reason] of this.app.state.recording.skipped) if (last > from && first < until) { hatch(context, x(first), 0, x(last) - x(first), height - 18, colour('hatch')); context.fillStyle = colour('dim'); context.fillText(reason, Math.max(x(first), LEFT) + 4, 14); }
    const y = this._signal(context, x, parts.signal);
    if (this.detected) this._beats(context, x, y, parts);
  }

  _signal(context, x, [top, bottom]) {
    if (!this.columns) return null;
    const { least, largest, from_s, until_s } = this.columns, step = (until_s - from_s) / least.length, [from, until] = this.shown;
    const first = Math.max(Math.floor((from - from_s) / step), 0), last = Math.min(Math.ceil((until - from_s) / step), least.length - 1);
    let low = Infinity, high = -Infinity;
    for (let column = first; column <= last; column += 1) if (least[column] !== null) { low = Math.min(low, least[column]); high = Math.max(high, largest[column]); }
    const y = scale(low, high, bottom, top + 14);
    context.save();
    context.beginPath(); context.rect(LEFT, 0, x(until) - LEFT, bottom + 2); context.clip();
    envelope(context, this.columns, first, last, column => x(from_s + (column + 0.5) * step), y, colour('trace'));
    context.restore();
    return seconds => { const column = Math.floor((seconds - from_s) / step); return least[column] === null || least[column] === undefined ? bottom : y(largest[column]); };
  }

  _beats(context, x, y, parts) {
    const { time_s, confidence, band, interval_s, bounds } = this.detected, [from, until] = this.shown;
    const first = lowerBound(time_s, from), last = lowerBound(time_s, until);
    const sure = scale(0, 1, parts.confidence[1], parts.confidence[0] + 6), longest = interval_s.slice(first, last).reduce((most, value) => Math.max(most, value ?? 0), 0.5), long = scale(0, longest * 1.1, parts.interval[1], parts.interval[0] + 6);
    for (const end of [sure(0), sure(1), long(0)]) line(context, [LEFT, x(until)], [end, end], colour('grid'), 1);
    for (const bound of bounds) line(context, [LEFT, x(until)], [sure(bound), sure(bound)], colour('line'), 1, [2, 3]);
    context.textAlign = 'right'; context.fillStyle = colour('dim');
    context.fillText('1', LEFT - 5, sure(1) + 4); context.fillText('0', LEFT - 5, sure(0) + 4); context.fillText(longest.toFixed(1), LEFT - 5, long(longest) + 4); context.fillText('0', LEFT - 5, long(0) + 2);
    const marks = last - first > MOST_SHAPES ? this.squares.on(context, last - first > 900 ? 1.5 : 2) : new Shapes(context, 3.6);
    for (const shown of FROM_BELOW) {
      for (let beat = first; beat < last; beat += 1) {
        if (band[beat] !== shown) continue;
        const place = x(time_s[beat]);
        marks.put(shown, place, y ? y(time_s[beat]) - 6 : parts.signal[0]);
        marks.put(shown, place, sure(confidence[beat]));
        if (interval_s[beat] !== null) marks.put(shown, place, long(interval_s[beat]));
      }
    }
    marks.show();
  }

  save(form) {
    this.app.attempt(async () => keep(await this.app.ask('beats', form, { job: this.job }, { isBinary: true }), form));
  }

  changed(what) {
    if (what === 'recording' || what === 'model') { this.job = null; this.columns = null; this.start(); } else if (what === 'window') this.lay(); else if (what === 'theme') this.draw();
  }

  leave() { this.job = null; clearTimeout(this.later); }

  saved() { return { job: this.job }; }
}

function lowerBound(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) { const middle = (low + high) >> 1; if (sorted[middle] < value) low = middle + 1; else high = middle; }
  return low;
}
