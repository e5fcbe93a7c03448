import { element } from '../draw.js';

export function mount(place, app) {
  place.append(element('p', { className: 'empty', textContent: 'To come.' }));
  return {};
}
