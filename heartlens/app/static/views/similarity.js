// How alike the window's tokens are to one of them, by level; and all of them in a plane, level by level, with their phase.

import { colour, css, element, line, minus, mix, rgb, scale, sheet, ticks } from '../draw.js';

const MOST_OTHERS = 24, PLAY_MS = 650, DOT = 2.2, HAND = 6.5;  // radius of a token in the plane, length of its hand
const PHASES = [[0, '0'], [1 / 8], [1 / 4, '¼'], [3 / 8], [1 / 2, '½'], [5 / 8], [3 / 4, '¾'], [7 / 8]];  // of the legend, with their names
const COLOURS = ['wave-1', 'wave-2', 'wave-3', 'shade', 'wave-0'], DASHES = [[], [7, 3], [2, 2], [9, 3, 2, 3], [4, 2]];  // of every five tokens another dash

export function mount(place, app) {
  const view = new Similarity(place, app);
  view.start();
  return view;
}

class Similarity {
  constructor(place, app) {
    Object.assign(this, { place, app, reference: 485, others: [460, 71], centred: false, level: 0, isPlaying: false, answer: null, cloud: null });
  }

  start() {
    this.isEmpty = this.app.cannotAsk(this.place);
    if (this.isEmpty) return;
    const button = (text, title, click) => element('button', { type: 'button', textContent: text, title, on: { click } });
    this.told = element('span', { className: 'dim' });
    this.chart = element('canvas', { className: 'sim-chart', role: 'img', 'aria-label': 'cosine to the reference by level' });
    this.table = element('table', { className: 'similar' });
    this.plane = element('canvas', { className: 'sim-plane', role: 'img', 'aria-label': 'all tokens in a plane; the hand of each points to its phase, as on a clock' });
    this.slider = element('input', { type: 'range', min: 0, max: 8, value: 0, 'aria-label': 'level', on: { input: () => this.show(Number(this.slider.value)) } });
    this.name = element('output', { className: 'dim' });
    this.play = button('▶ play the levels', 'Space', () => this.toggle());
    this.place.replaceChildren(
      element('div', { className: 'row' },
        button('Take this token as the reference', 'r', () => this.refer()), button('Compare this token', 'Enter', () => this.compare()),
        button('Clear', 'Forget the compared tokens', () => { this.others = []; this.load(); }),
        element('label', { className: 'field', title: 'Centred: the mean vector of the window is taken away at each level first' },
          element('input', { type: 'checkbox', checked: this.centred, on: { change: event => { this.centred = event.target.checked; this.load(); } } }), element('span', { textContent: 'centred' })),
        this.told),
      element('div', { className: 'columns' },
        element('div', { className: 'wide' }, element('h2', { textContent: 'Cosine to the reference, after the embedding and each block' }), this.chart, element('div', { className: 'sim-table', tabIndex: 0, role: 'region', 'aria-label': 'cosines in numbers' }, this.table)),
        element('div', {}, element('h2', { textContent: 'All 500 tokens, first two principal components' }), this.plane,
          element('div', { className: 'row' }, this.play, this.slider, this.name), this.legend())));
    this.drawLegend();
    this.load();
  }

  legend() {
    this.phases = element('canvas', { className: 'sim-phases', role: 'img', 'aria-label': 'hand up: the beat; to the right, down, to the left: a quarter, half, three quarters of the way to the next' });
    return element('div', { className: 'row dim' }, element('span', { textContent: 'phase' }), this.phases, element('span', { textContent: '(0: the beat); ring: not known' }));
  }

  drawLegend() {
    const { context, width, height } = sheet(this.phases), x = place => 8 + place * (width - 16) / (PHASES.length - 1);
    PHASES.forEach(([phase, name], place) => {
      token(context, x(place), height / 2, phase);
      if (!name) return;
      context.fillStyle = colour('dim');
      context.fillText(name, x(place) + 10, height / 2 + 4);
    });
  }

  load() {
    this.mark();
    return this.app.attempt(async () => {
      const [answer, cloud] = await Promise.all([
        this.app.ask('similarity', 'cosines', this.saved(), { latest: 'cosines' }), this.app.ask('similarity', 'plane', {}, { latest: 'plane' })]);
      if (this.isEmpty) return;
      Object.assign(this, { answer, cloud });
      this.slider.max = answer.levels.length - 1;
      this.show(Math.min(this.level, answer.levels.length - 1));
      this.draw();
    });
  }

  refer() { this.reference = this.app.state.token + 1; this.others = this.others.filter(each => each !== this.reference); this.load(); }

  compare() {
    const token = this.app.state.token + 1;
    if (token === this.reference) return;
    this.others = this.others.includes(token) ? this.others.filter(each => each !== token) : [...this.others, token];
    if (this.others.length > MOST_OTHERS) { this.others.pop(); this.app.say(`${MOST_OTHERS} tokens are compared; clear some to compare others.`); return; }
    this.load();
  }

  colourOf(number) { return colour(COLOURS[number % COLOURS.length]); }

  /** The marked tokens on the signal. */
  mark() {
    const { window } = this.app.state;
    const at = (token, label, fill = colour('ink')) => ({ token: token - 1, level: window.tokens[token - 1], label, fill });
    this.app.paper.layers = { handles: [at(this.reference, `reference ${this.reference}`), ...this.others.map((each, number) => at(each, String(each), this.colourOf(number)))] };
    this.app.paper.drawWindow();
    this.told.textContent = 'click a token on the signal, then take it as the reference, or compare it';
  }

  draw() {
    if (!this.answer) return;
    const { levels, cosine, any } = this.answer, { context, width, height } = sheet(this.chart);
    const x = scale(0, levels.length - 1, 40, width - 12), values = [...this.others.flatMap(token => cosine.map(row => row[token - 1])), ...any, 1];
    const y = scale(Math.min(0, ...values), 1, height - 24, 8);
    context.textAlign = 'right';
    for (const tick of ticks(Math.min(0, ...values), 1, 5)) {
      context.fillStyle = colour('grid'); context.fillRect(40, y(tick), width - 52, 1);
      context.fillStyle = colour('dim'); context.fillText(minus(tick), 34, y(tick) + 4);
    }
    context.textAlign = 'center';
    levels.forEach((name, level) => { context.fillStyle = colour('dim'); context.fillText(level ? level : 'emb.', x(level), height - 8); });
    const xs = levels.map((_, level) => x(level));
    context.fillStyle = colour('grid');
    context.fillRect(x(this.level) - 0.5, 8, 1, height - 32);
    line(context, xs, any.map(y), colour('dim'), 1.2, [3, 3]);
    this.others.forEach((token, number) => line(context, xs, cosine.map(row => y(row[token - 1])), this.colourOf(number), 2, DASHES[Math.floor(number / COLOURS.length)]));
    this.others.forEach((token, number) => { const level = 1 + number % (levels.length - 1); tag(context, token, x(level) - (level === levels.length - 1 ? 10 : 0), y(cosine[level][token - 1]), this.colourOf(number)); });
    const cell = (text, isNumber = true) => element('td', { className: isNumber ? 'number' : '', textContent: text });
    const { tokens } = this.app.state.window;
    const rows = [...this.others.map((token, number) => [`token ${token}, value ${tokens[token - 1]}`, cosine.map(row => row[token - 1]), this.colourOf(number)]), ['mean of all others', any, colour('dim')]];
    this.table.replaceChildren(
      element('tr', {}, element('th', { textContent: `to token ${this.reference}, value ${tokens[this.reference - 1]}` }), ...levels.map((_, level) => element('th', { className: 'number', textContent: level || 'emb.', title: level ? `after block ${level}` : 'embedding' }))),
      ...rows.map(([text, numbers, fill]) => { const name = cell('', false), swatch = element('span', { className: 'swatch' }); swatch.style.background = fill; name.append(swatch, ` ${text}`); return element('tr', {}, name, ...numbers.map(value => cell(minus(value.toFixed(2))))); }));
    this.drawPlane();
  }

  show(level) {
    this.level = level;
    this.slider.value = level;
    if (!this.answer) return;
    this.name.textContent = `${this.answer.levels[level]} (hook blocks.${Math.max(level - 1, 0)}.hook_resid_${level ? 'post' : 'pre'}), ${(100 * (this.cloud.explained[level][0] + this.cloud.explained[level][1])).toFixed(0)} % of the variance`;
    this.draw();
  }

  drawPlane() {
    const { place, phase } = this.cloud, { context, width, height } = sheet(this.plane), points = place[this.level];
    context.fillStyle = colour('sheet');
    context.fillRect(0, 0, width, height);
    const ends = [0, 1].map(axis => { const own = points.slice(1).map(each => each[axis]); return [Math.min(...own), Math.max(...own)]; });
    const unit = Math.max((ends[0][1] - ends[0][0]) / (width - 24), (ends[1][1] - ends[1][0]) / (height - 24)) || 1, middle = ends.map(([low, high]) => (low + high) / 2);
    const x = value => width / 2 + (value - middle[0]) / unit, y = value => height / 2 - (value - middle[1]) / unit; // one scale for both axes; token 1, the sink, may lie outside
    points.forEach(([a, b], place) => token(context, x(a), y(b), phase[place]));
    [[this.reference, colour('ink')], ...this.others.map((token, number) => [token, this.colourOf(number)])].forEach(([token, stroke]) => {
      const [a, b] = points[token - 1], isBelow = y(b) < 24 || (token === this.reference && y(b) < height - 24);
      context.strokeStyle = stroke;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(x(a), y(b), 6, 0, 2 * Math.PI);
      context.stroke();
      tag(context, token, x(a), y(b) + (isBelow ? 15 : -14), stroke);
    });
  }

  toggle() {
    this.isPlaying = !this.isPlaying;
    this.play.textContent = this.isPlaying ? '❚❚ stop' : '▶ play the levels';
    clearInterval(this.timer);
    if (!this.isPlaying) return;
    if (this.level === Number(this.slider.max)) this.show(0);
    this.timer = setInterval(() => { if (this.level < Number(this.slider.max)) this.show(this.level + 1); else this.toggle(); }, PLAY_MS);
  }

  key(pressed) {
    if (this.isEmpty) return false;
    if (pressed === ' ') this.toggle();
    else if (pressed === 'r') this.refer();
    else if (pressed === 'Enter') this.compare();
    else if (pressed === 'ArrowUp' || pressed === 'ArrowDown') this.show(Math.min(Math.max(this.level + (pressed === 'ArrowUp' ? 1 : -1), 0), Number(this.slider.max)));
    else return false;
    return true;
  }

  hover(token) { return this.answer && !this.isEmpty ? ` · cosine ${minus(this.answer.cosine[this.level][token].toFixed(2))} at ${this.answer.levels[this.level]}` : ''; }

  changed(what) { if (what === 'window') { if (!this.isEmpty) this.load(); } else if (what !== 'token') this.start(); }

  leave() { clearInterval(this.timer); }

  saved() { return { reference: this.reference, others: this.others, centred: this.centred }; }
}

/** A token in the plane: a dot with a hand to its phase, as on a clock of one cycle; a ring where the phase is not known. */
function token(context, x, y, phase) {
  const stroke = phase === null ? colour('ghost') : css(phaseColour(phase));
  context.strokeStyle = context.fillStyle = stroke;
  context.lineWidth = 1.3;
  context.beginPath();
  context.arc(x, y, DOT, 0, 2 * Math.PI);
  if (phase === null) { context.stroke(); return; }
  context.fill();
  const angle = 2 * Math.PI * phase;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + HAND * Math.sin(angle), y - HAND * Math.cos(angle));
  context.stroke();
}

/** The number of a token, in its colour, on what lies under it. */
function tag(context, token, x, y, fill) {
  const half = context.measureText(token).width / 2 + 2, top = Math.max(y - 7, 0);
  context.fillStyle = colour('ground');
  context.fillRect(x - half, top, 2 * half, 13);
  context.strokeStyle = fill;
  context.lineWidth = 1;
  context.strokeRect(x - half, top, 2 * half, 13);
  context.fillStyle = colour('ink');
  context.textAlign = 'center';
  context.fillText(token, x, top + 10.5);
}

/** A colour that comes back to itself: blue, green, orange, pink, of Okabe and Ito, a little nearer to the ink, so that it stands out. */
function phaseColour(phase) {
  const round = ['#0072b2', '#009e73', '#e69f00', '#d55e00', '#cc79a7', '#0072b2'], at = phase * 5, low = Math.min(Math.floor(at), 4);
  const own = mix(round[low], round[low + 1], at - low);
  return rgb(colour('ink')).map((ink, place) => Math.round(own[place] + 0.2 * (ink - own[place])));
}
