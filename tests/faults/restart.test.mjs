// A deployment while people wait: new handlers start on the inherited socket, old ones answer their
// waiters and leave. Clients see no 5xx and no event twice or never.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { pause } from '../../deploy/dev/service.mjs';
import { openStream } from '../stream.mjs';
import * as lib from './lib.mjs';

const USERS = 200;
const TABS = 5; // of each user, so 1,000 wait
const STREAMS = 20;
const REPLACEMENTS = 3;
const SENDS_BETWEEN = 100;

const users = Array.from({ length: USERS }, (_, i) => `w${i}`);
let stack;
let tenant;
let agent;

before(async () => {
  stack = await startStack({ env: lib.QUICK });
  tenant = await createTenant(stack, 'shop', { accounts: false });
  agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });
});
after(async () => {
  agent?.destroy();
  await stack?.stop();
});

/** A poll through an agent of thousands of sockets: {status, body}. Status 0: no answer at all. */
function poll(headers, query) {
  return new Promise((resolve) => {
    const request = http.get(`${stack.url}/api/v1/poll?${query}`, { agent, headers }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', (error) => resolve({ status: 0, body: error.message }));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode, body: response.statusCode === 200 ? JSON.parse(text) : text });
      });
    });
    request.on('error', (error) => resolve({ status: 0, body: error.message, reused: request.reusedSocket }));
  });
}

/** What a browser does, until stop() says so and all that is expected has been seen. */
async function client({ user, tab, seen, faults, isDone }) {
  const headers = tenant.bearer(user);
  let cursor = null;
  while (!isDone()) {
    const query = cursor === null ? 'feeds=inbox' : `feeds=inbox&cursor=${cursor}&wait=25&client=tab${tab}`;
    const answer = await poll(headers, query);
    if (answer.status === 0 && answer.reused) continue; // the server closed an idle connection: RFC 9110 9.2.2
    if (answer.status !== 200) {
      faults.push(`${answer.status} ${JSON.stringify(answer.body)}`);
      await pause(200);
      continue;
    }
    if (cursor !== null) {
      if (answer.body.feeds.inbox.reset) faults.push('reset');
      seen.push(...answer.body.feeds.inbox.events.map((event) => event.notification.id));
    }
    cursor = encodeURIComponent(answer.body.cursor);
  }
}

const parked = () => Number(stack.sql("select coalesce(sum(amounts[1]), 0) from belfry.process_metric where name = 'belfry_parked_requests'"));

describe('a restart of the handlers', () => {
  test('SIGTERM answers every waiter at once with its cursor', async () => {
    const waiters = Array.from({ length: 50 }, (_, i) => `quiet${i}`);
    const places = await Promise.all(waiters.map(async (user) => (await tenant.user(user, 'GET', '/poll?feeds=inbox')).body.cursor));
    const stream = await openStream(stack, tenant.bearer('quiet-stream'), 'feeds=inbox');
    let answered = 0;
    const waiting = waiters.map((user, i) => tenant.user(user, 'GET', `/poll?feeds=inbox&cursor=${encodeURIComponent(places[i])}&wait=25`)
      .finally(() => answered++));
    await stack.until(() => parked() >= waiters.length, 'all wait', 30_000);
    assert.equal(answered, 0);
    await stack.replace('api');
    // The old process is gone, so its waiters have their answers, long before their deadline.
    const answers = await Promise.all(waiting);
    answers.forEach((answer, i) => {
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      assert.deepEqual(answer.body.feeds.inbox.events, []);
      assert.equal(typeof answer.body.cursor, 'string');
      assert.ok(answer.body.pollAfterMs > 0, `${i}: a hint when to come back`);
    });
    assert.ok(new Set(answers.map((answer) => answer.body.pollAfterMs)).size > 1, 'the hints are spread');
    const end = await stream.next((event) => event.event === 'end');
    assert.equal(end.data.reason, 'shutdown');
  });

  test('1,000 clients wait while sends go on: no 5xx, no lost and no repeated event', { timeout: 5 * 60_000 }, async () => {
    await tenant.service('POST', '/notifications', { to: users, title: 'first' }); // every feed exists
    const expected = new Map(users.map((user) => [user, []]));
    const faults = [];
    let sending = true;
    let allExpected = false;
    const tabs = users.flatMap((user) => Array.from({ length: TABS }, (_, tab) => ({ user, tab, seen: [], faults })));
    const hasAll = (one) => one.seen.length >= expected.get(one.user).length;
    const running = tabs.map((one) => client({ ...one, isDone: () => allExpected && hasAll(one) }));
    await stack.until(() => parked() >= users.length * TABS * 0.9, 'the clients wait', lib.DEADLINE_MS);

    let sends = 0;
    const sender = async () => {
      while (sending) {
        const to = Array.from({ length: 3 }, (_, i) => users[(sends * 7 + i * 61) % USERS]);
        const answer = await tenant.service('POST', '/notifications', { to, title: `n${sends}` });
        sends++;
        if (answer.status !== 202) faults.push(`send: ${answer.status} ${JSON.stringify(answer.body)}`);
        else for (const { user, id } of answer.body.notifications) expected.get(user).push(id);
      }
    };
    const senders = [sender(), sender()];
    for (let i = 0; i < REPLACEMENTS; i++) {
      const from = sends;
      await stack.until(() => sends >= from + SENDS_BETWEEN, 'sends go on', lib.DEADLINE_MS);
      await stack.replace('api');
    }
    const from = sends;
    await stack.until(() => sends >= from + SENDS_BETWEEN, 'sends go on', lib.DEADLINE_MS);
    sending = false;
    await Promise.all(senders);
    // Everybody is woken once more, to see that it has all.
    const last = await tenant.service('POST', '/notifications', { to: users, title: 'last' });
    for (const { user, id } of last.body.notifications) expected.get(user).push(id);
    allExpected = true;
    await Promise.all(running);

    assert.deepEqual(faults.slice(0, 5), [], `${faults.length} faults`);
    for (const { user, tab, seen } of tabs) {
      assert.equal(new Set(seen).size, seen.length, `${user}, tab ${tab}: an event came twice`);
      assert.deepEqual([...seen].sort(), [...expected.get(user)].sort(), `${user}, tab ${tab}`);
    }
    lib.assertNothingDrifted(stack);
    lib.assertNoSanitizerReport(stack);
  });

  test('streams end with a cursor from which they go on without a gap', async () => {
    const readers = users.slice(0, STREAMS);
    const seen = new Map(readers.map((user) => [user, []]));
    let streams = await Promise.all(readers.map((user) => openStream(stack, tenant.bearer(user), 'feeds=inbox')));
    const begin = await Promise.all(streams.map((stream) => stream.next((e) => e.event === 'update')));
    const places = begin.map((event) => event.id);
    const collect = (stream, user, i) => {
      for (const event of stream.events) {
        if (event.event !== 'update' || event === begin[i]) continue;
        seen.get(user).push(...event.data.feeds.inbox.events.map((one) => one.notification.id));
      }
      places[i] = stream.events.findLast((event) => event.id)?.id ?? places[i];
    };
    const expected = new Map(readers.map((user) => [user, []]));
    for (let round = 0; round < 2; round++) {
      const replacing = stack.replace('api');
      for (let i = 0; i < 10; i++) {
        const sent = await tenant.service('POST', '/notifications', { to: readers, title: `s${i}` });
        assert.equal(sent.status, 202, JSON.stringify(sent.body));
        for (const { user, id } of sent.body.notifications) expected.get(user).push(id);
      }
      await replacing;
      await Promise.all(streams.map((stream) => stream.closed));
      streams.forEach((stream, i) => collect(stream, readers[i], i));
      streams = await Promise.all(readers.map((user, i) => openStream(stack, { ...tenant.bearer(user), 'Last-Event-ID': places[i] }, 'feeds=inbox')));
    }
    const missing = (user, stream) => {
      const late = stream.events.filter((e) => e.event === 'update').flatMap((e) => e.data.feeds.inbox.events.map((one) => one.notification?.id));
      return expected.get(user).filter((id) => !seen.get(user).includes(id) && !late.includes(id));
    };
    await stack.until(() => streams.every((stream, i) => missing(readers[i], stream).length === 0), 'every stream has everything', lib.DEADLINE_MS);
    streams.forEach((stream, i) => {
      collect(stream, readers[i], i);
      stream.close();
      assert.deepEqual(seen.get(readers[i]), expected.get(readers[i]), 'in order, each once');
    });
  });
});
