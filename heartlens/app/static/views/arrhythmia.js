// What the model says over the recording and of the window, and what if: edits by direct manipulation, each beside its sham.

import { element, minus, replace } from '../draw.js';
import { Handles } from '../handles.js';
import { OverRecording } from '../over_recording.js';
import { onScale } from '../paper.js';
import { Parts } from '../parts.js';
import { Refused } from '../refused.js';
import { waveWords, words } from '../stack.js';

const chance = logit => 1 / (1 + Math.exp(-logit));
const shown = logit => logit === null || logit === undefined ? '–' : chance(logit).toFixed(chance(logit) < 0.01 || chance(logit) > 0.99 ? 4 : 3);
const RHYTHMS = [['', 'rhythm as it is'], ['regular', 'made regular'], ['irregular', 'made irregular'], ['gradual', 'irregular, in order']];

export function mount(place, app) {
  const view = new Arrhythmia(place, app);
  view.start();
  return view;
}

class Arrhythmia {
  constructor(place, app) {
    this.place = place;
    this.app = app;
    this.edits = app.state.stack;
    this.isTold = this.edits.history.length > 0;  // that things can be dragged
    this.beat = null;  // whose P and T waves the sliders are about; null: those of all beats
  }

  start() {
    const { model } = this.app.state;
    this.recording?.stop();
    clearTimeout(this.later);
    const others = { 'next token': 'which token comes next', beat: 'where beats are' }[model?.answers];
    this.isEmpty = this.app.cannotAsk(this.place, others ? `${model.name} answers ${others}, no question about a window.` : '');
    if (this.isEmpty) return;
    this.handles = new Handles(this.app, (name, text, isPassing) => this._dragged(name, text, isPassing));
    this.parts = new Parts(part => this.toggle(part));
    this.recording = new OverRecording(this.app);
    this.numbers = element('div', { className: 'answers', 'aria-live': 'polite' }, element('p', { className: 'dim loading', textContent: 'Asking the model…' }));
    this.back = element('div', { className: 'back' });
    this.list = element('ol', { className: 'stack', 'aria-label': 'edits, in their order' });
    this.controls = element('div', { className: 'controls' });
    const shift = element('label', { className: 'field', title: 'The last token’s attention in the last block, mean over heads, less that of the model it was fine-tuned from. Orange: gained; blue: lost.' },
      element('input', { type: 'checkbox', disabled: !model.base, on: { change: event => this.shift(event.target.checked) } }), element('span', { textContent: model.base ? `change of attention since ${model.base}` : 'no base model is known' }));
    this.place.replaceChildren(element('div', { className: 'columns' },
      element('div', { className: 'what-if' }, element('div', { className: 'told' }, this.numbers, this.back), this.controls, this.list),
      element('div', {}, element('h2', { textContent: 'Click a head or MLP to take it away', title: 'Colour: by how much the logit changes without it (zero ablation), one at a time, in this window.' }), this.parts.place, element('p', { className: 'caption', textContent: 'Number: change of the logit without it, alone, in this window as recorded; · below 0.05.' })),
      element('div', { className: 'wide' }, this.recording.place)));
    this.recording.foot.append(shift);
    this.fresh();
    this.recording.read();
  }

  /** A window to ask about: what can be changed in it, the answer with the edits in force, and what each part is worth. */
  fresh() {
    this.result = this.shams = this.effects = null;
    this._parts();
    this.app.attempt(async () => {
      const beats = await this.app.ask('arrhythmia', 'beats', {}, { latest: 'beats' });
      if (this.isOver) return;
      this.handles.recorded = this.handles.edited = beats;
      if (!this.handles.beats.includes(this.beat)) this.beat = null;
      this._controls();
      await this.ask();
      if (this.isOver) return;  // a view that was opened since asks for its own map, which this one would take the place of
      this.effects = await this.app.ask('arrhythmia', 'ablations', {}, { latest: 'ablations' });
      this._parts();
    });
  }

  /** Whether what is answered from now on has no place any more: another view is open, or the model cannot be asked about the recording. */
  get isOver() { return this.hasLeft || this.isEmpty; }

  /** The edits that are switched on, as the server takes them. */
  get stack() { return this.edits.texts; }

  set(name, text, isPassing = false) { this._changed(() => this.edits.set(name, text, isPassing)); }

  change(after) { this._changed(() => this.edits.change(after)); }

  undo() { this._changed(() => this.edits.undo()); this._controls(); }

  toggle(part) {
    const name = `ablate:${part}`;
    this.set(name, this.edits.has(name) ? null : name);
  }

  _changed(make) {
    this.isTold = true;
    make();
    this._list();
    this.ask();
  }

  /** A drag on the window; the sliders follow to the beat whose wave it was. */
  _dragged(name, text, isPassing) {
    this.set(name, text, isPassing);
    const [wave, beat] = name.split('@');
    if (isPassing || !this.handles.recorded.waves.includes(wave)) return;
    this.beat = beat === undefined ? null : Number(beat);
    this._controls();
  }

  /** The answer now, then the shams. A change that the window does not allow is taken back. */
  ask() {
    if (this.isOver) return Promise.resolve();
    if (this.isAsking) { this.isWaiting = true; return Promise.resolve(); }
    this.isAsking = true;
    const { stack } = this, began = performance.now();
    clearTimeout(this.later);
    return this.app.attempt(async () => {
      try {
        this.result = await this.app.ask('arrhythmia', 'answer', { stack });
        this.handles.edited = this.result.can;
        this.answered = performance.now() - began;
        this._show();
      } catch (error) {
        if (error instanceof Refused && this.edits.undo()) { this._controls(); this.isWaiting = true; }
        throw error;
      } finally {
        this.isAsking = false;
        if (this.isWaiting) { this.isWaiting = false; this.ask(); }
      }
      if (this.isOver) return;
      this.later = setTimeout(() => this.app.attempt(async () => {
        if (!stack.length || this.edits.isDragging) return;
        const shams = await this.app.ask('arrhythmia', 'shams', { stack }, { latest: 'shams' });
        if (JSON.stringify(stack) === JSON.stringify(this.stack)) { this.shams = { ...shams, stack }; this._show(); }
      }), 150);
    });
  }

  _show() {
    if (this.isOver) return;
    const { before, after, window } = this.result, isEdited = this.stack.length > 0;
    this.app.state.window = window;
    if (this.shams && JSON.stringify(this.shams.stack) !== JSON.stringify(this.stack)) this.shams = null;
    const sham = this.shams?.sham, whyNoSham = sham === null ? this.shams.why_no_sham.find(Boolean) : '';
    const number = (label, logit, title, kind = '') => element('div', { title }, element('div', { className: 'dim', textContent: label }), element('div', { className: `big ${kind}`, textContent: shown(logit) }), element('div', { className: 'dim', textContent: logit === null || logit === undefined ? '' : `logit ${minus(logit.toFixed(2))}` }));
    this.numbers.replaceChildren(
      number('as recorded', before, 'The probability of this window, as recorded. Not calibrated unless the model card has a threshold.'),
      number('edited', isEdited ? after : null, 'The probability with all edits that are switched on.', isEdited ? (after > before ? 'more' : 'less') : ''),
      number('sham', isEdited ? sham : null, whyNoSham || 'The probability with as many token values changed of something that should mean little; of parts of the model, with as many other heads of the same layers, MLPs or layers taken away (median of five draws).', 'faint'));
    document.getElementById('probability').textContent = `P(AF) ${shown(before)}${isEdited ? ` → ${shown(after)}` : ''}`;
    document.getElementById('engine').textContent = `engine ${this.app.state.model.engine} · ${this.answered.toFixed(0)} ms`;
    this._list();
    this._lay();
  }

  /** Ghost and handles over the window. */
  _lay() {
    if (this.isOver) return;
    const { recorded, window } = this.app.state, handles = this.handles.all;
    const first = handles.find(each => each.kind === 'beat') ?? handles[0];
    if (first && !this.isTold) first.label = first.kind === 'beat' ? 'drag a beat, or a wave by its top' : 'drag a wave by its top';
    for (const handle of handles) handle.isHeld = handle.kind === 'wave' && handle.beat === this.beat && handle.beat !== null;
    this.app.paper.layers = { ...(this.shiftRow ? { shade: this.shiftRow } : {}), ghost: this.stack.length ? onScale(recorded, window) : null, handles };
    this.app.paper.grab = this.handles.grab;
    this.app.paper.drawWindow();
  }

  _controls() {
    const { waves } = this.handles.recorded, { beats } = this.handles, fields = [];
    const slider = (label, at, put, { min, max, step, title, isDisabled = false }) => {
      const input = element('input', { type: 'range', min, max, step, value: String(at), disabled: isDisabled, 'aria-label': label, title });
      input.addEventListener('input', () => put(Number(input.value), true));
      input.addEventListener('change', () => put(Number(input.value), false));
      return element('label', { className: 'field', title }, element('span', { textContent: label }), input);
    };
    const of = (label, name, at, { neutral, ...rest }) => slider(label, at, (value, isPassing) => this.set(name, value === neutral ? null : `${name}:${value}`, isPassing), rest);
    const choice = (label, options, chosen, change) => element('select', { 'aria-label': label, on: { change: event => change(event.target.value) } },
      ...options.map(([key, text]) => element('option', { value: key, textContent: text, selected: key === chosen })));
    if (waves.length && beats.length) {
      const options = [['', 'waves of all beats'], ...beats.map(beat => [String(beat), `waves of beat ${beat + 1}`])];
      fields.push(choice('whose waves', options, this.beat === null ? '' : String(this.beat), value => {
        this.beat = value === '' ? null : Number(value);
        this._controls();
        this._lay();
      }));
    }
    for (const wave of waves) {
      const isOfOne = this.beat !== null, what = waveWords(wave);
      const ofAll = isOfOne && this.stack.some(text => text.startsWith(`${wave}:`)) ? Number(this.edits.value(wave, 1)) : 1;
      const isDisabled = isOfOne && (!this.handles.has(wave, this.beat) || ofAll === 0), name = isOfOne ? `${wave}@${this.beat}` : wave;
      const recorded = ofAll === 1 ? 'as recorded' : `as the edit of all beats leaves it (${Math.round(100 * ofAll)} %)`;
      const title = ofAll === 0 ? `The ${what} of all beats is taken out: nothing of it is left in beat ${this.beat + 1}`
        : `Height of the ${what}${isOfOne ? ` of beat ${this.beat + 1}` : ''}: right ${recorded}, middle none, left upside down`;
      fields.push(of(what, name, ofAll === 0 ? 0 : this.edits.value(name, 1), { min: -1, max: 1, step: 0.05, neutral: 1, isDisabled, title }));
    }
    const { can } = this.handles.recorded, decibels = this.edits.value('noise', null);
    if (can.add_P && !waves.includes('P')) fields.push(of('P waves put in', 'add_P', this.edits.value('add_P', 0), { min: 0, max: 3, step: 0.1, neutral: 0, title: 'A P wave before every QRS complex that has none and leaves room for one: its height' }));
    fields.push(slider('noise', decibels === null ? 0 : 31 - decibels, (at, isPassing) => this.set('noise', at ? `noise:${31 - at}` : null, isPassing), { min: 0, max: 30, step: 1, title: 'White noise: more to the right (30 to 1 dB)' }));
    if (can.f_waves) fields.push(this._fWaves(slider));
    const rhythm = choice('rhythm', RHYTHMS, this.edits.value('rhythm', ''), value => this.set('rhythm', value ? `rhythm:${value}` : null));
    if (!this.handles.recorded.beats.length) { rhythm.disabled = true; rhythm.title = 'Too few whole beats, or too little room between them, in this window.'; }
    replace(this.controls, ...fields, rhythm);
    this._list();
  }

  /** Fibrillatory waves: two edits on one slider, of which one is in force. */
  _fWaves(slider) {
    const put = (at, isPassing) => this._changed(() => {
      const [name, other] = at < 0 ? ['no_f_waves', 'f_waves'] : ['f_waves', 'no_f_waves'];
      if (this.edits.has(other)) this.edits.set(other, null, true);
      this.edits.set(name, at === 0 ? null : `${name}:${at < 0 ? -at / 5 : at}`, isPassing);
    });
    const at = this.edits.has('no_f_waves') ? -5 * this.edits.value('no_f_waves', 0) : this.edits.value('f_waves', 0);
    return slider('f waves', at, put, { min: -5, max: 5, step: 0.25, title: 'Fibrillatory waves; right: put in, their height; left: those of the recording taken out (in sinus rhythm it takes P waves for them)' });
  }

  _list() {
    const { edits } = this.edits, move = (place, by) => { const after = [...edits], [edit] = after.splice(place, 1); after.splice(place + by, 0, edit); this.change(after); };
    const small = (text, label, isDisabled, click) => element('button', { type: 'button', className: 'small', textContent: text, 'aria-label': label, title: label, disabled: isDisabled, on: { click } });
    const items = edits.map((edit, place) => {
      const at = this.shams?.stack.indexOf(edit.text) ?? -1;
      const alone = at >= 0 ? `alone ${shown(this.shams.alone[at])} · sham ${shown(this.shams.sham_alone[at])}` : '';
      const title = at >= 0 ? (this.shams.why_no_sham[at] || `changes token values by ${this.shams.dose[at]}, its sham by ${this.shams.sham_dose[at]}`) : '';
      return element('li', {},
        element('input', { type: 'checkbox', checked: edit.isOn, 'aria-label': `${words(edit.text)}: on or off`, on: { change: event => { this.change(edits.map(each => each === edit ? { ...edit, isOn: event.target.checked } : each)); this._controls(); } } }),
        element('span', { className: 'name', textContent: words(edit.text) }), element('span', { className: 'dim alone', textContent: alone, title }),
        small('↑', `${words(edit.text)}: earlier`, place === 0, () => move(place, -1)), small('↓', `${words(edit.text)}: later`, place === edits.length - 1, () => move(place, 1)),
        small('✕', `${words(edit.text)}: take out`, false, () => { this.change(edits.filter(each => each !== edit)); this._controls(); }));
    });
    replace(this.list, ...(items.length ? items : [element('li', { className: 'dim', textContent: 'No edits. Drag a beat (○ on its peak) or a wave by its top (Shift: of all beats), or use the sliders.' })]));
    replace(this.back, small('Undo (Z)', 'undo the last edit', !this.edits.history.length, () => this.undo()), small('Start again', 'take out all edits', !edits.length, () => { this.change([]); this._controls(); }));
    this.parts.mark(this.edits);
  }

  _parts() { this.parts.draw(this.app.state.model, this.effects, this.edits); }

  shift(isOn) {
    if (!isOn) { this.shiftRow = null; this._lay(); return; }
    this.app.attempt(async () => {
      const { row } = await this.app.ask('arrhythmia', 'shift', {}, { latest: 'shift' });
      this.shiftRow = { row, isSigned: true, most: Math.max(...row.slice(24).map(Math.abs)) * 1.05 };
      this._lay();
    });
  }

  changed(what) {
    if (what === 'recording' || what === 'model') { this.shiftRow = null; this.start(); } else if (this.isEmpty) return;
    else if (what === 'window') { this.shiftRow = null; this.fresh(); this.recording.draw(); } else if (what === 'theme') { this._parts(); this.recording.draw(); this._lay(); }
  }

  key(pressed) {
    if (this.isEmpty) return false;
    if (pressed.toLowerCase() === 'z') this.undo();
    else if (pressed === '[' || pressed === ']') this.handles.nudge(this.app.state.token, pressed === '[' ? -2 : 2);
    else return false;
    return true;
  }

  hover(token) {
    if (this.isEmpty) return '';
    const near = this.handles.edited.of_beats.find(each => each.first <= token && token <= each.last);
    return near ? ` of beat ${near.beat + 1}` : '';
  }

  leave() {
    this.hasLeft = true;
    this.recording?.stop();
    clearTimeout(this.later);
    document.getElementById('probability').textContent = '';
    document.getElementById('engine').textContent = `engine ${this.app.state.model?.engine ?? ''}`;
  }

  saved() { return { stack: this.stack }; }
}
