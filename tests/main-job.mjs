// The main job in one function, for every way in which Belfry can be set up: a backend sends, somebody's
// inbox and waiting poll have it, an e-mail, a Web Push message and a signed webhook arrive, the user reads it.
//
//   await mainJob({ stack, tenant, postbox, user: 'alice', waits: true, streams: true });
import assert from 'node:assert/strict';
import { openStream } from './stream.mjs';

const json = (answer) => JSON.stringify(answer.body);

/** waits: a poll is held until something comes; streams: GET /stream is offered. */
export async function mainJob({ stack, tenant, postbox, user, waits = true, streams = waits }) {
  const person = await tenant.addPerson(user);
  const empty = await tenant.user(user, 'GET', '/poll?feeds=inbox');
  assert.equal(empty.status, 200, json(empty));
  assert.deepEqual(empty.body.feeds.inbox.events, []);
  const cursor = encodeURIComponent(empty.body.cursor);
  const stream = streams ? await openStream(stack, tenant.bearer(user), `feeds=inbox&cursor=${cursor}`) : null;
  const waiting = waits ? tenant.user(user, 'GET', `/poll?feeds=inbox&cursor=${cursor}&wait=25&client=tab1`) : null;

  const send = { to: [user], title: 'Your parcel 📦 is here', body: 'At the 정문.', data: { parcel: 7 }, priority: 'high' };
  const sent = await tenant.service('POST', '/notifications', send, { 'Idempotency-Key': `main-${user}` });
  assert.equal(sent.status, 202, json(sent));
  const [{ id }] = sent.body.notifications;
  const again = await tenant.service('POST', '/notifications', send, { 'Idempotency-Key': `main-${user}` });
  assert.equal(again.status, 202, json(again));
  assert.deepEqual(again.body, sent.body);
  assert.equal(again.headers.get('idempotency-replayed'), 'true');

  const polled = waits ? await waiting : await tenant.user(user, 'GET', `/poll?feeds=inbox&cursor=${cursor}`);
  assert.equal(polled.status, 200, json(polled));
  assert.deepEqual(polled.body.feeds.inbox.events.map((event) => event.notification.id), [id]);
  assert.equal(polled.body.feeds.inbox.unreadCount, 1);
  if (stream) {
    const update = await stream.next((event) => event.event === 'update' && event.data.feeds.inbox.events.length > 0);
    assert.equal(update.data.feeds.inbox.events[0].notification.id, id);
    stream.close();
  }

  const inbox = await tenant.user(user, 'GET', '/inbox');
  assert.deepEqual(inbox.body.notifications.map((item) => [item.id, item.title, item.readAt]), [[id, send.title, null]]);
  await assertDelivered({ postbox, person, id, send });
  await assertTimeline({ stack, tenant, id });

  const read = await tenant.user(user, 'PATCH', `/inbox/${id}`, { read: true });
  assert.equal(read.status, 200, json(read));
  assert.equal(read.body.unreadCount, 0);
  const after = await tenant.user(user, 'GET', `/poll?feeds=inbox&cursor=${encodeURIComponent(polled.body.cursor)}`);
  assert.deepEqual(after.body.feeds.inbox.events.map((event) => [event.notification.id, event.notification.readAt !== null]), [[id, true]]);
  return { id, person };
}

async function assertDelivered({ postbox, person, id, send }) {
  const mail = await postbox.waitFor((m) => m.kind === 'email' && m.to.includes(person.email), { timeoutMs: 60_000 });
  assert.equal(mail.subject, send.title);
  const push = await postbox.waitFor((m) => m.kind === 'push' && m.subscription === person.subscription.id, { timeoutMs: 60_000 });
  const webhook = await postbox.waitFor((m) => m.kind === 'webhook' && m.name === person.webhook, { timeoutMs: 60_000 });
  assert.equal(webhook.payload.data.id, id);
  assert.deepEqual([mail.problem, push.problem, webhook.problem], [null, null, null]);
}

async function assertTimeline({ stack, tenant, id }) {
  let last;
  await stack.until(async () => {
    last = await tenant.service('GET', `/notifications/${id}/timeline`);
    return last.body.deliveries.every((delivery) => delivery.state === 'sent');
  }, 'the timeline says that all was sent', 60_000).catch((error) => {
    throw new Error(`${error.message}: ${json(last)}`);
  });
  assert.deepEqual(last.body.deliveries.map((delivery) => delivery.channel).sort(), ['email', 'push', 'webhook']);
}
