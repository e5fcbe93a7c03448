// The page: what this tab looks at, what it asks the server, and which view is open. The views draw; the server computes.

import { element } from './draw.js';
import { Paper } from './paper.js';
import { openHelp } from './help.js';
import { Opening } from './opening.js';
import { Refused, refusal } from './refused.js';
import { saving } from './saving.js';
import { Stack } from './stack.js';

const token = new URLSearchParams(location.search).get('token') ?? '';
const id = name => document.getElementById(name);

class App {
  constructor() {
    this.state = { recording: null, recorded: null, window: null, model: null, token: 499, stack: new Stack(), start_s: 0 };
    this.view = null;        // what the open view's `mount` returned
    this.views = [];
    this._running = new Map();
    this.timings = [];
  }

  /** What the server answers. A newer question with the same `latest` cancels an older one. */
  async ask(view, answer, question = {}, { latest = null, isBinary = false } = {}) {
    const abort = new AbortController();
    if (latest) { this._running.get(latest)?.abort(); this._running.set(latest, abort); }
    const { start_s, recording } = this.state, model = this.state.model?.asked;
    const began = performance.now();
    const response = await fetch(`/api/${view}/${answer}`, {
      method: 'POST', signal: abort.signal, headers: this.headers({ 'Content-Type': 'application/json' }),
      body: JSON.stringify({ model, start_s, ...question }),
    });
    if (!response.ok) {
      const reason = refusal(await response.text()), isOld = this.opening.isOpening || recording !== this.state.recording || model !== this.state.model?.asked;
      if (isOld && view !== 'signal') throw new DOMException('asked about what is not on the screen any more', 'AbortError');
      throw new Refused(reason);
    }
    const result = isBinary ? response : await response.json();
    if (latest && this._running.get(latest) === abort) this._running.delete(latest);
    this.timings.push([`${view}/${answer}`, performance.now() - began]);
    return result;
  }

  /** Forget the question with this `latest`, whatever it would have answered. */
  forget(latest) { this._running.get(latest)?.abort(); }

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
    if (!response.ok) { this.say(refusal(await response.text())); return; }
    const { tab, model, views, has_given } = await response.json();
    this.tab = tab;
    this.views = views.filter(each => each.name !== 'signal');
    this.paper = new Paper(this);
    this.opening = new Opening(this);
    this._tabs();
    this._listen();
    id('view').replaceChildren(element('p', { className: 'empty loading', textContent: 'Opening an example…' }));
    await this.attempt(async () => {
      const example = { example: model.startsWith('ppg') ? 'simulated pulse wave, sinus rhythm' : 'simulated ECG, sinus rhythm' };
      const lists = Promise.all([this.ask('signal', 'examples'), this.ask('signal', 'models')]).then(([examples, models]) => {
        const first = examples.given.length ? { given: examples.given[0] } : example;
        this._choices(examples, models);
        id('records').value = this.opening.chosen = JSON.stringify(first);
        return first;
      });
      const first = has_given ? await lists : example;  // an example need not wait for the lists
      await this.opening.open({ ...first, is_marked: false }, first.example);  // seen before its waves are found, which imports libraries for a second
      await Promise.all([this.opening.open(first, first.example, 'Finding the waves of'), lists]);
    });
    await this.attempt(() => this.choose(this.state.recording?.kind === 'ppg' && model === 'ecg-af' ? 'ppg-af' : model));
  }

  async choose(name) {
    id('exact').textContent = 'loading…';
    id('models').value = name;
    try {
      const before = this.state.model?.name;
      this.state.model = await this.ask('signal', 'model', { model: name }, { latest: 'model' });
      if (before !== this.state.model.name) this.state.stack.leaveModel();
      id('exact').textContent = this.state.model.name;
      id('exact').title = `${this.state.model.name}: ${this.state.model.task}; weights ${this.state.model.fingerprint}; engine ${this.state.model.engine}`;
      id('engine').textContent = `engine ${this.state.model.engine}`;
    } catch (error) {
      id('exact').textContent = this.state.model?.name ?? '';
      if (this.state.model) id('models').value = this.state.model.asked;
      throw error;
    }
    if (!this.view) await this.show(this.state.model.answers === 'last token' ? 'arrhythmia' : this.views[0].name); else this.tell('model');
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
    this.state.window = this.state.recorded;
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
          this.look(await this.ask('signal', 'window', { start_s: wanted }));
        });
        this.paper.draw();
      }
    } finally { this.sliding = false; }
    this._where();
    this.tell('window');
  }

  /** A window is on the screen as it was recorded; the edits of another one are gone. */
  look(window) {
    if (window.start_s !== this.state.start_s) this.state.stack.clear();
    this.state.recorded = this.state.window = window;
    this.state.start_s = window.start_s;
  }

  pick(place) {
    this.state.token = Math.min(Math.max(place, 0), 499);
    this.paper.drawWindow();
    this._where();
    this.tell('token');
  }

  tell(what) {
    const isInView = id('view').contains(document.activeElement);
    this._where();
    this.view?.changed?.(what);
    if (isInView && !id('view').contains(document.activeElement)) id('view').focus();  // what had the focus was replaced
  }

  /** Open a view. */
  show(name) {
    const turn = this.turn = (this.turn ?? 0) + 1;
    return this.attempt(async () => {
      this.view?.leave?.();
      this.view = null;
      this.state.window = this.state.recorded;
      Object.assign(this.paper, { layers: {}, grab: null });
      for (const tab of id('tabs').children) {
        tab.setAttribute('aria-selected', tab.dataset.view === name);
        tab.tabIndex = tab.dataset.view === name ? 0 : -1;
      }
      const place = element('div');
      id('view').replaceChildren(place);
      id('view').setAttribute('aria-labelledby', `tab-${name}`);
      document.body.dataset.view = name;
      const { mount } = await import(`./views/${name}.js`);
      if (turn !== this.turn) return;  // another view was asked for meanwhile
      this.name = name;
      id('saving').hidden = false;
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

  _where() {
    const { window, token: place } = this.state;
    if (window) id('where').textContent = `window ${window.start_s.toFixed(2)} to ${(window.start_s + 500 / window.rate_hz).toFixed(2)} s · asking: ${this.paper._said(place)}`;
  }

  _listen() {
    id('models').addEventListener('change', event => this.attempt(() => this.choose(event.target.value)));
    const theme = name => { document.documentElement.dataset.theme = name; this.paper.draw(); this.tell('theme'); };
    document.documentElement.dataset.theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
    id('theme').addEventListener('click', () => theme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));
    id('help').addEventListener('click', () => openHelp());
    document.addEventListener('keydown', event => this._key(event));
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || id('keys').open) return;
    if (event.key === 'Escape') id('message').hidden = true;
    else if (isOwnKey(event.target, event.key)) return;
    else if (event.key === '?') openHelp();
    else if (['ArrowLeft', 'ArrowRight'].includes(event.key)) this.pick(this._stepped(event.key === 'ArrowLeft' ? -1 : 1, event.shiftKey));
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

/** Whether a control uses a key itself: what is typed in all of them, a slider those that move it, and what is pressed Enter and the space bar. */
function isOwnKey(control, key) {
  if (control.matches('input[type=range]')) return /^(Arrow|Page|Home|End)/.test(key);
  if (control.matches('button, summary, input[type=checkbox]')) return (key === ' ' || key === 'Enter') && control.getAttribute('aria-selected') !== 'true';
  return control.matches('input, select, textarea');
}

function mismatch(model, recording) {
  return `${model.name} reads ${model.kind.toUpperCase()}, and this recording is ${recording.kind.toUpperCase()}: its numbers would mean something else to this model.`;
}

export const app = new App();
window.heartlens = app;
app.start();
