// Through a transaction pooler: sessions hold no state, so every transaction may meet another one.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { startPostbox } from '../postbox/index.mjs';
import { mainJob } from '../main-job.mjs';
import * as lib from './lib.mjs';

let postbox;
let stack;
let tenant;

before(async () => {
  postbox = await startPostbox();
  stack = await startStack({ postbox, pooler: true, env: lib.QUICK });
  tenant = await createTenant(stack, 'shop');
});
after(async () => {
  await stack?.stop();
  await postbox?.close();
});

test('the main job works through a transaction pooler', async () => {
  await mainJob({ stack, tenant, postbox, user: 'alice' });
});

test('many tenants and users at once see only their own through a pooler', async () => {
  const other = await createTenant(stack, 'other', { accounts: false });
  const users = Array.from({ length: 20 }, (_, i) => `p${i}`);
  const jobs = users.flatMap((user) => [tenant, other].map((of) => ({ user, of })));
  await lib.inParallel([...jobs, ...jobs, ...jobs], 12, async ({ user, of }) => {
    const sent = await of.service('POST', '/notifications', { to: [user], title: of.name, channels: [] });
    assert.equal(sent.status, 202, JSON.stringify(sent.body));
    const { notifications } = await lib.wholeInbox(of, user);
    assert.ok(notifications.length > 0);
    assert.deepEqual([...new Set(notifications.map((item) => item.title))], [of.name]);
  });
  lib.assertNothingDrifted(stack);
});

test('scheduled notifications and retries pass the pooler too', async () => {
  const person = await tenant.addPerson('bob');
  postbox.fault({ kind: 'webhook', next: 1, status: 503, match: person.webhook });
  const at = new Date(Date.now() + 1000).toISOString();
  const sent = await tenant.service('POST', '/notifications', { to: ['bob'], title: 'later', scheduledAt: at, channels: ['webhook'] });
  assert.equal(sent.body.status, 'scheduled', JSON.stringify(sent.body));
  await postbox.waitFor((m) => m.kind === 'webhook' && m.name === person.webhook && m.ok, { timeoutMs: lib.DEADLINE_MS });
  lib.assertNoSanitizerReport(stack);
});
