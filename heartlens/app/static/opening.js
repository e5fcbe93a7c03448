// Opening a recording: files sent with progress, read in a process that can be cancelled, what was read in one line, and reading it otherwise.

import { element } from './draw.js';
import { clock } from './paper.js';
import { Refused, refusal } from './refused.js';

const id = name => document.getElementById(name);
const rounded = rate_hz => Number(rate_hz.toPrecision(6));
const TURNED = { invert: 'turned upside down', 'as-is': 'taken as it is' };

export class Opening {
  constructor(app) {
    this.app = app;
    this.nOpening = 0;
    this.pending = null;  // an upload that could not be read as it is, and is read with what the form says
    this._listen();
  }

  get isOpening() { return this.nOpening > 0; }

  /** Read a recording and look at it. */
  async open(question, name = id('records').selectedOptions[0]?.textContent ?? '', doing = 'Reading') {
    const { app } = this, { state } = app, done = this._busy(name, doing);
    this.nOpening += 1;  // a newer one may begin before an older one has ended
    try {
      state.recording = await app.ask('signal', 'open', question, { latest: 'open' });
      state.stack.clear();
      state.start_s = state.recording.starts_s[0][0];
      app.paper.columns = null;
      this.facts();
      const looked = app.paper.look();
      app.look(await app.ask('signal', 'window', {}, { latest: 'window' }));
      state.token = 499;
      await looked;
      app.paper.draw();
      id('message').hidden = true;
      app.tell('recording');
      this._list(question, name);
      this.chosen = id('records').value;
      if (this.pending) { this.pending = null; this._form(false); } else if (!id('hints').hidden) this._fields();
    } catch (error) {
      if (error.name !== 'AbortError' && (question.upload ?? question.given)) this._ask(question, name);
      if (this.chosen) id('records').value = this.chosen;  // what is still on the screen
      throw error;
    } finally {
      this.nOpening -= 1;
      done();
    }
  }

  /** Send files and read them; what cannot be read opens the form that says how to. */
  async upload(files) {
    const names = [...files].map(file => file.name), label = names.length > 1 ? `${names[0]} and ${names.length - 1} more` : names[0];
    await this.app.attempt(async () => {
      const { upload } = await this._send(files, label);
      await this.open({ upload }, label);
    });
  }

  /** Ask how what could not be read is to be read: the form says it of those files. */
  _ask({ upload, given, ...said }, name) {
    this.pending = upload ? { upload } : { given };
    this.said = said;
    this.dropped = name;
    this._form();
  }

  /** The list of recordings names the one that was read. */
  _list({ upload, given, example }, name) {
    if (!upload && !given && !example) return;  // the same one, read otherwise
    const value = JSON.stringify(upload ? { upload } : given ? { given } : { example });
    if (![...id('records').options].some(option => option.value === value)) id('records').append(element('option', { textContent: name, value }));
    id('records').value = value;
  }

  /** Send no more, end the process that reads, and stay with what is on the screen. */
  cancel() {
    this.sending?.abort();
    this.app.forget('open');
    this.app.attempt(() => this.app.ask('signal', 'cancel'));
    this.app.say('Reading was cancelled; nothing was opened.');
  }

  /** The server's answer to the files; how far they are sent is shown. */
  _send(files, label) {
    const form = new FormData(), request = this.sending = new XMLHttpRequest(), done = this._busy(label, 'Sending');
    for (const file of files) form.append('file', file, file.name);
    return new Promise((resolve, reject) => {
      request.open('POST', '/api/upload');
      for (const [name, value] of Object.entries(this.app.headers())) request.setRequestHeader(name, value);
      request.upload.onprogress = event => { if (event.lengthComputable) id('sent').value = event.loaded / event.total; };
      request.onload = () => request.status === 200 ? resolve(JSON.parse(request.responseText)) : reject(new Refused(refusal(request.responseText)));
      request.onerror = () => reject(new Error('the files could not be sent'));
      request.onabort = () => reject(new DOMException('cancelled', 'AbortError'));
      request.send(form);
    }).finally(() => { this.sending = null; done(); });
  }

  /** Say what is done and for how long already, with a button that cancels it; what is returned ends that. */
  _busy(name, doing = 'Reading') {
    const began = performance.now(), turn = this.turn = {};
    const say = () => {
      const seconds = Math.floor((performance.now() - began) / 1000);
      id('facts').textContent = `${doing} ${name}… ${seconds ? `${seconds} s` : ''}`.replace(' …', '…');
    };
    say();
    id('facts').className = 'loading';
    id('sent').removeAttribute('value');
    const timer = setInterval(say, 1000), later = setTimeout(() => { id('busy').hidden = false; }, 400);  // what is quick does not flicker
    return () => {
      clearInterval(timer);
      clearTimeout(later);
      if (this.turn !== turn) return;  // something else is read by now
      id('busy').hidden = true;
      id('facts').className = '';
      this.facts();
    };
  }

  /** What was read, in one line. */
  facts() {
    const { state: { recording }, paper } = this.app;
    id('reread').hidden = !recording;
    if (!recording) { id('facts').textContent = 'No recording is open.'; return; }
    const own = rounded(recording.rate_hz), rate = own === recording.model_rate_hz ? `${own} Hz` : `${own} → ${recording.model_rate_hz} Hz`;
    id('facts').textContent = [recording.name, `${recording.kind === 'ecg' && recording.lead ? 'lead ' : ''}${recording.lead || recording.kind.toUpperCase()} in ${recording.unit}`, rate, recording.duration_s > 600 ? clock(recording.duration_s) : `${recording.duration_s.toFixed(1)} s`, TURNED[recording.hints.polarity], recording.person ? `person ${recording.person}` : recording.is_simulated ? '' : 'person not known'].filter(Boolean).join(' · ');
    id('facts').title = recording.notes.join('\n');
    id('ribbon').hidden = !recording.is_simulated;
    id('ribbon').textContent = 'simulated';
    id('legend').replaceChildren(
      element('span', { className: 'dim', textContent: !recording.is_marked ? 'waves not found yet' : recording.marked_by ? `marked by ${recording.marked_by}` : 'no waves marked' }),
      ...recording.waves.map((wave, number) => element('button', {
        type: 'button', 'aria-pressed': String(!paper.hidden.has(wave)), title: `show or hide ${wave.replace('_', ' ')}`,
        on: { click: event => { const { hidden } = paper; if (!hidden.delete(wave)) hidden.add(wave); event.currentTarget.setAttribute('aria-pressed', String(!hidden.has(wave))); paper.drawWindow(); } },
      }, element('span', { className: `swatch wave-${number}` }), wave.replace('_', ' '))));
  }

  /** The form that says how a recording is to be read, open or not. */
  _form(isOpen = true) {
    id('hints').hidden = !isOpen;
    id('reread').setAttribute('aria-expanded', String(isOpen));
    this._fields();
    this.app.paper.draw();
  }

  _fields() {
    const { recording } = this.app.state;
    if (!recording && !this.pending) return;
    const hints = (this.pending ? this.said : recording.hints) ?? {};
    const field = (label, control) => element('label', { className: 'field' }, element('span', { textContent: label }), control);
    const choice = (name, options, value) => element('select', { name }, ...options.map(([key, text]) => element('option', { value: key, textContent: text, selected: key === value })));
    id('hints').replaceChildren(
      ...(this.pending ? [element('strong', { textContent: `Of ${this.dropped}:` })] : []),
      ...(!this.pending && recording.names.length > 1 ? [field('recording', choice('name', recording.names.map(name => [name, name]), recording.key))] : []),
      field('lead', element('input', { name: 'lead', size: 8, placeholder: this.pending ? '' : recording.lead, value: hints.lead ?? '' })),
      field('kind', choice('kind', [['', 'as the file says'], ['ecg', 'ECG'], ['ppg', 'PPG']], hints.kind ?? '')),
      field('rate (Hz)', element('input', { name: 'rate_hz', type: 'number', min: 1, step: 'any', placeholder: this.pending ? '' : String(rounded(recording.rate_hz)), value: hints.rate_hz ?? '' })),
      field('unit', element('input', { name: 'unit', size: 5, maxLength: 40, placeholder: this.pending ? '' : recording.unit, value: hints.unit ?? '' })),
      field('person', element('input', { name: 'person', size: 8, maxLength: 40, placeholder: this.pending ? '' : recording.person || 'not known', value: hints.person ?? '' })),
      field('polarity', choice('polarity', [['check', 'as recorded, checked'], ...Object.entries(TURNED)], hints.polarity ?? 'check')),
      field('landmarks', choice('landmarks', [['auto', 'expert, else detector'], ['expert', 'expert'], ['detected', 'detector']], hints.landmarks ?? 'auto')),
      element('button', { type: 'submit', textContent: 'Read again' }),
      ...(this.pending ? [] : recording.notes).map(note => element('span', { className: 'dim', textContent: note })));
  }

  _listen() {
    const { app } = this;
    id('records').addEventListener('change', event => { this.pending = null; app.attempt(() => this.open(JSON.parse(event.target.value))); });
    id('choose').addEventListener('click', () => id('file').click());
    id('file').addEventListener('change', event => { if (event.target.files.length) this.upload(event.target.files); event.target.value = ''; });
    id('cancel').addEventListener('click', () => this.cancel());
    id('reread').addEventListener('click', () => this._form(id('hints').hidden));
    id('hints').addEventListener('submit', event => {
      event.preventDefault();
      const asked = Object.fromEntries([...new FormData(id('hints'))].filter(([, value]) => value !== ''));
      if (asked.rate_hz) asked.rate_hz = Number(asked.rate_hz);
      app.attempt(() => this.open({ ...this.pending, ...asked }, this.pending ? this.dropped : undefined));
    });
    document.addEventListener('dragover', event => event.preventDefault());
    document.addEventListener('drop', event => { event.preventDefault(); if (event.dataTransfer.files.length) this.upload(event.dataTransfer.files); });
  }
}
