// What the server refuses, in its words.

export class Refused extends Error {}

/** The words of an answer that is a refusal. */
export function refusal(text) {
  try { return JSON.parse(text).refusal ?? text; } catch { return text; }
}
