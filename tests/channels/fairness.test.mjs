// Who waits for whom: a tenant with a flood of deliveries does not hold up another's few, nor a flood of
// low priority what is urgent, nor a receiver that hangs the other tenants. Judged by the order of
// arrivals, never by the clock.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { QUICK, DEADLINE_MS, put, send } from './lib.mjs';

const FLOOD = 30_000;
const FEW = 10;

let stack;
let flooded;
let small;
let server;
const arrivals = []; // names, in their order
const open = new Set(); // requests of the name "hangs", never answered

before(async () => {
  server = http.createServer({ keepAliveTimeout: 60_000 }, async (request, response) => {
    const name = request.url.slice(1);
    if (name === 'hangs') return open.add(response);
    for await (const _ of request);
    arrivals.push(name);
    response.writeHead(200, { 'Content-Length': 0 }).end();
  });
  await new Promise((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 }, resolve));
  stack = await startStack({ env: { ...QUICK, BELFRY_PRIVATE_ADDRESSES: 'allow' } });
  flooded = await createTenant(stack, 'flooded', { accounts: false });
  small = await createTenant(stack, 'small', { accounts: false });
  for (const [tenant, name] of [[flooded, 'flood'], [flooded, 'urgent'], [flooded, 'hangs'], [small, 'few']]) {
    await put(tenant, `/users/${name}/devices/hook`, { channel: 'webhook', url: `http://127.0.0.1:${server.address().port}/${name}` });
  }
});
after(async () => {
  await stack?.stop();
  server?.closeAllConnections();
  server?.close();
});

/** A notification's delivery, many times over, as a broadcast would queue them. */
function multiply(id, count) {
  stack.sql(`with made as (
      insert into belfry.delivery select d.tenant_id, d.notification_id, g.n, d.user_id, d.channel, d.provider, d.device_id
      from belfry.delivery d, generate_series(2, ${count + 1}) as g (n) where d.notification_id = '${id}' returning *
    ), queued as (
      insert into belfry.ready (channel, tenant_id, priority, notification_id, n) select channel, tenant_id, 3, notification_id, n from made
    ) insert into belfry.queue_delta (tenant_id, channel, ready) select tenant_id, channel, count(*) from made group by 1, 2`);
}

const count = (name) => arrivals.filter((one) => one === name).length;
const until = (check, what) => stack.until(check, what, DEADLINE_MS).catch((error) => {
  throw new Error(`${error.message}\n${stack.logTail('worker')}`);
});
const isDone = () => until(() => stack.sql('select coalesce(sum(ready + leased), 0) from belfry.queue_delta') === '0', 'everything has arrived');

/** How many of the flood arrive between now and the last of a few others. */
async function overtaken(sends, name) {
  await until(() => count('flood') > 200, 'the flood runs');
  const before = count('flood');
  const had = count(name);
  for (let i = 0; i < FEW; i++) await sends();
  await until(() => count(name) === had + FEW, `${name}: all have arrived`);
  return arrivals.slice(0, arrivals.lastIndexOf(name)).filter((one) => one === 'flood').length - before;
}

describe('a flood', () => {
  test('of one tenant does not hold up another\'s few', async () => {
    arrivals.length = 0;
    multiply(await send(flooded, 'flood', { priority: 'low' }), FLOOD);
    const between = await overtaken(() => send(small, 'few'), 'few');
    assert.ok(between < FLOOD / 3, `${between} of ${FLOOD} went before`);
    await isDone();
    assert.equal(count('flood'), FLOOD + 1);
  });

  test('of low priority does not hold up what is urgent, which does not stop it', async () => {
    arrivals.length = 0;
    multiply(await send(flooded, 'flood', { priority: 'low' }), FLOOD);
    const between = await overtaken(() => send(flooded, 'urgent', { priority: 'high' }), 'urgent');
    assert.ok(between < FLOOD / 3, `${between} of ${FLOOD} went before`);
    await isDone();
    assert.equal(count('flood'), FLOOD + 1);
  });

  test('to a receiver that hangs does not hold up other tenants', async () => {
    arrivals.length = 0;
    multiply(await send(flooded, 'hangs'), 5000);
    await until(() => open.size > 3, 'the receiver hangs');
    for (let i = 0; i < FEW; i++) await send(small, 'few');
    await until(() => count('few') === FEW, 'the few have arrived');
    assert.ok(Number(stack.sql('select coalesce(sum(ready + scheduled + leased), 0) from belfry.queue_delta')) > 4000, 'most of the flood waits');
  });
});
