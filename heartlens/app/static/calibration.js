// Whether a probability can be taken at its word: on labelled recordings, what was said against what came true.

import { colour, element, line, scale, sheet } from './draw.js';
import { Refused, refusal } from './refused.js';

const SIZE = 190, LEFT = 34, BOTTOM = 30;

/** `choose(threshold)` is called when the threshold that the labels choose is to be used. */
export class Calibration {
  constructor(app, choose) {
    this.app = app;
    this.choose = choose;
    this.file = element('input', { type: 'file', hidden: true, 'aria-label': 'table of record and label', on: { change: event => { if (event.target.files.length) this.take(event.target.files[0]); event.target.value = ''; } } });
    this.about = element('p', { className: 'dim' });
    this.form = element('div', { className: 'row' });
    this.canvas = element('canvas', { className: 'calibration', role: 'img', 'aria-label': 'calibration: probability said, and share that came true', hidden: true });
    this.place = element('div', { className: 'columns', hidden: true }, this.canvas, element('div', { className: 'wide' }, this.about, this.form, this.file));
    this._form();
  }

  /** What the model card says; undefined until it is known. */
  set threshold(ofCard) {
    if (this.curve) return;
    const card = ofCard === null ? 'The model card has no threshold, and the probabilities are not calibrated.' : `The model card has a threshold (${Number(ofCard.toPrecision(4))}), and no calibration curve.`;
    this.about.textContent = `${card} Labelled recordings show the calibration: choose a table of record and label (CSV) of the recordings that the app was started with.`;
  }

  /** Send a table of labels, and ask which of them means what. */
  take(file) {
    return this.app.attempt(async () => {
      const body = new FormData();
      body.append('file', file, file.name);
      const response = await fetch('/api/upload', { method: 'POST', headers: this.app.headers(), body });
      if (!response.ok) throw new Refused(refusal(await response.text()));
      this.upload = (await response.json()).upload;
      this.about.textContent = 'Which label means what? Recordings with others are left out.';
      this._form(Object.entries((await this.app.ask('arrhythmia', 'labels', { upload: this.upload })).labels));
    });
  }

  _form(labels = null) {
    const button = (text, click, more = {}) => element('button', { type: 'button', textContent: text, ...more, on: { click } });
    const other = button('Choose labels…', () => this.file.click(), { title: 'A CSV with the columns record and label' });
    if (!labels) { this.form.replaceChildren(other); return; }
    const pick = (label, chosen) => element('select', { 'aria-label': label }, ...labels.map(([name, count], place) => element('option', { value: name, textContent: `${name} (${count})`, selected: place === chosen })));
    const without = pick('label without the condition', 0), has = pick('label with the condition', Math.min(1, labels.length - 1));
    const field = (text, control) => element('label', { className: 'field' }, element('span', { textContent: text }), control);
    this.form.replaceChildren(field('without', without), field('with', has), button('Calibrate', () => this.run([without.value, has.value])), other);
  }

  /** Ask the model about every labelled recording; it can be stopped. */
  async run(classes) {
    await this.app.attempt(async () => {
      const { job, n_records, command } = await this.app.ask('arrhythmia', 'calibrate', { upload: this.upload, classes });
      const before = [...this.form.childNodes], stop = element('button', { type: 'button', textContent: 'Cancel', on: { click: () => this.app.attempt(() => this.app.ask('arrhythmia', 'stop_calibration', { job })) } });
      this.form.replaceChildren(stop);
      try {
        for (;;) {
          const answer = await this.app.ask('arrhythmia', 'calibrated', { job });
          this.about.textContent = `${Math.round(answer.done * n_records)} of ${n_records} labelled recordings${answer.is_cancelled ? ', cancelled' : ''}`;
          if (answer.is_cancelled) break;
          if (answer.is_over) { this.curve = { ...answer, command }; break; }
        }
      } finally { this.form.replaceChildren(...before); }
      if (this.curve) this._show();
    });
  }

  _show() {
    const { about, threshold, command } = this.curve;
    this.about.textContent = `By recording: ${about}.`;
    this.canvas.title = 'Of the recordings with about this probability, the share that has the condition; the larger a point, the more recordings';
    this.form.replaceChildren(
      element('button', { type: 'button', textContent: `Use ${threshold.toFixed(3)} as threshold`, on: { click: () => this.choose(threshold) } }),
      element('button', { type: 'button', textContent: 'copy command', title: command, on: { click: () => this.app.attempt(() => navigator.clipboard.writeText(command)) } }),
      element('button', { type: 'button', textContent: 'Other labels…', on: { click: () => this.file.click() } }));
    this.canvas.hidden = false;
    this.draw();
  }

  draw() {
    if (!this.curve || this.place.hidden) return;
    const { context, width } = sheet(this.canvas), { predicted, observed, count } = this.curve, most = Math.max(...count);
    context.fillStyle = colour('sheet');
    context.fillRect(0, 0, width, SIZE);
    const x = scale(0, 1, LEFT, width - 10), y = scale(0, 1, SIZE - BOTTOM, 10);
    context.fillStyle = colour('dim');
    for (const place of [0, 0.5, 1]) {
      context.textAlign = 'right';
      context.fillText(place, LEFT - 6, y(place) + 4);
      context.textAlign = 'center';
      context.fillText(place, x(place), SIZE - BOTTOM + 13);
    }
    context.fillText('said', x(0.5), SIZE - 4);
    context.textAlign = 'left';
    context.fillText('came true', LEFT + 4, 18);
    line(context, [x(0), x(1)], [y(0), y(1)], colour('dim'), 1, [4, 3]);
    const filled = [...count.keys()].filter(bin => count[bin]);
    line(context, filled.map(bin => x(predicted[bin])), filled.map(bin => y(observed[bin])), colour('accent'), 1.5);
    context.fillStyle = colour('accent');
    for (const bin of filled) {
      context.beginPath();
      context.arc(x(predicted[bin]), y(observed[bin]), 2 + 5 * Math.sqrt(count[bin] / most), 0, 2 * Math.PI);
      context.fill();
    }
  }
}
