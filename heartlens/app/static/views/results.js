// Stored results: what a command wrote, in words, as a figure and in numbers; how to make it again; two of them compared.

import { element, minus } from '../draw.js';

const PLACES = 4;

export function mount(place, app) {
  const view = new Results(place, app);
  view.start();
  return view;
}

class Results {
  constructor(place, app) { Object.assign(this, { place, app, name: null, other: '' }); }

  start() {
    this.app.paper.layers = {};
    this.app.paper.drawWindow();
    this.app.attempt(async () => {
      const { names, out } = await this.app.ask('results', 'listed');
      if (!names.length) {
        this.place.replaceChildren(element('p', { className: 'empty', textContent: `No results are stored in ${out}. A command such as  heartlens head_scan ecg --simulate sinus --out ${out}/scan  stores one; heartlens app --out FOLDER shows another folder.` }));
        return;
      }
      const options = none => [...(none ? [element('option', { value: '', textContent: none })] : []), ...names.map(each => element('option', { value: each, textContent: each === '.' ? out : each }))];
      this.name = names.includes(this.name) ? this.name : names[0];
      this.body = element('div');
      this.place.replaceChildren(
        element('div', { className: 'row' },
          element('label', { className: 'field' }, element('span', { textContent: 'result' }), element('select', { id: 'result-name', on: { change: event => { this.name = event.target.value; this.load(); } } }, ...options())),
          element('label', { className: 'field' }, element('span', { textContent: 'compared with' }), element('select', { id: 'result-other', on: { change: event => { this.other = event.target.value; this.load(); } } }, ...options('nothing')))),
        this.body);
      this.load();
    });
  }

  load() {
    this.body.replaceChildren(element('p', { className: 'empty loading', textContent: this.other ? 'Comparing…' : 'Reading…' }));
    this.app.attempt(async () => {
      try {
        if (this.other) await this.compare(); else await this.read();
      } catch (error) {
        if (error.name !== 'AbortError') this.body.replaceChildren(element('p', { className: 'empty error', textContent: error.message }));
        throw error;
      }
    });
  }

  async read() {
    const told = await this.app.ask('results', 'result', { name: this.name }, { latest: 'result' });
    const image = element('img', { alt: `figure of ${told.title}`, className: 'result-figure' });
    const list = (title, lines) => lines.length ? [element('h2', { textContent: title }), element('ul', {}, ...lines.map(text => element('li', { textContent: text })))] : [];
    const copy = element('button', { type: 'button', textContent: 'Copy the command', className: 'small', on: { click: () => this.app.attempt(async () => { await navigator.clipboard.writeText(told.command); copy.textContent = 'Copied'; }) } });
    this.body.replaceChildren(
      element('div', { className: 'row' }, element('h2', { className: 'result-title', textContent: told.title }),
        ...(told.is_simulated ? [element('span', { className: 'ribbon', textContent: 'measured on simulated signals' })] : [])),
      element('div', { className: 'columns' },
        element('div', { className: 'wide' }, ...told.verdict.map(text => element('p', { className: 'verdict', textContent: text })), ...list('What a reader must know', told.cautions),
          element('details', {}, element('summary', { textContent: 'How every number is defined' }), ...told.methods.map(text => element('p', { textContent: text }))),
          element('details', {}, element('summary', { textContent: 'Where it comes from' }), element('dl', { className: 'provenance' }, ...told.provenance.flatMap(([name, value]) => [element('dt', { textContent: name }), element('dd', { textContent: value })]))),
          element('h2', { textContent: 'Make it again' }), element('pre', { className: 'command', tabIndex: 0, textContent: told.command }), copy),
        element('div', { className: 'wide' }, image)),
      element('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'table of the result' }, tableOf(told.columns, told.rows)));
    const drawn = await (await this.app.ask('results', 'figure', { name: this.name, format: 'svg' }, { isBinary: true, latest: 'result figure' })).blob();
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = URL.createObjectURL(drawn);
    image.src = this.address;
    await image.decode().catch(() => {});
    this.place.dataset.shown = this.name;
  }

  async compare() {
    const { columns, rows, n_rows: count, notes } = await this.app.ask('results', 'compared', { a: this.name, b: this.other }, { latest: 'result' });
    const isNamed = columns.includes('part');  // layer and head by the part, from 1, as in the paper
    const kept = columns.flatMap((name, place) => isNamed && ['layer', 'head'].includes(name) ? [] : [place]);
    const number = text => (Number.isFinite(Number(text)) && text !== '' && String(text).includes('.') ? minus(Number(text).toFixed(PLACES)) : text);
    this.body.replaceChildren(
      element('h2', { textContent: `b, ${this.other}, less a, ${this.name}` }), element('div', { className: 'notes' }, ...notes.map(text => element('p', { className: 'dim', textContent: text }))),
      ...(count > rows.length ? [element('p', { className: 'dim', textContent: `the first ${rows.length} of ${count} rows` })] : []),
      element('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'comparison' }, tableOf(kept.map(place => columns[place]), rows.map(row => kept.map(place => number(row[place]))))));
    this.place.dataset.shown = `${this.name} ${this.other}`;
  }

  changed() {}

  leave() { if (this.address) URL.revokeObjectURL(this.address); }

  saved() { return { name: this.name }; }
}

function tableOf(columns, rows) {
  return element('table', {}, element('thead', {}, element('tr', {}, ...columns.map(text => element('th', { textContent: text })))),
    element('tbody', {}, ...rows.map(row => element('tr', {}, ...row.map(text => element('td', { textContent: text ?? '' }))))));
}
