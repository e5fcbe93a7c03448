// The edits of the what-if in their order, and the way back. They belong to the window on the screen and outlive the view that makes them.

const WORDS = { P: 'P wave', T: 'T wave', dicrotic_notch: 'dicrotic notch' };
const PLURAL = { P: 'P waves', T: 'T waves', dicrotic_notch: 'dicrotic notches' };

/** An edit is {name, text, isOn}: `text` is what the server takes ("P@3:0.5"), `name` the text without its value ("P@3"). */
export class Stack {
  constructor() { this.clear(); }

  /** No edits, and nothing to undo. */
  clear() {
    this.edits = [];
    this.history = [];
    this.isDragging = false;
  }

  /** The edits that are switched on, as the server takes them. */
  get texts() { return this.edits.filter(edit => edit.isOn).map(edit => edit.text); }

  has(name) { return this.edits.some(edit => edit.name === name); }

  /** The value of an edit, say "0.5" of P@3:0.5; `otherwise` where there is no such edit. */
  value(name, otherwise) {
    const edit = this.edits.find(each => each.name === name);
    return edit ? edit.text.slice(name.length + 1) : otherwise;
  }

  /** Put an edit in the place of that with the same name, or behind the others; null takes it out. `isPassing` while something is dragged. */
  set(name, text, isPassing = false) {
    const after = this.edits.filter(edit => edit.name !== name || text !== null).map(edit => edit.name === name ? { ...edit, text, isOn: true } : edit);
    if (text !== null && !this.has(name)) after.push({ name, text, isOn: true });
    this.change(after, isPassing);
  }

  /** Other edits from now on. All of a drag is one step back. */
  change(after, isPassing = false) {
    if (!this.isDragging) this.history.push(this.edits);
    this.isDragging = isPassing;
    this.edits = after;
  }

  /** One step back; whether there was one. */
  undo() {
    this.isDragging = false;
    if (!this.history.length) return false;
    this.edits = this.history.pop();
    return true;
  }

  /** For another model: edits of the signal stay; parts taken away were those of the model before. */
  leaveModel() {
    this.edits = this.edits.filter(edit => !edit.name.startsWith('ablate:'));
    this.history = [];
    this.isDragging = false;
  }
}

export const waveWords = wave => PLURAL[wave];

/** An edit in words. */
export function words(text) {
  const [name, value, more] = text.split(':'), [wave, beat] = name.split('@');
  if (name === 'beat') return `beat ${Number(value) + 1} ${Math.abs(Number(more)).toFixed(2)} s ${Number(more) < 0 ? 'earlier' : 'later'}`;
  if (name === 'ablate') return `without ${value}`;
  if (name === 'rhythm') return `rhythm made ${value}`;
  if (name === 'noise') return `noise at ${value} dB`;
  if (name === 'f_waves') return `f waves put in × ${value}`;
  if (name === 'no_f_waves') return Number(value) === 1 ? 'no f waves' : `f waves × ${Number((1 - value).toFixed(2))}`;
  if (name === 'add_P') return `P waves put in × ${value}`;
  const what = beat === undefined ? PLURAL[wave] : `${WORDS[wave]} of beat ${Number(beat) + 1}`;
  return Number(value) === 0 ? `no ${what}` : `${what} × ${value.replace('-', '−')}`;
}
