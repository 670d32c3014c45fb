// What the tests of channels share: one person, one send, and what its timeline says of it.
import assert from 'node:assert/strict';

export const DEADLINE_MS = 30_000;
export const QUICK = { BELFRY_RETRY_BASE_MS: '100', BELFRY_RETRY_CAP_MS: '2000', BELFRY_RATE_SERVICE: '100000' };

/** Sends to one user; gives the notification's id. */
export async function send(tenant, user, fields = {}) {
  const answer = await tenant.service('POST', '/notifications', { to: [user], title: 'A title', ...fields });
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.notifications[0].id;
}

export async function put(tenant, path, body) {
  const answer = await tenant.service('PUT', path, body);
  assert.ok(answer.status === 200 || answer.status === 201, `${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

export async function timeline(tenant, id) {
  const answer = await tenant.service('GET', `/notifications/${id}/timeline`);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
}

const ENDS = ['sent', 'failed', 'expired', 'cancelled', 'unknown', 'dead'];

/** Waits until every delivery of a notification has the state, and gives the first; fails when one ends otherwise. */
export async function untilState(stack, tenant, id, state) {
  let last;
  let endedOtherwise = false;
  await stack.until(async () => {
    last = await timeline(tenant, id);
    endedOtherwise = last.deliveries.some((delivery) => delivery.state !== state && ENDS.includes(delivery.state));
    return endedOtherwise || (last.deliveries.length > 0 && last.deliveries.every((delivery) => delivery.state === state));
  }, `${id} is ${state}`, DEADLINE_MS).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(last)}\n${stack.logTail('worker')}`);
  });
  assert.ok(!endedOtherwise, `${id} is not ${state}: ${JSON.stringify(last.deliveries)}\n${stack.logTail('worker')}`);
  return last.deliveries[0];
}

/** Waits until the only delivery has been tried so often, and gives the attempts. */
export async function untilAttempts(stack, tenant, id, count) {
  let attempts = [];
  await stack.until(async () => {
    attempts = (await timeline(tenant, id)).deliveries[0]?.attempts ?? [];
    return attempts.length >= count;
  }, `${id} was tried ${count} times`, DEADLINE_MS).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(attempts)}\n${stack.logTail('worker')}`);
  });
  return attempts;
}

export const outcomes = (attempts) => attempts.map((attempt) => attempt.outcome);

/** Nothing is on its way any more, so what has not arrived will not. */
export function queueIsEmpty(stack) {
  return stack.until(() => stack.sql(`select (select count(*) from belfry.ready) + (select count(*) from belfry.lease)
    + (select count(*) from belfry.scheduled) + (select count(*) from belfry.send_request where failure is null)`) === '0', 'the queue is empty', DEADLINE_MS);
}
