// Redis is never the truth: stopped, emptied, stalled or full, everything works and no check is skipped;
// only a wait gets up to one sweep (5 s) longer. When it is back, waits are short again.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import Redis from 'ioredis';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { openStream } from '../stream.mjs';
import * as lib from './lib.mjs';

const RATE_USER = 20;
const WAIT_S = 25; // what a poll asks for: an answer at its deadline would be a lost wake
const LATE_MS = 15_000; // a sweep's 5 s with much room for a slow machine, and still before the deadline
const WAITERS = 30;

let stack;
let tenant;
let receiver;
let userNumber = 0;

before(async () => {
  receiver = await lib.Receiver.start();
  stack = await startStack({ env: { ...lib.QUICK, BELFRY_RATE_USER: String(RATE_USER) }, apiProcs: 2 });
  tenant = await createTenant(stack, 'shop', { accounts: false });
});
after(async () => {
  await stack?.stop();
  await receiver?.close();
});

const newUser = () => `r${userNumber++}`;

function redisClient() {
  const client = new Redis({ path: stack.redis.slice('unix:'.length), retryStrategy: null, lazyConnect: true });
  client.on('error', () => {});
  return client;
}

async function withRedis(act) {
  const client = redisClient();
  await client.connect();
  try {
    return await act(client);
  } finally {
    client.disconnect();
  }
}

async function place(user) {
  const answer = await tenant.user(user, 'GET', '/poll?feeds=inbox');
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return encodeURIComponent(answer.body.cursor);
}

/** A poll that waits, and what it was answered: {ids, ms}. */
async function waitForNews(user, cursor, client = 'c') {
  const begin = Date.now();
  const answer = await tenant.user(user, 'GET', `/poll?feeds=inbox&cursor=${cursor}&wait=${WAIT_S}&client=${client}`);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return { ids: answer.body.feeds.inbox.events.map((event) => event.notification?.id), ms: Date.now() - begin, cursor: encodeURIComponent(answer.body.cursor) };
}

async function send(to, extra = {}) {
  const answer = await tenant.service('POST', '/notifications', { to, title: 'news', ...extra });
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return Object.fromEntries(answer.body.notifications.map(({ id, user }) => [user, id]));
}

// What must work whatever happens to Redis.
async function everythingWorks(how) {
  const users = Array.from({ length: WAITERS }, newUser);
  await lib.addWebhooks(tenant, receiver, users);
  const places = await Promise.all(users.map(place));
  const stream = await openStream(stack, tenant.bearer(users[0]), `feeds=inbox&cursor=${places[0]}`);
  const waiting = users.map((user, i) => waitForNews(user, places[i]));
  const ids = await send(users);
  for (const [i, { ids: seen, ms }] of (await Promise.all(waiting)).entries()) {
    assert.deepEqual(seen, [ids[users[i]]], `${how}: the waiting poll of ${users[i]} has its notification`);
    assert.ok(ms < LATE_MS, `${how}: answered before its deadline (${ms} ms)`);
  }
  const update = await stream.next((e) => e.event === 'update' && e.data.feeds.inbox.events.length > 0, { timeoutMs: LATE_MS });
  assert.equal(update.data.feeds.inbox.events[0].notification.id, ids[users[0]]);
  stream.close();
  await stack.until(() => users.every((user) => receiver.taken.has(lib.webhookId(ids[user]))), `${how}: deliveries arrive`, lib.DEADLINE_MS);
  const inbox = await lib.wholeInbox(tenant, users[1]);
  assert.deepEqual([inbox.notifications.map((item) => item.id), inbox.unreadCount], [[ids[users[1]]], 1]);
}

// Two handlers that do not know of each other take their share; a second's budget and a slice may pass at once.
async function limitsHold(how) {
  const user = newUser();
  const begin = Date.now();
  let allowed = 0;
  let refused = 0;
  while (refused === 0 || Date.now() - begin < 2000) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => tenant.user(user, 'GET', '/inbox/unread-count')));
    for (const answer of answers) {
      if (answer.status === 200) allowed++;
      else if (answer.status === 429) {
        refused++;
        assert.ok(Number(answer.headers.get('retry-after')) >= 1);
      } else assert.fail(`${how}: ${answer.status}`);
    }
    assert.ok(Date.now() - begin < 30_000, `${how}: nothing is refused`);
  }
  const seconds = (Date.now() - begin) / 1000;
  const budget = RATE_USER * (seconds + 1) * 1.5 + RATE_USER;
  assert.ok(allowed <= budget, `${how}: ${allowed} of at most ${budget} in ${seconds} s`);
}

/** Handlers listen for wakes again, and five waits in a row end at once, which sweeps alone would not do. */
async function isQuickAgain(how) {
  await stack.until(() => withRedis(async (redis) => (await redis.pubsub('NUMSUB', 'belfry:wake'))[1] >= 2), `${how}: handlers subscribe again`, lib.DEADLINE_MS);
  const user = newUser();
  let cursor = await place(user);
  await stack.until(async () => {
    for (let i = 0; i < 5; i++) {
      const waiting = waitForNews(user, cursor);
      const ids = await send([user]);
      const news = await waiting;
      assert.deepEqual(news.ids, [ids[user]], how);
      cursor = news.cursor;
      if (news.ms > 2000) return false;
    }
    return true;
  }, `${how}: waits are short`, lib.DEADLINE_MS);
}

describe('Redis', () => {
  test('with Redis, waits are short and limits hold', async () => {
    await isQuickAgain('at first');
    await limitsHold('at first');
  });

  test('flushed while clients wait: nothing is lost', async () => {
    const users = Array.from({ length: WAITERS }, newUser);
    let cursors = await Promise.all(users.map(place));
    for (let round = 0; round < 3; round++) {
      const waiting = users.map((user, i) => waitForNews(user, cursors[i]));
      await withRedis((redis) => redis.flushall());
      const ids = await send(users);
      await withRedis((redis) => redis.flushall());
      const news = await Promise.all(waiting);
      news.forEach((one, i) => assert.deepEqual(one.ids, [ids[users[i]]], `round ${round}`));
      cursors = news.map((one) => one.cursor);
    }
    await everythingWorks('flushed');
  });

  test('full, so that it evicts and refuses writes: everything works', async () => {
    await withRedis(async (redis) => {
      await redis.set('ballast', 'x'.repeat(1 << 20));
      await redis.config('SET', 'maxmemory', '1mb');
    });
    await everythingWorks('full');
    await limitsHold('full');
    await withRedis(async (redis) => {
      await redis.config('SET', 'maxmemory', '128mb');
      await redis.del('ballast');
    });
    await isQuickAgain('with room again');
  });

  test('stopped: everything works, waits get at most a sweep longer, limits hold; quick again after its return', async () => {
    const user = newUser();
    const cursor = await place(user);
    const waiting = waitForNews(user, cursor); // parked while Redis goes
    await stack.stopService('redis');
    const ids = await send([user]);
    const news = await waiting;
    assert.deepEqual(news.ids, [ids[user]]);
    assert.ok(news.ms < LATE_MS, `${news.ms} ms`);
    await everythingWorks('stopped');
    await limitsHold('stopped');
    const ready = await fetch(`${stack.url}/readyz`);
    assert.deepEqual([ready.status, await ready.json()], [200, { status: 'degraded', database: true, redis: false }]);
    await stack.startService('redis');
    await isQuickAgain('started again');
  });

  test('stalled: everything works, limits hold; quick again after it goes on', async () => {
    const user = newUser();
    const cursor = await place(user);
    const waiting = waitForNews(user, cursor);
    stack.kill('redis', 'SIGSTOP');
    try {
      const ids = await send([user]);
      const news = await waiting;
      assert.deepEqual(news.ids, [ids[user]]);
      assert.ok(news.ms < LATE_MS, `${news.ms} ms`);
      await everythingWorks('stalled');
      await limitsHold('stalled');
    } finally {
      stack.kill('redis', 'SIGCONT');
    }
    await isQuickAgain('going on');
    lib.assertNothingDrifted(stack);
    lib.assertNoSanitizerReport(stack);
  });
});
