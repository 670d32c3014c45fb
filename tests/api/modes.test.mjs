// The main job in each way that a web server can run Belfry: FastCGI and plain CGI behind lighttpd,
// FastCGI and plain CGI behind Apache. Plain CGI holds nothing: it answers a waiting poll at once or after a short time.
import { describe, test, after, before } from 'node:test';
import assert from 'node:assert/strict';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { isCgi, WEB_SERVERS } from '../../deploy/dev/web.mjs';
import { startPostbox } from '../postbox/index.mjs';
import { mainJob } from '../main-job.mjs';

for (const webServer of WEB_SERVERS) {
  describe(`behind ${webServer}`, () => {
    let postbox;
    let stack;
    let tenant;

    before(async () => {
      postbox = await startPostbox();
      stack = await startStack({ postbox, webServer });
      tenant = await createTenant(stack, 'shop', { origins: ['https://shop.example.com'] });
    });
    after(async () => {
      await stack?.stop();
      await postbox?.close();
    });

    test(`the main job works behind ${webServer}`, async () => {
      await mainJob({ stack, tenant, postbox, user: 'alice', waits: !isCgi(webServer) });
    });

    test(`a waiting poll with nothing new is answered with its cursor behind ${webServer}`, async () => {
      const first = await tenant.user('bob', 'GET', '/poll?feeds=inbox');
      const cursor = encodeURIComponent(first.body.cursor);
      const waited = await tenant.user('bob', 'GET', `/poll?feeds=inbox&cursor=${cursor}&wait=${isCgi(webServer) ? 25 : 1}`);
      assert.equal(waited.status, 200, JSON.stringify(waited.body));
      assert.deepEqual(waited.body.feeds.inbox.events, []);
      assert.equal(waited.body.feeds.inbox.reset, false);
    });

    test(`errors, preflights and conditional requests pass ${webServer} unchanged`, async () => {
      const unknown = await tenant.user('bob', 'GET', '/inbox?nonsense=1');
      assert.equal(unknown.status, 400);
      assert.match(unknown.headers.get('content-type'), /^application\/problem\+json/);
      const anonymous = await fetch(`${stack.url}/api/v1/inbox`);
      assert.equal(anonymous.status, 401);
      assert.ok(anonymous.headers.get('www-authenticate'));
      const count = await tenant.user('bob', 'GET', '/inbox/unread-count');
      assert.equal(count.status, 200);
      const same = await tenant.user('bob', 'GET', '/inbox/unread-count', undefined, { 'If-None-Match': count.headers.get('etag') });
      assert.equal(same.status, 304);
      assert.equal(same.body, '');
      const preflight = await fetch(`${stack.url}/api/v1/inbox/read-all`, {
        method: 'OPTIONS',
        headers: { Origin: 'https://shop.example.com', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization' },
      });
      assert.equal(preflight.headers.get('access-control-allow-origin'), 'https://shop.example.com');
      const large = await tenant.service('POST', '/notifications', { to: ['bob'], title: 'x', body: 'y'.repeat(2 << 20) });
      assert.equal(large.status, 413);
    });
  });
}
