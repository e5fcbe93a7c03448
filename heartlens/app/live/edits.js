// What-if edits of one window, number for number those of heartlens.signals.counterfactuals (rescaled, seed 0), so that they run in the page.
//
// A window is {tokens, wave, known, position, low, high}; an edit takes one and gives a new one, or null where it is not possible. Names and
// order of the steps are those of the Python modules named above each part; `rules` are their constants, `noise` and `draws` what they draw.

const NONE = -1;
const LEVELS = 100;

/** The edits of windows of one kind. `rules`: heartlens.app.live.rules; `draws`: the state of the window's generator. */
function editsOf(rules, draws) {
  const margin = even(rules.margin_s * rules.rate_hz);
  const index = (name) => rules.waves.indexOf(name);

  // scale.py ---------------------------------------------------------------------------------------------------------------------------
  function edited(before, level, labels = {}) {
    let least = Infinity;
    let largest = -Infinity;
    for (const value of level) {
      least = Math.min(least, value);
      largest = Math.max(largest, value);
    }
    const height = before.high - before.low;
    const low = least === 0 ? before.low : before.low + (least / LEVELS) * height;
    const high = largest === LEVELS ? before.high : before.low + (largest / LEVELS) * height;
    const tokens = Uint8Array.from(level, (value) => even(((value - least) / (largest - least)) * LEVELS));
    return { ...before, ...labels, tokens, low, high };
  }

  // noise.py ---------------------------------------------------------------------------------------------------------------------------
  /** White noise; `noise` is drawn from the window as it was recorded, so this edit comes first. */
  function withNoise(window, snrDb, noise) {
    const sd = deviationOf(window.tokens) * 10 ** (-snrDb / 20);
    return edited(window, Float64Array.from(window.tokens, (token, t) => token + sd * noise[t]));
  }

  // baseline.py ------------------------------------------------------------------------------------------------------------------------
  function unrounded(tokens) {
    let trace = Float64Array.from(tokens);
    const last = trace.length - 1;
    for (let turn = 0; turn < rules.n_smoothings; turn++) {
      trace = trace.map((own, t) => {
        const mean = trace[Math.max(t - 1, 0)] / 4 + own / 2 + trace[Math.min(t + 1, last)] / 4;
        return Math.min(Math.max(mean, tokens[t] - 0.49), tokens[t] + 0.49);
      });
    }
    return trace.map((own, t) => tokens[t] + (own - tokens[t]) / 3);
  }

  function donorsOf(window) {
    const tokens = unrounded(window.tokens);
    const least = even(rules.least_s * rules.rate_hz);
    const spans = runs(window.wave, (label, t) => label === NONE && window.known[t])
      .filter(([first, last]) => last - first + 1 - 2 * margin >= least)
      .map(([first, last]) => [first + margin, last - margin]);
    if (!spans.length) return residues(tokens, window.wave);
    const donors = spans.map(([first, last]) => tokens.slice(first, last + 1));
    if (rules.kind === "ppg") return donors.map(withoutParabola);
    const spread = donors.map(deviationFromLine);
    const limit = rules.loudest * medianOf(spread);
    return donors.filter((_, place) => spread[place] <= limit);
  }

  function residues(tokens, wave) {
    const smooth = parabolas(tokens);
    const residue = tokens.map((own, t) => own - smooth[t]);
    const loud = index(rules.kind === "ecg" ? "QRS" : "foot");
    const spans = runs(wave, (label) => label !== loud).filter(([first, last]) => last - first >= 9);
    return spans.length ? spans.map(([first, last]) => residue.slice(first, last + 1)) : [residue];
  }

  function noiseFor(donors, first, last, nTime, random) {
    const n = last - first + 1;
    const donor = drawn(donors, n + 2, random);
    const begin = donor[0];
    const end = donor[n + 1];
    const line = linspace(first === 0 ? end : begin, last === nTime - 1 ? begin : end, n + 2);
    return Float64Array.from({ length: n }, (_, t) => donor[t + 1] - line[t + 1]);
  }

  function drawn(donors, n, random) {
    const places = donors.map((donor) => Math.max(donor.length - n + 1, 0));
    const all = places.reduce((a, b) => a + b, 0);
    if (all) {
      let place = random.below(all);
      let donor = 0;
      while (place >= places[donor]) place -= places[donor++];
      return donors[donor].slice(place, place + n);
    }
    const longest = Math.max(...donors.map((donor) => donor.length));
    const long = donors.filter((donor) => 2 * donor.length >= longest);
    const joined = [0];
    while (joined.length < n) {
      const piece = long[random.below(long.length)];
      const line = linspace(piece[0], piece[piece.length - 1], piece.length);
      for (let t = 1; t < piece.length; t++) joined.push(piece[t] - line[t]);
    }
    return Float64Array.from(joined.slice(0, n));
  }

  // waves.py ---------------------------------------------------------------------------------------------------------------------------
  const gone = (wave) => rules.flat[wave].map(index);
  const hasWave = (window, wave) => window.wave.some((label) => gone(wave).includes(label));

  /** The wave times 1 - `strength` (0 to 2), baseline in its place; `beat` (from 0, of the whole ones): that of one beat alone. */
  function flattened(window, wave, strength, beat = null) {
    if (!hasWave(window, wave)) return null;
    const random = generatorOf(draws);
    const labels = gone(wave);
    const all = takenOut(window.wave, labels);
    random.permutation(all.length); // of which a share would be chosen
    const spans = ofBeat(window, wave, beat, all);
    if (!spans.length) return null;
    const level = Float64Array.from(window.tokens);
    const donors = donorsOf(window);
    const lines = spans.map(([first, last]) => lineOver(level, first, last));
    const left = 1 - strength;
    const own = Int8Array.from(window.wave);
    spans.forEach(([first, last], place) => {
      const noise = noiseFor(donors, first, last, level.length, random);
      const factor = Math.sqrt(Math.max(1 - left ** 2, 0));
      for (let t = first; t <= last; t++) {
        const line = lines[place][t - first];
        level[t] = line + left * (level[t] - line) + factor * noise[t - first];
        if (strength === 1 && labels.includes(own[t])) own[t] = NONE;
      }
    });
    return edited(window, level, { wave: own });
  }

  /** The sham: baseline beside the waves (of one beat) bent, `strength` times as far as taking them out bends them; `isTurned`: the other way. */
  function withBentBaseline(window, wave, strength, beat = null, isTurned = false) {
    if (!hasWave(window, wave)) return null;
    const spans = ofBeat(window, wave, beat, takenOut(window.wave, gone(wave)));
    if (!spans.length) return null;
    const tokens = Float64Array.from(window.tokens);
    const smoother = unrounded(window.tokens);
    const shape = new Float64Array(tokens.length);
    for (const [first, last] of elsewhere(window.wave, gone(wave), spans)) {
      const angle = linspace(0, Math.PI, last - first + 3);
      for (let t = first; t <= last; t++) shape[t] = Math.sin(angle[t - first + 1]);
    }
    let total = 0;
    let size = 0;
    for (const [first, last] of spans)
      lineOver(tokens, first, last).forEach((line, t) => {
        total += line - tokens[first + t];
        size += Math.abs(line - tokens[first + t]);
      });
    const way = isTurned ? -Math.sign(total) : Math.sign(total);
    const height = (strength * way * size) / Math.max(sumOf(shape), 1);
    return edited(window, tokens.map((own, t) => (shape[t] > 0 && strength > 0 ? smoother[t] + height * shape[t] : own)));
  }

  function takenOut(labels, waves) {
    let support = Array.from(labels, (label) => waves.includes(label));
    const spans = runs(support, Boolean);
    for (let k = 1; k < spans.length; k++) {
      const [, last] = spans[k - 1];
      const [first] = spans[k];
      const isBetween = labels[last] !== labels[first] && labels[last] === waves[0] && labels.subarray(last + 1, first).every((label) => label === NONE);
      if (isBetween) support.fill(true, last + 1, first);
    }
    for (let turn = 0; turn < margin; turn++) support = support.map((own, t) => own || (labels[t] === NONE && Boolean(support[t - 1] || support[t + 1])));
    return runs(support, Boolean);
  }

  function elsewhere(labels, waves, chosen) {
    const spans = takenOut(labels, waves);
    const free = Array.from(labels, (label) => label === NONE);
    for (const [first, last] of spans) free.fill(false, first, last + 1);
    const edges = [0, ...spans.flat(), labels.length - 1];
    const beside = [];
    spans.forEach((span, place) => {
      if (!chosen.some(([first, last]) => first === span[0] && last === span[1])) return;
      const stretches = runs(free, (own, t) => own && t >= edges[2 * place] && t <= edges[2 * place + 3]);
      if (!stretches.length) return;
      const longest = stretches.reduce((best, span) => (span[1] - span[0] > best[1] - best[0] ? span : best));
      beside.push(longest);
      free.fill(false, longest[0], longest[1] + 1);
    });
    return beside;
  }

  /** Those of the spans that are the beat's; all where `beat` is null, none where the window does not show it whole. */
  function ofBeat(window, wave, beat, spans) {
    if (beat === null) return spans;
    const beats = beatsOf(window);
    if (!beats || beat >= beats.mark.length) return [];
    const [low, high] = besideCore(window, beats, beat, wave);
    return spans.filter(([first, last]) => first <= high && last >= low);
  }

  /** The waves that `flattened` can change alone. */
  function wavesOfBeats(window) {
    const beats = beatsOf(window);
    return removable.flatMap((wave) => {
      const spans = runs(window.wave, (label) => label === gone(wave)[0]);
      return (beats ? beats.mark : []).flatMap((_, beat) => {
        const [low, high] = besideCore(window, beats, beat, wave);
        return spans.filter(([first, last]) => low <= first && last <= high).map(([first, last]) => ({ wave, beat, first, last }));
      });
    });
  }

  // complexes.py -----------------------------------------------------------------------------------------------------------------------
  function beatsOf(window) {
    const { rate_hz: rate, core } = rules;
    const spansOf = (name) => runs(window.wave, (label) => label === index(name));
    const [number, mark] = marks(window.position);
    const [begins, finishes] = core.map(spansOf);
    const cores = mark.map((place) => {
      const begin = begins.filter(([first, last]) => first - 1 <= place && place <= last + 1);
      const ends = finishes.filter(([first, last]) => last >= place && first - place < 0.5 * rate).map(([, last]) => last);
      return begin.length && ends.length ? [begin[0][0], Math.min(...ends)] : null;
    });
    const whole = cores.map((_, beat) => beat).filter((beat) => cores[beat]);
    const n = whole.length;
    if (n < 2 || whole.some((beat, k) => k && number[beat] - number[whole[k - 1]] !== 1)) return null;
    const onset = whole.map((beat) => cores[beat][0]);
    const offset = whole.map((beat) => cores[beat][1]);
    if (onset.some((own, k) => k && own - offset[k - 1] < 4)) return null;
    const places = whole.map((beat) => mark[beat]);
    const before = rules.before.flatMap(spansOf);
    const after = rules.after.flatMap(spansOf);
    const behind = offset.map((low, k) => {
      const high = k + 1 < n ? onset[k + 1] : window.wave.length;
      return Math.max(-1, ...after.filter(([first]) => low < first && first < high).map(([, last]) => last));
    });
    const marked = behind.map((end, k) => end - places[k]).filter((_, k) => behind[k] >= 0);
    const usual = marked.length ? medianOf(marked) : rules.typical_s * rate;
    const start = onset.map((own, k) => {
      const own_before = k ? before.filter(([first, last]) => offset[k - 1] + 1 < first && last < own).map(([first]) => first) : [];
      return own_before.length ? Math.max(...own_before) : own;
    });
    const end = behind.map((own, k) => {
      const limit = Math.max(k + 1 < n ? start[k + 1] - 1 : window.wave.length - 1, offset[k]);
      return Math.min(Math.max(own >= 0 ? own : even(places[k] + usual), offset[k]), limit);
    });
    return { number: whole.map((beat) => number[beat]), mark: places, start, onset, offset, end };
  }

  /** Between which tokens a beat's wave lies: from the core before it to its own (P), or from its own to the next (T). */
  function besideCore(window, beats, beat, wave) {
    const cores = range(window.wave.length).filter((t) => rules.core.map(index).includes(window.wave[t]));
    const [onset, offset] = [beats.onset[beat], beats.offset[beat]];
    if (rules.before.includes(wave)) return [Math.max(-1, ...cores.filter((t) => t < onset)) + 1, onset - 1];
    return [offset + 1, Math.min(window.wave.length, ...cores.filter((t) => t > offset)) - 1];
  }

  // warp.py ----------------------------------------------------------------------------------------------------------------------------
  function warpable(window) {
    const beats = beatsOf(window);
    if (!beats) return null;
    const length = differences(beats.mark);
    const floor = floors(beats);
    const isAble = beats.mark.length >= rules.least_beats && Math.max(...floor) < sumOf(length) / length.length;
    return isAble && sumOf(floor) < (1 - rules.least_room) * sumOf(length) ? beats : null;
  }

  const parts = ({ offset, end, start, onset }) =>
    offset.slice(0, -1).map((own, k) => [end[k] - own, start[k + 1] - end[k], onset[k + 1] - start[k + 1]]);
  const least = ([st, diastole, pr]) => [
    Math.ceil(rules.least_waves * st),
    Math.max(Math.ceil(rules.least_diastole * diastole), 1),
    Math.ceil(rules.least_waves * pr),
  ];

  function floors(beats) {
    const length = differences(beats.mark);
    return parts(beats).map((part, k) =>
      Math.max(length[k] - (beats.onset[k + 1] - beats.offset[k]) + sumOf(least(part)), rules.floor_s * rules.rate_hz),
    );
  }

  function shifted(window, beats, shift) {
    const nTime = window.tokens.length;
    const knots = parts(beats).flatMap((part, beat) => {
      const [st, diastole, pr] = part;
      const [leastSt, leastDiastole, leastPr] = least(part);
      const change = shift[beat + 1] - shift[beat];
      const short = Math.min(diastole + change - leastDiastole, 0);
      const ofSt = even((short * (st - leastSt)) / Math.max(st - leastSt + pr - leastPr, 1));
      const offset = beats.offset[beat];
      const onset = beats.onset[beat + 1];
      const edges = [
        [offset, 0],
        [offset + st, ofSt],
        [onset - pr, change - short + ofSt],
        [onset, change],
      ];
      return edges.map(([old, moved]) => [old + shift[beat] + moved, old]);
    });
    const all = sortedSet([[-1, -1], ...knots, [nTime, nTime]]);
    const source = interpolated(range(nTime), ...columns(all));
    const edges = [...beats.onset, ...beats.offset].map((old, k) => [old + shift[k % shift.length], old]);
    const [near, from] = columns(sortedSet(edges));
    const middles = near.slice(1).map((own, k) => Math.floor((own + near[k]) / 2));
    const old = range(nTime).map((t) => {
      const nearest = middles.filter((middle) => middle < t).length;
      return Math.min(Math.max(t - (near[nearest] - from[nearest]), 0), nTime - 1);
    });
    const trace = unrounded(window.tokens);
    const smooth = parabolas(trace);
    const resampled = interpolated(source, range(nTime), smooth);
    const level = Float64Array.from(source, (place, t) =>
      place === old[t] ? window.tokens[old[t]] : resampled[t] + (trace[old[t]] - smooth[old[t]]),
    );
    const isFree = (t) => window.wave[t] === NONE;
    const label = source.map((place) => {
      const [low, high] = [Math.floor(place), Math.ceil(place)];
      return isFree(low) === isFree(high) ? even(place) : isFree(low) ? low : high;
    });
    const position = Float64Array.from(window.position);
    const marksNow = beats.mark.map((own, k) => own + shift[k]);
    const between = range(nTime).filter((t) => t >= beats.mark[0] && t <= beats.mark[beats.mark.length - 1]);
    interpolated(between, marksNow, beats.number).forEach((value, k) => (position[between[k]] = value));
    return edited(window, level, {
      wave: Int8Array.from(label, (t) => window.wave[t]),
      known: Uint8Array.from(label, (t) => window.known[t]),
      position,
    });
  }

  // rhythm.py --------------------------------------------------------------------------------------------------------------------------
  const room = (beats) => differences(beats.mark).map((own, k) => own - floors(beats)[k]);
  const partOf = (shift, strength) => shift.map((own) => Math.sign(own) * Math.ceil(strength * Math.abs(own) - 0.5));

  /** Regular intervals, the mean rate kept; every beat moves by `strength` times what it would. */
  function withRegularRhythm(window, strength) {
    const beats = warpable(window);
    if (!beats) return null;
    const length = differences(beats.mark);
    const mean = sumOf(length) / length.length;
    const floor = floors(beats);
    const free = floor.map((own) => Math.max(mean - own, 0));
    const spare = sumOf(length.map(() => mean)) - sumOf(floor);
    let place = 0;
    const shift = [0];
    floor.forEach((own, k) => {
      place += own + (free[k] * spare) / sumOf(free);
      shift.push(even(beats.mark[0] + place - beats.mark[k + 1]));
    });
    return shifted(window, beats, partOf(shift, strength));
  }

  /** The least and the most tokens that a beat (from 0, of the whole ones; not the first or last) can move by; null where none can. */
  function roomOf(window, beat) {
    const beats = warpable(window);
    if (!beats || beat < 1 || beat > beats.mark.length - 2) return null;
    const spare = room(beats);
    return [-Math.floor(Math.max(spare[beat - 1], 0)), Math.floor(Math.max(spare[beat], 0))];
  }

  function withBeatMoved(window, by, beat) {
    const limits = roomOf(window, beat);
    if (!limits || by < limits[0] || by > limits[1]) return null;
    const beats = warpable(window);
    return shifted(window, beats, beats.mark.map((_, k) => (k === beat ? by : 0)));
  }

  /** The sham of a rhythm: all inner beats later, or all earlier, by the same time. */
  function withBeatsMovedTogether(window, strength) {
    const beats = warpable(window);
    if (!beats) return null;
    const spare = room(beats).map((own) => Math.max(own, 0));
    const isLater = generatorOf(draws).fraction() < 0.5;
    const by = Math.trunc(isLater ? spare[spare.length - 1] : -spare[0]);
    return shifted(window, beats, partOf(beats.mark.map((_, k) => (k > 0 && k < beats.mark.length - 1 ? by : 0)), strength));
  }

  const removable = Object.keys(rules.flat);
  return { removable, withNoise, flattened, wavesOfBeats, withBentBaseline, withRegularRhythm, withBeatMoved, withBeatsMovedTogether, hasWave, warpable, beatsOf, roomOf };
}

// dose.py --------------------------------------------------------------------------------------------------------------------------------
/** The summed change of the tokens, without sign. */
function doseOf(before, after) {
  let dose = 0;
  for (let t = 0; t < before.tokens.length; t++) dose += Math.abs(after.tokens[t] - before.tokens[t]);
  return dose;
}

/** The edit (of a strength from 0 to `most`) that changes `window` by what is nearest to `dose`; null where the edit is not possible. */
function matched(window, edit, dose, { most, nTried, nRounds }) {
  let best = 0;
  const still = edit(0);
  let miss = still ? Math.abs(doseOf(window, still) - dose) : dose;
  let width = most / nTried;
  let offsets = range(nTried).map((k) => (k + 1) * width);
  for (let round = 0; round < nRounds; round++) {
    const centre = best;
    for (const offset of offsets) {
      const tried = Math.min(Math.max(centre + offset, 0), most);
      const after = edit(tried);
      if (!after) return null;
      const off = Math.abs(doseOf(window, after) - dose);
      if (off < miss) [best, miss] = [tried, off];
    }
    offsets = linspace(-width, width, nTried + 2).slice(1, -1);
    width *= 2 / (nTried + 1);
  }
  return edit(best);
}

/** Of several such edits the first that comes near enough to `dose`, or the one that comes nearest; null where none is possible. */
function firstMatched(window, choices, dose, search) {
  let best = null;
  let miss = Infinity;
  for (const edit of choices) {
    const after = matched(window, edit, dose, search);
    const off = after ? Math.abs(doseOf(window, after) - dose) : Infinity;
    if (off < miss) [best, miss] = [after, off];
    if (miss <= search.near * dose) break;
  }
  return best;
}

// numpy ----------------------------------------------------------------------------------------------------------------------------------
/** Rounded half to even, as numpy and Python do. */
function even(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

const range = (n) => Array.from({ length: n }, (_, k) => k);
const sumOf = (values) => values.reduce((a, b) => a + b, 0);
const differences = (values) => values.slice(1).map((own, k) => own - values[k]);
const columns = (pairs) => [pairs.map(([own]) => own), pairs.map(([, own]) => own)];
const linspace = (begin, end, n) => Float64Array.from({ length: n }, (_, k) => (k === n - 1 ? end : begin + k * ((end - begin) / (n - 1))));

function runs(values, holds) {
  const spans = [];
  for (let t = 0; t < values.length; t++) {
    if (!holds(values[t], t)) continue;
    if (spans.length && spans[spans.length - 1][1] === t - 1) spans[spans.length - 1][1] = t;
    else spans.push([t, t]);
  }
  return spans;
}

function sortedSet(pairs) {
  const sorted = [...pairs].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return sorted.filter((own, k) => !k || own[0] !== sorted[k - 1][0] || own[1] !== sorted[k - 1][1]);
}

function medianOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function deviationOf(values) {
  const mean = sumOf(Array.from(values)) / values.length;
  return Math.sqrt(sumOf(Array.from(values, (own) => (own - mean) ** 2)) / values.length);
}

function deviationFromLine(donor) {
  const n = donor.length;
  const mean = sumOf(donor) / n;
  let [square, product, length] = [0, 0, 0];
  donor.forEach((own, k) => {
    const time = k - (n - 1) / 2;
    square += (own - mean) ** 2;
    product += time * own;
    length += time ** 2;
  });
  return Math.sqrt(Math.max(square / n - product ** 2 / length / n, 0));
}

/** np.interp of increasing places; beyond the ends the end's value. */
function interpolated(places, x, y) {
  let j = 0;
  return places.map((place) => {
    if (place <= x[0]) return y[0];
    if (place >= x[x.length - 1]) return y[x.length - 1];
    if (x[j] > place) j = 0;
    while (x[j + 1] <= place) j++;
    return x[j] === place ? y[j] : ((y[j + 1] - y[j]) / (x[j + 1] - x[j])) * (place - x[j]) + y[j];
  });
}

function lineOver(level, first, last) {
  const ends = [first - 1, last + 1].filter((place) => place >= 0 && place < level.length);
  return interpolated(range(last - first + 1).map((k) => first + k), ends, ends.map((place) => level[place]));
}

/** scipy's savgol_filter(trace, 9, 2): the middle of the parabola through nine tokens, at the ends that of the first and last nine. */
function parabolas(trace) {
  const n = trace.length;
  return Float64Array.from(trace, (_, t) => {
    const middle = Math.min(Math.max(t, 4), n - 5);
    let [mean, slope, bend] = [0, 0, 0];
    for (let k = -4; k <= 4; k++) {
      const own = trace[middle + k];
      mean += own / 9;
      slope += (k * own) / 60;
      bend += ((k * k - 20 / 3) * own) / 308;
    }
    const place = t - middle;
    return mean + slope * place + bend * (place * place - 20 / 3);
  });
}

/** What a parabola of least squares leaves. */
function withoutParabola(donor) {
  const n = donor.length;
  const centre = (n - 1) / 2;
  const spread = sumOf(range(n).map((k) => (k - centre) ** 2)) / n;
  const bent = range(n).map((k) => (k - centre) ** 2 - spread);
  const mean = sumOf(donor) / n;
  const slope = sumOf(donor.map((own, k) => own * (k - centre))) / (n * spread);
  const bend = sumOf(donor.map((own, k) => own * bent[k])) / sumOf(bent.map((own) => own ** 2));
  return donor.map((own, k) => own - mean - slope * (k - centre) - bend * bent[k]);
}

// complexes.py
function marks(position) {
  const whole = Float64Array.from(position, (own) => Math.floor(own + 1e-9));
  const last = position.length - 1;
  const slope = (t) =>
    t === 0 ? position[1] - position[0] : t === last ? position[last] - position[last - 1] : (position[t + 1] - position[t - 1]) / 2;
  const number = [];
  const mark = [];
  for (let t = 1; t <= last; t++) {
    if (!(whole[t] > whole[t - 1])) continue;
    const after = Math.min(t + 1, last);
    const step = Number.isNaN(slope(after)) || after === t ? slope(t) : position[after] - position[t];
    number.push(whole[t]);
    mark.push(t - (position[t] - whole[t]) / step);
  }
  return [number, mark];
}

/** numpy's default generator (PCG64, O'Neill 2014) from its state, two numbers of 128 bits in hexadecimal. */
function generatorOf({ state: begin, increment }) {
  const mask64 = (1n << 64n) - 1n;
  const mask128 = (1n << 128n) - 1n;
  let state = BigInt(`0x${begin}`);
  let kept = null; // the upper half of the last 64 bits
  const next64 = () => {
    state = (state * 0x2360ed051fc65da44385df649fccf645n + BigInt(`0x${increment}`)) & mask128;
    const turn = state >> 122n;
    const mixed = (state >> 64n) ^ (state & mask64);
    return ((mixed >> turn) | (mixed << (64n - turn))) & mask64;
  };
  const next32 = () => {
    if (kept !== null) {
      const upper = kept;
      kept = null;
      return upper;
    }
    const both = next64();
    kept = both >> 32n;
    return both & 0xffffffffn;
  };
  /** A whole number from 0 to below n (Lemire 2019). */
  const below = (n) => {
    if (n === 1) return 0;
    const size = BigInt(n);
    const least = (0x100000000n - size) % size;
    let product = next32() * size;
    while ((product & 0xffffffffn) < least) product = next32() * size;
    return Number(product >> 32n);
  };
  const permutation = (n) => {
    const order = range(n);
    for (let k = n - 1; k > 0; k--) {
      const mask = 2 ** (32 - Math.clz32(k)) - 1;
      let other = Number(next32()) & mask;
      while (other > k) other = Number(next32()) & mask;
      [order[k], order[other]] = [order[other], order[k]];
    }
    return order;
  };
  return { below, permutation, fraction: () => Number(next64() >> 11n) / 2 ** 53 };
}

// the page's stack of edits ---------------------------------------------------------------------------------------------------------------
/** `settings`: noiseDb (null: none), waves {name: strength}, "P" of all beats, "P@3" of one; regular (0 to 1), moves {beat: tokens}. */
const unchanged = () => ({ noiseDb: null, waves: {}, regular: 0, moves: {} });

/** The edited window, in this order: noise, waves, rhythm, beats; and the steps that were made. What is not possible is left out. */
function applied(edits, window, settings, noise) {
  const steps = [];
  let now = window;
  const make = (after, step) => {
    if (after) {
      now = after;
      steps.push(step);
    }
  };
  if (settings.noiseDb !== null) make(edits.withNoise(now, settings.noiseDb, noise), { name: "noise", db: settings.noiseDb });
  for (const [name, strength] of Object.entries(settings.waves)) {
    const [wave, number] = name.split("@");
    const beat = number === undefined ? null : Number(number);
    if (strength > 0) make(edits.flattened(now, wave, strength, beat), { name: "wave", wave, strength, beat });
  }
  if (settings.regular > 0) make(edits.withRegularRhythm(now, settings.regular), { name: "regular", strength: settings.regular });
  for (const beat of Object.keys(settings.moves).map(Number).sort((a, b) => a - b)) {
    const limits = edits.roomOf(now, beat);
    const by = limits ? Math.min(Math.max(settings.moves[beat], limits[0]), limits[1]) : 0;
    if (by) make(edits.withBeatMoved(now, by, beat), { name: "beat", beat, by });
  }
  return { window: now, steps };
}

/** As `bent_baselines` of waves.py: beside the wave of one beat, then beside all; where bending leaves the scale (too large a step), the other way. */
function waysToBend(wave, ofBeat) {
  const places = ofBeat === null ? [null] : [ofBeat, null];
  return [false, true].flatMap((isTurned) => places.map((beat) => ({ wave, beat, isTurned })));
}

/** A window changed by as much (dose) that keeps waves and intervals: inner beats moved together, baseline bent. Null where none can be made.
 *
 * `search`: {most, nTried, nRounds, near}, how `matched` and `firstMatched` look for it. */
function shamOf(edits, window, settings, noise, search) {
  const whole = applied(edits, window, settings, noise);
  const rhythm = applied(edits, window, { ...unchanged(), regular: settings.regular, moves: settings.moves }, noise);
  const hasRhythm = rhythm.steps.length > 0;
  const move = (strength) => edits.withBeatsMovedTogether(window, strength);
  const together = hasRhythm ? matched(window, move, doseOf(window, rhythm.window), { ...search, most: 1 }) : window;
  const rest = whole.steps.filter((step) => step.name === "noise" || step.name === "wave");
  const own = rest.filter((step) => step.name === "wave");
  const waves = [...new Set([...own.map((step) => step.wave), ...edits.removable])].filter((wave) => edits.hasWave(window, wave));
  const without = rest.length ? null : together;
  if (!together || !waves.length) return without;
  const isOfOne = own.length > 0 && rest.length === own.length && own.every((step) => step.wave === own[0].wave && step.beat === own[0].beat);
  const ways = waves.flatMap((wave) => waysToBend(wave, isOfOne ? own[0].beat : null));
  // Beats move by whole tokens: where that is too little or too much, baseline makes up for it, or is bent alone.
  const begins = hasRhythm ? [together, window] : [window];
  const choices = ways.flatMap(({ wave, beat, isTurned }) => begins.map((before) => (strength) => edits.withBentBaseline(before, wave, strength, beat, isTurned)));
  return firstMatched(window, choices, doseOf(window, whole.window), search) ?? without;
}

/** A window from what the page holds of it, with its noise and its generator's state. */
function windowOf(stored) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const window = {
    tokens: bytes(stored.tokens),
    wave: new Int8Array(bytes(stored.wave).buffer),
    known: bytes(stored.known),
    position: new Float64Array(bytes(stored.position).buffer),
    low: stored.low,
    high: stored.high,
  };
  return { window, noise: new Float64Array(bytes(stored.noise).buffer), draws: stored.draws };
}
