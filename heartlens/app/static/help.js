// The keyboard, in a dialog.

import { element } from './draw.js';

const KEYS = [
  ['← →', 'the asking token, one earlier or later'], ['Shift ← →', 'the same place of the beat before or after'],
  ['↑ ↓', 'the row of heads above or below: one layer back or on'], ['1 … 8', 'a head of the layer; 0: the sum over its heads'],
  ['Shift', 'held while a wave is dragged: the wave of all beats (what if)'],
  ['[ ]', 'the beat nearest to the asking token, earlier or later (what if)'],
  ['R, Enter', 'the asking token becomes the reference, or is compared with it (similarity)'], [', .', 'the key about which is told why, one earlier or later (attention)'],
  ['+ −', 'closer or farther: the map (attention), the chart (beats), the recording when it has the focus'],
  ['Space', 'play or stop (views that have levels)'], ['Z', 'undo the last edit'], ['?', 'this list'],
  ['Tab', 'from control to control; on the recording, ← → slide the window, Page ↑ ↓ by its length; Home and End'],
];

export function openHelp() {
  const dialog = document.getElementById('keys');
  dialog.replaceChildren(
    element('h2', { id: 'keys-title', textContent: 'Keyboard' }),
    element('table', {}, ...KEYS.map(([keys, text]) => element('tr', {}, element('td', {}, element('kbd', { textContent: keys })), element('td', { textContent: text })))),
    element('p', { textContent: 'Drop files anywhere to open them: several that belong together (.hea, .dat and marks) at once. The wheel zooms the recording; with Shift it scrolls.' }),
    element('p', {}, element('strong', { textContent: 'This is not a medical device.' })),
    element('button', { type: 'button', textContent: 'Close', on: { click: () => dialog.close() } }));
  dialog.showModal();
}
