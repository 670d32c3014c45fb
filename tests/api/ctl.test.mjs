// belfryctl: what an operator does in a shell. Exit codes, both kinds of output, and secrets that are shown once.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomUUID, generateKeyPairSync } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jwtVerify } from 'jose';
import { BUILD, startDatabase } from '../database.mjs';

describe('belfryctl', () => {
  let db;
  before(async () => {
    db = await startDatabase();
    db.ctl('tenant', 'create', 'shop', '--origin', 'https://shop.example.com');
  });
  after(() => db?.stop());

  const run = (...words) => db.ctlAsync('belfry_operator', words);
  const json = (...words) => db.ctl(...words, '--json');
  const refused = async (status, ...words) => {
    const result = await run(...words);
    assert.equal(result.status, status, `${words.join(' ')}: ${result.stdout}${result.stderr}`);
    assert.match(result.stderr, /^belfryctl: \S/);
    assert.equal(result.stdout, '');
    return result.stderr;
  };

  test('explains itself, as a whole and each command', async () => {
    const { status, stdout } = await run('--help');
    assert.equal(status, 0);
    const commands = [...stdout.matchAll(/^  ([a-z-]+(?: [a-z-]+)?) /gm)].map((m) => m[1]);
    assert.ok(commands.length > 30, commands.join(', '));
    for (const command of commands) {
      const help = await run(...command.split(' '), '--help');
      assert.equal(help.status, 0, command);
      assert.match(help.stdout, new RegExp(`^Usage: belfryctl ${command}`), command);
    }
    assert.match((await run('--version')).stdout, /^belfryctl \d/);
  });

  test('tells a wrong command line, a wrong value, a refusal and an absent server apart', async () => {
    await refused(64, 'nonsense');
    await refused(64, 'tenant', 'create');
    await refused(64, 'tenant', 'list', 'too', 'many');
    await refused(64, 'tenant', 'list', '--nonsense');
    await refused(64, 'key', 'create', 'shop', '--scopes');
    await refused(65, 'tenant', 'create', 'with a space');
    await refused(65, 'origin', 'add', 'shop', 'https://shop.example.com/path');
    await refused(65, 'key', 'create', 'shop', '--scopes', 'send,everything');
    await refused(65, 'token', 'create', 'shop', '--issuer', 'x', '--user', 'a b');
    await refused(1, 'tenant', 'create', 'shop');
    await refused(1, 'key', 'list', 'nowhere');
    await refused(1, 'timeline', randomUUID());
    assert.equal((await db.ctlAsync('belfry_operator', ['tenant', 'list'], { database: 'nowhere' })).status, 69);
  });

  test('a missing setting is exit code 78', async () => {
    const env = db.env('belfry_operator');
    const binary = join(BUILD, 'belfryctl');
    const without = (name) => spawnSync(binary, ['issuer', 'create', 'shop', '--name', 'x', '--alg', 'HS256'],
      { env: { ...env, [name]: undefined }, encoding: 'utf8' });
    for (const name of ['BELFRY_DB', 'BELFRY_KEYS_FILE']) {
      const { status, stderr } = without(name);
      assert.equal(status, 78, stderr);
      assert.match(stderr, new RegExp(name));
    }
  });

  test('tenants and origins: made, listed, paused, resumed', () => {
    json('origin', 'add', 'shop', 'http://localhost:3000');
    assert.deepEqual(json('origin', 'add', 'shop', 'http://localhost:3000'), { origin: 'http://localhost:3000', changed: false });
    json('tenant', 'pause', 'shop');
    const [tenant] = json('tenant', 'list').tenants;
    assert.equal(tenant.paused, true);
    assert.deepEqual(tenant.origins, ['http://localhost:3000', 'https://shop.example.com']);
    json('tenant', 'resume', 'shop');
    json('origin', 'remove', 'shop', 'http://localhost:3000');
    assert.deepEqual(json('tenant', 'list').tenants[0].origins, ['https://shop.example.com']);
    assert.match(db.ctl('tenant', 'list'), /^id +name +paused/);
  });

  test('an app key\'s secret is shown once and not stored', async () => {
    const { appKey, appSecret } = json('key', 'create', 'shop', '--scopes', 'send,read', '--label', 'backend');
    assert.match(appKey, /^bk_[0-9A-Za-z]{20}$/);
    assert.match(appSecret, /^bs_[0-9A-Za-z_-]{43}$/);
    const row = await db.one('select k::text as text, scopes from belfry.app_key k where id = $1', [appKey]);
    assert.equal(row.scopes, 1 + 4);
    assert.ok(!row.text.includes(appSecret.slice(3)) && !row.text.includes(Buffer.from(appSecret).toString('hex')));
    assert.ok(!JSON.stringify(json('key', 'list', 'shop')).includes(appSecret.slice(3)));
    json('key', 'revoke', 'shop', appKey);
    assert.ok(json('key', 'list', 'shop').keys.find((k) => k.appKey === appKey).revokedAt);
    await refused(1, 'key', 'revoke', 'shop', 'bk_unknown');
  });

  test('a token that it signs is verified by the secret that it showed', async () => {
    const { secret } = json('issuer', 'create', 'shop', '--name', 'https://id.example.com', '--alg', 'HS256');
    const { token } = json('token', 'create', 'shop', '--issuer', 'https://id.example.com', '--user', 'alice', '--ttl', '60');
    const { payload, protectedHeader } = await jwtVerify(token, Buffer.from(secret, 'base64url'), { issuer: 'https://id.example.com' });
    assert.equal(payload.sub, 'alice');
    assert.equal(payload.exp - payload.iat, 60);
    assert.equal(protectedHeader.alg, 'HS256');
    await refused(1, 'issuer', 'create', 'shop', '--name', 'https://id.example.com', '--alg', 'HS256');
  });

  test('an issuer\'s key must fit its algorithm', async () => {
    const pem = (type, options) => {
      const file = join(db.dir, `${type}-${JSON.stringify(options ?? '').replaceAll(/\W/g, '')}.pem`);
      writeFileSync(file, generateKeyPairSync(type, options).publicKey.export({ type: 'spki', format: 'pem' }));
      return file;
    };
    const p256 = pem('ec', { namedCurve: 'P-256' });
    json('issuer', 'create', 'shop', '--name', 'es', '--alg', 'ES256', '--public-key', p256);
    json('issuer', 'create', 'shop', '--name', 'ed', '--alg', 'EdDSA', '--public-key', pem('ed25519'));
    json('issuer', 'create', 'shop', '--name', 'rs', '--alg', 'RS256', '--public-key', pem('rsa', { modulusLength: 2048 }));
    await refused(65, 'issuer', 'create', 'shop', '--name', 'weak', '--alg', 'RS256', '--public-key', pem('rsa', { modulusLength: 1024 }));
    await refused(65, 'issuer', 'create', 'shop', '--name', 'curve', '--alg', 'ES256', '--public-key', pem('ec', { namedCurve: 'P-384' }));
    await refused(65, 'issuer', 'create', 'shop', '--name', 'other', '--alg', 'EdDSA', '--public-key', p256);
    await refused(65, 'issuer', 'create', 'shop', '--name', 'none', '--alg', 'none');
    await refused(65, 'issuer', 'create', 'shop', '--name', 'public', '--alg', 'HS256', '--public-key', p256);
    writeFileSync(join(db.dir, 'short'), 'too short\n');
    await refused(65, 'issuer', 'create', 'shop', '--name', 'short', '--alg', 'HS256', '--secret-file', join(db.dir, 'short'));
    await refused(65, 'token', 'create', 'shop', '--issuer', 'es', '--user', 'alice');
    json('issuer', 'revoke', 'shop', 'es');
    assert.ok(json('issuer', 'list', 'shop').issuers.find((i) => i.issuer === 'es').revokedAt);
  });

  test('an account\'s configuration is checked, sealed, and never shown again', async () => {
    const config = { host: 'mail.example.com', port: 587, tls: 'starttls', user: 'me', password: 'very-secret-word', from: 'Shop <shop@example.com>' };
    writeFileSync(join(db.dir, 'smtp.json'), JSON.stringify(config));
    json('account', 'create', 'shop', '--channel', 'email', '--provider', 'smtp', '--config', `@${join(db.dir, 'smtp.json')}`, '--preference', '10');
    const push = json('account', 'create', 'shop', '--channel', 'push', '--provider', 'webpush', '--config', '{"subject":"mailto:ops@example.com"}');
    assert.equal(Buffer.from(push.public.publicKey, 'base64url').length, 65);
    const shown = JSON.stringify(json('account', 'list', 'shop'));
    for (const word of ['very-secret-word', 'mail.example.com', 'privateKey']) assert.ok(!shown.includes(word), word);
    const stored = await db.rows('select encode(config_sealed, \'escape\') as text from belfry.account');
    for (const { text } of stored) assert.ok(!text.includes('very-secret') && !text.includes('privateKey'));
    await refused(1, 'account', 'create', 'shop', '--channel', 'email', '--provider', 'smtp', '--config', JSON.stringify(config));
    await refused(65, 'account', 'create', 'shop', '--id', 'b', '--channel', 'email', '--provider', 'smtp', '--config', '{"host":"x"}');
    await refused(65, 'account', 'create', 'shop', '--id', 'b', '--channel', 'sms', '--provider', 'smtp', '--config', JSON.stringify(config));
    await refused(65, 'account', 'create', 'shop', '--id', 'b', '--channel', 'email', '--provider', 'pigeon');
    await refused(65, 'account', 'create', 'shop', '--id', 'b', '--channel', 'email', '--provider', 'smtp', '--config', 'not json');
    await db.rows("update belfry.account set state = 'paused', paused_reason = 'password refused' where id = 'smtp'");
    json('account', 'resume', 'shop', 'smtp');
    assert.equal((await db.one("select state, paused_reason from belfry.account where id = 'smtp'")).state, 'active');
    json('account', 'delete', 'shop', 'smtp');
    await refused(1, 'account', 'resume', 'shop', 'smtp');
  });

  test('alerts have addresses, which are sealed and shown masked', async () => {
    const { secret } = json('alert', 'set', 'shop', '--email', 'developers@example.com', '--webhook', 'https://hooks.example.com/belfry');
    assert.match(secret, /^whsec_/);
    const shown = json('user', 'show', 'shop', '~developers');
    assert.deepEqual(shown.devices.map((d) => d.channel), ['email', 'webhook']);
    assert.ok(!JSON.stringify(shown).includes('developers@'));
    await refused(65, 'alert', 'set', 'shop', '--email', 'no address');
    await refused(65, 'alert', 'set', 'shop');
    assert.equal(json('alert', 'clear', 'shop').removed, 2);
  });

  test('rotating keys and resealing leaves nothing under the old one, and all of it readable', async () => {
    json('alert', 'set', 'shop', '--email', 'developers@example.com');
    const before = readFileSync(db.keysFile, 'utf8');
    json('keys', 'rotate', db.keysFile);
    assert.equal(statSync(db.keysFile).mode & 0o777, 0o600);
    assert.ok(readFileSync(db.keysFile, 'utf8').length > before.length);
    const { unreadable, issuers, accounts, devices } = json('keys', 'reseal');
    assert.equal(unreadable, 0);
    assert.ok(issuers >= 3 && accounts >= 1 && devices === 1, JSON.stringify({ issuers, accounts, devices }));
    assert.deepEqual(json('keys', 'reseal'), { users: 0, devices: 0, accounts: 0, issuers: 0, unreadable: 0 });
    const used = await db.rows('select distinct get_byte(x, 0) as key from (select key_sealed as x from belfry.issuer union all select config_sealed from belfry.account union all select address_sealed from belfry.device) s');
    assert.equal(used.length, 1);
    assert.ok(json('token', 'create', 'shop', '--issuer', 'https://id.example.com', '--user', 'alice').token);
    await refused(1, 'keys', 'init', db.keysFile);
  });

  test('dead letters are listed and replayed, one or all', async () => {
    const id = '01a00000-0000-7000-8000-000000000001';
    for (let n = 1; n <= 3; n++) {
      await db.rows("insert into belfry.dead_letter (tenant_id, notification_id, n, user_id, channel, priority, reason, tries) values (1, $1, $2, 'alice', 'email', 2, 'mailbox full', 8)", [id, n]);
    }
    await db.rows("insert into belfry.queue_delta (tenant_id, channel, dead) values (1, 'email', 3)");
    assert.equal(json('dead-letters', 'list', '--tenant', 'shop').deadLetters.length, 3);
    assert.deepEqual(json('dead-letters', 'list', '--tenant', 'nowhere').deadLetters, []);
    json('dead-letters', 'replay', 'shop', '--id', `${id}.2`);
    await refused(1, 'dead-letters', 'replay', 'shop', '--id', `${id}.2`);
    await refused(65, 'dead-letters', 'replay', 'shop', '--id', 'x');
    await refused(65, 'dead-letters', 'replay', 'shop');
    assert.deepEqual(json('queue').queues.map((q) => [q.tenant, q.channel, q.ready, q.dead]), [['shop', 'email', 1, 2]]);
    assert.equal(json('dead-letters', 'replay', 'shop', '--all').replayed, 2);
    assert.equal(json('queue').queues[0].ready, 3);
  });

  test('a timeline tells what was decided and every attempt', async () => {
    const id = (await db.one("select (replace(belfry.uuid_floor(now())::text, '-0000-0000-000000000000', '') || '-7000-8000-000000000009')::uuid as id")).id;
    await db.rows(`insert into belfry.notification (tenant_id, id, user_id, request_id, type, title, body, category, priority, decisions)
      values (1, $1, 'alice', $1, 'general', 'Hello', '', 'general', 2, '[{"channel":"push","decision":"skip","reason":"opted out"}]')`, [id]);
    await db.rows("insert into belfry.delivery values (1, $1, 1, 'alice', 'email', '', 'email')", [id]);
    await db.rows("insert into belfry.attempt (tenant_id, notification_id, n, generation, number, outcome, final, code) values (1, $1, 1, 1, 1, 'retry', false, 451), (1, $1, 1, 2, 2, 'sent', true, 250)", [id]);
    const shown = json('timeline', id);
    assert.equal(shown.title, 'Hello');
    assert.equal(shown.decisions[0].reason, 'opted out');
    assert.deepEqual(shown.deliveries.map((d) => [d.number, d.outcome, d.code]), [[1, 'retry', 451], [2, 'sent', 250]]);
    assert.match(db.ctl('timeline', id), /mail|email/);
  });

  test('renewing the epoch makes every cursor void', async () => {
    const before = await db.one('select epoch from belfry.installation');
    const { epoch } = json('epoch', 'renew');
    assert.notEqual(epoch, before.epoch);
    assert.equal((await db.one('select epoch from belfry.installation')).epoch, epoch);
  });
});
