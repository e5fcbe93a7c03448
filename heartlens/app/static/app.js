// The page: what this tab looks at, what it asks the server, and which view is open. The views draw; the server computes.

import { element } from './draw.js';
import { Paper, clock } from './paper.js';
import { openHelp } from './help.js';
import { saving } from './saving.js';

const token = new URLSearchParams(location.search).get('token') ?? '';
const id = name => document.getElementById(name);

export class Refused extends Error {}

class App {
  constructor() {
    this.state = { recording: null, window: null, model: null, token: 499, stack: [], start_s: 0 };
    this.view = null;        // what the open view's `mount` returned
    this.views = [];
    this._running = new Map();
    this.timings = [];
  }

  /** What the server answers. A newer question with the same `latest` cancels an older one. */
  async ask(view, answer, question = {}, { latest = null, isBinary = false } = {}) {
    const abort = new AbortController();
    if (latest) { this._running.get(latest)?.abort(); this._running.set(latest, abort); }
    const { model, state: { start_s } } = { model: this.state.model?.asked, state: this.state };
    const began = performance.now();
    const response = await fetch(`/api/${view}/${answer}`, {
      method: 'POST', signal: abort.signal, headers: this.headers({ 'Content-Type': 'application/json' }),
      body: JSON.stringify({ model, start_s, ...question }),
    });
    if (!response.ok) throw new Refused(await refusal(response));
    const result = isBinary ? response : await response.json();
    if (latest && this._running.get(latest) === abort) this._running.delete(latest);
    this.timings.push([`${view}/${answer}`, performance.now() - began]);
    return result;
  }

  headers(more = {}) { return { 'X-Heartlens-Token': token, 'X-Heartlens-Tab': this.tab ?? '', ...more }; }

  /** Run what may be refused; a refusal is shown, a cancelled question is forgotten. */
  async attempt(work) {
    try { return await work(); } catch (error) {
      if (error.name === 'AbortError') return undefined;
      this.say(error instanceof Refused ? error.message : `The app does not answer (${error.message}). Is \`heartlens app\` still running?`);
      if (!(error instanceof Refused)) console.error(error);
      return undefined;
    }
  }

  say(text) {
    const plain = text.replaceAll('--lead', 'the lead').replaceAll('--rate', 'the rate').replaceAll('--kind', 'the kind').replaceAll('--invert', '“turned upside down”').replaceAll('--as-is', '“taken as it is”').replaceAll('--landmarks', 'the landmarks');
    id('message').replaceChildren(plain, element('button', { type: 'button', textContent: 'Close', on: { click: () => { id('message').hidden = true; } } }));
    id('message').hidden = !text;
  }

  async start() {
    const response = await fetch('/api/start', { method: 'POST', headers: this.headers({ 'Content-Type': 'application/json' }), body: '{}' });
    if (!response.ok) { this.say(await refusal(response)); return; }
    const { tab, model, views } = await response.json();
    this.tab = tab;
    this.views = views.filter(each => each.name !== 'signal');
    this.paper = new Paper(this);
    this._tabs();
    this._listen();
    id('view').replaceChildren(element('p', { className: 'empty loading', textContent: 'Opening an example…' }));
    await this.attempt(async () => {
      const [examples, models] = await Promise.all([this.ask('signal', 'examples'), this.ask('signal', 'models')]);
      this._choices(examples, models);
      const given = examples.given.length;
      const first = given ? { given: examples.given[0] } : { example: model.startsWith('ppg') ? 'simulated pulse wave, sinus rhythm' : 'simulated ECG, sinus rhythm' };
      id('records').value = JSON.stringify(first);
      await this.open(first);
      await this.choose(this.state.recording?.kind === 'ppg' && model === 'ecg-af' ? 'ppg-af' : model);
    });
  }

  /** Read a recording and look at it. */
  async open(question) {
    id('facts').textContent = 'Reading…';
    id('facts').className = 'loading';
    try {
      const recording = await this.ask('signal', 'open', question, { latest: 'open' });
      this.state.recording = recording;
      this.state.stack = [];
      this.state.start_s = recording.starts_s[0][0];
      this.paper.columns = null;
      this._facts();
      const looked = this.paper.look();
      this.state.window = await this.ask('signal', 'window', {}, { latest: 'window' });
      this.state.start_s = this.state.window.start_s;
      this.state.token = 499;
      await looked;
      this.paper.draw();
      this.tell('recording');
      this.chosen = id('records').value;
    } catch (error) {
      if (this.chosen) id('records').value = this.chosen;  // what is still on the screen
      throw error;
    } finally {
      id('facts').className = '';
      this._facts();
    }
  }

  async upload(files) {
    const form = new FormData();
    for (const file of files) form.append('file', file, file.name);
    await this.attempt(async () => {
      const response = await fetch('/api/upload', { method: 'POST', headers: this.headers(), body: form });
      if (!response.ok) throw new Refused(await refusal(response));
      const { upload, files: names } = await response.json();
      try {
        await this.open({ upload });
        this.pending = null;
      } catch (error) {
        this.pending = { upload };
        this.dropped = names.join(', ');  // what the user says of it in the form is read with it
        this._openHints();
        throw error;
      }
      const label = names.length > 1 ? `${names[0]} and ${names.length - 1} more` : names[0];
      const option = element('option', { textContent: label, value: JSON.stringify({ upload }), selected: true });
      id('records').append(option);
      this.chosen = option.value;
    });
  }

  async choose(name) {
    id('exact').textContent = 'loading…';
    id('models').value = name;
    try {
      this.state.model = await this.ask('signal', 'model', { model: name }, { latest: 'model' });
      id('exact').textContent = this.state.model.name;
      id('exact').title = `${this.state.model.name}: ${this.state.model.task}; weights ${this.state.model.fingerprint}; engine ${this.state.model.engine}`;
      id('engine').textContent = `engine ${this.state.model.engine}`;
    } catch (error) {
      id('exact').textContent = this.state.model?.name ?? '';
      if (this.state.model) id('models').value = this.state.model.asked;
      throw error;
    }
    if (!this.view) await this.show(this.views[0].name); else this.tell('model');
  }

  /** Say in a view's place that the model cannot be asked about this recording, and offer one that can; whether that was so. */
  cannotAsk(place, why = '') {
    const { model, recording } = this.state;
    if (!model || !recording) { place.replaceChildren(element('p', { className: 'empty', textContent: 'Open a recording and choose a model.' })); return true; }
    id('saving').hidden = false;
    const reason = model.kind !== recording.kind ? mismatch(model, recording) : why;
    if (!reason) return false;
    id('saving').hidden = true;
    const right = `${recording.kind}-af`;
    place.replaceChildren(element('p', { className: 'empty' }, `${reason} `, element('button', { type: 'button', textContent: `Take ${right}`, on: { click: () => this.attempt(() => this.choose(right)) } })));
    Object.assign(this.paper, { layers: {}, grab: null });
    this.paper.drawWindow();
    id('probability').textContent = '';
    return true;
  }

  /** Move the window; the last place that is asked for counts. */
  async slide(start_s) {
    if (!this.state.recording) return;
    this.state.wanted_s = start_s;
    if (this.sliding) return;
    this.sliding = true;
    try {
      while (this.state.wanted_s !== null) {
        const wanted = this.state.wanted_s;
        this.state.wanted_s = null;
        await this.attempt(async () => {
          this.state.window = await this.ask('signal', 'window', { start_s: wanted });
          this.state.start_s = this.state.window.start_s;
          this.state.stack = [];
        });
        this.paper.draw();
      }
    } finally { this.sliding = false; }
    this._where();
    this.tell('window');
  }

  pick(place) {
    this.state.token = Math.min(Math.max(place, 0), 499);
    this.paper.drawWindow();
    this._where();
    this.tell('token');
  }

  tell(what) { this._where(); this.view?.changed?.(what); }

  /** Open a view. */
  show(name) {
    const turn = this.turn = (this.turn ?? 0) + 1;
    return this.attempt(async () => {
      this.view?.leave?.();
      this.view = null;
      Object.assign(this.paper, { layers: {}, grab: null });
      for (const tab of id('tabs').children) {
        tab.setAttribute('aria-selected', tab.dataset.view === name);
        tab.tabIndex = tab.dataset.view === name ? 0 : -1;
      }
      const place = element('div');
      id('view').replaceChildren(place);
      id('view').setAttribute('aria-labelledby', `tab-${name}`);
      const { mount } = await import(`./views/${name}.js`);
      if (turn !== this.turn) return;  // another view was asked for meanwhile
      this.name = name;
      this.view = mount(place, this);
      saving(id('saving'), this, name, this.view);
      this.paper.drawWindow();
    });
  }

  _tabs() {
    id('tabs').replaceChildren(...this.views.map(({ name, title, about }) => element('button', {
      type: 'button', role: 'tab', id: `tab-${name}`, textContent: title, title: about, 'aria-controls': 'view', 'aria-selected': 'false', 'data-view': name,
      on: { click: () => this.show(name) },
    })));
    id('tabs').addEventListener('keydown', event => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key], tabs = [...id('tabs').children];
      if (!by) return;
      const next = tabs[(tabs.indexOf(document.activeElement) + by + tabs.length) % tabs.length];
      next.focus();
      this.show(next.dataset.view);
      event.stopPropagation();
      event.preventDefault();
    });
  }

  _choices({ simulated, given }, models) {
    const group = (label, options) => options.length ? [element('optgroup', { label }, ...options)] : [];
    const option = (text, value) => element('option', { textContent: text, value });
    id('records').replaceChildren(
      ...group('given on the command line', given.map(name => option(name, JSON.stringify({ given: name })))),
      ...group('examples', simulated.map(name => option(name, JSON.stringify({ example: name })))));
    const aliases = models.filter(each => !each.is_embedded && !/\d/.test(each.name)), exact = models.filter(each => !each.is_embedded && /\d/.test(each.name));
    const named = list => list.map(each => option(each.name, each.name));
    id('models').replaceChildren(
      ...group('published, else embedded', named(aliases)), ...group('published', named(exact)), ...group('embedded, trained on simulations', named(models.filter(each => each.is_embedded))));
  }

  _facts() {
    const { recording } = this.state;
    if (!recording) { id('facts').textContent = 'No recording is open.'; return; }
    const rate = recording.rate_hz === recording.model_rate_hz ? `${recording.rate_hz} Hz` : `${Number(recording.rate_hz.toPrecision(6))} → ${recording.model_rate_hz} Hz`;
    id('facts').textContent = [recording.name, `${recording.lead || recording.kind.toUpperCase()} in ${recording.unit}`, rate, recording.duration_s > 600 ? clock(recording.duration_s) : `${recording.duration_s.toFixed(1)} s`, recording.is_simulated ? '' : recording.person ? `person ${recording.person}` : 'person not known'].filter(Boolean).join(' · ');
    id('facts').title = recording.notes.join('\n');
    id('ribbon').hidden = !recording.is_simulated;
    id('ribbon').textContent = 'simulated';
    id('legend').replaceChildren(
      element('span', { className: 'dim', textContent: recording.marked_by ? `marked by ${recording.marked_by}` : 'no waves marked' }),
      ...recording.waves.map((wave, number) => element('button', {
        type: 'button', 'aria-pressed': String(!this.paper.hidden.has(wave)), title: `show or hide ${wave.replace('_', ' ')}`,
        on: { click: event => { const { hidden } = this.paper; if (!hidden.delete(wave)) hidden.add(wave); event.currentTarget.setAttribute('aria-pressed', String(!hidden.has(wave))); this.paper.drawWindow(); } },
      }, element('span', { className: `swatch wave-${number}` }), wave.replace('_', ' '))));
  }

  _where() {
    const { window, token: place } = this.state;
    if (window) id('where').textContent = `window ${window.start_s.toFixed(2)} to ${(window.start_s + 500 / window.rate_hz).toFixed(2)} s · asking: ${this.paper._said(place)}`;
  }

  _hints() {
    const { recording } = this.state, form = id('hints');
    if (!recording) return;
    const hints = recording.hints ?? {};
    const field = (label, control) => element('label', { className: 'field' }, element('span', { textContent: label }), control);
    const choice = (name, options, value) => element('select', { name }, ...options.map(([key, text]) => element('option', { value: key, textContent: text, selected: key === value })));
    form.replaceChildren(
      ...(this.pending ? [element('strong', { textContent: `Of ${this.dropped}:` })] : []),
      ...(recording.names.length > 1 ? [field('recording', choice('name', recording.names.map(name => [name, name]), recording.key))] : []),
      field('lead', element('input', { name: 'lead', size: 8, placeholder: this.pending ? '' : recording.lead, value: hints.lead ?? '' })),
      field('kind', choice('kind', [['', 'as the file says'], ['ecg', 'ECG'], ['ppg', 'PPG']], '')),
      field('rate (Hz)', element('input', { name: 'rate_hz', type: 'number', min: 1, step: 'any', placeholder: String(recording.rate_hz), value: hints.rate_hz ?? '' })),
      field('polarity', choice('polarity', [['check', 'checked'], ['invert', 'turned upside down'], ['as-is', 'taken as it is']], hints.polarity ?? 'check')),
      field('landmarks', choice('landmarks', [['auto', 'expert, else detector'], ['expert', 'expert'], ['detected', 'detector']], hints.landmarks ?? 'auto')),
      element('button', { type: 'submit', textContent: 'Read again' }),
      ...(this.pending ? [] : recording.notes).map(note => element('span', { className: 'dim', textContent: note })));
  }

  _openHints(isOpen = true) {
    id('hints').hidden = !isOpen;
    id('reread').setAttribute('aria-expanded', String(isOpen));
    this._hints();
    this.paper.draw();
  }

  _listen() {
    id('records').addEventListener('change', event => { this.pending = null; this.attempt(() => this.open(JSON.parse(event.target.value))); });
    id('models').addEventListener('change', event => this.attempt(() => this.choose(event.target.value)));
    id('choose').addEventListener('click', () => id('file').click());
    id('file').addEventListener('change', event => { if (event.target.files.length) this.upload(event.target.files); event.target.value = ''; });
    id('reread').addEventListener('click', () => this._openHints(id('hints').hidden));
    id('hints').addEventListener('submit', event => {
      event.preventDefault();
      const asked = Object.fromEntries([...new FormData(id('hints'))].filter(([, value]) => value !== ''));
      if (asked.rate_hz) asked.rate_hz = Number(asked.rate_hz);
      this.attempt(async () => { await this.open({ ...this.pending, ...asked }); this.pending = null; });
    });
    document.addEventListener('dragover', event => event.preventDefault());
    document.addEventListener('drop', event => { event.preventDefault(); if (event.dataTransfer.files.length) this.upload(event.dataTransfer.files); });
    const theme = name => { document.documentElement.dataset.theme = name; this.paper.draw(); this.tell('theme'); };
    document.documentElement.dataset.theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
    id('theme').addEventListener('click', () => theme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));
    id('help').addEventListener('click', () => openHelp(this));
    document.addEventListener('keydown', event => this._key(event));
  }

  _key(event) {
    if (event.target.matches('input, select, textarea') || event.ctrlKey || event.metaKey || event.altKey || id('keys').open) return;
    if (event.key === '?') openHelp(this);
    else if (['ArrowLeft', 'ArrowRight'].includes(event.key)) this.pick(this._stepped(event.key === 'ArrowLeft' ? -1 : 1, event.shiftKey));
    else if (event.key === 'Escape') id('message').hidden = true;
    else if (!this.view?.key?.(event.key)) return;
    event.preventDefault();
  }

  /** The next token, or with shift the same place of the next beat. */
  _stepped(by, isBeat) {
    const { token: place, window } = this.state;
    if (!isBeat || !window || window.position[place] === null) return place + by;
    const wanted = window.position[place] + by;
    let nearest = null;
    window.position.forEach((value, index) => { if (value !== null && (nearest === null || Math.abs(value - wanted) < Math.abs(window.position[nearest] - wanted))) nearest = index; });
    return nearest;
  }
}

function mismatch(model, recording) {
  return `${model.name} reads ${model.kind.toUpperCase()}, and this recording is ${recording.kind.toUpperCase()}: its numbers would mean something else to this model.`;
}

async function refusal(response) {
  const text = await response.text();
  try { return JSON.parse(text).refusal ?? text; } catch { return text; }
}

export const app = new App();
window.heartlens = app;
app.start();
