// Direct manipulation: what of the window can be taken hold of (a beat by its peak, a wave by its top), and the edit that a drag means.

const NEAR = { tokens: 5, levels: 9 };  // how near to a handle the pointer must be
const LEAST = 4;  // token values: the height of a wave that is too flat to be dragged by its own

/** `change(name, text, isPassing)` is called with the edit of a drag, a name of `P@3` meaning the P wave of that beat alone. */
export class Handles {
  constructor(app, change) {
    this.app = app;
    this.change = change;
    this.recorded = this.edited = { beats: [], waves: [], of_beats: [], can: {} };  // what the server says can be changed, before and after the edits
    this.grab = {
      at: (token, level, isAll = false) => {
        const handle = this.all.find(each => Math.abs(each.token - token) < NEAR.tokens && Math.abs(each.level - level) < NEAR.levels);
        return handle ? { ...handle, isAll } : null;
      },
      move: (held, token, level) => this._drag(held, token, level, true),
      drop: (held, token, level) => this._drag(held, token, level, false),
    };
  }

  /** The handles on the window that is shown: {kind, token, level, beat, wave}. */
  get all() {
    const { tokens } = this.app.state.window;
    return [...this.edited.beats.map(({ beat, token }) => ({ kind: 'beat', beat, ...this._peak(Math.round(token)) })),
      ...this._waves().map(wave => ({ kind: 'wave', ...wave, ...top(tokens, wave) }))];
  }

  /** The beats that have a wave whose height can be changed alone. */
  get beats() { return [...new Set(this.recorded.of_beats.map(each => each.beat))].sort((one, other) => one - other); }

  has(wave, beat) { return this.recorded.of_beats.some(each => each.wave === wave && each.beat === beat); }

  /** Move the beat nearest to a token by so many tokens. */
  nudge(token, by) {
    const nearest = [...this.edited.beats].sort((one, other) => Math.abs(one.token - token) - Math.abs(other.token - token))[0];
    if (nearest) this._move(nearest.beat, this._moved(nearest.beat) + by / this.app.state.recorded.rate_hz, false);
  }

  /** The waves by beat, those that an edit took out too; where no whole beats are known all that are marked, of no beat. */
  _waves() {
    const { window, stack } = this.app.state;
    if (!this.recorded.of_beats.length) return window.waves.filter(each => this.recorded.waves.includes(each.wave)).map(each => ({ ...each, beat: null }));
    const gone = this.recorded.of_beats.filter(({ wave, beat }) => stack.has(`${wave}@${beat}`) && !this.edited.of_beats.some(each => each.wave === wave && each.beat === beat));
    const place = (state, beat) => state.beats.find(each => each.beat === beat)?.token ?? 0;
    return [...this.edited.of_beats.filter(({ wave, beat }) => this.has(wave, beat)), ...gone.map(wave => {
      const by = Math.round(place(this.edited, wave.beat) - place(this.recorded, wave.beat));
      return { ...wave, first: wave.first + by, last: wave.last + by };
    })];
  }

  /** The peak of an R wave near its mark; of a pulse the mark itself, its foot. */
  _peak(mark) {
    const { tokens } = this.app.state.window, near = this.app.state.recording.kind === 'ecg' ? 3 : 0;
    let token = mark;
    for (let at = Math.max(mark - near, 0); at <= Math.min(mark + near, 499); at += 1) if (tokens[at] > tokens[token]) token = at;
    return { token, level: tokens[token] };
  }

  _drag(held, token, level, isPassing) {
    if (held.kind === 'beat') {
      held.before ??= this._moved(held.beat);
      this._move(held.beat, held.before + (token - held.token) / this.app.state.recorded.rate_hz, isPassing);
      return;
    }
    const name = held.isAll || held.beat === null ? held.wave : `${held.wave}@${held.beat}`;
    held.height ??= this._height(held, name);
    const factor = Math.round(Math.min(Math.max((level - held.base) / held.height, -1), 1) * 20) / 20;
    this._set(name, factor === 1 ? null : `${name}:${factor}`, isPassing);
  }

  /** By how many seconds a beat is moved. */
  _moved(beat) { return Number(this.app.state.stack.value(`beat:${beat}`, 0)); }

  _move(beat, by_s, isPassing) {
    const room = this.recorded.beats.find(each => each.beat === beat), by = Math.min(Math.max(by_s, room.from_s), room.until_s);
    this._set(`beat:${beat}`, Math.abs(by) < 0.5 / this.app.state.recorded.rate_hz ? null : `beat:${beat}:${by.toFixed(2)}`, isPassing);
  }

  /** A drag that has not changed its edit asks nothing, until it ends. */
  _set(name, text, isPassing) {
    const value = this.app.state.stack.value(name, null);
    if (!isPassing || text !== (value === null ? null : `${name}:${value}`)) this.change(name, text, isPassing);
  }

  /** How high the wave is on the screen where the edit of this name leaves it as it is. */
  _height({ wave, beat, first }, name) {
    const { recorded, window, stack } = this.app.state;
    const span = [...this.recorded.of_beats, ...recorded.waves].find(each => each.wave === wave && (beat === null ? each.first === first : each.beat === beat));
    const { level, base } = top(recorded.tokens, span), scale = (recorded.high - recorded.low) / (window.high - window.low || 1);
    const height = (level - base) * scale * Number(stack.value(name === wave ? `${wave}@${beat}` : wave, 1));
    return Math.abs(height) < LEAST ? LEAST * (Math.sign(height) || 1) : height;
  }
}

/** Where a wave is farthest from the line between its ends: the token and its value, and the value of the line. */
function top(tokens, { first, last }) {
  const part = tokens.slice(Math.max(first, 0), Math.min(last, 499) + 1), base = (part[0] + part.at(-1)) / 2;
  const level = part.reduce((far, value) => Math.abs(value - base) > Math.abs(far - base) ? value : far, part[0]);
  return { token: Math.max(first, 0) + part.indexOf(level), level, base };
}
