// The signal goes on after the window, drawn as it grows: one continuation, or several with their fan.

import { colour, element, line, minus, scale, sheet, ticks } from '../draw.js';

const SHOWN = 250; // tokens of the window that are drawn before it

export function mount(place, app) {
  const view = new Generate(place, app);
  view.start();
  return view;
}

class Generate {
  constructor(place, app) { Object.assign(this, { place, app, job: null, tokens: [], isRunning: false, settings: { n: 300, samples: 3, seed: 0, temperature: 1, context: 500, ablate: '' } }); }

  start() {
    this.isEmpty = this.app.cannotAsk(this.place);
    if (this.isEmpty) return;
    const { model } = this.app.state;
    const field = (name, label, more) => element('label', { className: 'field' }, element('span', { textContent: label }),
      element('input', { type: 'number', value: this.settings[name], ...more, on: { change: event => { this.settings[name] = Number(event.target.value); } } }));
    this.go = element('button', { type: 'button', textContent: 'Go on', on: { click: () => this.run() } });
    this.stop = element('button', { type: 'button', textContent: 'Cancel', disabled: true, on: { click: () => this.cancel() } });
    this.state = element('output', { className: 'dim' });
    this.chart = element('canvas', { className: 'grown', role: 'img', 'aria-label': 'the window, and how it goes on' });
    this.place.replaceChildren(
      element('div', { className: 'row' },
        field('n', 'tokens', { min: 1, max: 2000 }), field('samples', 'samples', { min: 1, max: 20 }), field('seed', 'seed', { min: 0 }),
        field('temperature', 'temperature', { min: 0, max: 10, step: 0.1 }), field('context', 'context', { min: 2, max: 500 }),
        element('label', { className: 'field', title: 'Heads as L4H5, MLPs as MLP8, layers as L3, with commas between; counted from 1' }, element('span', { textContent: 'without' }),
          element('input', { type: 'text', size: 14, placeholder: 'L4H5, MLP8', value: this.settings.ablate, on: { change: event => { this.settings.ablate = event.target.value.replace(/\s/g, ''); } } })),
        this.go, this.stop),
      this.chart, this.state);
    const takes = model.answers === 'next token' ? '' : ` ${model.name} answers another question, so its kind's base model goes on.`;
    this.state.textContent = `Not started.${takes} Plausible for the model, not a prediction of this heart.`;
    this.draw();
  }

  async run() {
    let own = null;  // this run's job; another run may begin before this one has ended
    await this.app.attempt(async () => {
      if (this.isRunning) await this.cancel();
      this.job = null;  // what was asked of it before is not of this run
      this.tokens = [];
      this.asked = { ...this.settings };
      const { job, model, low, high } = await this.app.ask('generate', 'begin', this.asked);
      own = job;
      Object.assign(this, { job, model, scaleOf: [low, high], isRunning: true });
      this.stop.disabled = false;
      let isOver = false;
      while (!isOver && this.job === job) {
        const answer = await this.app.ask('generate', 'look', { job, from: this.tokens[0]?.length ?? 0 });
        if (this.job !== job) return;
        answer.tokens.forEach((more, sample) => { this.tokens[sample] = [...(this.tokens[sample] ?? []), ...more]; });
        isOver = answer.is_over;
        const grown = this.tokens[0]?.length ?? 0;
        this.state.textContent = `${model}${this.asked.ablate ? ` without ${this.asked.ablate}` : ''}: ${grown} of ${this.asked.n} tokens, ${this.tokens.length} sample${this.tokens.length === 1 ? '' : 's'}, seed ${this.asked.seed}, temperature ${this.asked.temperature}${answer.is_cancelled ? '; cancelled' : isOver ? '' : ' …'}${this.tokens.length > 2 ? '. Blue: the first sample; grey: the others; band: from the least to the largest at each moment' : ''}`;
        this.draw();
      }
    });
    if (this.job !== own) return;
    this.isRunning = false;
    this.stop.disabled = true;
    this.place.dataset.grown = this.tokens[0]?.length ?? 0;
  }

  async cancel() { await this.app.attempt(() => this.app.ask('generate', 'cancel', { job: this.job })); }

  draw() {
    const { window, recording } = this.app.state, { context, width, height } = sheet(this.chart);
    context.fillStyle = colour('sheet');
    context.fillRect(0, 0, width, height);
    const n = Math.max(this.asked?.n ?? this.settings.n, 1), x = scale(-SHOWN, n, 46, width - 10), y = scale(-3, 103, height - 22, 10), rate = window.rate_hz;
    context.textAlign = 'center';
    for (const second of ticks(-SHOWN / rate, n / rate, 10)) {
      context.fillStyle = colour('grid'); context.fillRect(x(second * rate), 0, 1, height - 18);
      context.fillStyle = colour('dim'); context.fillText(minus(`${second} s`), x(second * rate), height - 5);
    }
    context.textAlign = 'right';
    context.fillStyle = colour('dim');
    for (const value of ticks(window.low, window.high, 4)) context.fillText(minus(Number(value.toPrecision(4))), 40, y((value - window.low) / (window.high - window.low) * 100) + 4);
    context.textAlign = 'left';
    context.fillText(recording.unit, 2, 10);
    const seen = window.tokens.slice(-SHOWN);
    const steps = this.tokens[0]?.length ?? 0, xs = Array.from({ length: steps }, (_, step) => x(step));
    if (this.tokens.length > 2) this._fan(context, xs, y);
    this.tokens.forEach((sample, number) => line(context, [x(-1), ...xs], [y(seen.at(-1)), ...sample.map(y)], number ? colour('ghost') : colour('accent'), number ? 0.8 : 1.6));
    if (this.tokens.length) line(context, [x(-1), ...xs], [y(seen.at(-1)), ...this.tokens[0].map(y)], colour('accent'), 1.6);
    line(context, seen.map((_, place) => x(place - SHOWN)), seen.map(y), colour('trace'), 1.3);
    context.fillStyle = colour('line');
    context.fillRect(x(-0.5), 0, 1, height - 18);
  }

  /** From the least to the largest of the samples at each step. */
  _fan(context, xs, y) {
    const ends = xs.map((_, step) => { const values = this.tokens.map(sample => sample[step]); return [Math.min(...values), Math.max(...values)]; });
    context.globalAlpha = 0.16;
    context.fillStyle = colour('accent');
    context.beginPath();
    ends.forEach(([low], step) => context.lineTo(xs[step], y(low)));
    [...ends.keys()].reverse().forEach(step => context.lineTo(xs[step], y(ends[step][1])));
    context.fill();
    context.globalAlpha = 1;
  }

  changed(what) {
    if (what === 'token') return;
    if (what === 'theme') { if (!this.isEmpty) this.draw(); return; }
    if (this.isRunning) this.cancel();
    this.job = null;
    this.tokens = [];
    this.start();
  }

  leave() { if (this.isRunning) this.cancel(); this.job = null; }

  saved() { return { ...(this.asked ?? this.settings), job: this.job }; }
}
