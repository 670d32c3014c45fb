// Workers are fenced: whoever lost its lease starts nothing more, what it learns late is still written,
// orphans start again, and a delivery that kills its workers takes no others with it.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import * as lib from './lib.mjs';

const IN_FLIGHT = 8;
const FLYING = IN_FLIGHT * 3 / 4; // of one tenant
const BATCH = 30;

let stack;
let tenant;
let receiver;

before(async () => {
  receiver = await lib.Receiver.start();
  stack = await startStack({
    workers: 2, env: { ...lib.QUICK, BELFRY_LEASE_MS: '3000' },
    workerEnv: { BELFRY_IN_FLIGHT: String(IN_FLIGHT), BELFRY_CLAIM: '200' },
  });
  tenant = await createTenant(stack, 'shop', { accounts: false });
  await lib.addWebhooks(tenant, receiver, Array.from({ length: BATCH }, (_, i) => `u${i}`));
  await lib.addWebhooks(tenant, receiver, ['poison']);
  await stack.stopService('worker2');
});
after(async () => {
  receiver?.release();
  await stack?.stop();
  await receiver?.close();
});

const batch = Array.from({ length: BATCH }, (_, i) => `u${i}`);

async function send(to, extra = {}) {
  const answer = await tenant.service('POST', '/notifications', { to, title: 'x', ...extra });
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.notifications.map((one) => lib.webhookId(one.id));
}
const notificationOf = (id) => id.slice(4, 40);
const attempts = (id) => stack.sql(`select outcome from belfry.attempt where notification_id = '${notificationOf(id)}' order by generation`).split('\n').filter(Boolean);
const arrivals = (ids) => ids.map((id) => receiver.arrived.get(id) ?? 0);
const isEmpty = () => stack.until(() => lib.unfinished(stack) === 0, 'the queue is empty', lib.DEADLINE_MS)
  .catch((error) => { throw new Error(`${error.message}\n${lib.logs(stack)}`); });
const liveWorkers = () => Number(stack.sql('select count(*) from belfry.worker where until > now()'));

/** Sends to all while answers are held, until the one worker's slots are full and more is leased. */
async function heldBatch() {
  receiver.hold();
  const ids = await send(batch);
  await stack.until(() => receiver.held === FLYING && lib.leases(stack) > FLYING, 'the worker is at work', lib.DEADLINE_MS)
    .catch((error) => { throw new Error(`${error.message}; held ${receiver.held}, leased ${lib.leases(stack)}\n${lib.logs(stack)}`); });
  return ids;
}

describe('leases', () => {
  test('a worker that lost its lease starts nothing more, and its late results are written to its attempts', async () => {
    const ids = await heldBatch();
    stack.kill('worker', 'SIGSTOP'); // it sleeps longer than its lease
    await lib.roleIsQuiet(stack, 'belfry_worker');
    const first = receiver.detach();
    const started = first.map((one) => one.id);
    receiver.release();
    await stack.startService('worker2');
    await stack.until(() => ids.every((id) => receiver.taken.has(id)), 'another worker sends all of them', lib.DEADLINE_MS);
    await isEmpty();
    first.forEach((one) => receiver.answer(one));
    stack.kill('worker', 'SIGCONT');
    await stack.until(() => started.every((id) => attempts(id).length === 2), 'the late results are written', lib.DEADLINE_MS)
      .catch((error) => { throw new Error(`${error.message}: ${JSON.stringify(started.map(attempts))}\n${lib.logs(stack)}`); });
    started.forEach((id) => assert.deepEqual(attempts(id), ['sent', 'sent']));
    // It works again under a new lease, and has begun none of the others meanwhile.
    await stack.until(() => liveWorkers() === 2, 'it has a new lease', lib.DEADLINE_MS);
    const [fresh] = await send(['u0']);
    await stack.until(() => receiver.taken.has(fresh), 'all goes on', lib.DEADLINE_MS);
    await isEmpty();
    for (const id of ids) assert.equal(receiver.arrived.get(id), started.includes(id) ? 2 : 1, id);
    for (const id of ids) assert.equal(attempts(id).length, started.includes(id) ? 2 : 1, id);
    await stack.stopService('worker2');
  });

  test('a late result ends a delivery whose newer claim has not started', async () => {
    const ids = await heldBatch();
    stack.kill('worker', 'SIGSTOP');
    await lib.roleIsQuiet(stack, 'belfry_worker');
    const first = receiver.detach();
    const started = first.map((one) => one.id);
    await stack.until(() => lib.leases(stack) === 0, 'the leases are taken back', lib.DEADLINE_MS);
    stack.ctl('tenant', 'pause', 'shop'); // so that nobody starts them
    first.forEach((one) => receiver.answer(one));
    stack.kill('worker', 'SIGCONT');
    await stack.until(() => lib.unfinished(stack) === BATCH - started.length, 'late results end their deliveries', lib.DEADLINE_MS)
      .catch((error) => { throw new Error(`${error.message}: ${lib.unfinished(stack)} of ${BATCH - started.length}\n${lib.logs(stack)}`); });
    stack.ctl('tenant', 'resume', 'shop');
    receiver.release();
    await stack.until(() => ids.every((id) => receiver.taken.has(id)), 'the others are sent', lib.DEADLINE_MS);
    await isEmpty();
    assert.deepEqual(arrivals(ids), ids.map(() => 1), 'each arrived once');
    lib.assertNothingDrifted(stack);
  });

  test('SIGTERM of a worker loses nothing and repeats nothing', async () => {
    const ids = await heldBatch();
    const held = receiver.heldIds();
    const ending = stack.service('worker').stop(); // it waits for its transfers
    await stack.until(() => lib.leases(stack) === held.length, 'what has not begun is given back at once', lib.DEADLINE_MS)
      .catch((error) => { throw new Error(`${error.message}; leased ${lib.leases(stack)}\n${lib.logs(stack)}`); });
    receiver.release();
    await ending;
    assert.equal(lib.leases(stack), 0, 'it left no lease behind');
    held.forEach((id) => assert.deepEqual(attempts(id), ['sent']));
    await stack.startService('worker');
    await isEmpty();
    assert.deepEqual(arrivals(ids), ids.map(() => 1), 'each arrived once');
  });

  test('SIGTERM during a restart storm: workers come and go, each delivery is sent once', async () => {
    const sends = [];
    for (let i = 0; i < 5; i++) {
      sends.push(...await send(batch));
      await stack.replace('worker');
    }
    await stack.until(() => sends.every((id) => receiver.taken.has(id)), 'all arrive', lib.DEADLINE_MS);
    await isEmpty();
    const twice = sends.filter((id) => receiver.arrived.get(id) !== 1);
    assert.deepEqual(twice.map((id) => [id, receiver.arrived.get(id), attempts(id)]), [], `none twice\n${lib.logs(stack)}`);
  });

  test('orphans of a killed worker start again', async () => {
    const ids = await heldBatch();
    stack.kill('worker');
    await stack.until(() => receiver.held === 0, 'its connections are cut', lib.DEADLINE_MS);
    receiver.release();
    await stack.until(() => ids.every((id) => receiver.taken.has(id)), 'all are sent', lib.DEADLINE_MS);
    await isEmpty();
    assert.deepEqual([...new Set(ids.map((id) => receiver.taken.get(id)))], [1]);
  });

  test('a delivery that kills its workers becomes a dead letter and takes no others with it', { timeout: 4 * 60_000 }, async () => {
    const deaths = [];
    receiver.onRequest = (one) => {
      if (one.name !== 'poison') return true;
      deaths.push([...receiver.arrived.keys()].length);
      if (stack.pids().worker) stack.kill('worker');
      return false;
    };
    const others = batch.slice(0, 10);
    const answer = await tenant.service('POST', '/notifications', { to: ['poison', ...others], title: 'x' });
    const id = Object.fromEntries(answer.body.notifications.map((one) => [one.user, one.id]));
    const isDead = () => stack.sql(`select count(*) from belfry.dead_letter where notification_id = '${id.poison}'`) === '1';
    await stack.until(isDead, 'the poison is a dead letter', 2 * lib.DEADLINE_MS)
      .catch((error) => { throw new Error(`${error.message}; ${deaths.length} deaths\n${lib.logs(stack)}`); });
    receiver.onRequest = () => {};
    await isEmpty();
    assert.ok(deaths.length >= 3, `it was tried ${deaths.length} times`);
    assert.equal(stack.sql('select count(*) from belfry.dead_letter'), '1', 'none of the others is given up');
    for (const user of others) {
      const times = receiver.taken.get(lib.webhookId(id[user]));
      assert.ok(times >= 1, `${user} has its message`);
      assert.ok(receiver.arrived.get(lib.webhookId(id[user])) <= 2, `${user}: only the first death could take it along`);
    }
    const { body } = await tenant.service('GET', '/ops/dead-letters');
    assert.deepEqual(body.deadLetters.map((letter) => [letter.notification, letter.user, letter.channel]), [[id.poison, 'poison', 'webhook']]);
    const timeline = await tenant.service('GET', `/notifications/${id.poison}/timeline`);
    assert.equal(timeline.body.deliveries[0].state, 'dead');
    assert.equal(timeline.body.deliveries[0].attempts.at(-1).outcome, 'unknown');
    lib.assertNothingDrifted(stack);
    lib.assertNoSanitizerReport(stack);
  });
});
