// What the model says over the recording and of the window, and what if: edits by direct manipulation, each beside its sham.

import { clock } from '../paper.js';
import { colour, css, element, line, minutes, mix, readable, scale, sheet, signed, ticks } from '../draw.js';

const chance = logit => 1 / (1 + Math.exp(-logit));
const shown = logit => logit === null || logit === undefined ? '–' : chance(logit).toFixed(chance(logit) < 0.01 || chance(logit) > 0.99 ? 4 : 3);
const WORDS = {
  P: 'P waves', T: 'T waves', dicrotic_notch: 'dicrotic notches', noise: 'noise', f_waves: 'f waves', rhythm: 'rhythm', beat: 'beat', ablate: 'without',
};

export function mount(place, app) {
  const view = new Arrhythmia(place, app);
  view.start();
  return view;
}

class Arrhythmia {
  constructor(place, app) {
    this.place = place;
    this.app = app;
    this.history = [];
    this.original = app.state.window;
    this.colouring = 'ablation';
  }

  start() {
    const { model } = this.app.state;
    const others = { 'next token': 'which token comes next', beat: 'where beats are' }[model?.answers];
    this.isEmpty = this.app.cannotAsk(this.place, others ? `${model.name} answers ${others}, no question about a window.` : '');
    if (this.isEmpty) return;
    this.numbers = element('div', { className: 'answers', 'aria-live': 'polite' });
    this.list = element('ol', { className: 'stack', 'aria-label': 'edits, in their order' });
    this.controls = element('div', { className: 'controls' });
    this.grid = element('div', { className: 'heads', role: 'group', 'aria-label': 'heads and MLPs: click to take one away' });
    this.chart = element('canvas', { className: 'chart', role: 'img', 'aria-label': 'probability over the recording, and the intervals between beats' });
    this.progress = element('span', { className: 'dim' });
    this.threshold = element('input', { type: 'number', min: 0, max: 1, step: 0.01, 'aria-label': 'threshold', on: { change: () => this.drawChart() } });
    const shift = element('label', { className: 'field', title: 'The last token’s attention in the last block, mean over heads, less that of the model it was fine-tuned from. Orange: gained; blue: lost.' },
      element('input', { type: 'checkbox', disabled: !model.base, on: { change: event => this.shift(event.target.checked) } }), element('span', { textContent: model.base ? `change of attention since ${model.base}` : 'no base model is known' }));
    this.stop = element('button', { type: 'button', className: 'quiet', textContent: 'Stop', hidden: true, on: { click: () => { this.reading = null; } } });
    this.place.replaceChildren(element('div', { className: 'columns' },
      element('div', { className: 'what-if' }, this.numbers, this.controls, this.list),
      element('div', {}, element('h2', { textContent: 'Click a head or MLP to take it away', title: 'Colour: by how much the logit changes without it (zero ablation), one at a time, in this window.' }), this.grid),
      element('div', { className: 'wide' }, element('div', { className: 'row' }, element('h2', { textContent: `P(${model.task.startsWith('atrial') ? 'AF' : 'yes'}) over the recording` }), element('label', { className: 'field' }, element('span', { textContent: 'threshold' }), this.threshold), this.progress, this.stop), this.chart, shift)));
    this._grid();
    this.fresh();
    this.overRecording();
    this.chart.addEventListener('click', event => {
      const place = this.windows?.start_s.findIndex((start, at) => Math.abs(this.x(start) - event.offsetX) < 6 && at >= 0);
      if (place >= 0) this.app.slide(this.windows.start_s[place]);
      else this.app.slide(this.x.back(event.offsetX) - 250 / this.original.rate_hz);
    });
  }

  /** A new window: nothing is edited. */
  fresh() {
    this.original = this.app.state.window;
    this.app.state.stack = [];
    this.history = [];
    this.result = this.shams = this.effects = null;
    this._grid();
    this.app.attempt(async () => {
      this.can = await this.app.ask('arrhythmia', 'beats', {}, { latest: 'beats' });
      this.movable = this.can.beats;
      this._controls();
      await this.ask();
      this.effects = await this.app.ask('arrhythmia', 'ablations', {}, { latest: 'ablations' });
      this._grid();
    });
  }

  /** The edits that are switched on, as the server takes them. */
  get stack() { return this.app.state.stack.filter(edit => edit.isOn).map(edit => edit.text); }

  /** Put an edit in the place of that with the same name, or behind the others; null takes it out. `isPassing` while something is dragged. */
  set(name, text, isPassing = false) {
    const before = this.app.state.stack, place = before.findIndex(edit => edit.name === name);
    const after = before.filter((edit, at) => at !== place || text !== null).map(edit => edit.name === name ? { ...edit, text, isOn: true } : edit);
    if (place < 0 && text !== null) after.push({ name, text, isOn: true });
    this.change(after, isPassing);
  }

  change(after, isPassing = false) {
    this.isTold = true;
    if (!this.isDragging) this.history.push(this.app.state.stack);
    this.isDragging = isPassing;
    this.app.state.stack = after;
    this._list();
    this.ask();
  }

  undo() {
    const before = this.history.pop();
    if (before === undefined) return;
    this.app.state.stack = before;
    this._controls();
    this.ask();
  }

  /** The answer now, then the shams. A change that the window does not allow is taken back. */
  ask() {
    if (this.isAsking) { this.isWaiting = true; return Promise.resolve(); }
    this.isAsking = true;
    const stack = this.stack, began = performance.now();
    clearTimeout(this.later);
    return this.app.attempt(async () => {
      try {
        this.result = await this.app.ask('arrhythmia', 'answer', { stack });
        this.movable = this.result.movable;
        this.answered = performance.now() - began;
        this._show();
      } catch (error) {
        this.isDragging = false;
        const before = this.history.pop();
        if (before !== undefined) { this.app.state.stack = before; this._controls(); this.isWaiting = true; }
        throw error;
      } finally {
        this.isAsking = false;
        if (this.isWaiting) { this.isWaiting = false; this.ask(); }
      }
      this.later = setTimeout(() => this.app.attempt(async () => {
        if (!stack.length || this.isDragging) return;
        const shams = await this.app.ask('arrhythmia', 'shams', { stack }, { latest: 'shams' });
        if (JSON.stringify(stack) === JSON.stringify(this.stack)) { this.shams = { ...shams, stack }; this._show(); }
      }), 150);
    });
  }

  _show() {
    if (this.hasLeft) return;
    const { before, after, window } = this.result, isEdited = this.stack.length > 0;
    this.app.state.window = window;
    if (this.shams && JSON.stringify(this.shams.stack) !== JSON.stringify(this.stack)) this.shams = null;
    const sham = this.shams?.sham;
    const number = (label, logit, title, kind = '') => element('div', { title }, element('div', { className: 'dim', textContent: label }), element('div', { className: `big ${kind}`, textContent: shown(logit) }), element('div', { className: 'dim', textContent: logit === null || logit === undefined ? '' : `logit ${logit.toFixed(2)}` }));
    this.numbers.replaceChildren(
      number('as recorded', before, 'The probability of this window, as recorded. Not calibrated unless the model card has a threshold.'),
      number('edited', isEdited ? after : null, 'The probability with all edits that are switched on.', isEdited ? (after > before ? 'more' : 'less') : ''),
      number('sham', isEdited ? sham : null, 'The probability with as many token values changed of something that should mean little; of parts of the model, with as many other parts of the same layers taken away (median of five draws).', 'faint'));
    document.getElementById('probability').textContent = `P(AF) ${shown(before)}${isEdited ? ` → ${shown(after)}` : ''}`;
    document.getElementById('engine').textContent = `engine ${this.app.state.model.engine} · ${this.answered.toFixed(0)} ms`;
    this._list();
    this._lay();
  }

  /** Ghost and handles over the window. */
  _lay() {
    const window = this.app.state.window, isEdited = this.stack.length > 0;
    if (this.hasLeft) return;
    const handles = (this.movable ?? []).map(({ beat, token }) => ({ kind: 'beat', beat, ...this._peak(Math.round(token)) }));
    for (const wave of this.can?.waves ?? []) {
      for (const span of window.waves.filter(each => each.wave === wave)) {
        const part = window.tokens.slice(span.first, span.last + 1), base = (part[0] + part.at(-1)) / 2;
        const level = part.reduce((far, value) => Math.abs(value - base) > Math.abs(far - base) ? value : far, part[0]);
        handles.push({ kind: 'wave', wave, token: span.first + part.indexOf(level), level, base });
      }
    }
    if (handles.length && !this.isTold) { const first = handles.find(each => each.kind === 'beat') ?? handles[0]; first.label = first.kind === 'beat' ? 'drag a beat, or a wave by its top' : 'drag a wave by its top'; }
    this.lay({
      layers: { ...(this.shiftRow ? { shade: this.shiftRow } : {}), ghost: isEdited ? onScale(this.original, window) : null, handles },
      grab: {
        at: (token, level) => handles.find(each => Math.abs(each.token - token) < 5 && Math.abs(each.level - level) < 9) ?? null,
        move: (held, token, level) => this._drag(held, token, level, true),
        drop: (held, token, level) => this._drag(held, token, level, false),
      },
    });
  }

  /** The peak of an R wave near its mark; of a pulse the mark itself, its foot. */
  _peak(mark) {
    const { tokens } = this.app.state.window, near = this.app.state.recording.kind === 'ecg' ? 3 : 0;
    let token = mark;
    for (let at = Math.max(mark - near, 0); at <= Math.min(mark + near, 499); at += 1) if (tokens[at] > tokens[token]) token = at;
    return { token, level: tokens[token] };
  }

  lay(what) { Object.assign(this.app.paper, what); this.app.paper.drawWindow(); }

  _drag(held, token, level, isPassing) {
    this.isTold = true;
    if (held.kind === 'beat') {
      const own = this.app.state.stack.find(edit => edit.name === `beat:${held.beat}`), room = this.can.beats.find(each => each.beat === held.beat);
      held.was ??= own ? Number(own.text.split(':')[2]) : 0;
      const by = Math.min(Math.max(held.was + (token - held.token) / this.original.rate_hz, room.from_s), room.until_s);
      const text = Math.abs(by) < 0.5 / this.original.rate_hz ? null : `beat:${held.beat}:${by.toFixed(2)}`;
      if (text !== (own?.text ?? null) || !isPassing) this.set(`beat:${held.beat}`, text, isPassing);
      return;
    }
    const own = this.app.state.stack.find(edit => edit.name === held.wave), before = own ? Number(own.text.split(':')[1]) : 1;
    held.was ??= before;
    const height = Math.abs(held.level - held.base) < 4 ? 4 * (Math.sign(held.level - held.base) || 1) : held.level - held.base;
    const part = (Math.abs(held.was) < 0.05 ? 1 : held.was) * (level - held.base) / height, factor = Math.round(Math.min(Math.max(part, -1), 1) * 20) / 20;
    const text = factor === 1 ? null : `${held.wave}:${factor}`;
    if (text !== (own?.text ?? null) || !isPassing) { this.set(held.wave, text, isPassing); if (!isPassing) this._controls(); }
  }

  /** Move the beat nearest to the asking token by two samples. */
  _nudge(way) {
    const { token } = this.app.state, nearest = [...(this.movable ?? [])].sort((one, other) => Math.abs(one.token - token) - Math.abs(other.token - token))[0];
    if (!nearest) return;
    const name = `beat:${nearest.beat}`, room = this.can.beats.find(each => each.beat === nearest.beat);
    const own = this.app.state.stack.find(edit => edit.name === name), before = own ? Number(own.text.split(':')[2]) : 0;
    const by = Math.min(Math.max(before + way * 2 / this.original.rate_hz, room.from_s), room.until_s);
    this.set(name, Math.abs(by) < 0.5 / this.original.rate_hz ? null : `${name}:${by.toFixed(2)}`);
  }

  _controls() {
    const value = (name, neutral) => { const edit = this.app.state.stack.find(each => each.name === name); return edit ? edit.text.split(':')[1] : neutral; };
    const slider = (label, name, { min, max, step, neutral, text, title }) => {
      const input = element('input', { type: 'range', min, max, step, value: String(value(name, neutral)), 'aria-label': label, title });
      const change = isPassing => { const at = Number(input.value); this.set(name, at === neutral ? null : `${name}:${text ? text(at) : at}`, isPassing); };
      input.addEventListener('input', () => change(true));
      input.addEventListener('change', () => change(false));
      return element('label', { className: 'field', title }, element('span', { textContent: label }), input);
    };
    const isEcg = this.app.state.recording.kind === 'ecg', fields = [];
    for (const wave of this.can?.waves ?? []) fields.push(slider(`${WORDS[wave]}`, wave, { min: -1, max: 1, step: 0.05, neutral: 1, title: `Height of the ${WORDS[wave]}: right as they are, middle none, left upside down` }));
    fields.push(slider('noise', 'noise', { min: 0, max: 30, step: 1, neutral: 0, text: at => 31 - at, title: 'White noise: more to the right (30 to 1 dB)' }));
    if (isEcg) fields.push(slider('f waves', 'f_waves', { min: 0, max: 5, step: 0.25, neutral: 0, title: 'Fibrillatory waves put in: their height' }));
    const rhythm = element('select', { 'aria-label': 'rhythm', on: { change: event => this.set('rhythm', event.target.value ? `rhythm:${event.target.value}` : null) } },
      ...[['', 'rhythm as it is'], ['regular', 'made regular'], ['irregular', 'made irregular'], ['gradual', 'irregular, in order']].map(([key, text]) => element('option', { value: key, textContent: text, selected: key === (value('rhythm', '') ?? '') })));
    if (!this.can?.beats.length) { rhythm.disabled = true; rhythm.title = 'Too few whole beats, or too little room between them, in this window.'; }
    fields.push(rhythm);
    this.controls.replaceChildren(...fields);
    this._list();
  }

  _list() {
    const { stack } = this.app.state, move = (place, by) => { const after = [...stack], [edit] = after.splice(place, 1); after.splice(place + by, 0, edit); this.change(after); };
    const small = (text, label, isDisabled, click) => element('button', { type: 'button', className: 'small', textContent: text, 'aria-label': label, title: label, disabled: isDisabled, on: { click } });
    this.list.replaceChildren(...stack.map((edit, place) => {
      const at = this.shams?.stack.indexOf(edit.text) ?? -1;
      const alone = at >= 0 ? `alone ${shown(this.shams.alone[at])}, its sham ${shown(this.shams.sham_alone[at])}` : '';
      const title = at >= 0 ? (this.shams.why_no_sham[at] || `changes token values by ${this.shams.dose[at]}, its sham by ${this.shams.sham_dose[at]}`) : '';
      return element('li', {},
        element('input', { type: 'checkbox', checked: edit.isOn, 'aria-label': `${words(edit.text)}: on or off`, on: { change: event => this.change(stack.map(each => each === edit ? { ...edit, isOn: event.target.checked } : each)) } }),
        element('span', { className: 'name', textContent: words(edit.text) }), element('span', { className: 'dim', textContent: alone, title }),
        small('↑', `${words(edit.text)}: earlier`, place === 0, () => move(place, -1)), small('↓', `${words(edit.text)}: later`, place === stack.length - 1, () => move(place, 1)),
        small('✕', `${words(edit.text)}: take out`, false, () => { this.change(stack.filter(each => each !== edit)); this._controls(); }));
    }));
    if (!stack.length) this.list.replaceChildren(element('li', { className: 'dim', textContent: 'No edits. Drag a beat (○ on its peak) or a wave by its top, or use the sliders.' }));
    else this.list.append(element('li', {}, element('button', { type: 'button', className: 'small', textContent: 'Undo (Z)', disabled: !this.history.length, on: { click: () => this.undo() } }), element('button', { type: 'button', className: 'small', textContent: 'Start again', on: { click: () => { this.change([]); this._controls(); } } })));
    this._marks();
  }

  _grid() {
    const { n_layers, n_heads } = this.app.state.model, { heads, mlps } = this.effects ?? {};
    const most = Math.max(0.25, ...(heads ?? [[0]]).flat().map(Math.abs), ...(mlps ?? [0]).map(Math.abs));
    this.grid.style.gridTemplateColumns = `30px repeat(${n_heads}, 30px) 34px`;
    const cells = [element('span'), ...Array.from({ length: n_heads }, (_, head) => element('span', { className: 'label', textContent: `H${head + 1}` })), element('span', { className: 'label', textContent: 'MLP' })];
    for (let layer = 0; layer < n_layers; layer += 1) {
      cells.push(element('span', { className: 'label', textContent: `L${layer + 1}` }));
      for (let head = 0; head < n_heads; head += 1) cells.push(this._cell(`L${layer + 1}H${head + 1}`, heads?.[layer][head], most));
      cells.push(this._cell(`MLP${layer + 1}`, mlps?.[layer], most));
    }
    this.grid.replaceChildren(...cells);
    this._marks();
  }

  _cell(part, effect, most) {
    const fill = effect === undefined ? mix(colour('ground'), colour('line'), 0.35) : signed(Math.sign(effect) * Math.sqrt(Math.abs(effect) / most));
    const told = effect === undefined ? '' : `, logit ${effect < 0 ? '−' : '+'}${Math.abs(effect).toFixed(2)} without it`;
    const button = element('button', { type: 'button', textContent: effect === undefined ? '' : Math.abs(effect) < 0.05 ? '·' : `${effect < 0 ? '−' : '+'}${Math.abs(effect).toFixed(1)}`, title: `${part}${told}`, 'aria-label': `${part}${told}`, 'data-part': part, on: { click: () => this.toggle(part) } });
    button.style.background = css(fill);
    button.style.color = readable(fill);
    return button;
  }

  toggle(part) {
    const name = `ablate:${part}`;
    this.set(name, this.app.state.stack.some(edit => edit.name === name) ? null : name);
  }

  _marks() {
    const off = new Set(this.app.state.stack.filter(edit => edit.isOn).map(edit => edit.text));
    for (const button of this.grid.querySelectorAll('button')) button.setAttribute('aria-pressed', String(off.has(`ablate:${button.dataset.part}`)));
  }

  /** The probability of one window after the other; what is read is drawn, and it can be stopped. */
  overRecording() {
    const reading = this.reading = {};
    this.windows = { start_s: [], probability: [] };
    this.app.attempt(async () => {
      for (let first = 0; ; first = this.windows.start_s.length) {
        const part = await this.app.ask('arrhythmia', 'chances', { first });
        if (this.reading !== reading) { this.progress.textContent += ', stopped'; break; }
        this.windows.start_s.push(...part.start_s);
        this.windows.probability.push(...part.probability);
        if (first === 0 && part.threshold !== null) this.threshold.value = part.threshold;
        if (first === 0) this.threshold.title = part.threshold === null ? 'The model has no threshold of its own, and its probabilities are not calibrated: choose one on labelled recordings (heartlens classify --labels).' : 'The threshold of the model card';
        const read = this.windows.start_s.length;
        const mean = this.windows.probability.reduce((sum, value) => sum + value, 0) / Math.max(read, 1);
        this.progress.textContent = read < part.n_windows ? `${read} of ${part.n_windows} windows` : `${read} window${read === 1 ? '' : 's'}, mean ${mean.toFixed(3)}${part.threshold === null ? ', not calibrated' : ''}`;
        this.stop.hidden = read >= part.n_windows;
        this.drawChart();
        if (read >= part.n_windows || !part.start_s.length) break;
      }
      this.stop.hidden = true;
    });
  }

  drawChart() {
    const { recording, window } = this.app.state, { context, width, height } = sheet(this.chart), middle = Math.round(height * 0.52), length = 500 / window.rate_hz;
    context.fillStyle = colour('sheet');
    context.fillRect(0, 0, width, height);
    const x = this.x = scale(0, recording.duration_s, 40, width - 8), y = scale(0, 1, middle - 6, 8);
    context.textAlign = 'right';
    for (const place of [0, 0.5, 1]) { context.fillStyle = colour('grid'); context.fillRect(40, y(place), width - 48, 1); context.fillStyle = colour('dim'); context.fillText(place, 34, y(place) + 4); }
    const limit = this.threshold.value === '' ? null : Number(this.threshold.value);
    if (limit !== null) line(context, [40, width - 8], [y(limit), y(limit)], colour('dim'), 1, [4, 3]);
    const { start_s, probability } = this.windows ?? { start_s: [], probability: [] };
    start_s.forEach((start, place) => {
      context.strokeStyle = colour(limit !== null && probability[place] >= limit ? 'more' : 'accent');
      context.lineWidth = 2.5;
      context.beginPath();
      context.moveTo(x(start), y(probability[place]));
      context.lineTo(Math.max(x(start + length) - 1, x(start) + 2), y(probability[place]));
      context.stroke();
    });
    const beats = recording.beats_s, gaps = beats.slice(1).map((beat, place) => beat - beats[place]).filter(gap => gap < 3), bottom = height - 16;
    if (gaps.length) {
      const least = Math.min(...gaps), most = Math.max(...gaps), rr = scale(Math.max(least - 0.1, 0), most + 0.1, bottom, middle + 8);
      for (const place of ticks(Math.max(least - 0.1, 0), most + 0.1, 2)) { context.fillStyle = colour('grid'); context.fillRect(40, rr(place), width - 48, 1); context.fillStyle = colour('dim'); context.fillText(`${place} s`, 34, rr(place) + 4); }
      context.fillStyle = colour('trace');
      beats.slice(1).forEach((beat, place) => { const gap = beat - beats[place]; if (gap < 3) context.fillRect(x(beat) - 1.5, rr(gap) - 1.5, 3, 3); });
      context.textAlign = 'left';
      context.fillStyle = colour('dim');
      context.fillText(`${recording.kind === 'ecg' ? 'RR' : 'pulse'} intervals`, 44, middle + 16);
    }
    context.textAlign = 'center';
    context.fillStyle = colour('dim');
    for (const place of recording.duration_s > 600 ? minutes(0, recording.duration_s, width / 90) : ticks(0, recording.duration_s, width / 90)) context.fillText(recording.duration_s > 600 ? clock(place) : `${place} s`, Math.min(x(place), width - 20), height - 3);
    context.strokeStyle = colour('accent');
    context.lineWidth = 1;
    context.strokeRect(x(window.start_s), 1, Math.max(x(window.start_s + length) - x(window.start_s), 2), bottom);
  }

  shift(isOn) {
    if (!isOn) { this.shiftRow = null; this._lay(); return; }
    this.app.attempt(async () => {
      const { row } = await this.app.ask('arrhythmia', 'shift', {}, { latest: 'shift' });
      this.shiftRow = { row, isSigned: true, most: Math.max(...row.slice(24).map(Math.abs)) * 1.05 };
      this._lay();
    });
  }

  changed(what) {
    if (what === 'recording' || what === 'model') { this.original = this.app.state.window; this.shiftRow = null; this.start(); } else if (this.isEmpty) return;
    else if (what === 'window') { this.shiftRow = null; this.fresh(); this.drawChart(); } else if (what === 'theme') { this._grid(); this.drawChart(); this._lay(); }
  }

  key(pressed) {
    if (this.isEmpty) return false;
    if (pressed.toLowerCase() === 'z') this.undo();
    else if (pressed === '[' || pressed === ']') this._nudge(pressed === '[' ? -1 : 1);
    else return false;
    return true;
  }

  leave() {
    this.hasLeft = true;
    this.reading = null;
    clearTimeout(this.later);
    this.app.state.window = this.original ?? this.app.state.window;
    this.app.state.stack = [];
    document.getElementById('probability').textContent = '';
  }

  saved() { return { stack: this.stack }; }
}

/** The token values of a window on the scale of another, which an edit may have stretched. */
function onScale(window, other) {
  const range = other.high - other.low || 1;
  return window.samples.map(value => (value - other.low) / range * 100);
}

function words(text) {
  const [name, value, more] = text.split(':');
  if (name === 'beat') return `beat ${Number(value) + 1} ${Math.abs(Number(more)).toFixed(2)} s ${Number(more) < 0 ? 'earlier' : 'later'}`;
  if (name === 'ablate') return `without ${value}`;
  if (name === 'rhythm') return `rhythm made ${value}`;
  if (name === 'noise') return `noise at ${value} dB`;
  if (name === 'f_waves') return `f waves × ${value}`;
  return Number(value) === 0 ? `no ${WORDS[name]}` : `${WORDS[name]} × ${value.replace('-', '−')}`;
}
