// Without PostgreSQL nothing can be accepted: 503 with Retry-After. With it again everything goes on,
// and no program had to be started anew.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { openStream } from '../stream.mjs';
import { startCuttingProxy } from './cutting-proxy.mjs';
import * as lib from './lib.mjs';

let stack;
let tenant;
let receiver;
let proxy;

before(async () => {
  receiver = await lib.Receiver.start();
  proxy = await startCuttingProxy(() => `${stack.sockets}/pg/.s.PGSQL.5432`);
  await startStack({
    env: lib.QUICK, created: (made) => { stack = made; },
    apiEnv: { BELFRY_DB: `host=${proxy.dir} port=5432 dbname=belfry user=belfry_api` },
  });
  tenant = await createTenant(stack, 'shop', { accounts: false });
  await lib.addWebhooks(tenant, receiver, ['ann', 'ben', 'cy']);
});
after(async () => {
  await stack?.stop();
  await proxy?.close();
  await receiver?.close();
});

const place = async (user) => {
  const answer = await tenant.user(user, 'GET', '/poll?feeds=inbox');
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return encodeURIComponent(answer.body.cursor);
};

describe('PostgreSQL', () => {
  test('without PostgreSQL: 503 with Retry-After, healthz and readyz tell, waiting polls survive, all recovers without a restart', async () => {
    const { api, worker, scheduler } = stack.pids();
    const cursor = await place('ann');
    const stream = await openStream(stack, tenant.bearer('ben'), `feeds=inbox&cursor=${await place('ben')}`);
    const waiting = tenant.user('ann', 'GET', `/poll?feeds=inbox&cursor=${cursor}&wait=25`);
    const at = new Date(Date.now() + 3000).toISOString();
    const scheduled = await tenant.service('POST', '/notifications', { to: ['cy'], title: 'due while it is away', scheduledAt: at });
    assert.equal(scheduled.status, 202, JSON.stringify(scheduled.body));

    await stack.stopService('postgres');
    const requests = [
      () => tenant.service('POST', '/notifications', { to: ['ann'], title: 'x' }, { 'Idempotency-Key': 'away' }),
      () => tenant.service('GET', '/notifications'),
      () => tenant.service('PUT', '/users/dora', { name: 'Dora' }),
      () => tenant.user('ann', 'GET', '/inbox'),
      () => tenant.user('new-one', 'GET', '/poll?feeds=inbox'),
      () => tenant.user('ann', 'POST', '/inbox/read-all'),
    ];
    for (const request of requests) {
      const answer = await request();
      assert.equal(answer.status, 503, JSON.stringify(answer.body));
      assert.match(answer.headers.get('content-type'), /^application\/problem\+json/);
      assert.equal(answer.body.type, '/problems/unavailable');
      assert.ok(Number(answer.headers.get('retry-after')) >= 1);
    }
    assert.equal((await fetch(`${stack.url}/healthz`)).status, 200);
    const ready = await fetch(`${stack.url}/readyz`);
    assert.equal(ready.status, 503);
    assert.deepEqual(await ready.json(), { status: 'unavailable', database: false, redis: true });

    await stack.startService('postgres');
    const sent = await lib.settle(tenant, '/notifications', { to: ['ann', 'ben'], title: 'x' }, 'back');
    assert.equal(sent.status, 202, JSON.stringify(sent.body));
    const id = Object.fromEntries(sent.body.notifications.map((one) => [one.user, one.id]));
    const polled = await waiting;
    assert.equal(polled.status, 200, JSON.stringify(polled.body));
    assert.deepEqual(polled.body.feeds.inbox.events.map((event) => event.notification.id), [id.ann]);
    await stream.next((e) => e.event === 'update' && e.data.feeds.inbox.events.some((event) => event.notification?.id === id.ben));
    stream.close();
    const due = scheduled.body.notifications[0].id;
    await stack.until(() => [id.ann, id.ben, due].every((one) => receiver.taken.has(lib.webhookId(one))), 'worker and scheduler go on', lib.DEADLINE_MS);
    const now = stack.pids();
    assert.deepEqual([now.api, now.worker, now.scheduler], [api, worker, scheduler], 'no program was started anew');
    assert.equal((await fetch(`${stack.url}/readyz`)).status, 200);
  });

  test('a restart of PostgreSQL under polls: no client loses or repeats an event', async () => {
    const users = ['ann', 'ben', 'cy'];
    const seen = new Map(users.map((user) => [user, []]));
    const expected = new Map(users.map((user) => [user, []]));
    let done = false;
    const clients = users.map(async (user) => {
      let cursor = await place(user);
      while (!done || expected.get(user).length > seen.get(user).length) {
        const answer = await tenant.user(user, 'GET', `/poll?feeds=inbox&cursor=${cursor}&wait=2`).catch(() => ({ status: 0 }));
        if (answer.status !== 200) continue;
        seen.get(user).push(...answer.body.feeds.inbox.events.map((event) => event.notification.id));
        cursor = encodeURIComponent(answer.body.cursor);
      }
    });
    await Promise.all(users.map(place));
    for (let i = 0; i < 30; i++) {
      if (i === 10) stack.kill('postgres', 'SIGINT'); // a fast shutdown; it is started again
      const sent = await lib.settle(tenant, '/notifications', { to: users, title: `n${i}` }, `restart-${i}`);
      assert.equal(sent.status, 202, JSON.stringify(sent.body));
      for (const { user, id } of sent.body.notifications) expected.get(user).push(id);
    }
    done = true;
    await Promise.all(clients);
    // A first poll may have been answered before or after the first send: what it showed is a beginning.
    for (const user of users) assert.deepEqual(seen.get(user), expected.get(user).slice(-seen.get(user).length), user);
    for (const user of users) assert.ok(seen.get(user).length >= 28, user);
  });

  for (const [when, order] of [['a connection lost during COMMIT', 'cutAfterCommit'], ['a connection lost before anything was sent', 'cutBefore']]) {
    test(`${when} is settled by repeating the key`, async () => {
      const title = `title of ${order}`;
      const cuts = proxy.cuts;
      const before = (await lib.wholeInbox(tenant, 'ann')).notifications.length;
      proxy[order](title);
      const body = { to: ['ann'], title };
      const first = await tenant.service('POST', '/notifications', body, { 'Idempotency-Key': order });
      assert.equal(proxy.cuts, cuts + 1, 'the connection was cut');
      if (first.status !== 202) { // it may have settled it by itself
        assert.equal(first.status, 503, JSON.stringify(first.body));
        assert.ok(Number(first.headers.get('retry-after')) >= 1);
      }
      const second = await lib.settle(tenant, '/notifications', body, order);
      assert.equal(second.status, 202, JSON.stringify(second.body));
      const { notifications } = await lib.wholeInbox(tenant, 'ann');
      assert.equal(notifications.length, before + 1, 'sent once');
      assert.equal(notifications[0].id, second.body.notifications[0].id);
      await stack.until(() => receiver.taken.get(lib.webhookId(notifications[0].id)) === 1, 'delivered', lib.DEADLINE_MS);
      const mismatch = await tenant.service('POST', '/notifications', { ...body, title: 'another' }, { 'Idempotency-Key': order });
      assert.equal(mismatch.status, 422);
      lib.assertNothingDrifted(stack);
    });
  }

  test('nothing was delivered twice and no program met a defect of its own', async () => {
    await stack.until(() => lib.unfinished(stack) === 0, 'the queue is empty', lib.DEADLINE_MS);
    assert.deepEqual([...receiver.taken].filter(([, times]) => times > 1), []);
    lib.assertNoSanitizerReport(stack);
  });
});
