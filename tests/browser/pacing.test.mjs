// When the browser client asks next: www/client/pacing.js.
import assert from 'node:assert/strict';
import test from 'node:test';
import {
  backoffMs, BACKOFF_CAP_MS, HIDDEN_MS, initialPace, jitterMs, nextPace, PROBE_MS, retryAfterMs, WAIT_S, waitSecondsOf,
} from '../../www/client/pacing.js';

const at = (more = {}) => ({ nowMs: 1_000_000, hidden: false, random: () => 0.5, ...more });
const answer = (more = {}) => ({ kind: 'answer', elapsedMs: 20, waitS: WAIT_S, events: 0, more: false, pollAfterMs: 2000, ...more });
const failure = (more = {}) => ({ kind: 'failure', elapsedMs: 20, waitS: WAIT_S, gateway: true, retryAfterMs: null, ...more });
const after = (outcomes, pace = initialPace(), now = at()) => outcomes.reduce((step, outcome) => nextPace(step.pace, outcome, now), { pace, delayMs: -1 });

test('after a wait that ended the client asks again at once', () => {
  const { pace, delayMs } = after([answer({ elapsedMs: 25_010 })]);
  assert.equal(delayMs, 0);
  assert.equal(pace.waitS, WAIT_S);
});

test('a server that answers at once twice with nothing is polled, at the pace that it names', () => {
  assert.equal(after([answer()]).pace.waitS, WAIT_S, 'once can be a superseded poll');
  const { pace, delayMs } = after([answer(), answer({ pollAfterMs: 3000 })]);
  assert.equal(pace.waitS, 0);
  assert.equal(delayMs, 3000);
});

test('quick answers with news do not count against waiting, and a busy feed is not asked in a tight loop', () => {
  const { pace, delayMs } = after([answer({ events: 1 }), answer({ events: 2 }), answer({ events: 1 })]);
  assert.equal(pace.waitS, WAIT_S);
  assert.ok(delayMs > 0 && delayMs < 1000, `${delayMs} ms`);
});

test('a real wait in between forgives an earlier quick answer', () => {
  assert.equal(after([answer(), answer({ elapsedMs: 9000, events: 1 }), answer()]).pace.waitS, WAIT_S);
});

test('when there is more the client asks at once', () => {
  assert.equal(after([answer({ events: 50, more: true })]).delayMs, 0);
  assert.equal(after([answer({ waitS: 0, events: 50, more: true })]).delayMs, 0);
});

test('waiting is tried again after a while, and one quick answer ends the trial', () => {
  const { pace } = after([answer(), answer()]);
  const later = at({ nowMs: 1_000_000 + PROBE_MS });
  const trial = after([answer({ waitS: 0 })], pace, later).pace;
  assert.equal(trial.waitS, WAIT_S);
  assert.equal(after([answer()], trial, later).pace.waitS, 0);
  assert.equal(after([answer({ elapsedMs: 25_000 })], trial, later).pace.quick, 0);
});

test('one cut of a waiting request changes nothing, a second one shortens the wait below it', () => {
  const cut = failure({ elapsedMs: 10_000 });
  assert.equal(after([cut]).pace.waitS, WAIT_S);
  assert.equal(after([cut]).pace.failures, 0);
  assert.ok(after([cut]).delayMs < 1000);
  assert.equal(after([cut, cut]).pace.waitS, 8);
});

test('a proxy that cuts after a few seconds makes the client poll', () => {
  assert.equal(after([failure({ elapsedMs: 5000 }), failure({ elapsedMs: 5000 })]).pace.waitS, 0);
});

test('a wait that reached its end clears the suspicion of being cut', () => {
  const cut = failure({ elapsedMs: 10_000 });
  assert.equal(after([cut, answer({ elapsedMs: 25_000 }), cut]).pace.waitS, WAIT_S);
});

test('failures back off, doubling to a cap, and success clears them', () => {
  const delays = [1, 2, 3, 4, 5, 6, 7, 8, 40].map((n) => backoffMs(n, () => 1));
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16000, 32000, BACKOFF_CAP_MS, BACKOFF_CAP_MS, BACKOFF_CAP_MS]);
  assert.equal(after([failure(), failure(), failure()]).pace.failures, 3);
  assert.equal(after([failure(), failure(), answer({ elapsedMs: 25_000 })]).pace.failures, 0);
});

test('chance spreads the backoff over half of it', () => {
  assert.equal(backoffMs(3, () => 0), 2000);
  assert.equal(backoffMs(3, () => 1), 4000);
  assert.equal(jitterMs(1000, () => 0), 900);
  assert.equal(jitterMs(1000, () => 1), 1100);
});

test('Retry-After is the least', () => {
  for (const chance of [0, 0.5, 1]) {
    const { delayMs } = after([failure({ gateway: false, retryAfterMs: 30_000 })], initialPace(), at({ random: () => chance }));
    assert.ok(delayMs >= 30_000, `${delayMs} ms`);
  }
});

test('Retry-After comes as seconds or as a date', () => {
  const now = Date.parse('2026-11-20T10:00:00Z');
  assert.equal(retryAfterMs('7', now), 7000);
  assert.equal(retryAfterMs('Fri, 20 Nov 2026 10:00:09 GMT', now), 9000);
  assert.equal(retryAfterMs('Fri, 20 Nov 2026 09:00:00 GMT', now), 0);
  assert.equal(retryAfterMs(null, now), null);
  assert.equal(retryAfterMs('soon', now), null);
});

test('while nobody looks the client does not wait at the server and asks seldom', () => {
  assert.equal(waitSecondsOf(initialPace(), true), 0);
  const { delayMs } = after([answer({ waitS: 0 })], initialPace(), at({ hidden: true, random: () => 0 }));
  assert.ok(delayMs >= HIDDEN_MS * 0.9, `${delayMs} ms`);
  assert.ok(after([failure()], initialPace(), at({ hidden: true })).delayMs >= HIDDEN_MS);
});
