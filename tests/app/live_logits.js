// Reads {sizes, weights, windows, isPlain} as JSON; writes the logits of the model's two kernels for a chain of questions, each with what is kept of the one before.
const fs = require("fs");
const folder = process.argv[2];
const { modelOf, memoryOf, logitOf, vectorKernels, plainKernels, bytesOf } = new Function(
  `${["model", "kernels"].map((name) => fs.readFileSync(`${folder}/${name}.js`, "utf8")).join("\n")}; return { modelOf, memoryOf, logitOf, vectorKernels, plainKernels, bytesOf };`,
)();
const { sizes, weights, questions } = JSON.parse(fs.readFileSync(0, "utf8"));
const bytes = Uint8Array.from(atob(weights), (letter) => letter.charCodeAt(0));
const floats = new Float32Array(bytes.buffer);
const answers = {};
for (const [name, kernels] of [["plain", plainKernels()], ["vector", vectorKernels(sizes, bytesOf(sizes, floats.length, 1))]]) {
  const model = modelOf(sizes, floats, kernels);
  const memory = memoryOf(model);
  answers[name] = questions.map(({ tokens, heads, mlps }) => {
    const begin = performance.now();
    const logit = logitOf(model, tokens, { heads: new Set(heads), mlps: new Set(mlps) }, memory);
    return { logit, ms: performance.now() - begin };
  });
}
process.stdout.write(JSON.stringify(answers));
