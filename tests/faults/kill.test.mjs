// kill -9 of each program in turn while 10,000 notifications are being sent and at least ten of their
// deliveries are under way. Nothing that was answered 202 may be lost; what arrives twice must be what
// was in flight at the killed worker.
//
// The receiver has a message only when its 200 is written. So this test fails when a delivery is
// settled before it is sent: those whose requests were cut by the worker's death would be missing
// (tried with such a worker: "what was cut is sent again" fails).
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import * as lib from './lib.mjs';

const USERS = 500;
const NOTIFICATIONS = 10_000;
const AT_ONCE = 8;
const SENT_AROUND_A_KILL = 0.1; // of all, from just before it
const IN_FLIGHT_LEAST = 10;
const IN_FLIGHT_MOST = 64; // BELFRY_IN_FLIGHT, and what a worker claims beside it
const CLAIM_MOST = 64;

const users = Array.from({ length: USERS }, (_, i) => `u${i}`);
const expected = new Map(); // notification → user, of everything that was answered 202
let stack;
let tenant;
let receiver;
let begun = 0; // notifications in requests that were begun
let sent = 0; // in those that were answered
let repeated = 0; // requests that had to be asked more than once
let sending;
let budget = 0; // the senders go on to so many notifications and wait there

before(async () => {
  receiver = await lib.Receiver.start();
  stack = await startStack({
    env: lib.QUICK, workerEnv: { BELFRY_IN_FLIGHT: String(IN_FLIGHT_MOST), BELFRY_CLAIM: String(CLAIM_MOST) },
  });
  tenant = await createTenant(stack, 'shop', { accounts: false });
  await lib.addWebhooks(tenant, receiver, users);
});
after(async () => {
  receiver?.release();
  await stack?.stop();
  await receiver?.close();
});

// A mixture: one user, some users, and several notifications in one request.
function* requests() {
  let next = 0;
  const take = (n) => Array.from({ length: n }, () => users[next++ % USERS]);
  for (let i = 0, made = 0; made < NOTIFICATIONS; i++) {
    const left = NOTIFICATIONS - made;
    const kind = i % 40;
    const size = Math.min(left, kind < 2 ? 20 : 1);
    made += size;
    const key = `request-${i}`;
    if (kind === 1) yield { key, path: '/notifications/bulk', body: { notifications: take(size).map((user) => ({ to: [user], title: key })) } };
    else yield { key, path: '/notifications', body: { to: take(size), title: key } };
  }
}

async function send({ key, path, body }) {
  if (begun >= budget) await stack.until(() => begun < budget, 'the senders may go on', 3 * lib.DEADLINE_MS);
  begun += body.to?.length ?? body.notifications.length;
  const answer = await lib.settle(tenant, path, body, key);
  assert.equal(answer.status, 202, `${key}: ${JSON.stringify(answer.body)}`);
  if (answer.tries > 1) repeated++;
  const made = answer.body.results ? answer.body.results.flatMap((result) => result.notifications) : answer.body.notifications;
  for (const { id, user } of made) {
    assert.ok(!expected.has(id), `${id} is answered once`);
    expected.set(id, user);
  }
  sent += made.length;
}

const arrivedTwice = () => new Set([...receiver.taken].filter(([, times]) => times > 1).map(([id]) => id));

// Lets the senders go on to their share, then holds deliveries until enough are under way; sends go on meanwhile.
async function enoughInFlight(share) {
  budget = NOTIFICATIONS * share;
  await stack.until(() => sent >= NOTIFICATIONS * share - AT_ONCE * 20, `${share} of all are sent`, lib.DEADLINE_MS);
  receiver.hold();
  budget += NOTIFICATIONS * SENT_AROUND_A_KILL;
  await stack.until(() => receiver.held >= IN_FLIGHT_LEAST && lib.leases(stack) >= IN_FLIGHT_LEAST, 'deliveries are in flight', lib.DEADLINE_MS)
    .catch((error) => {
      throw new Error(`${error.message}; held ${receiver.held}, leased ${lib.leases(stack)}, sent ${sent}\n${lib.logs(stack)}`);
    });
}

const queueIsEmpty = () => stack.until(() => lib.unfinished(stack) === 0, 'the queue is empty', lib.DEADLINE_MS).catch((error) => {
  throw new Error(`${error.message}: ${JSON.stringify(stack.ctl('queue', '--json'))}\n${lib.logs(stack)}`);
});
const isBack = (name, old) => stack.until(() => stack.pids()[name] && stack.pids()[name] !== old, `${name} is back`);

test('kill -9 during 10,000 sends', { timeout: 6 * 60_000 }, async (t) => {
  const failed = new Promise((_, reject) => {
    sending = lib.inParallel(requests(), AT_ONCE, send).catch((error) => {
      reject(error);
      throw error;
    });
  });
  failed.catch(() => {});
  sending.catch(() => {});

  await t.test('a killed worker\'s deliveries are sent again, and only they', async () => {
    await enoughInFlight(0.08);
    const pid = stack.kill('worker', 'SIGSTOP');
    await lib.roleIsQuiet(stack, 'belfry_worker');
    const leased = new Set(lib.leasedIds(stack));
    const before = arrivedTwice();
    // Some are taken by the receiver, which the worker will never know.
    const taken = receiver.detach(5);
    taken.forEach((one) => receiver.answer(one));
    const cut = receiver.heldIds(); // the receiver will have these only if they are sent again
    stack.kill('worker');
    await isBack('worker', pid);
    receiver.release();
    await stack.until(() => cut.every((id) => receiver.taken.has(id)), 'what was cut is sent again', lib.DEADLINE_MS);
    await stack.until(() => taken.every((one) => receiver.taken.get(one.id) === 2), 'what the worker did not learn is sent again', lib.DEADLINE_MS);
    await stack.until(() => [...leased].every((id) => receiver.taken.has(id)), 'all that it had leased arrives', lib.DEADLINE_MS);
    const twice = [...arrivedTwice()].filter((id) => !before.has(id));
    assert.deepEqual(twice.filter((id) => !leased.has(id)), [], 'nothing else arrives twice');
    assert.ok(leased.size <= IN_FLIGHT_MOST + 2 * CLAIM_MOST, `bounded by what one worker had: ${leased.size}`);
  });

  for (const [name, share] of [['scheduler', 0.25], ['api', 0.42], ['redis', 0.58]]) {
    await t.test(`a killed ${name} loses and repeats nothing`, async () => {
      await enoughInFlight(share);
      const before = arrivedTwice();
      await isBack(name, stack.kill(name));
      const held = receiver.heldIds();
      receiver.release();
      await stack.until(() => held.every((id) => receiver.taken.has(id)), 'what was in flight arrives', lib.DEADLINE_MS);
      assert.deepEqual([...arrivedTwice()].filter((id) => !before.has(id)), [], 'nothing arrives twice');
    });
  }

  await t.test('a killed PostgreSQL loses nothing and repeats only what was in flight', async () => {
    await enoughInFlight(0.75);
    const leased = new Set(lib.leasedIds(stack));
    const held = new Set(receiver.heldIds());
    const before = arrivedTwice();
    const pid = stack.kill('postgres');
    receiver.release();
    await isBack('postgres', pid);
    await stack.service('postgres').waitReady();
    budget = Infinity;
    await stack.until(() => [...held].every((id) => receiver.taken.has(id)), 'what was in flight arrives', lib.DEADLINE_MS);
    await sending;
    await queueIsEmpty();
    const twice = [...arrivedTwice()].filter((id) => !before.has(id));
    // Claimed between the look at the leases and the kill: in flight as well.
    assert.ok(twice.length <= IN_FLIGHT_MOST + 2 * CLAIM_MOST, `bounded by what one worker had: ${twice.length}`);
    assert.ok(twice.filter((id) => !leased.has(id) && !held.has(id)).length <= CLAIM_MOST, 'only what was in flight');
  });

  await t.test('every accepted notification has arrived', async () => {
    await Promise.race([sending, failed]);
    assert.equal(expected.size, NOTIFICATIONS);
    await queueIsEmpty();
    assert.equal(stack.sql('select count(*) from belfry.dead_letter'), '0');
    const missing = [...expected.keys()].filter((id) => !receiver.taken.has(lib.webhookId(id)));
    assert.deepEqual(missing, []);
    const foreign = [...receiver.taken.keys()].filter((id) => !expected.has(id.slice(4, 40)));
    assert.deepEqual(foreign, [], 'a repeated request made no second notification');
    assert.ok(repeated > 0, 'some requests stayed open and were repeated');
  });

  await t.test('every accepted notification is in its inbox once', async () => {
    const listed = new Map();
    await lib.inParallel(users, 8, async (user) => {
      for (const { id } of (await lib.wholeInbox(tenant, user)).notifications) {
        assert.equal(expected.get(id), user, `${id} belongs to ${user}`);
        lib.count(listed, id);
      }
    });
    assert.equal(listed.size, NOTIFICATIONS);
    assert.deepEqual([...listed].filter(([, times]) => times !== 1), []);
  });

  await t.test('counters equal a recount', () => {
    lib.assertNothingDrifted(stack);
    lib.assertNoSanitizerReport(stack);
  });
});
