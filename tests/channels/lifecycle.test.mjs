// What happens to a delivery on its way: taken back, too late, not wanted, given up, sent again, only
// pretended. Its timeline tells.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { pause } from '../../deploy/dev/service.mjs';
import { startPostbox } from '../postbox/index.mjs';
import { QUICK, DEADLINE_MS, outcomes, queueIsEmpty, send, timeline, untilState } from './lib.mjs';

const ATTEMPTS = 3;
const OPT_OUT_HOLDS_MS = 5000; // the promise: for every attempt that starts later than this after it
let postbox;
let stack;
let shop;
let userNumber = 0;

before(async () => {
  postbox = await startPostbox();
  stack = await startStack({
    postbox, env: { ...QUICK, BELFRY_ATTEMPTS: String(ATTEMPTS), BELFRY_RETRY_CAP_MS: '200' }, workerEnv: { BELFRY_IN_FLIGHT: '4' },
  });
  shop = await createTenant(stack, 'shop');
});
after(async () => {
  await stack?.stop();
  await postbox?.close();
});

const person = async (options) => {
  const user = `l${userNumber++}`;
  return { user, ...await shop.addPerson(user, options) };
};
const hooksOf = ({ webhook }) => postbox.messages({ kind: 'webhook' }).filter((m) => m.name === webhook);
const WEBHOOK = { channels: ['webhook'] };

/** Does something while no worker runs. */
async function withoutWorker(act) {
  await stack.stopService('worker');
  try {
    return await act();
  } finally {
    await stack.startService('worker');
  }
}

describe('a delivery', () => {
  test('that is past expiresAt is not sent, and leaves the inbox', async () => {
    const one = await person();
    const id = await withoutWorker(async () => {
      const expiresAt = Date.now() + 1500;
      const made = await send(shop, one.user, { ...WEBHOOK, expiresAt: new Date(expiresAt).toISOString() });
      await stack.until(() => Date.now() > expiresAt, 'it has expired');
      return made;
    });
    const delivery = await untilState(stack, shop, id, 'expired');
    assert.deepEqual(outcomes(delivery.attempts), ['expired']);
    assert.deepEqual(hooksOf(one), []);
    await stack.until(async () => (await shop.user(one.user, 'GET', '/inbox')).body.notifications.length === 0, 'it leaves the inbox', DEADLINE_MS);
    assert.equal((await shop.service('GET', `/notifications/${id}`)).body.status, 'expired');
  });

  test('that is cancelled before it was sent is not sent, and leaves the inbox', async () => {
    const one = await person();
    const id = await withoutWorker(async () => {
      const made = await send(shop, one.user, WEBHOOK);
      const cancelled = await shop.service('DELETE', `/notifications/${made}`);
      assert.deepEqual([cancelled.status, cancelled.body], [200, { id: made, status: 'cancelled', cancelledDeliveries: 1 }]);
      const again = await shop.service('DELETE', `/notifications/${made}`);
      assert.deepEqual([again.status, again.body.cancelledDeliveries], [200, 0]);
      return made;
    });
    const delivery = await untilState(stack, shop, id, 'cancelled');
    assert.deepEqual(outcomes(delivery.attempts), ['cancelled']);
    await queueIsEmpty(stack);
    assert.deepEqual(hooksOf(one), []);
    const inbox = await shop.user(one.user, 'GET', '/inbox');
    assert.deepEqual([inbox.body.notifications, inbox.body.unreadCount], [[], 0]);
  });

  test('that is scheduled and cancelled never arrives', async () => {
    const one = await person();
    const id = await send(shop, one.user, { ...WEBHOOK, scheduledAt: new Date(Date.now() + 1500).toISOString() });
    assert.equal((await shop.service('DELETE', `/notifications/${id}`)).body.status, 'cancelled');
    const other = await send(shop, one.user, { ...WEBHOOK, scheduledAt: new Date(Date.now() + 2500).toISOString() });
    await untilState(stack, shop, other, 'sent');
    assert.deepEqual(hooksOf(one).map((m) => m.payload.data.id), [other]);
    assert.deepEqual((await timeline(shop, id)).deliveries, []);
  });

  test('that its recipient opted out of before its claim is suppressed', async () => {
    const one = await person();
    const id = await withoutWorker(async () => {
      const made = await send(shop, one.user, { ...WEBHOOK, category: 'marketing' });
      const put = await shop.user(one.user, 'PUT', '/preferences', { channels: {}, categories: { marketing: { webhook: false } } });
      assert.equal(put.status, 200, JSON.stringify(put.body));
      return made;
    });
    const delivery = await untilState(stack, shop, id, 'cancelled');
    assert.deepEqual([outcomes(delivery.attempts), delivery.attempts[0].detail], [['suppressed'], 'opted out']);
    assert.deepEqual(hooksOf(one), []);
    const other = await send(shop, one.user, WEBHOOK); // another category
    await untilState(stack, shop, other, 'sent');
  });

  for (const [what, method, path, detail] of [['read', 'POST', '/inbox/read-all', 'already read'], ['deleted', 'DELETE', '/inbox', 'already deleted']]) {
    test(`that its recipient ${what} with all others before its claim is suppressed`, async () => {
      const one = await person();
      const id = await withoutWorker(async () => {
        const made = await send(shop, one.user, { channels: ['email'] });
        const marked = await shop.user(one.user, method, path);
        assert.equal(marked.status, 200, JSON.stringify(marked.body));
        return made;
      });
      const delivery = await untilState(stack, shop, id, 'cancelled');
      assert.deepEqual([outcomes(delivery.attempts), delivery.attempts[0].detail], [['suppressed'], detail]);
      const other = await send(shop, one.user, { channels: ['email'] }); // of after the mark
      await untilState(stack, shop, other, 'sent');
    });
  }

  test('that its recipient opted out of while it waited in a worker is not sent more than 5 s later', async () => {
    const slow = await person({ secure: false });
    const one = await person({ secure: false });
    const ids = [];
    postbox.fault({ kind: 'webhook', next: 12, delayMs: OPT_OUT_HOLDS_MS + 3000, match: slow.webhook });
    for (let i = 0; i < 12; i++) ids.push(await send(shop, slow.user, WEBHOOK));
    await stack.until(() => hooksOf(slow).length > 0, 'the slots fill up', DEADLINE_MS);
    const id = await send(shop, one.user, WEBHOOK); // claimed, and waits behind them
    await shop.user(one.user, 'PUT', '/preferences', { channels: { webhook: false }, categories: {} });
    const optedOut = Date.now();
    await pause(OPT_OUT_HOLDS_MS);
    postbox.clearFaults();
    await Promise.all(ids.map((other) => untilState(stack, shop, other, 'sent')));
    await queueIsEmpty(stack);
    const [attempt] = (await timeline(shop, id)).deliveries[0].attempts;
    // Either it had started before the promise binds, or it was suppressed.
    assert.ok(attempt.outcome === 'suppressed' || Date.parse(attempt.startedAt) <= optedOut + OPT_OUT_HOLDS_MS, JSON.stringify(attempt));
  });

  test('that its recipient opted out of beforehand is left out, with the reason', async () => {
    const one = await person();
    await shop.user(one.user, 'PUT', '/preferences', { channels: { email: false }, categories: { news: { '*': false } } });
    const id = await send(shop, one.user);
    const { decisions, deliveries } = await timeline(shop, id);
    assert.deepEqual(decisions.filter((d) => d.decision === 'skip').map((d) => [d.channel, d.device, d.reason]), [['email', 'email', 'opted out']]);
    assert.deepEqual(deliveries.map((d) => d.channel).sort(), ['push', 'webhook']);
    const news = await send(shop, one.user, { category: 'news' });
    assert.deepEqual((await timeline(shop, news)).deliveries, []);
    const inbox = await shop.user(one.user, 'GET', '/inbox');
    assert.deepEqual(inbox.body.notifications.map((item) => item.id), [id]);
  });

  test('of a paused tenant waits and is sent when it is resumed', async () => {
    const one = await person();
    stack.ctl('tenant', 'pause', 'shop');
    const id = await send(shop, one.user, WEBHOOK);
    await untilState(stack, shop, id, 'scheduled');
    assert.deepEqual(hooksOf(one), []);
    stack.ctl('tenant', 'resume', 'shop');
    await untilState(stack, shop, id, 'sent');
  });

  test('whose user was erased is not sent', async () => {
    const one = await person();
    await withoutWorker(async () => {
      await send(shop, one.user, WEBHOOK);
      assert.equal((await shop.service('DELETE', `/users/${one.user}`)).status, 204);
    });
    await queueIsEmpty(stack);
    assert.deepEqual(hooksOf(one), []);
    assert.equal(stack.sql(`select count(*) from belfry.notification where user_id = '${one.user}'`), '0');
  });
});

describe('dead letters', () => {
  const failing = async (count) => {
    const one = await person();
    postbox.fault({ kind: 'webhook', next: ATTEMPTS * count, status: 500, match: one.webhook });
    return one;
  };
  const deadLetters = async () => (await shop.service('GET', '/ops/dead-letters')).body.deadLetters;

  test('what fails too often becomes a dead letter, is listed and counted, and is replayed through the API', async () => {
    const one = await failing(1);
    const id = await send(shop, one.user, WEBHOOK);
    const delivery = await untilState(stack, shop, id, 'dead');
    assert.deepEqual(outcomes(delivery.attempts), Array(ATTEMPTS).fill('retry'));
    const [letter] = await deadLetters();
    assert.deepEqual([letter.id, letter.notification, letter.user, letter.channel, letter.attempts], [delivery.id, id, one.user, 'webhook', ATTEMPTS]);
    const { body: { channels } } = await shop.service('GET', '/ops/queue');
    assert.equal(channels.find((channel) => channel.channel === 'webhook').dead, 1);
    const replayed = await shop.service('POST', `/ops/dead-letters/${letter.id}/replay`);
    assert.deepEqual([replayed.status, replayed.body], [202, { id: letter.id }]);
    const after = await untilState(stack, shop, id, 'sent');
    assert.deepEqual(outcomes(after.attempts), [...Array(ATTEMPTS).fill('retry'), 'sent']);
    assert.deepEqual(await deadLetters(), []);
    assert.equal((await shop.service('POST', `/ops/dead-letters/${letter.id}/replay`)).status, 404);
    assert.equal(new Set(hooksOf(one).map((m) => m.id)).size, 1, 'the same webhook-id');
  });

  test('belfryctl replays one, and all', async () => {
    const one = await failing(3);
    const ids = [await send(shop, one.user, WEBHOOK), await send(shop, one.user, WEBHOOK), await send(shop, one.user, WEBHOOK)];
    await Promise.all(ids.map((id) => untilState(stack, shop, id, 'dead')));
    const listed = stack.ctl('dead-letters', 'list', '--tenant', 'shop', '--json').deadLetters;
    assert.deepEqual(listed.map((letter) => letter.id).sort(), ids.map((id) => `${id}.1`).sort());
    stack.ctl('dead-letters', 'replay', 'shop', '--id', `${ids[0]}.1`, '--json');
    await untilState(stack, shop, ids[0], 'sent');
    assert.equal((await deadLetters()).length, 2);
    assert.deepEqual(stack.ctl('dead-letters', 'replay', 'shop', '--all', '--json'), { replayed: 2 });
    await Promise.all(ids.map((id) => untilState(stack, shop, id, 'sent')));
  });

  test('the API replays all of a tenant and none of another', async () => {
    const other = await createTenant(stack, 'other');
    const theirs = await other.addPerson('x1');
    postbox.fault({ kind: 'webhook', next: ATTEMPTS, status: 500, match: theirs.webhook });
    const foreign = await send(other, 'x1', WEBHOOK);
    const one = await failing(2);
    const ids = [await send(shop, one.user, WEBHOOK), await send(shop, one.user, WEBHOOK)];
    await Promise.all([...ids.map((id) => untilState(stack, shop, id, 'dead')), untilState(stack, other, foreign, 'dead')]);
    const answer = await shop.service('POST', '/ops/dead-letters/replay-all');
    assert.deepEqual([answer.status, answer.body], [202, { replayed: 2 }]);
    await Promise.all(ids.map((id) => untilState(stack, shop, id, 'sent')));
    await untilState(stack, other, foreign, 'dead');
  });

  test('a dead letter alerts the developers by e-mail and webhook, once for many', async () => {
    const alerted = await createTenant(stack, 'alerted');
    const { secret } = stack.ctl('alert', 'set', 'alerted', '--email', 'dev@example.com', '--webhook', `${postbox.httpsUrl}/webhooks/alerts`, '--json');
    postbox.setWebhookSecrets('alerts', [secret]);
    const victim = await alerted.addPerson('victim');
    postbox.fault({ kind: 'webhook', next: ATTEMPTS * 5, status: 500, match: victim.webhook });
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push(await send(alerted, 'victim', WEBHOOK));
    await Promise.all(ids.map((id) => untilState(stack, alerted, id, 'dead')));
    const hook = await postbox.waitFor((m) => m.kind === 'webhook' && m.name === 'alerts', { timeoutMs: DEADLINE_MS });
    const mail = await postbox.waitFor((m) => m.kind === 'email' && m.to.includes('dev@example.com'), { timeoutMs: DEADLINE_MS });
    assert.deepEqual([hook.problem, mail.problem], [null, null]);
    assert.match(`${hook.payload.data.title} ${hook.payload.data.body}`, /webhook/);
    await queueIsEmpty(stack);
    assert.equal(postbox.messages({ kind: 'webhook' }).filter((m) => m.name === 'alerts').length, 1, 'deduplicated');
    assert.equal(postbox.messages({ kind: 'email' }).filter((m) => m.to.includes('dev@example.com')).length, 1, 'deduplicated');
    stack.ctl('alert', 'clear', 'alerted');
  });
});

describe('alerts', () => {
  test('that cannot be written keep nothing from being settled', async () => {
    const mute = await createTenant(stack, 'mute');
    const one = await mute.addPerson('mute1');
    postbox.fault({ kind: 'webhook', next: ATTEMPTS, status: 500, match: one.webhook });
    stack.sql('revoke insert on belfry.send_request from belfry_worker');
    try {
      const id = await send(mute, 'mute1', WEBHOOK);
      await untilState(stack, mute, id, 'dead');
      await untilState(stack, mute, await send(mute, 'mute1', WEBHOOK), 'sent');
    } finally {
      stack.sql('grant insert on belfry.send_request to belfry_worker');
    }
  });
});

describe('a sandbox key', () => {
  test('plans and renders everything and sends nothing', async () => {
    const toy = await createTenant(stack, 'toy', { sandbox: true });
    const one = await toy.addPerson('toy1');
    const before = postbox.messages().length;
    const answer = await toy.service('POST', '/notifications', { to: ['toy1'], title: 'Not for real' });
    assert.deepEqual([answer.status, answer.body.sandbox], [202, true]);
    const { id } = answer.body.notifications[0];
    await untilState(stack, toy, id, 'sent');
    const { deliveries } = await timeline(toy, id);
    assert.deepEqual(deliveries.map((delivery) => delivery.channel).sort(), ['email', 'push', 'webhook']);
    for (const delivery of deliveries) assert.match(delivery.attempts[0].detail, /sandbox/);
    assert.equal((await toy.service('GET', `/notifications/${id}`)).body.sandbox, true);
    await queueIsEmpty(stack);
    const arrived = postbox.messages().slice(before).filter((m) => m.name === one.webhook || m.subscription === one.subscription.id || m.to?.includes(one.email));
    assert.deepEqual(arrived, []);
  });
});
