// The two loops that take the time, as WebAssembly with vectors of four (SIMD), assembled here: a product of matrices, and attention.
//
// `plainKernels` (model.js) computes the same without it. Opcodes: https://webassembly.github.io/spec/core/appendix/index-instructions.html

const I32 = 0x7f;
const V128 = 0x7b;
const LOG2_E = Math.LOG2E;
const ROUNDER = 12582912; // 1.5 * 2^23: added to a float32, its lowest bits are the nearest whole number
const EXP2 = [1, Math.LN2, 0.2402265069591007, 0.0555041086648216, 0.0096181291076285, 0.0013333558146428, 0.0001540353039338]; // ln(2)^n / n!
const MASKED = -1e9;

/** The kernels in WebAssembly for these sizes; null where the browser has no SIMD or the sizes do not fit vectors of four. */
function vectorKernels(sizes, nBytes) {
  const { nHeads, dHead, dModel, dMlp, nTime } = sizes;
  if (nTime % 4 || [3 * nHeads * dHead, dModel, dMlp].some((n) => n % 8) || typeof WebAssembly === "undefined") return null;
  const code = module([productCode(), attentionCode(sizes)]);
  if (!WebAssembly.validate(code)) return null;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(nBytes / 65536) + 1 });
  const { product, attention } = new WebAssembly.Instance(new WebAssembly.Module(code), { js: { memory } }).exports;
  let end = 0;
  const room = (n) => {
    const floats = new Float32Array(memory.buffer, end, n);
    end += Math.ceil((4 * n) / 16) * 16;
    return floats;
  };
  const weight = room(nTime + 4); // up to three beyond the last key are masked
  return {
    name: "WebAssembly",
    room,
    product(a, [b, bias], c, first, last, inner, n, isRelu) {
      if (first >= last) return; // the loops below run at least once
      const row = (floats, width) => floats.byteOffset + 4 * first * width;
      product(row(a, inner), b.byteOffset, bias.byteOffset, row(c, n), last - first, 4 * inner, 4 * n, isRelu ? 1 : 0);
    },
    attention(qkv, keys, values, mixed, first) {
      if (first < nTime) attention(qkv.byteOffset, keys.byteOffset, values.byteOffset, mixed.byteOffset, first, weight.byteOffset);
    },
  };
}

/** Instructions, appended one by one. Addresses are in bytes. */
class Code {
  constructor(nArguments) {
    this.bytes = [];
    this.locals = [];
    this.nArguments = nArguments;
  }
  local(type) {
    this.locals.push(type);
    return this.nArguments + this.locals.length - 1;
  }
  op(...bytes) {
    this.bytes.push(...bytes);
    return this;
  }
  get(local) {
    return this.op(0x20, ...unsigned(local));
  }
  set(local) {
    return this.op(0x21, ...unsigned(local));
  }
  tee(local) {
    return this.op(0x22, ...unsigned(local));
  }
  int(n) {
    return this.op(0x41, ...signed(n));
  }
  simd(code, ...rest) {
    return this.op(0xfd, ...unsigned(code), ...rest);
  }
  load(offset = 0) {
    return this.simd(0x00, 2, ...unsigned(offset));
  }
  loadToAll(offset = 0) {
    return this.simd(0x09, 2, ...unsigned(offset));
  }
  store(offset = 0) {
    return this.simd(0x0b, 2, ...unsigned(offset));
  }
  /** The same float32 (or, with `isInt`, int32) in all four lanes. */
  all(value, isInt = false) {
    const lane = new Uint8Array((isInt ? Int32Array : Float32Array).of(value).buffer);
    return this.simd(0x0c, ...lane, ...lane, ...lane, ...lane);
  }
  plus() {
    return this.simd(0xe4);
  }
  minus() {
    return this.simd(0xe5);
  }
  times() {
    return this.simd(0xe6);
  }
  largest() {
    return this.simd(0xe9);
  }
  /** local += n */
  advance(local, n) {
    return this.get(local).int(n).op(0x6a).set(local);
  }
  /** local += other */
  advanceBy(local, other) {
    return this.get(local).get(other).op(0x6a).set(local);
  }
  /** Repeat `body` while, after it, `local` < `end` (a local); the first time always. */
  loop(local, end, body) {
    this.op(0x03, 0x40);
    body();
    return this.get(local).get(end).op(0x48, 0x0d, 0).op(0x0b);
  }
  /** The sum of the four lanes of a local, as float32. */
  sum(vector) {
    for (let lane = 0; lane < 4; lane++) {
      this.get(vector).simd(0x1f, lane);
      if (lane) this.op(0x92);
    }
    return this;
  }
}

/** c = a b + bias, rectified where asked: 4 rows by 8 columns at a time. Arguments: a, b, bias, c, n rows, bytes of a's and c's rows, is relu. */
function productCode() {
  const code = new Code(8);
  const [a, b, bias, c, nRows, aRow, cRow, isRelu] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [row, column, k, bPlace, aPlace, cPlace] = Array.from({ length: 6 }, () => code.local(I32));
  const sums = Array.from({ length: 8 }, () => code.local(V128));
  const [left, right, own] = Array.from({ length: 3 }, () => code.local(V128));
  const rows = Array.from({ length: 3 }, () => code.local(I32)); // where rows 1 to 3 of a begin
  code.int(0).set(row);
  code.loop(row, nRows, () => {
    code.int(0).set(column);
    code.loop(column, cRow, () => {
      for (let half = 0; half < 2; half++) {
        code.get(bias).get(column).op(0x6a).load(16 * half).set(sums[half]);
        for (let r = 1; r < 4; r++) code.get(sums[half]).set(sums[2 * r + half]);
      }
      code.get(b).get(column).op(0x6a).set(bPlace);
      code.get(a).set(aPlace);
      rows.forEach((place, r) => code.get(r ? rows[r - 1] : a).get(aRow).op(0x6a).set(place));
      code.int(0).set(k);
      code.loop(k, aRow, () => {
        code.get(bPlace).load(0).set(left).get(bPlace).load(16).set(right);
        for (let r = 0; r < 4; r++) {
          code.get(r ? rows[r - 1] : aPlace).get(k).op(0x6a).loadToAll().set(own);
          code.get(sums[2 * r]).get(own).get(left).times().plus().set(sums[2 * r]);
          code.get(sums[2 * r + 1]).get(own).get(right).times().plus().set(sums[2 * r + 1]);
        }
        code.advanceBy(bPlace, cRow).advance(k, 4);
      });
      code.get(isRelu).op(0x04, 0x40);
      for (const sum of sums) code.get(sum).all(0).largest().set(sum);
      code.op(0x0b);
      code.get(c).get(column).op(0x6a).set(cPlace);
      for (let r = 0; r < 4; r++) {
        for (let half = 0; half < 2; half++) code.get(cPlace).get(sums[2 * r + half]).store(16 * half);
        if (r < 3) code.advanceBy(cPlace, cRow);
      }
      code.advance(column, 32);
    });
    code.get(a).get(aRow).int(2).op(0x74).op(0x6a).set(a);
    code.get(c).get(cRow).int(2).op(0x74).op(0x6a).set(c);
    code.advance(row, 4);
  });
  return { name: "product", code };
}

/** What each head mixes. Arguments: qkv (time, 3 head d), keys and values (head d, time), mixed (time, head d), first query, room for weights. */
function attentionCode({ nHeads, dHead, nTime }) {
  const code = new Code(6);
  const [qkv, keys, values, mixed, first, weights] = [0, 1, 2, 3, 4, 5];
  const width = nHeads * dHead;
  const [t, head, nHeadsLocal, nTimeLocal, query, into, place, own, end, key, value] = Array.from({ length: 11 }, () => code.local(I32));
  const [largest, total, weight, rounded, whole] = Array.from({ length: 5 }, () => code.local(V128));
  const each = Array.from({ length: dHead }, () => code.local(V128)); // queries, then what is mixed
  const time = (d) => 4 * d * nTime;
  const upTo = (body) => code.loop(place, end, body); // all keys up to t, four at a time
  code.int(nHeads).set(nHeadsLocal).int(nTime).set(nTimeLocal).get(first).set(t);
  code.loop(t, nTimeLocal, () => {
    code.get(qkv).get(t).int(12 * width).op(0x6c, 0x6a).set(query);
    code.get(mixed).get(t).int(4 * width).op(0x6c, 0x6a).set(into);
    code.get(keys).set(key).get(values).set(value).int(0).set(head);
    code.get(t).int(2).op(0x74).set(own).get(own).int(4).op(0x6a).set(end); // bytes before key t, and up to it
    code.loop(head, nHeadsLocal, () => {
      each.forEach((part, d) => code.get(query).loadToAll(4 * d).set(part));
      code.all(MASKED).set(largest).int(0).set(place);
      upTo(() => {
        code.get(weights).get(place).op(0x6a);
        each.forEach((part, d) => {
          code.get(part).get(key).get(place).op(0x6a).load(time(d)).times();
          if (d) code.plus();
        });
        code.store().advance(place, 16);
      });
      for (let later = 1; later < 4; later++) code.get(weights).get(own).op(0x6a).op(0x43, ...float(MASKED)).op(0x38, 2, ...unsigned(4 * later));
      code.int(0).set(place);
      upTo(() => code.get(largest).get(weights).get(place).op(0x6a).load().largest().set(largest).advance(place, 16));
      code.get(largest).simd(0x1f, 0);
      for (let lane = 1; lane < 4; lane++) code.get(largest).simd(0x1f, lane).op(0x97);
      code.simd(0x13).set(largest);
      for (const sum of [total, ...each]) code.all(0).set(sum);
      code.int(0).set(place);
      upTo(() => {
        code.get(weights).get(place).op(0x6a).load().get(largest).minus().all(LOG2_E).times().all(-126).largest().tee(weight);
        code.all(ROUNDER).plus().tee(rounded).all(ROUNDER).minus().set(whole);
        code.get(weight).get(whole).minus().set(weight).all(EXP2[6]);
        for (let power = 5; power >= 0; power--) code.get(weight).times().all(EXP2[power]).plus();
        code.get(rounded).int(23).simd(0xab).simd(0xae).tee(weight);
        code.get(total).plus().set(total);
        each.forEach((part, d) => code.get(part).get(weight).get(value).get(place).op(0x6a).load(time(d)).times().plus().set(part));
        code.advance(place, 16);
      });
      each.forEach((part, d) => {
        code.get(into);
        code.sum(part).sum(total).op(0x95).op(0x38, 2, ...unsigned(4 * d));
      });
      code.advance(query, 4 * dHead).advance(into, 4 * dHead).advance(key, time(dHead)).advance(value, time(dHead)).advance(head, 1);
    });
    code.advance(t, 1);
  });
  return { name: "attention", code };
}

/** A module of these functions: all arguments are i32, nothing is returned, the memory is imported. */
function module(functions) {
  const types = functions.map(({ code }) => [0x60, ...list(Array.from({ length: code.nArguments }, () => [I32])), 0]);
  const bodies = functions.map(({ code }) => {
    const body = [...list(code.locals.map((type) => [1, type])), ...code.bytes, 0x0b];
    return [...unsigned(body.length), ...body];
  });
  const sections = [
    [1, list(types)],
    [2, list([[...text("js"), ...text("memory"), 2, 0, 1]])],
    [3, list(functions.map((_, index) => unsigned(index)))],
    [7, list(functions.map(({ name }, index) => [...text(name), 0, ...unsigned(index)]))],
    [10, list(bodies)],
  ];
  const start = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  return Uint8Array.from([...start, ...sections.flatMap(([number, content]) => [number, ...unsigned(content.length), ...content])]);
}

const list = (items) => [...unsigned(items.length), ...items.flat()];
const text = (word) => [...unsigned(word.length), ...word.split("").map((letter) => letter.charCodeAt(0))];
const float = (value) => [...new Uint8Array(Float32Array.of(value).buffer)];

/** LEB128 */
function unsigned(n) {
  return n < 128 ? [n] : [(n & 127) | 128, ...unsigned(n >>> 7)];
}

function signed(n) {
  return n >= -64 && n < 64 ? [n & 127] : [(n & 127) | 128, ...signed(n >> 7)];
}
