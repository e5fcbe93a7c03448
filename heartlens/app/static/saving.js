// What every view offers at the foot of the page: its figure, its data, and the Python and the command that give the numbers on the screen.

import { element } from './draw.js';

/** Have the browser keep what the server answered with, under the name that it gave. */
export async function keep(response, otherwise) {
  const file = /filename="([^"]+)"/.exec(response.headers.get('content-disposition') ?? '')?.[1] ?? otherwise;
  const address = URL.createObjectURL(await response.blob());
  element('a', { href: address, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** `view.saved()` is the question that the view's server-side answers `figure`, `data` and `code` are asked with. */
export function saving(place, app, name, view) {
  place.replaceChildren();
  const download = (answer, more, of = name) => app.attempt(async () => {
    await keep(await app.ask(of, answer, { ...view?.saved?.(), ...more }, { isBinary: true }), `${name}.bin`);
  });
  const button = (text, title, click) => element('button', { type: 'button', textContent: text, title, on: { click } });
  place.append(button('live page', 'Save one HTML file with this recording, this model and the what-if: it runs in any browser, without a server', () => download('live', {}, 'results')));
  if (!view?.saved) return;
  const copied = (key, text) => button(text, 'Copy what gives the same numbers outside the browser', event => app.attempt(async () => {
    const shown = event.currentTarget, code = await app.ask(name, 'code', view.saved());
    await navigator.clipboard.writeText(code[key]);
    shown.textContent = 'Copied';
    setTimeout(() => { shown.textContent = text; }, 1500);
  }));
  place.prepend(element('span', { className: 'dim', textContent: 'save figure ' }),
    ...['pdf', 'svg', 'png'].map(format => button(format.toUpperCase(), `Save the figure as ${format.toUpperCase()}`, () => download('figure', { format }))),
    button('data', 'Save the numbers as CSV', () => download('data', {})), copied('python', 'copy Python'), copied('command', 'copy command'));
}
