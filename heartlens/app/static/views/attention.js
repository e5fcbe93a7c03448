// Who attends to whom in the window: all heads by their lift on a wave, the map of one, the asking token's row on the signal, and why.

import { VIRIDIS_TABLE, colour, css, element, mix, readable, replace, scale, sheet, signed } from '../draw.js';
import { onScale } from '../paper.js';
import { words } from '../stack.js';

const N = 500, SINK = 24, SUM = -1;
const name = (layer, head) => head === SUM ? `layer ${layer + 1}, all heads` : `L${layer + 1}H${head + 1}`;

export function mount(place, app) {
  const view = new Attention(place, app);
  view.start();
  return view;
}

class Attention {
  constructor(place, app) {
    this.place = place;
    this.app = app;
    this.chosen = { layer: (app.state.model?.n_layers ?? 8) - 1, head: SUM };
    this.which = 'model';
    this.isBeside = false;
    this.hasSink = true;
    this.wave = null;
    this.key_ = null;
    this.isKeyChosen = false;  // else the key that the asking token looks at most
    this.zoom = [0, N, 0, N];   // keys from, until; asking tokens from, until
    this.maps = {};
  }

  start() {
    const { model } = this.app.state, { recording } = this.app.state;
    this.maps = {};
    clearTimeout(this.waiting);
    this.isEmpty = this.app.cannotAsk(this.place);
    if (this.isEmpty) return;
    this.chosen.layer = Math.min(this.chosen.layer, model.n_layers - 1);
    this.wave = recording.waves.includes(this.wave) ? this.wave : recording.waves[Math.min(1, recording.waves.length - 1)];
    const pick = (value, options, label, change) => element('label', { className: 'field' }, element('span', { textContent: label }),
      element('select', { on: { change: event => change(event.target.value) } }, ...options.map(([key, text]) => element('option', { value: key, textContent: text, selected: key === value }))));
    this.grid = element('div', { className: 'heads', role: 'group', 'aria-label': 'heads' });
    this.canvas = element('canvas', { className: 'map', role: 'img', 'aria-label': 'attention map: asking tokens from top to bottom, keys from left to right' });
    this.beside = element('canvas', { className: 'map', role: 'img', 'aria-label': 'attention map of the base model', hidden: true });
    this.title = element('h2');
    this.besideTitle = element('h2', { hidden: true });
    this.why = element('div', { className: 'wide why' });
    const sink = element('label', { className: 'field', title: 'The first token receives much attention whatever it holds: it is an attention sink. Without it, its column is not drawn, and the lift is counted without it.' },
      element('input', { type: 'checkbox', checked: this.hasSink, on: { change: event => { this.hasSink = event.target.checked; this.overview(); this.redraw(); } } }), element('span', { textContent: 'show the sink (token 1)' }));
    const base = model.base ? [pick(this.which, [['model', model.name], ['base', `its base, ${model.base}`], ['change', 'change: model less base']], 'of', value => { this.which = value; this.load(); }),
      element('label', { className: 'field' }, element('input', { type: 'checkbox', checked: this.isBeside, on: { change: event => { this.isBeside = event.target.checked; this.load(); } } }), element('span', { textContent: 'base beside it' }))] : [];
    this.isEdited = this.app.state.stack.texts.length > 0;
    this.edits = element('div', { className: 'row' });
    this.place.replaceChildren(element('div', { className: 'columns' },
      element('div', {}, element('div', { className: 'row' }, pick(this.wave, recording.waves.map(wave => [wave, wave.replace('_', ' ')]), 'lift on', value => { this.wave = value; this.overview(); })), this.grid, element('p', { className: 'caption', textContent: 'in multiples of an even spread of attention' })),
      element('div', {}, this.title, this.canvas),
      element('div', { hidden: true, className: 'besides' }, this.besideTitle, this.beside),
      element('div', { className: 'wide' }, this.edits, element('div', { className: 'row' }, ...base, sink), this.why)));
    this.besides = this.place.querySelector('.besides');
    this._mapEvents(this.canvas);
    this._mapEvents(this.beside);
    this.look();
  }

  /** What is asked about: the window with the edits of the what-if, or as it was recorded. */
  get stack() { return this.isEdited ? this.app.state.stack.texts : []; }

  /** Show the window, edited or as it was recorded, say which, and ask for its attention. */
  look() {
    const { stack } = this;
    this._sayEdits();
    this.app.attempt(async () => {
      try {
        const { recorded } = this.app.state, window = stack.length ? await this.app.ask('attention', 'edited', { stack }, { latest: 'edited' }) : recorded;
        if (this.hasLeft || this.isEmpty || JSON.stringify(stack) !== JSON.stringify(this.stack)) return;
        this.app.state.window = window;
        this.app.paper.layers.ghost = stack.length ? onScale(recorded, window) : null;
        this.app.paper.drawWindow();
      } catch (error) {
        if (error.name !== 'AbortError') { this.isEdited = false; this._sayEdits(); }
        throw error;
      }
      this.overview();
      await this.load();
    });
  }

  _sayEdits() {
    const { texts } = this.app.state.stack, other = this.isEdited ? 'Show it as recorded' : 'Show it with the edits';
    this.edits.hidden = !texts.length;
    replace(
      this.edits,
      element('strong', { className: this.isEdited ? 'ribbon' : '', textContent: this.isEdited ? 'edited window' : 'window as recorded' }),
      element('span', { textContent: this.isEdited ? texts.map(words).join(', ') : `${texts.length} edit${texts.length === 1 ? '' : 's'} of the what-if not shown` }),
      element('button', { type: 'button', className: 'small', textContent: other, on: { click: () => { this.isEdited = !this.isEdited; this.look(); } } }));
  }

  /** Every head's lift. */
  overview() {
    this._grid(null);
    this.app.attempt(async () => {
      const { lift } = await this.app.ask('attention', 'heads', { wave: this.wave, sink: this.hasSink, stack: this.stack }, { latest: 'heads' });
      if (!this.isEmpty) this._grid(lift);
    });
  }

  _grid(lift) {
    const { n_layers, n_heads } = this.app.state.model;
    this.lift = lift;
    this.grid.style.gridTemplateColumns = `30px repeat(${n_heads}, 30px) 30px`;
    const cells = [element('span'), ...Array.from({ length: n_heads }, (_, head) => element('span', { className: 'label', textContent: `H${head + 1}` })), element('span', { className: 'label', textContent: 'sum' })];
    for (let layer = 0; layer < n_layers; layer += 1) {
      cells.push(element('span', { className: 'label', textContent: `L${layer + 1}` }));
      for (let head = 0; head < n_heads; head += 1) cells.push(this._cell(layer, head, lift?.[layer][head] ?? null));
      cells.push(this._cell(layer, SUM, null));
    }
    replace(this.grid, ...cells);
  }

  _cell(layer, head, lift) {
    const fill = lift === null ? mix(colour('ground'), colour('line'), 0.35) : signed(Math.log2(Math.max(lift, 0.06)) / 2.3);
    const text = head === SUM ? 'Σ' : lift === null ? '' : lift.toFixed(1);
    const button = element('button', {
      type: 'button', textContent: text, 'aria-pressed': String(this.chosen.layer === layer && this.chosen.head === head),
      'aria-label': `${name(layer, head)}${lift === null ? '' : `, lift on ${this.wave.replace('_', ' ')} ${lift.toFixed(2)}`}`,
      title: head === SUM ? name(layer, head) : `${name(layer, head)} (blocks.${layer}.attn.hook_pattern, head ${head}): ${lift === null ? 'no wave marked' : `${lift.toFixed(2)} times as much attention on ${this.wave.replace('_', ' ')} as if it were spread evenly, in this window`}`,
      on: { click: () => this.choose(layer, head) },
    });
    button.style.background = css(fill);
    button.style.color = readable(fill);
    return button;
  }

  choose(layer, head) {
    const { n_layers, n_heads } = this.app.state.model;
    this.chosen = { layer: Math.min(Math.max(layer, 0), n_layers - 1), head: Math.min(head, n_heads - 1) };
    this.key_ = null;
    this.isKeyChosen = false;
    this._grid(this.lift);
    this.load();
  }

  /** The maps that are shown. */
  load() {
    return this.app.attempt(async () => {
      this.title.textContent = `${name(this.chosen.layer, this.chosen.head)} …`;
      const get = async which => new Float32Array(await (await this.app.ask('attention', 'map', { ...this.chosen, which, stack: this.stack }, { isBinary: true, latest: `map ${which}` })).arrayBuffer());
      const [own, base] = await Promise.all([get(this.which), this.isBeside && this.app.state.model.base ? get('base') : null]);
      if (this.isEmpty) return;
      this.maps = { own: new Map_(own, this.which === 'change'), base: base ? new Map_(base, false) : null };
      this.place.firstElementChild.classList.toggle('is-beside', Boolean(base));
      this.besides.hidden = this.besideTitle.hidden = this.beside.hidden = !base;
      this.redraw();
    });
  }

  redraw() {
    if (!this.maps.own) return;
    const { model } = this.app.state, of = { model: model.name, base: model.base, change: `${model.name} less ${model.base}` }[this.which];
    this.title.textContent = `${name(this.chosen.layer, this.chosen.head)} · ${of}`;
    this.besideTitle.textContent = `${name(this.chosen.layer, this.chosen.head)} · ${model.base}`;
    this.row();
  }

  /** The asking token's row on the signal, its line in the map, and why. */
  row() {
    const { own, base } = this.maps, { token } = this.app.state;
    if (!own || this.hasLeft) return;
    const row = own.row(token, this.hasSink);
    const order = [...row.keys()].filter(key => key <= token && (key >= 1 || this.hasSink)).sort((one, other) => Math.abs(row[other]) - Math.abs(row[one]));
    if (this.key_ === null || this.key_ > token || !this.isKeyChosen) this.key_ = order.find(key => key >= 1) ?? 0;
    this.app.paper.layers.shade = { row, isSigned: own.isSigned, most: largest(row, token) };
    this.app.paper.drawWindow();
    drawMap(this.canvas, own, this.zoom, token, this.key_, this.hasSink);
    if (base) drawMap(this.beside, base, this.zoom, token, this.key_, this.hasSink);
    this._why(row, token, order);
  }

  _why(row, token, order) {
    const total = row.reduce((sum, value) => sum + value, 0), beside = this.maps.base?.row(token, this.hasSink);
    if (this.which === 'change' && !row.some(value => value)) {
      this.why.replaceChildren(element('p', { className: 'dim', textContent: `Nothing changed here: fine-tuning left ${name(this.chosen.layer, this.chosen.head)} as it was. It trained the last block alone.` }));
      return;
    }
    const keys = order.slice(0, beside ? 2 : 5).map(key => element('button', {
      type: 'button', className: 'small', 'aria-pressed': String(key === this.key_), textContent: `${key + 1}: ${row[key].toFixed(3)}${beside ? ` (base ${beside[key].toFixed(3)})` : ''}`,
      title: this.app.paper._said(key), on: { click: () => this._chooseKey(key) },
    }));
    const box = element('div', { className: 'parts' });
    replace(
      this.why,
      element('h2', { textContent: `Token ${token + 1} ${this.which === 'change' ? 'changes its attention most at' : `looks most at (of ${total.toFixed(2)} in all)`}` }), element('div', { className: 'row' }, ...keys), box);
    if (this.chosen.head === SUM) { box.replaceChildren(element('p', { className: 'dim', textContent: 'Choose one head to see why it looks there.' })); return; }
    if (this.which !== 'model') { box.replaceChildren(element('p', { className: 'dim', textContent: 'Choose the model itself to see why this head looks there.' })); return; }
    clearTimeout(this.waiting);
    if (this.split) this._parts(box, this.split, true);
    this.waiting = setTimeout(() => this.app.attempt(async () => {
      this.split = { ...await this.app.ask('attention', 'why', { ...this.chosen, token, key: this.key_, stack: this.stack }, { latest: 'why' }), key: this.key_, token };
      this._parts(box, this.split, false);
    }), 60);
  }

  /** The score's parts as bars: the largest, and all others together, so that what is shown sums to the score. */
  _parts(box, split, isOld) {
    const order = split.parts.map((part, place) => [part, split.above[place]]).sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
    const shown = order.slice(0, 6), rest = order.slice(6).reduce((sum, [, value]) => sum + value, 0);
    if (order.length > 6) shown.push([`remainder (${order.length - 6} parts)`, rest]);
    const most = Math.max(...shown.map(([, value]) => Math.abs(value)), 1e-9);
    box.className = isOld ? 'parts faint' : 'parts';
    box.replaceChildren(
      element('p', {
        className: 'dim', textContent: `Why ${name(this.chosen.layer, this.chosen.head)} looks at token ${split.key + 1}: its score there is ${split.score_above.toFixed(2)} ${split.score_above < 0 ? 'below' : 'above'} its mean over earlier tokens (weight ${split.weight.toFixed(3)}). By what the key holds:`.replace(' -', ' '),
        title: 'score = query · key / 8, with the LayerNorm scale of each token as it is. The parts sum to the score exactly. A softmax takes no notice of what all keys share, so each part is taken less its mean over the keys.',
      }),
      element('table', {}, ...shown.map(([part, value]) => element('tr', {}, element('td', { textContent: part }), element('td', { className: 'number', textContent: `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(2)}` }), element('td', {}, bar(value / most))))));
  }

  _mapEvents(canvas) {
    const at = event => {
      const [left, right, top, bottom] = this.zoom;
      return [left + event.offsetX / canvas.clientWidth * (right - left), top + event.offsetY / canvas.clientHeight * (bottom - top)];
    };
    canvas.addEventListener('wheel', event => {
      event.preventDefault();
      const [key, asking] = at(event), factor = event.deltaY > 0 ? 1.25 : 0.8;
      this.zoom = zoomed(this.zoom, key, asking, factor);
      this.row();
    }, { passive: false });
    canvas.addEventListener('dblclick', () => { this.zoom = [0, N, 0, N]; this.row(); });
    canvas.addEventListener('click', event => {
      const [key, asking] = at(event).map(Math.floor);
      if (key > asking) return;
      this.key_ = key;
      this.isKeyChosen = true;
      this.app.pick(asking);
    });
    canvas.addEventListener('pointermove', event => {
      const [key, asking] = at(event).map(Math.floor), own = canvas === this.beside ? this.maps.base : this.maps.own;
      if (!own || key > asking) return;
      document.getElementById('hover').textContent = `token ${asking + 1} pays ${own.values[asking * N + key].toFixed(4)} to token ${key + 1}; wheel zooms, click asks, double click shows all`;
    });
  }

  /** The key about which is told why. */
  _chooseKey(key) {
    this.key_ = Math.min(Math.max(key, 0), this.app.state.token);
    this.isKeyChosen = true;
    this.row();
  }

  changed(what) {
    if (what === 'model' || what === 'recording') { this.which = 'model'; this.isBeside = false; this.start(); return; }
    if (this.isEmpty) return;
    if (what === 'token') { this.row(); return; }
    if (what === 'theme') { this._grid(this.lift); this.redraw(); return; }
    this.isEdited = this.app.state.stack.texts.length > 0;
    this.look();
  }

  key(pressed) {
    if (this.isEmpty) return false;
    const { layer, head } = this.chosen;
    if (pressed === 'ArrowUp' || pressed === 'ArrowDown') this.choose(layer + (pressed === 'ArrowUp' ? -1 : 1), head);
    else if (/^[1-9]$/.test(pressed)) this.choose(layer, Number(pressed) - 1);
    else if (pressed === '0') this.choose(layer, SUM);
    else if (pressed === ',' || pressed === '.') this._chooseKey(this.key_ + (pressed === ',' ? -1 : 1));
    else if (pressed === '+' || pressed === '-') { this.zoom = zoomed(this.zoom, this.key_, this.app.state.token, pressed === '+' ? 0.8 : 1.25); this.row(); }
    else return false;
    return true;
  }

  hover(token) {
    const { own } = this.maps, asking = this.app.state.token;
    return own && token <= asking ? ` · receives ${own.values[asking * N + token].toFixed(4)} from token ${asking + 1}` : '';
  }

  leave() { this.hasLeft = true; clearTimeout(this.waiting); }

  saved() { return { ...this.chosen, token: this.app.state.token, which: this.which, stack: this.stack }; }
}

/** A map as numbers and as an image of one pixel a number, made once. */
class Map_ {
  constructor(values, isSigned) {
    this.values = values;
    this.isSigned = isSigned;
    this.most = quantile(values, 0.995) || 1e-9;
  }

  row(token, hasSink) {
    const row = Float32Array.from(this.values.subarray(token * N, (token + 1) * N));
    if (!hasSink) row[0] = 0;
    return row;
  }

  image(hasSink) {
    const key = `${hasSink} ${document.documentElement.dataset.theme}`;
    if (this.made?.key === key) return this.made.canvas;
    const canvas = element('canvas', { width: N, height: N }), context = canvas.getContext('2d'), image = context.createImageData(N, N);
    const table = this.isSigned ? Array.from({ length: 256 }, (_, place) => signed((place - 127.5) / 127.5)) : VIRIDIS_TABLE;
    for (let asking = 0; asking < N; asking += 1) {
      for (let key_ = 0; key_ <= asking; key_ += 1) {
        const at = asking * N + key_, part = hasSink || key_ ? this.values[at] / this.most : 0;
        const place = Math.round(Math.min(Math.max(this.isSigned ? part * 127.5 + 127.5 : part * 255, 0), 255));
        [image.data[4 * at], image.data[4 * at + 1], image.data[4 * at + 2]] = table[place];
        image.data[4 * at + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
    this.made = { key, canvas };
    return canvas;
  }
}

function drawMap(canvas, map, zoom, token, key, hasSink) {
  const { context, width, height } = sheet(canvas), [left, right, top, bottom] = zoom;
  context.fillStyle = colour('sheet');
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = right - left > 2 * width;
  context.drawImage(map.image(hasSink), left, top, right - left, bottom - top, 0, 0, width, height);
  const x = scale(left, right, 0, width), y = scale(top, bottom, 0, height);
  context.strokeStyle = colour('accent');
  context.lineWidth = 1;
  context.strokeRect(-1, y(token), width + 2, Math.max(y(token + 1) - y(token), 1));
  if (key !== null) framed(context, x(key) - 4, y(token) - 4, Math.max(x(key + 1) - x(key), 1) + 8, Math.max(y(token + 1) - y(token), 1) + 8);
  context.fillStyle = colour('dim');
  context.textAlign = 'right';
  if (right - left === N) { context.fillText('key →', width - 6, 14); context.fillText('asking ↓', width - 6, 28); } else context.fillText(`keys ${Math.floor(left) + 1}–${Math.ceil(right)}`, width - 6, 14);
}

/** A white frame with a black rim: it is seen on every colour of a map. */
function framed(context, left, top, width, height) {
  for (const [stroke, wide] of [['#000000', 4], ['#ffffff', 1.5]]) {
    context.strokeStyle = stroke;
    context.lineWidth = wide;
    context.strokeRect(left, top, width, height);
  }
}

function zoomed([left, right, top, bottom], key, asking, factor) {
  const size = Math.min(Math.max((right - left) * factor, 20), N), part = [(key - left) / (right - left), (asking - top) / (bottom - top)];
  const from = Math.min(Math.max(key - part[0] * size, 0), N - size), until = Math.min(Math.max(asking - part[1] * size, 0), N - size);
  return [from, from + size, until, until + size];
}

/** The largest weight, without the first tokens, as the published program scales its rows. */
function largest(row, token) {
  let most = 0;
  for (let key = token > SINK ? SINK : 0; key <= token; key += 1) most = Math.max(most, Math.abs(row[key]));
  return most * 1.05;
}

function quantile(values, part) {
  const lower = [];
  for (let asking = SINK; asking < N; asking += 1) for (let key = SINK; key <= asking; key += 1) lower.push(Math.abs(values[asking * N + key]));
  return Float32Array.from(lower).sort()[Math.floor(part * (lower.length - 1))];
}

function bar(part) {
  const outer = element('span', { className: 'bar-outer', 'aria-hidden': 'true' }), inner = element('span', { className: part < 0 ? 'bar-less' : 'bar-more' });
  inner.style.width = `${Math.abs(part) * 50}%`;
  inner.style.left = part < 0 ? `${50 - Math.abs(part) * 50}%` : '50%';
  outer.append(inner);
  return outer;
}
