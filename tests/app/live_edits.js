// Reads {rules, windows, settings, ...} as JSON and writes what edits.js makes of each window. Run with node by test_live.py.
const fs = require("fs");
const folder = process.argv[2];
const { editsOf, applied, shamOf, windowOf, doseOf } = new Function(
  `${["edits"].map((name) => fs.readFileSync(`${folder}/${name}.js`, "utf8")).join("\n")}; return { editsOf, applied, shamOf, windowOf, doseOf };`,
)();
const { rules, windows, settings, search } = JSON.parse(fs.readFileSync(0, "utf8"));
const answers = windows.map((stored, index) => {
  const { window, noise, draws } = windowOf(stored);
  const edits = editsOf(rules, draws);
  return settings[index].map((each) => {
    const edited = applied(edits, window, each, noise);
    const sham = each.hasSham ? shamOf(edits, window, each, noise, search) : null;
    return {
      steps: edited.steps,
      tokens: Array.from(edited.window.tokens),
      wave: Array.from(edited.window.wave),
      low: edited.window.low,
      high: edited.window.high,
      sham: sham && Array.from(sham.tokens),
    };
  });
});
process.stdout.write(JSON.stringify(answers));
