// Beats by how sure the detector is of them: every band of confidence has a colour and a shape, so that they can be told apart without colours.

import { colour, element, rgb } from './draw.js';

export const BANDS = ['low', 'medium', 'high'];
export const FROM_BELOW = [2, 1, 0];  // a doubtful beat is drawn over a sure one
const COLOURS = ['wave-1', 'shade', 'wave-2'];

/** What the shapes mean. */
export const bandNames = () => BANDS.map((name, band) => element('span', { className: 'dim' }, element('span', { className: `beat-mark beat-${name}` }), ` ${name}`));

/** Draws marks as triangles, squares and circles: `put` each, then `show` them. */
export class Shapes {
  constructor(context, size) { Object.assign(this, { context, size, paths: BANDS.map(() => new Path2D()) }); }

  put(band, x, y) {
    const { size, paths: { [band]: path } } = this;
    if (band === 2) { path.moveTo(x + size, y); path.arc(x, y, size, 0, 2 * Math.PI); } else if (band === 1) path.rect(x - 0.9 * size, y - 0.9 * size, 1.8 * size, 1.8 * size);
    else { path.moveTo(x, y - 1.2 * size); path.lineTo(x + 1.2 * size, y + size); path.lineTo(x - 1.2 * size, y + size); }
  }

  show() {
    for (const band of FROM_BELOW) {
      this.context.fillStyle = colour(COLOURS[band]);
      this.context.fill(this.paths[band]);
    }
  }
}

/** Draws thousands of marks as squares of a few pixels. They are written as numbers: to fill as many shapes takes longer than a frame. */
export class Squares {
  constructor() { this.canvas = element('canvas'); }

  /** Begin anew: on this canvas, with squares of this size. */
  on(context, size) {
    const { width, height } = context.canvas, { canvas } = this;
    if (!this.image || canvas.width !== width || canvas.height !== height) {
      Object.assign(canvas, { width, height });
      this.image = canvas.getContext('2d').createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(0);
    this.context = context;
    this.ratio = window.devicePixelRatio || 1;
    this.half = size * this.ratio;
    this.wide = Math.round(2 * this.half);
    this.fills = COLOURS.map(name => { const [red, green, blue] = rgb(colour(name)); return (255 << 24 | blue << 16 | green << 8 | red) >>> 0; });
    return this;
  }

  put(band, x, y) {
    const { pixels, wide, fills: { [band]: fill }, canvas: { width, height } } = this;
    const left = Math.max(Math.round(x * this.ratio - this.half), 0), top = Math.max(Math.round(y * this.ratio - this.half), 0);
    const right = Math.min(left + wide, width), bottom = Math.min(top + wide, height);
    for (let row = top; row < bottom; row += 1) for (let at = row * width + left; at < row * width + right; at += 1) pixels[at] = fill;
  }

  show() {
    this.canvas.getContext('2d').putImageData(this.image, 0, 0);
    this.context.drawImage(this.canvas, 0, 0, this.canvas.width / this.ratio, this.canvas.height / this.ratio);
  }
}
