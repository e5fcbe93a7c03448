// What runs beside the page: it is given the model once, then windows, and answers with logits, the newest question last.

let model = null;
let kernels = null;
let memories = {};

self.onmessage = ({ data: { kind, ...given } }) => {
  try {
    self.postMessage({ kind, ...TASKS[kind](given) });
  } catch (error) {
    self.postMessage({ kind: "failed", reason: String(error && error.message) });
  }
};

const TASKS = {
  begin({ sizes, weights, isPlain }) {
    kernels = isPlain ? null : vectorKernels(sizes, bytesOf(sizes, weights.length, 2));
    model = modelOf(sizes, weights, kernels || plainKernels());
    memories = { edited: memoryOf(model), sham: memoryOf(model) };
    return { runsOn: model.kernels.name };
  },
  /** The logit of a window, and how long it took. */
  answer({ tokens, off }) {
    const begin = performance.now();
    const logit = logitOf(model, tokens, off, memories.edited);
    return { logit, ms: performance.now() - begin };
  },
  /** The logit of the sham of the same size. */
  sham({ window, settings, rules, draws, noise, search, off }) {
    const sham = shamOf(editsOf(rules, draws), window, settings, noise, search);
    if (!sham) return { logit: null };
    return { logit: logitOf(model, sham.tokens, off, memories.sham), dose: doseOf(window, sham) };
  },
};
