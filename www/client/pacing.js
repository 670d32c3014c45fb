/**
 * When to ask next, and for how long to let the request wait. Pure: time and chance come in as
 * arguments, so each rule can be tested without a clock. `live.js` does what this says.
 *
 * The rules:
 * - A server that lets requests wait is asked again at once; one that answers at once although we
 *   would wait (plain CGI, a function) is polled at the pace it names in `pollAfterMs`.
 * - A proxy that cuts waiting requests gets shorter ones, and below WAIT_MIN_S none that wait.
 * - Both are tried again with a full wait after PROBE_MS: the reason may have gone.
 * - Failures back off exponentially with jitter, and never come before `Retry-After`.
 * - While nobody looks, one request every HIDDEN_MS at most.
 */

export const WAIT_S = 25;
export const WAIT_MIN_S = 5;
export const PROBE_MS = 10 * 60_000;
export const HIDDEN_MS = 30_000;
export const BACKOFF_BASE_MS = 1000;
export const BACKOFF_CAP_MS = 60_000;
/** An answer this quick did not wait. */
export const QUICK_MS = 1000;
/** Least distance between two answers of a busy feed: what comes in between comes together. */
export const BUSY_GAP_MS = 200;
/** A failure this late, of a request that was waiting, looks like a proxy's time limit. */
export const CUT_AFTER_MS = 3000;

/**
 * @typedef {object} Pace
 * @property {number} waitS       for how long the next request offers to wait; 0: it polls
 * @property {number} quick       empty answers in a row that came at once although we offered to wait
 * @property {number} cuts        waiting requests in a row that were cut
 * @property {number} failures    failures in a row
 * @property {number} probeAtMs   when to try the full wait again; 0: it is in use
 *
 * @typedef {object} Answer
 * @property {'answer'} kind
 * @property {number} elapsedMs
 * @property {number} waitS        what the request offered
 * @property {number} events       how many it brought
 * @property {boolean} more
 * @property {number} pollAfterMs
 *
 * @typedef {object} Failure
 * @property {'failure'} kind
 * @property {number} elapsedMs
 * @property {number} waitS
 * @property {boolean} gateway     the connection broke or a gateway gave up: not an answer of Belfry
 * @property {number | null} retryAfterMs
 *
 * @typedef {object} Circumstances
 * @property {number} nowMs
 * @property {boolean} hidden
 * @property {() => number} random   0 to 1, as Math.random
 */

/** @returns {Pace} */
export function initialPace() {
  return { waitS: WAIT_S, quick: 0, cuts: 0, failures: 0, probeAtMs: 0 };
}

/**
 * The wait for the next request: nobody looks, nobody waits.
 * @param {Pace} pace
 * @param {boolean} hidden
 */
export function waitSecondsOf(pace, hidden) {
  return hidden ? 0 : pace.waitS;
}

/**
 * Half of an exponentially growing time, and up to as much again by chance.
 * @param {number} failures  in a row, from 1
 * @param {() => number} random
 */
export function backoffMs(failures, random) {
  const full = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.min(failures - 1, 16));
  return Math.round(full / 2 + (full / 2) * random());
}

/** A time give or take a tenth, so that clients don't keep step. @param {number} ms @param {() => number} random */
export function jitterMs(ms, random) {
  return Math.round(ms * (0.9 + 0.2 * random()));
}

/**
 * `Retry-After` in milliseconds (RFC 9110, 10.2.3: seconds or a date), or null.
 * @param {string | null} value
 * @param {number} nowMs
 */
export function retryAfterMs(value, nowMs) {
  if (value === null) return null;
  if (/^\s*[0-9]+\s*$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}

/**
 * What an outcome means for the next request.
 * @param {Pace} pace
 * @param {Answer | Failure} outcome
 * @param {Circumstances} now
 * @returns {{ pace: Pace, delayMs: number }}
 */
export function nextPace(pace, outcome, now) {
  const probed = probe(pace, now.nowMs);
  return outcome.kind === 'answer' ? afterAnswer(probed, outcome, now) : afterFailure(probed, outcome, now);
}

/** @param {Pace} pace @param {number} nowMs @returns {Pace} */
function probe(pace, nowMs) {
  if (!pace.probeAtMs || nowMs < pace.probeAtMs) return pace;
  // One more quick answer or cut is enough to go back.
  return { ...pace, waitS: WAIT_S, quick: 1, cuts: 1, probeAtMs: 0 };
}

/** @param {Pace} pace @param {Answer} answer @param {Circumstances} now */
function afterAnswer(pace, answer, now) {
  const next = { ...pace, failures: 0 };
  const quick = answer.elapsedMs < QUICK_MS;
  if (answer.waitS > 0 && quick && !answer.events && !answer.more) next.quick += 1;
  if (answer.waitS > 0 && !quick) next.quick = 0;
  if (answer.waitS > 0 && answer.elapsedMs >= answer.waitS * 900) next.cuts = 0;
  if (next.quick >= 2 && next.waitS > 0) return { pace: polling(next, now), delayMs: calm(answer, now) };

  if (answer.more) return { pace: next, delayMs: 0 };
  if (now.hidden || answer.waitS === 0) return { pace: next, delayMs: calm(answer, now) };
  if (!quick) return { pace: next, delayMs: 0 };
  return { pace: next, delayMs: answer.events ? jitterMs(BUSY_GAP_MS, now.random) : calm(answer, now) };
}

/** The pace that the server asks for, slower while nobody looks. @param {Answer} answer @param {Circumstances} now */
function calm(answer, now) {
  return jitterMs(now.hidden ? Math.max(answer.pollAfterMs, HIDDEN_MS) : answer.pollAfterMs, now.random);
}

/** @param {Pace} pace @param {Circumstances} now @returns {Pace} */
function polling(pace, now) {
  return { ...pace, waitS: 0, quick: 0, cuts: 0, probeAtMs: now.nowMs + PROBE_MS };
}

/** @param {Pace} pace @param {Failure} failure @param {Circumstances} now */
function afterFailure(pace, failure, now) {
  if (failure.gateway && failure.waitS > 0 && failure.elapsedMs >= CUT_AFTER_MS && failure.retryAfterMs === null) {
    return { pace: afterCut(pace, failure, now), delayMs: jitterMs(500, now.random) };
  }
  const failures = pace.failures + 1;
  const least = failure.retryAfterMs === null ? 0 : failure.retryAfterMs * (1 + 0.2 * now.random());
  const delayMs = Math.max(Math.round(least), backoffMs(failures, now.random));
  return { pace: { ...pace, failures }, delayMs: now.hidden ? Math.max(delayMs, HIDDEN_MS) : delayMs };
}

/** One cut can be a restart; a second in a row is a limit, and we stay below it. @param {Pace} pace @param {Failure} failure @param {Circumstances} now @returns {Pace} */
function afterCut(pace, failure, now) {
  if (pace.cuts === 0) return { ...pace, cuts: 1 };
  const waitS = Math.floor((failure.elapsedMs / 1000) * 0.8);
  if (waitS < WAIT_MIN_S) return polling(pace, now);
  return { ...pace, waitS: Math.min(waitS, pace.waitS), cuts: 1, probeAtMs: now.nowMs + PROBE_MS };
}
