// The page: draws the window and what was changed, asks the worker for logits, and keeps the stack of changes.

(() => {
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("data").textContent);
  const { rules } = data;
  const WIDTH = 1240;
  const HEIGHT = 262;
  const [LEFT, RIGHT, TOP, BOTTOM] = [52, 8, 22, 40];
  const COLOURS = ["--p", "--qrs", "--t", "--fourth"];
  const plain = (name) => name.replace(/_/g, " ");
  const nTime = data.sizes.nTime;

  let settings = { ...unchanged(), off: [] };
  let history = [];
  let chosen = 0;
  let base; // {window, noise, draws}
  let edits;
  let edited; // {window, steps}
  let answers = {}; // recorded, edited, sham: {logit, ms, dose}
  let isFirstDrag = true;
  let ofBeat = null; // whose waves the sliders are about; null: those of all beats

  function fail(reason) {
    at("app").hidden = true;
    at("problem").hidden = false;
    at("problem").textContent = `This browser cannot run the model (${reason}). Below is the figure that was stored with the page.`;
    at("stored").open = true;
  }

  // the worker: one question at a time, of several waiting the newest ---------------------------------------------------------------------
  let worker;
  let busy = false;
  let waiting = {};
  function start() {
    const scripts = ["model", "kernels", "edits", "worker"].map((name) => at(name).textContent);
    const url = URL.createObjectURL(new Blob(scripts, { type: "text/javascript" }));
    worker = new Worker(url);
    worker.onerror = (event) => fail(event.message || "its worker does not start");
    worker.onmessage = ({ data: answer }) => receive(answer);
    const bytes = Uint8Array.from(atob(at("weights").textContent), (letter) => letter.charCodeAt(0));
    send({ kind: "begin", sizes: data.sizes, weights: new Float32Array(bytes.buffer), isPlain: location.hash === "#plain" });
  }

  function send(message) {
    busy = true;
    worker.postMessage(message);
  }

  function ask(which) {
    waiting[which] = true;
    if (!busy) next();
  }

  const off = () => ({
    heads: new Set(settings.off.filter((part) => part.includes("."))),
    mlps: new Set(settings.off.filter((part) => !part.includes(".")).map(Number)),
  });

  let asked; // what the worker is computing
  const isAwaited = (which) => Boolean(waiting[which]) || (busy && asked === which);
  function next() {
    for (const which of ["recorded", "edited", "sham"])
      if (waiting[which]) {
        delete waiting[which];
        asked = which;
        if (which === "recorded") return send({ kind: "answer", tokens: base.window.tokens, off: { heads: new Set(), mlps: new Set() } });
        if (which === "edited") return send({ kind: "answer", tokens: edited.window.tokens, off: off() });
        const { noise, draws, window } = base;
        const { off: _, ...signal } = settings;
        return send({ kind: "sham", window, settings: signal, rules, draws, noise, search: data.search, off: off() });
      }
    return undefined;
  }

  function receive(answer) {
    busy = false;
    if (answer.kind === "failed") return fail(answer.reason);
    if (answer.kind === "begin") {
      at("app").hidden = false;
      document.documentElement.dataset.runsOn = answer.runsOn;
      return open(0);
    }
    answers[asked] = answer;
    if (asked === "recorded" && waiting.edited === undefined && !isChanged()) answers.edited = answer;
    if (asked === "edited" && edited.steps.length) waiting.sham = true;
    if (Object.keys(waiting).length) next();
    return show();
  }

  // the answers ---------------------------------------------------------------------------------------------------------------------------
  const probability = (logit) => 1 / (1 + Math.exp(-logit));
  const percent = (logit) => probability(logit).toFixed(3);
  const signed = (value, digits = 2) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
  const minus = (value, digits) => value.toFixed(digits).replace("-", "−");
  const isChanged = () => edited.steps.length > 0 || settings.off.length > 0;

  function show() {
    const { recorded, edited: now, sham } = answers;
    fill("recorded", recorded, recorded && `logit ${minus(recorded.logit, 2)}`);
    const change = recorded && now ? `logit ${minus(now.logit, 2)}, change ${signed(now.logit - recorded.logit)}` : "";
    fill("edited", now, isChanged() ? change : "nothing changed yet");
    const hasSham = edited.steps.length > 0;
    const dose = doseOf(base.window, edited.window);
    const miss = () => Math.abs(sham.dose - dose) <= data.search.near * dose ? "" : `: ${Math.round(100 * Math.abs(sham.dose / dose - 1))} % ${sham.dose < dose ? "less" : "more"}, none is nearer`;
    const size = () => `logit ${minus(sham.logit, 2)}, change ${signed(sham.logit - recorded.logit)}; moves ${sham.dose} levels, the edit ${dose}${miss()}`;
    const shamText = !hasSham ? (settings.off.length ? "the signal is not changed" : "no edit yet") : !sham ? "…" : sham.logit === null ? "cannot be made in this window" : size();
    fill("sham", hasSham && sham && sham.logit !== null ? sham : null, shamText);
    for (const which of ["edited", "sham"]) at(which).classList.toggle("waits", isAwaited(which));
    at("python").textContent = python();
    drawScale();
    if (recorded && now) {
      const runsOn = document.documentElement.dataset.runsOn;
      const apart = Math.abs(recorded.logit - data.logits[chosen]);
      at("state").textContent = `Computed in this browser (${runsOn}) in ${now.ms.toFixed(0)} ms. As recorded: logit ${minus(recorded.logit, 5)}, the package's ${minus(data.logits[chosen], 5)}${apart > 1e-4 ? ": they differ, do not trust this page" : ""}.`;
      document.documentElement.dataset.answer = JSON.stringify({ window: chosen, recorded: recorded.logit, edited: now.logit, ms: now.ms, sham: hasSham && sham ? sham.logit : null });
      document.documentElement.dataset.state = busy || Object.keys(waiting).length ? "busy" : "idle";
    }
  }

  function fill(id, answer, small) {
    at(id).querySelector(".big").textContent = answer ? percent(answer.logit) : "–";
    at(id).querySelector(".small").textContent = small || "\u00a0";
  }

  function drawScale() {
    const x = (value) => 4 + 392 * value;
    const marks = [
      ["recorded", "var(--ghost)", 8],
      ["edited", "var(--accent)", 8],
      ["sham", "var(--quiet)", 5], // on the others, which would hide it
    ].filter(([name]) => answers[name] && answers[name].logit !== null && (name !== "sham" || edited.steps.length));
    const tick = data.threshold === null || data.threshold === undefined ? "" : `<line x1="${x(data.threshold)}" x2="${x(data.threshold)}" y1="4" y2="30" stroke="var(--quiet)" stroke-dasharray="3 2"/><text x="${x(data.threshold)}" y="43" text-anchor="middle">threshold ${Number(data.threshold.toFixed(4))}</text>`;
    const dots = marks.map(([name, colour, r]) => `<circle cx="${x(probability(answers[name].logit))}" cy="17" r="${r - 1}" fill="${name === "sham" ? "var(--paper)" : colour}" stroke="${colour}" stroke-width="2"/>`).join("");
    at("scale").lastElementChild.innerHTML = `<svg viewBox="0 0 400 46" preserveAspectRatio="xMinYMid meet"><line x1="4" x2="396" y1="17" y2="17" class="grid-line"/>${[0, 0.5, 1].map((value) => `<line class="grid-line" x1="${x(value)}" x2="${x(value)}" y1="12" y2="22"/><text x="${x(value)}" y="${tick && value === 0.5 ? 10 : 43}" text-anchor="${value === 0 ? "start" : value === 1 ? "end" : "middle"}">${value}</text>`).join("")}${tick}${dots}</svg>`;
    at("scale").lastElementChild.setAttribute("aria-label", `probability of ${data.question} from 0 to 1: ${marks.map(([name]) => `${name} ${percent(answers[name].logit)}`).join(", ")}`);
  }

  // the signal ----------------------------------------------------------------------------------------------------------------------------
  const valueOf = (window, t) => window.low + (window.tokens[t] / 100) * (window.high - window.low);
  const x = (t) => LEFT + ((WIDTH - LEFT - RIGHT) * t) / (nTime - 1);
  let y;

  function draw() {
    const low = Math.min(base.window.low, edited.window.low);
    const high = Math.max(base.window.high, edited.window.high);
    y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low));
    const path = (window) => Array.from(window.tokens, (_, t) => `${t ? "L" : "M"}${x(t).toFixed(1)} ${y(valueOf(window, t)).toFixed(1)}`).join("");
    const { startS } = data.windows[chosen];
    const lengthS = nTime / rules.rate_hz;
    const step = lengthS > 6 ? 2 : 1;
    const seconds = [];
    for (let s = Math.ceil(startS / step) * step; s <= startS + lengthS; s += step) seconds.push(s);
    const grid = seconds.map((s) => `<line class="grid-line" x1="${x((s - startS) * rules.rate_hz)}" x2="${x((s - startS) * rules.rate_hz)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/><text x="${Math.min(x((s - startS) * rules.rate_hz), WIDTH - 14)}" y="${HEIGHT - 4}" text-anchor="middle">${s} s</text>`).join("");
    const levels = [low, (low + high) / 2, high].map((value) => `<text x="${LEFT - 8}" y="${y(value) + 4}" text-anchor="end">${minus(value, digitsOf(high - low))}</text>`).join("");
    const strips = edits.removable.length ? strip(edited.window) : "";
    at("paper").innerHTML = `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" class="${edited.steps.length ? "is-edited" : ""}" role="group" aria-label="the window's signal; grey: as recorded">
      ${grid}${levels}<text id="unit" x="${LEFT - 8}" y="12" text-anchor="end"></text>${strips}${touches()}
      <path class="before" d="${path(base.window)}"/><path class="after" d="${path(edited.window)}"/>${handles()}</svg>`;
    at("unit").textContent = data.unit;  // what a file says is text, whatever it says
  }

  const digitsOf = (height) => Math.max(0, Math.min(3, 2 - Math.floor(Math.log10(height || 1))));

  /** Where a wave is, in a colour and a pattern of its own: full, hollow, striped, thin. */
  function bar(index, left, top, width) {
    const stroke = `stroke="var(${COLOURS[index]})"`;
    if (index === 1) return `<rect x="${left + 0.75}" y="${top + 0.75}" width="${Math.max(width - 1.5, 1)}" height="4.5" fill="none" ${stroke} stroke-width="1.5"/>`;
    return `<line x1="${left}" x2="${left + width}" y1="${top + 3}" y2="${top + 3}" ${stroke} stroke-width="${index === 3 ? 2 : 6}"${index === 2 ? ' stroke-dasharray="3 2"' : ""}/>`;
  }

  function strip(window) {
    const bars = rules.waves.map((name, index) =>
      runs(window.wave, (label) => label === index)
        .map(([first, last]) => bar(index, x(first), HEIGHT - BOTTOM + 4, Math.max(x(last) - x(first), 2)))
        .join(""),
    );
    let place = LEFT;
    const names = rules.waves.map((name, index) => {
      const left = place;
      place += 34 + 6 * name.length;
      return `${bar(index, left, HEIGHT - BOTTOM + 15, 13)}<text x="${left + 17}" y="${HEIGHT - BOTTOM + 22}">${plain(name)}</text>`;
    });
    return [...bars, ...names].join("");
  }

  /** Where waves can be taken hold of: those of whole beats, each for itself; where no beats are known, all that are marked, together. */
  function touches() {
    const all = () => edits.removable.flatMap((wave) => runs(base.window.wave, (label) => label === rules.waves.indexOf(rules.flat[wave][0])).map(([first, last]) => ({ wave, first, last })));
    const own = edits.wavesOfBeats(edited.window);
    const gone = edits.wavesOfBeats(base.window).filter(({ wave, beat }) => !own.some((each) => each.wave === wave && each.beat === beat));
    const spans = [...own, ...gone.map((each) => shiftedBy(each, settings.moves[each.beat] || 0))];
    return (spans.length ? spans : all())
      .map(({ wave, beat, first, last }) => `<rect class="wave-touch${beat !== undefined && beat === ofBeat ? " chosen" : ""}" data-wave="${wave}"${beat === undefined ? "" : ` data-beat="${beat}"`} x="${x(first)}" y="${TOP}" width="${x(last) - x(first)}" height="${HEIGHT - TOP - BOTTOM}"><title>pull ${plain(wave)}${beat === undefined ? "" : ` of beat ${beat + 1}`} down or up (Shift: of all beats)</title></rect>`)
      .join("");
  }

  const shiftedBy = (each, by) => ({ ...each, first: each.first + by, last: each.last + by });

  function handles() {
    const beats = edits.warpable(edited.window);
    if (!beats) return "";
    return beats.mark
      .map((mark, beat) => {
        if (beat === 0 || beat === beats.mark.length - 1) return "";
        const by = settings.moves[beat] || 0;
        const limits = edits.roomOf(edited.window, beat);
        const ms = Math.round((1000 * by) / rules.rate_hz);
        const inMs = (tokens) => Math.round((1000 * tokens) / rules.rate_hz);
        const isHint = isFirstDrag && beat === Math.floor(beats.mark.length / 2);
        return `<g class="beat${by ? " moved" : ""}${isHint ? " first-hint" : ""}" tabindex="0" role="slider" data-beat="${beat}" transform="translate(${x(mark).toFixed(1)} 11)" aria-label="beat ${beat + 1}: earlier or later" aria-valuemin="${ms + inMs(limits[0])}" aria-valuemax="${ms + inMs(limits[1])}" aria-valuenow="${ms}" aria-valuetext="${ms} milliseconds">
          <rect class="touch" x="-12" y="-11" width="24" height="${HEIGHT - BOTTOM}"/><line class="stem" y1="7" y2="${HEIGHT - BOTTOM - 11}"/><circle class="ring" r="10"/><circle r="5.5"/>${by ? `<text x="11" y="4">${signed(ms, 0)} ms</text>` : ""}</g>`;
      })
      .join("");
  }

  let drag = null;
  at("paper").addEventListener("pointerdown", (event) => {
    const handle = event.target.closest(".beat");
    const wave = event.target.closest(".wave-touch");
    if (!handle && !wave) return;
    event.preventDefault();
    remember();
    const unit = at("paper").getBoundingClientRect().width / WIDTH;
    drag = handle
      ? { beat: handle.dataset.beat, from: event.clientX, before: settings.moves[handle.dataset.beat] || 0, unit }
      : { wave: nameOf(wave.dataset.wave, event.shiftKey ? null : (wave.dataset.beat ?? null)), from: event.clientY, unit };
    if (drag.wave) {
      drag.before = settings.waves[drag.wave] || 0;
      ofBeat = drag.wave.includes("@") ? Number(wave.dataset.beat) : null; // the sliders follow
      draw();
      showControls();
    }
    at("paper").setPointerCapture(event.pointerId);
  });
  at("paper").addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (drag.beat !== undefined) moveBeat(drag.beat, drag.before + Math.round((event.clientX - drag.from) / drag.unit / (x(1) - x(0))));
    else setWave(drag.wave, drag.before + (event.clientY - drag.from) / drag.unit / 60);
  });
  for (const end of ["pointerup", "pointercancel"])
    at("paper").addEventListener(end, () => {
      drag = null;
    });
  at("paper").addEventListener("keydown", (event) => {
    const handle = event.target.closest(".beat");
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageDown: -5, PageUp: 5 };
    if (!handle || !(event.key in steps || event.key === "Home")) return;
    event.preventDefault();
    const { beat } = handle.dataset;
    remember();
    moveBeat(beat, event.key === "Home" ? 0 : (settings.moves[beat] || 0) + steps[event.key] * (event.shiftKey ? 5 : 1));
    at("paper").querySelector(`[data-beat="${beat}"]`).focus();
  });

  function moveBeat(beat, by) {
    isFirstDrag = false;
    const others = { ...settings.moves };
    delete others[beat];
    const limits = edits.roomOf(applied(edits, base.window, { ...settings, moves: others }, base.noise).window, Number(beat));
    const within = limits ? Math.min(Math.max(by, limits[0]), limits[1]) : 0;
    settings.moves = within ? { ...others, [beat]: within } : others;
    update();
  }

  /** How an edit of a wave is called: "P" of all beats, "P@3" of the fourth. */
  const nameOf = (wave, beat) => (beat === null ? wave : `${wave}@${beat}`);

  function setWave(name, strength) {
    settings.waves = { ...settings.waves, [name]: Math.min(Math.max(Math.round(strength * 20) / 20, 0), 2) };
    update();
  }

  // sliders, parts, steps -----------------------------------------------------------------------------------------------------------------
  const nameInWords = (wave) => (wave.length === 1 ? `${wave} wave` : plain(wave));
  const SLIDERS = [
    ...Object.keys(rules.flat).map((wave) => ({
      id: `wave-${wave}`,
      name: nameInWords(wave),
      colour: `var(${COLOURS[rules.waves.indexOf(wave)]})`,
      range: [-100, 100, 5],
      value: () => Math.round(100 * (1 - (settings.waves[nameOf(wave, ofBeat)] || 0))),
      text: (value) => `${minus(value, 0)} %`,
      change: (value) => setWave(nameOf(wave, ofBeat), 1 - value / 100),
      absent: () => !(ofBeat === null ? edits.hasWave(base.window, wave) : waveOf(wave, ofBeat)) && "none marked",
    })),
    {
      id: "regular",
      name: "regular rhythm",
      range: [0, 100, 5],
      value: () => Math.round(100 * settings.regular),
      text: (value) => `${value} %`,
      change: (value) => {
        settings.regular = value / 100;
        update();
      },
      absent: () => !edits.warpable(base.window) && "too few beats",
    },
    {
      id: "noise",
      name: "noise",
      range: [0, data.noiseDb.length, 1],
      value: () => (settings.noiseDb === null ? 0 : data.noiseDb.indexOf(settings.noiseDb) + 1),
      text: (value) => (Number(value) ? `${data.noiseDb[value - 1]} dB` : "none"),
      change: (value) => {
        settings.noiseDb = Number(value) ? data.noiseDb[value - 1] : null;
        update();
      },
      absent: () => false,
    },
  ];

  const waveOf = (wave, beat) => edits.wavesOfBeats(base.window).some((each) => each.wave === wave && each.beat === beat);

  function makeSliders() {
    const whose = '<div class="slider whose"><label for="whose">waves of</label><select id="whose"></select></div>';
    at("sliders").innerHTML = whose + SLIDERS.map(({ id, name, colour, range: [min, max, step] }) => `<div class="slider"><label for="${id}">${colour ? `<span class="swatch" style="background:${colour}"></span>` : ""}${name}</label><input type="range" id="${id}" min="${min}" max="${max}" step="${step}"><output for="${id}"></output></div>`).join("");
    at("whose").addEventListener("change", () => {
      ofBeat = at("whose").value === "" ? null : Number(at("whose").value);
      draw();
      showControls();
    });
    for (const slider of SLIDERS) {
      const input = at(slider.id);
      let isMoving = false;
      input.addEventListener("input", () => {
        if (!isMoving) remember();
        isMoving = true;
        slider.change(input.value);
      });
      input.addEventListener("change", () => {
        isMoving = false;
      });
    }
  }

  function makeParts() {
    const { nLayers, nHeads } = data.sizes;
    at("parts").style.gridTemplateColumns = `2.2em repeat(${nHeads + 1}, max-content)`;
    const top = `<div role="row"><span role="columnheader">layer</span>${range(nHeads).map((head) => `<span role="columnheader">H${head + 1}</span>`).join("")}<span role="columnheader">MLP</span></div>`;
    at("parts").innerHTML = top + range(nLayers).map((layer) => `<div role="row"><span role="rowheader">L${layer + 1}</span>${range(nHeads + 1).map((head) => `<div role="gridcell"><button type="button" tabindex="-1" data-row="${layer}" data-column="${head}" data-part="${head < nHeads ? `${layer}.${head}` : layer}" class="${head < nHeads ? "" : "mlp"}"></button></div>`).join("")}</div>`).join("");
    at("parts").querySelector("button").tabIndex = 0;
    at("parts").addEventListener("click", (event) => {
      const { part } = event.target.dataset;
      if (part === undefined) return;
      remember();
      settings.off = settings.off.includes(part) ? settings.off.filter((other) => other !== part) : [...settings.off, part];
      update();
    });
    at("parts").addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!steps || event.target.dataset.row === undefined) return;
      event.preventDefault();
      const other = at("parts").querySelector(`[data-row="${Number(event.target.dataset.row) + steps[0]}"][data-column="${Number(event.target.dataset.column) + steps[1]}"]`);
      if (!other) return;
      event.target.tabIndex = -1;
      other.tabIndex = 0;
      other.focus();
    });
  }

  const partName = (part) => (part.includes(".") ? `L${Number(part.split(".")[0]) + 1}H${Number(part.split(".")[1]) + 1}` : `L${Number(part) + 1} MLP`);
  const changeOf = (part) => (part.includes(".") ? data.headChange[chosen][part.split(".")[0]][part.split(".")[1]] : data.mlpChange[chosen][part]);

  function showParts() {
    const heads = data.headChange[chosen].flat().map(Math.abs);
    const most = Math.max(...heads) || 1;
    for (const button of at("parts").querySelectorAll("button")) {
      const { part } = button.dataset;
      const change = changeOf(part);
      const strength = Math.min(Math.abs(change) / most, 1);
      button.classList.toggle("falls", change <= -0.05);
      button.classList.toggle("rises", change >= 0.05);
      button.setAttribute("aria-pressed", settings.off.includes(part));
      button.setAttribute("aria-label", `${partName(part)} off: logit ${signed(change)}`);
      button.title = `${partName(part)} switched off alone: logit ${signed(change)} (the middle one of all heads: ${medianOf(heads).toFixed(2)} up or down)`;
      button.style.backgroundColor = `rgba(var(${change < 0 ? "--down" : "--up"}), ${(0.06 + 0.9 * strength).toFixed(2)})`;
    }
  }

  function showControls() {
    const beats = [...new Set(edits.wavesOfBeats(base.window).map(({ beat }) => beat))].sort((a, b) => a - b);
    at("whose").innerHTML = ['<option value="">all beats</option>', ...beats.map((beat) => `<option value="${beat}">beat ${beat + 1}</option>`)].join("");
    at("whose").value = ofBeat === null ? "" : String(ofBeat);
    at("whose").disabled = !beats.length;
    for (const slider of SLIDERS) {
      const input = at(slider.id);
      const absent = slider.absent();
      input.disabled = Boolean(absent);
      input.parentElement.classList.toggle("absent", Boolean(absent));
      input.value = slider.value();
      const text = absent || slider.text(slider.value());
      input.setAttribute("aria-valuetext", text);
      input.nextElementSibling.textContent = text;
    }
    showParts();
    const off = settings.off.map((part) => `${partName(part)} switched off`);
    at("steps").innerHTML = [...edited.steps.map(describe), ...off].map((line) => `<li>${line}</li>`).join("");
    at("undo").disabled = !history.length;
    at("reset").disabled = !isChanged();
  }

  function describe(step) {
    if (step.name === "noise") return `noise added, ${step.db} dB below the signal`;
    if (step.name === "wave") {
      const name = nameInWords(step.wave);
      const what = step.beat === null ? `${name.replace(/h$/, "he")}s` : `${name} of beat ${step.beat + 1}`;
      return step.strength === 1 ? `${what} removed` : `${what} at ${minus(100 * (1 - step.strength), 0)} % of ${step.beat === null ? "their" : "its"} height`;
    }
    if (step.name === "regular") return `rhythm made regular${step.strength === 1 ? "" : `, ${Math.round(100 * step.strength)} % of the way`}`;
    return `beat ${step.beat + 1} ${Math.round((1000 * Math.abs(step.by)) / rules.rate_hz)} ms ${step.by < 0 ? "earlier" : "later"}`;
  }

  /** What gives the numbers on the page in Python. */
  function python() {
    const calls = edited.steps.map((step) => {
      if (step.name === "noise") return `window = cf.with_noise(window, snr_db=${step.db.toFixed(1)})`;
      if (step.name === "wave") return `window = cf.flattened(window, "${step.wave}", strength=${Number(step.strength.toFixed(4))}${step.beat === null ? "" : `, beat=${step.beat}`})`;
      if (step.name === "regular") return `window = cf.with_rhythm(window, "regular", strength=${Number(step.strength.toFixed(4))})`;
      return `window = cf.with_beat_moved(window, by_s=${Number((step.by / rules.rate_hz).toFixed(4))}, beat=${step.beat})`;
    });
    const heads = settings.off.filter((part) => part.includes(".")).map((part) => `(${part.replace(".", ", ")})`);
    const mlps = settings.off.filter((part) => !part.includes("."));
    const parts = [...(heads.length ? [`heads=[${heads.join(", ")}]`] : []), ...(mlps.length ? [`mlps=[${mlps.join(", ")}]`] : [])];
    const logit = "logit = model(torch.from_numpy(window.tokens.astype(int)))[0, -1, 0]";
    return [
      "import heartlens as hl, torch",
      "from heartlens.signals import counterfactuals as cf",
      `model = hl.load("${data.checkpoint}")`,
      data.reading,
      `window = windows[${data.windows[chosen].index}:${data.windows[chosen].index + 1}]  # starts at ${data.windows[chosen].startS.toFixed(2)} s`,
      ...calls,
      ...(parts.length ? [`with hl.ablated(model, ${parts.join(", ")}), torch.inference_mode():`, `    ${logit}`] : [logit]),
      ...(answers.edited && !isAwaited("edited") ? [`# this page: ${answers.edited.logit.toFixed(5)}`] : []),
    ].join("\n");
  }

  // changes -------------------------------------------------------------------------------------------------------------------------------
  function remember() {
    history.push(JSON.stringify(settings));
  }

  function update() {
    edited = applied(edits, base.window, settings, base.noise);
    delete answers.sham;
    delete waiting.sham;
    draw();
    ask("edited");
    showControls();
    show();
  }

  function undo() {
    if (!history.length) return;
    settings = JSON.parse(history.pop());
    update();
  }

  function open(index) {
    chosen = index;
    base = windowOf(data.windows[index]);
    edits = editsOf(rules, base.draws);
    settings = { ...unchanged(), off: settings.off };
    ofBeat = null;
    history = [];
    answers = {};
    edited = applied(edits, base.window, settings, base.noise);
    waiting = { recorded: true };
    if (settings.off.length) waiting.edited = true;
    draw();
    showControls();
    show();
    if (!busy) next();
  }

  at("undo").addEventListener("click", undo);
  at("reset").addEventListener("click", () => {
    remember();
    settings = { ...unchanged(), off: [] };
    update();
  });
  at("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(python());
      at("copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(at("python"));
      at("copy").textContent = "Selected: copy it";
    }
    setTimeout(() => (at("copy").textContent = "Copy the Python"), 1600);
  });
  at("window").innerHTML = data.windows.map(({ startS }, index) => `<option value="${index}">${index + 1} of ${data.windows.length}: from ${startS.toFixed(1)} s, ${percent(data.logits[index])}</option>`).join("");
  at("window").addEventListener("change", () => open(Number(at("window").value)));
  document.addEventListener("keydown", (event) => {
    if (event.key === "z" && !event.altKey && !event.metaKey) undo();
  });
  const setTheme = (theme) => (document.documentElement.dataset.theme = theme);
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  at("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));

  makeSliders();
  makeParts();
  try {
    start();
  } catch (error) {
    fail(error.message);
  }
})();
