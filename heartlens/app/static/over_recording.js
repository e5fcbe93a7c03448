// The probability of one window after the other over the recording, and the intervals between its beats.

import { Calibration } from './calibration.js';
import { clock } from './paper.js';
import { colour, element, line, minutes, scale, sheet, ticks } from './draw.js';

const LEFT = 40, RIGHT = 8;
const NO_THRESHOLD = 'The model has no threshold of its own, and its probabilities are not calibrated: choose one on labelled recordings (“calibration”).';

export class OverRecording {
  constructor(app) {
    this.app = app;
    this.windows = { start_s: [], probability: [] };
    this.limit = null;  // the threshold that is drawn, with all its digits
    this.progress = element('span', { className: 'dim' });
    this.threshold = element('input', { type: 'number', min: 0, max: 1, step: 0.01, 'aria-label': 'threshold', on: { change: event => this._limit(event.target.value === '' ? null : Number(event.target.value)) } });
    this.stopButton = element('button', { type: 'button', className: 'quiet', textContent: 'Stop', hidden: true, on: { click: () => this.stop() } });
    this.chart = element('canvas', { className: 'chart', role: 'img', 'aria-label': 'probability over the recording, and the intervals between beats', on: { click: event => this._go(event.offsetX) } });
    this.calibration = new Calibration(app, threshold => this._limit(threshold));
    this.shows = element('button', { type: 'button', className: 'small', textContent: 'calibration', 'aria-pressed': 'false', title: 'Whether the probability can be taken at its word', on: { click: () => this._turn() } });
    this.foot = element('div', { className: 'row' }, this.shows);
    const question = app.state.model.task.startsWith('atrial') ? 'AF' : 'yes';
    this.place = element('div', {}, element('div', { className: 'row' }, element('h2', { textContent: `P(${question}) over the recording` }), element('label', { className: 'field' }, element('span', { textContent: 'threshold' }), this.threshold), this.progress, this.stopButton), this.chart, this.calibration.place, this.foot);
  }

  _limit(threshold) {
    this.limit = threshold;
    this.threshold.value = threshold === null ? '' : String(Number(threshold.toFixed(4)));
    this.draw();
  }

  /** From the recording to the calibration, and back. */
  _turn() {
    const isCalibration = this.calibration.place.hidden;
    this.calibration.place.hidden = !isCalibration;
    this.chart.hidden = isCalibration;
    this.shows.setAttribute('aria-pressed', String(isCalibration));
    this.draw();
  }

  /** Ask for all windows, some at a time; what has come is drawn, and it can be stopped. */
  read() {
    const reading = this.reading = {};
    this.windows = { start_s: [], probability: [] };
    this.app.attempt(async () => {
      for (let first = 0; ; first = this.windows.start_s.length) {
        const part = await this.app.ask('arrhythmia', 'chances', { first });
        if (this.reading !== reading) { this.progress.textContent += ', stopped'; break; }
        this.windows.start_s.push(...part.start_s);
        this.windows.probability.push(...part.probability);
        if (first === 0) this._threshold(part.threshold);
        const read = this.windows.start_s.length, mean = this.windows.probability.reduce((sum, value) => sum + value, 0) / Math.max(read, 1);
        this.progress.textContent = read < part.n_windows ? `${read} of ${part.n_windows} windows` : `${read} window${read === 1 ? '' : 's'}, mean ${mean.toFixed(3)}${part.threshold === null ? ', not calibrated' : ''}`;
        this.stopButton.hidden = read >= part.n_windows;
        this.draw();
        if (read >= part.n_windows || !part.start_s.length) break;
      }
      this.stopButton.hidden = true;
    });
  }

  stop() { this.reading = null; }

  _threshold(ofCard) {
    if (ofCard !== null) this._limit(ofCard);
    this.calibration.threshold = ofCard;
    this.threshold.title = ofCard === null ? NO_THRESHOLD : 'The threshold of the model card';
  }

  /** Look at what was clicked on: a window that was read, else one around the place. */
  _go(pixel) {
    const { start_s } = this.windows, near = start_s.find(start => Math.abs(this.x(start) - pixel) < 6);
    this.app.slide(near ?? this.x.back(pixel) - 250 / this.app.state.recorded.rate_hz);
  }

  draw() {
    this.calibration.draw();
    if (this.chart.hidden) return;
    const { recording, window } = this.app.state, { context, width, height } = sheet(this.chart), middle = Math.round(height * 0.52), length = 500 / window.rate_hz;
    context.fillStyle = colour('sheet');
    context.fillRect(0, 0, width, height);
    const x = this.x = scale(0, recording.duration_s, LEFT, width - RIGHT);
    this._probabilities(context, x, scale(0, 1, middle - 6, 8), width - RIGHT, length);
    this._intervals(context, x, middle, height - 16, width - RIGHT);
    context.textAlign = 'center';
    context.fillStyle = colour('dim');
    for (const place of recording.duration_s > 600 ? minutes(0, recording.duration_s, width / 90) : ticks(0, recording.duration_s, width / 90)) context.fillText(recording.duration_s > 600 ? clock(place) : `${place} s`, Math.min(x(place), width - 20), height - 3);
    context.strokeStyle = colour('accent');
    context.lineWidth = 1;
    context.strokeRect(x(window.start_s), 1, Math.max(x(window.start_s + length) - x(window.start_s), 2), height - 16);
  }

  _probabilities(context, x, y, right, length) {
    grid(context, [0, 0.5, 1], y, right);
    const { limit, windows: { start_s, probability } } = this;
    if (limit !== null) line(context, [LEFT, right], [y(limit), y(limit)], colour('dim'), 1, [4, 3]);
    start_s.forEach((start, place) => {
      context.strokeStyle = colour(limit !== null && probability[place] >= limit ? 'more' : 'accent');
      context.lineWidth = 2.5;
      context.beginPath();
      context.moveTo(x(start), y(probability[place]));
      context.lineTo(Math.max(x(start + length) - 1, x(start) + 2), y(probability[place]));
      context.stroke();
    });
  }

  _intervals(context, x, middle, bottom, right) {
    const { recording } = this.app.state, beats = recording.beats_s, gaps = beats.slice(1).map((beat, place) => beat - beats[place]).filter(gap => gap < 3);
    if (!gaps.length) return;
    const least = Math.max(Math.min(...gaps) - 0.1, 0), most = Math.max(...gaps) + 0.1, y = scale(least, most, bottom, middle + 8);
    grid(context, ticks(least, most, 2), y, right, ' s');
    context.fillStyle = colour('trace');
    beats.slice(1).forEach((beat, place) => { const gap = beat - beats[place]; if (gap < 3) context.fillRect(x(beat) - 1.5, y(gap) - 1.5, 3, 3); });
    context.textAlign = 'left';
    context.fillStyle = colour('dim');
    context.fillText(`${recording.kind === 'ecg' ? 'RR' : 'pulse'} intervals`, LEFT + 4, middle + 16);
  }
}

function grid(context, places, y, right, unit = '') {
  context.textAlign = 'right';
  for (const place of places) {
    context.fillStyle = colour('grid');
    context.fillRect(LEFT, y(place), right - LEFT, 1);
    context.fillStyle = colour('dim');
    context.fillText(`${place}${unit}`, LEFT - 6, y(place) + 4);
  }
}
