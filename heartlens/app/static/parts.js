// The heads and MLPs of a model as a grid of buttons, coloured by what the answer changes without each; a click takes one away.

import { colour, css, element, mix, readable, replace, signed } from './draw.js';

/** The grid's element; `toggle(part)` is called with the name of what was clicked ("L4H5", "MLP8"). */
export class Parts {
  constructor(toggle) {
    this.toggle = toggle;
    this.place = element('div', { className: 'heads', role: 'group', 'aria-label': 'heads and MLPs: click to take one away' });
  }

  /** `effects` are {heads, mlps}, changes of the logit; null before they are known. `stack` says which parts are away. */
  draw({ n_layers, n_heads }, effects, stack) {
    const { heads, mlps } = effects ?? {}, most = Math.max(0.25, ...(heads ?? [[0]]).flat().map(Math.abs), ...(mlps ?? [0]).map(Math.abs));
    this.place.style.gridTemplateColumns = `30px repeat(${n_heads}, 30px) 34px`;
    const cells = [element('span'), ...Array.from({ length: n_heads }, (_, head) => label(`H${head + 1}`)), label('MLP')];
    for (let layer = 0; layer < n_layers; layer += 1) {
      cells.push(label(`L${layer + 1}`));
      for (let head = 0; head < n_heads; head += 1) cells.push(this._cell(`L${layer + 1}H${head + 1}`, heads?.[layer][head], most));
      cells.push(this._cell(`MLP${layer + 1}`, mlps?.[layer], most));
    }
    replace(this.place, ...cells);
    this.mark(stack);
  }

  /** Mark the parts that are away. */
  mark(stack) {
    const away = new Set(stack.texts);
    for (const button of this.place.querySelectorAll('button')) button.setAttribute('aria-pressed', String(away.has(`ablate:${button.dataset.part}`)));
  }

  _cell(part, effect, most) {
    const fill = effect === undefined ? mix(colour('ground'), colour('line'), 0.35) : signed(Math.sign(effect) * Math.sqrt(Math.abs(effect) / most));
    const change = digits => `${effect < 0 ? '−' : '+'}${Math.abs(effect).toFixed(digits)}`, title = effect === undefined ? part : `${part}, logit ${change(2)} without it`;
    const button = element('button', {
      type: 'button', title, 'aria-label': title, 'data-part': part, textContent: effect === undefined ? '' : Math.abs(effect) < 0.05 ? '·' : change(Math.abs(effect) < 9.95 ? 1 : 0), on: { click: () => this.toggle(part) },
    });
    button.style.background = css(fill);
    button.style.color = readable(fill);
    return button;
  }
}

const label = text => element('span', { className: 'label', textContent: text });
