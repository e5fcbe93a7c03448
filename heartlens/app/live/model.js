// The model's forward pass: token numbers to the task head's logit at the last token, float32 weights.
//
// A block reads only what lies at or before a token, so what an edit leaves unchanged is kept: the streams, keys and values of the tokens
// before the first changed one, and of the blocks before the first whose ablation changed. Of the last block only the last token is computed.

const EPSILON = 1e-5;

/** A model from its sizes and its weights, one Float32Array in the order of `layout` (packed by heartlens.app.live.packed). */
function modelOf(sizes, given, kernels = plainKernels()) {
  let place = 0;
  const weights = kernels.room(given.length);
  weights.set(given);
  const take = (n) => weights.subarray(place, (place += n));
  const { nLayers, nHeads, dModel, dHead, dMlp, nTime, nVocabulary } = sizes;
  const width = nHeads * dHead;
  const model = { sizes, width, kernels, embedding: take(nVocabulary * dModel), position: take(nTime * dModel) };
  model.blocks = Array.from({ length: nLayers }, () => ({
    ln1: [take(dModel), take(dModel)],
    qkv: [take(dModel * 3 * width), take(3 * width)],
    out: [take(width * dModel), take(dModel)],
    ln2: [take(dModel), take(dModel)],
    up: [take(dModel * dMlp), take(dMlp)],
    down: [take(dMlp * dModel), take(dModel)],
  }));
  model.ln = [take(dModel), take(dModel)];
  model.head = [take(dModel), take(1)];
  if (place !== weights.length) throw new Error(`the model has ${weights.length} weights, its sizes ask for ${place}`);
  return model;
}

/** The bytes that a model of these sizes takes with `nMemories` memories. */
function bytesOf({ nLayers, nHeads, dModel, dHead, dMlp, nTime }, nWeights, nMemories) {
  const width = nHeads * dHead;
  const scratch = nTime * (3 * dModel + 4 * width + dMlp);
  return 4 * (nWeights + scratch + nMemories * nLayers * nTime * (dModel + 2 * width)) + 2 ** 16;
}

/** What is kept of one window between answers: its tokens, the parts that were off, and each block's stream, keys and values. */
function memoryOf(model) {
  const { nLayers, dModel, nTime } = model.sizes;
  return {
    tokens: null,
    off: null,
    logit: NaN,
    streams: Array.from({ length: nLayers }, () => model.kernels.room(nTime * dModel)),
    keys: Array.from({ length: nLayers }, () => model.kernels.room(nTime * model.width)), // (head, d, time)
    values: Array.from({ length: nLayers }, () => model.kernels.room(nTime * model.width)),
  };
}

/** The logit of `tokens`; `off.heads` and `off.mlps` hold "layer.head" and layer numbers, from 0, whose output is zero. */
function logitOf(model, tokens, off, memory) {
  const { nLayers, dModel, nTime, dMlp } = model.sizes;
  const { kernels, width } = model;
  const firstToken = memory.tokens ? firstDifference(memory.tokens, tokens) & ~3 : 0; // rows are computed four at a time
  const firstLayer = memory.tokens ? firstChangedLayer(memory.off, off, nLayers) : 0;
  if (firstToken === nTime && firstLayer === nLayers) return memory.logit;
  const scratch = model.scratch || (model.scratch = scratchOf(model));
  const { normed, qkv, mixed, mid, hidden } = scratch;
  memory.tokens = null; // until this answer is whole
  for (let t = firstToken; t < nTime; t++)
    for (let d = 0; d < dModel; d++)
      memory.streams[0][t * dModel + d] = model.embedding[tokens[t] * dModel + d] + model.position[t * dModel + d];
  for (let layer = 0; layer < nLayers; layer++) {
    const block = model.blocks[layer];
    const isLast = layer === nLayers - 1;
    const from = layer <= firstLayer ? firstToken : 0; // its input is the same before that token
    const outFrom = isLast ? nTime - 4 : layer < firstLayer ? firstToken : 0; // what it adds is the same before that token
    const x = memory.streams[layer];
    const first = Math.min(from, outFrom); // queries are not kept
    layerNorm(x, block.ln1, normed, first, nTime, dModel);
    kernels.product(normed, block.qkv, qkv, first, nTime, dModel, 3 * width, false);
    split(qkv, width, memory.keys[layer], memory.values[layer], from, nTime);
    kernels.attention(qkv, memory.keys[layer], memory.values[layer], mixed, outFrom, nTime, model.sizes);
    for (let head = 0; head < model.sizes.nHeads; head++)
      if (off.heads.has(`${layer}.${head}`)) silence(mixed, head, model, outFrom);
    kernels.product(mixed, block.out, mid, outFrom, nTime, width, dModel, false);
    add(mid, x, outFrom * dModel, nTime * dModel);
    const next = isLast ? scratch.last : memory.streams[layer + 1];
    if (off.mlps.has(layer)) {
      next.set(mid.subarray(outFrom * dModel, nTime * dModel), outFrom * dModel);
      continue;
    }
    layerNorm(mid, block.ln2, normed, outFrom, nTime, dModel);
    kernels.product(normed, block.up, hidden, outFrom, nTime, dModel, dMlp, true);
    kernels.product(hidden, block.down, next, outFrom, nTime, dMlp, dModel, false);
    add(next, mid, outFrom * dModel, nTime * dModel);
  }
  layerNorm(scratch.last, model.ln, normed, nTime - 1, nTime, dModel);
  let logit = model.head[1][0];
  for (let d = 0; d < dModel; d++) logit += normed[(nTime - 1) * dModel + d] * model.head[0][d];
  memory.tokens = Uint8Array.from(tokens);
  memory.off = { heads: new Set(off.heads), mlps: new Set(off.mlps) };
  memory.logit = logit;
  return logit;
}

function scratchOf(model) {
  const { dModel, nTime, dMlp } = model.sizes;
  const room = (n) => model.kernels.room(nTime * n);
  return { normed: room(dModel), qkv: room(3 * model.width), mixed: room(model.width), mid: room(dModel), hidden: room(dMlp), last: room(dModel) };
}

function firstDifference(before, after) {
  let t = 0;
  while (t < after.length && before[t] === after[t]) t++;
  return t;
}

function firstChangedLayer(before, after, nLayers) {
  const changed = [...symmetricDifference(before.heads, after.heads)].map((name) => parseInt(name, 10));
  return Math.min(nLayers, ...changed, ...symmetricDifference(before.mlps, after.mlps));
}

function symmetricDifference(a, b) {
  return [...a].filter((each) => !b.has(each)).concat([...b].filter((each) => !a.has(each)));
}

function layerNorm(x, [weight, bias], out, first, last, n) {
  for (let t = first; t < last; t++) {
    const start = t * n;
    let mean = 0;
    let square = 0;
    for (let d = 0; d < n; d++) mean += x[start + d];
    mean /= n;
    for (let d = 0; d < n; d++) square += (x[start + d] - mean) ** 2;
    const scale = 1 / Math.sqrt(square / n + EPSILON);
    for (let d = 0; d < n; d++) out[start + d] = (x[start + d] - mean) * scale * weight[d] + bias[d];
  }
}

/** Keys and values of the tokens from `first` on, from (time, 3 x head x d) to (head x d, time), contiguous along time. */
function split(qkv, width, keys, values, first, nTime) {
  for (let c = 0; c < width; c++)
    for (let t = first; t < nTime; t++) {
      keys[c * nTime + t] = qkv[t * 3 * width + width + c];
      values[c * nTime + t] = qkv[t * 3 * width + 2 * width + c];
    }
}

function silence(mixed, head, model, first) {
  for (let t = first; t < model.sizes.nTime; t++) mixed.fill(0, t * model.width + head * model.sizes.dHead, t * model.width + (head + 1) * model.sizes.dHead);
}

function add(into, what, start, stop) {
  for (let i = start; i < stop; i++) into[i] += what[i];
}

/** Products and attention in plain JavaScript: for browsers without WebAssembly SIMD, and what its kernels are compared with. */
function plainKernels() {
  return {
    name: "JavaScript",
    room: (n) => new Float32Array(n),
    product(a, [b, bias], c, first, last, inner, n, isRelu) {
      for (let t = first; t < last; t++) {
        for (let j = 0; j < n; j += 4) {
          let s0 = bias[j];
          let s1 = bias[j + 1];
          let s2 = bias[j + 2];
          let s3 = bias[j + 3];
          for (let k = 0, p = j; k < inner; k++, p += n) {
            const own = a[t * inner + k];
            s0 += own * b[p];
            s1 += own * b[p + 1];
            s2 += own * b[p + 2];
            s3 += own * b[p + 3];
          }
          c[t * n + j] = isRelu && s0 < 0 ? 0 : s0;
          c[t * n + j + 1] = isRelu && s1 < 0 ? 0 : s1;
          c[t * n + j + 2] = isRelu && s2 < 0 ? 0 : s2;
          c[t * n + j + 3] = isRelu && s3 < 0 ? 0 : s3;
        }
      }
    },
    attention(qkv, keys, values, mixed, first, nTime, { nHeads, dHead }) {
      const width = nHeads * dHead;
      const weight = new Float64Array(nTime);
      for (let head = 0; head < nHeads; head++)
        for (let t = first; t < nTime; t++) {
          weight.fill(0, 0, t + 1);
          let most = -Infinity;
          let total = 0;
          for (let d = 0; d < dHead; d++) {
            const query = qkv[t * 3 * width + head * dHead + d];
            const row = (head * dHead + d) * nTime;
            for (let j = 0; j <= t; j++) weight[j] += query * keys[row + j];
          }
          for (let j = 0; j <= t; j++) most = Math.max(most, weight[j]);
          for (let j = 0; j <= t; j++) total += weight[j] = Math.exp(weight[j] - most);
          for (let d = 0; d < dHead; d++) {
            const row = (head * dHead + d) * nTime;
            let sum = 0;
            for (let j = 0; j <= t; j++) sum += weight[j] * values[row + j];
            mixed[t * width + head * dHead + d] = sum / total;
          }
        }
    },
  };
}
