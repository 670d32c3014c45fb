// E-mail from POST /notifications to a mailbox: TLS, authentication, the message itself, and what
// becomes of each reply of the server.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant, smtpConfig } from '../../deploy/dev/tenant.mjs';
import { startPostbox } from '../postbox/index.mjs';
import { QUICK, DEADLINE_MS, outcomes, put, send, timeline, untilAttempts, untilState } from './lib.mjs';

let postbox;
let stack;
let userNumber = 0;

before(async () => {
  postbox = await startPostbox();
  stack = await startStack({ postbox, env: QUICK });
});
after(async () => {
  await stack?.stop();
  await postbox?.close();
});

// A tenant that has an e-mail account with this configuration and nothing else.
async function mailTenant(name, config = smtpConfig(postbox)) {
  const tenant = await createTenant(stack, name, { accounts: false });
  account(name, config);
  return tenant;
}
const account = (name, config, id = 'smtp') => stack.ctl('account', 'create', name, '--channel', 'email', '--provider', 'smtp',
  '--id', id, '--config', JSON.stringify(config), '--json');

async function person(tenant, profile = {}) {
  const user = `m${userNumber++}`;
  const email = `${user}@example.com`;
  await put(tenant, `/users/${user}`, { email, ...profile });
  return { user, email };
}
const mailTo = (email) => postbox.waitFor((m) => m.kind === 'email' && m.to.includes(email), { timeoutMs: DEADLINE_MS });
const mailsTo = (email) => postbox.messages({ kind: 'email' }).filter((m) => m.to.includes(email));
const accountState = (name) => stack.ctl('account', 'list', name, '--json').accounts.map((one) => one.state);

describe('e-mail', () => {
  let shop;
  before(async () => {
    shop = await mailTenant('shop');
  });

  test('goes through STARTTLS, authenticated', async () => {
    const { user, email } = await person(shop);
    const id = await send(shop, user);
    const mail = await mailTo(email);
    assert.deepEqual([mail.tls, mail.user, mail.problem], ['starttls', postbox.user, null]);
    const delivery = await untilState(stack, shop, id, 'sent');
    assert.deepEqual(outcomes(delivery.attempts), ['sent']);
    assert.equal(delivery.attempts[0].code, '250');
    assert.match(delivery.attempts[0].providerMessageId, /queued as/);
  });

  test('goes through implicit TLS', async () => {
    const implicit = await mailTenant('implicit', smtpConfig(postbox, 'implicit'));
    const { user, email } = await person(implicit);
    await send(implicit, user);
    const mail = await mailTo(email);
    assert.deepEqual([mail.tls, mail.user, mail.problem], ['implicit', postbox.user, null]);
  });

  test('never falls back to clear text when STARTTLS is missing', async () => {
    const clear = await startPostbox({ startTls: false });
    try {
      const stripped = await mailTenant('stripped', smtpConfig(clear));
      const { user } = await person(stripped);
      const id = await send(stripped, user);
      const attempts = await untilAttempts(stack, stripped, id, 1);
      assert.ok(['unauthorized', 'retry'].includes(attempts[0].outcome), JSON.stringify(attempts));
      assert.deepEqual(clear.messages(), [], 'nothing was said in clear text');
    } finally {
      await clear.close();
    }
  });

  test('an untrusted certificate is refused', async () => {
    const foreign = await startPostbox(); // its authority is not the one that the stack trusts
    try {
      const spoofed = await mailTenant('spoofed', smtpConfig(foreign));
      const { user } = await person(spoofed);
      await untilAttempts(stack, spoofed, await send(spoofed, user), 1);
      assert.deepEqual(foreign.messages(), []);
    } finally {
      await foreign.close();
    }
  });

  test('has text and HTML, an encoded subject, and all that a mail needs', async () => {
    const { user, email } = await person(shop, { name: '김철수' });
    const title = '안녕하세요 👋 your order — a subject that is long enough for several encoded words, so it is folded 주문이 도착했습니다';
    const body = 'First line\n.\n.. dots at the beginning\nüber <b>&amp;</b> 끝';
    const id = await send(shop, user, { title, body, url: 'https://shop.example.com/?a=1&b=2', actions: [{ id: 'go', label: 'Go <there>', url: 'https://shop.example.com/go' }] });
    const mail = await mailTo(email);
    assert.equal(mail.problem, null);
    assert.equal(mail.subject, title);
    assert.match(mail.headers.subject, /^=\?UTF-8\?[BQ]\?/i);
    assert.ok(mail.raw.split('\r\n').every((line) => line.length <= 998), 'no long line');
    assert.ok(mail.raw.split('\r\n\r\n')[0].split('\r\n').every((line) => line.length <= 78), 'headers are folded');
    assert.ok([...mail.raw.split('\r\n\r\n')[0]].every((c) => c.charCodeAt(0) < 128), 'headers are ASCII');
    assert.match(mail.headers['content-type'], /^multipart\/alternative/);
    assert.ok(mail.text.includes(body), mail.text);
    assert.ok(mail.html.includes('&lt;b&gt;&amp;amp;&lt;/b&gt;'), mail.html);
    assert.ok(mail.html.includes('href="https://shop.example.com/?a=1&amp;b=2"'), mail.html);
    assert.ok(mail.html.includes('Go &lt;there&gt;'), mail.html);
    assert.equal(mail.headerFrom, '"Belfry" <notify@example.com>');
    assert.ok(mail.headerTo.includes('김철수') && mail.headerTo.includes(email), mail.headerTo);
    assert.ok(Math.abs(new Date(mail.date) - Date.now()) < 120_000);
    assert.ok(mail.messageId.includes(id), mail.messageId);
    assert.equal(mail.headers['mime-version'], '1.0');
  });

  test('nothing that a sender or recipient writes adds a header', async () => {
    const evil = 'Hello\r\nBcc: thief@example.com\r\nX-Evil: yes\r\n\r\nbody';
    const { user, email } = await person(shop);
    const named = await shop.service('PUT', `/users/${user}`, { email, name: evil });
    const answer = await shop.service('POST', '/notifications', { to: [user], title: evil, body: evil });
    if (answer.status === 422) {
      assert.ok(answer.body.errors.some((fault) => fault.pointer === '/title'), JSON.stringify(answer.body));
      await send(shop, user, { title: 'Hello', body: evil });
    }
    assert.ok([200, 422].includes(named.status));
    const mail = await mailTo(email);
    assert.deepEqual(mail.to, [email]);
    for (const name of ['bcc', 'x-evil', 'cc']) assert.equal(mail.headers[name], undefined, name);
    assert.equal(mail.problem, null);
  });

  test('a failure that may pass is tried again, with the same Message-ID', async () => {
    const { user, email } = await person(shop);
    postbox.fault({ kind: 'email', next: 2, match: email, smtp: { stage: 'end', code: 452, text: '4.3.1 Insufficient storage' } });
    const id = await send(shop, user);
    const delivery = await untilState(stack, shop, id, 'sent');
    assert.deepEqual(outcomes(delivery.attempts), ['retry', 'retry', 'sent']);
    assert.deepEqual(delivery.attempts.map((attempt) => attempt.code), ['452', '452', '250']);
    assert.deepEqual(delivery.attempts.map((attempt) => attempt.number), [1, 2, 3]);
    assert.ok(delivery.attempts[0].retryAt !== null);
    const mails = mailsTo(email);
    assert.deepEqual(mails.map((mail) => mail.ok), [false, false, true]);
    assert.equal(new Set(mails.map((mail) => mail.messageId)).size, 1);
  });

  test('a connection that is lost during RCPT is tried again', async () => {
    const { user, email } = await person(shop);
    postbox.fault({ kind: 'email', next: 1, match: email, reset: true, smtp: { stage: 'rcpt' } });
    const delivery = await untilState(stack, shop, await send(shop, user), 'sent');
    assert.equal(delivery.attempts.at(-1).outcome, 'sent');
    assert.equal(mailsTo(email).length, 1);
  });

  test('a recipient that does not exist ends it, and its address is removed', async () => {
    const { user, email } = await person(shop);
    postbox.fault({ kind: 'email', next: 1, match: email, smtp: { stage: 'rcpt', code: 550, text: '5.1.1 No such user' } });
    const delivery = await untilState(stack, shop, await send(shop, user), 'failed');
    assert.deepEqual(outcomes(delivery.attempts), ['gone']);
    assert.equal(delivery.attempts[0].code, '550');
    assert.match(delivery.attempts[0].detail, /No such user/);
    const device = await shop.service('GET', `/users/${user}/devices/email`);
    assert.equal(device.status, 404);
  });

  test('a message that is refused for its content is not tried again, and the address stays', async () => {
    const { user, email } = await person(shop);
    postbox.fault({ kind: 'email', next: 1, match: email, smtp: { stage: 'end', code: 552, text: '5.3.4 Message too big' } });
    const delivery = await untilState(stack, shop, await send(shop, user), 'failed');
    assert.deepEqual(outcomes(delivery.attempts), ['rejected']);
    assert.equal((await shop.service('GET', `/users/${user}/devices/email`)).status, 200);
    await send(shop, user);
    await stack.until(() => mailsTo(email).some((mail) => mail.ok), 'the next one arrives', DEADLINE_MS);
  });

  test('many messages share connections', async () => {
    const people = await Promise.all(Array.from({ length: 30 }, () => person(shop)));
    const answer = await shop.service('POST', '/notifications', { to: people.map((one) => one.user), title: 'Many' });
    assert.equal(answer.status, 202);
    const mails = await Promise.all(people.map((one) => mailTo(one.email)));
    const sessions = new Set(mails.map((mail) => mail.session)).size;
    assert.ok(sessions < mails.length, `${sessions} connections for ${mails.length} messages`);
    assert.deepEqual(mails.filter((mail) => mail.problem), []);
  });

  test('a wrong password pauses the account and loses nothing; a new account sends what it held', async () => {
    const wrong = await mailTenant('wrong', { ...smtpConfig(postbox), password: 'not-the-password' });
    const people = await Promise.all(Array.from({ length: 3 }, () => person(wrong)));
    const ids = await Promise.all(people.map((one) => send(wrong, one.user)));
    await stack.until(() => accountState('wrong')[0] === 'paused', 'the account is paused', DEADLINE_MS);
    const held = await Promise.all(ids.map((id) => untilState(stack, wrong, id, 'scheduled')));
    assert.ok(held.some((delivery) => delivery.attempts.some((attempt) => attempt.outcome === 'unauthorized' && attempt.code === '535')), JSON.stringify(held));
    people.forEach((one) => assert.deepEqual(mailsTo(one.email), []));
    stack.ctl('account', 'delete', 'wrong', 'smtp');
    account('wrong', smtpConfig(postbox), 'right');
    await Promise.all(ids.map((id) => untilState(stack, wrong, id, 'sent')));
    people.forEach((one) => assert.equal(mailsTo(one.email).length, 1));
  });

  test('a refused login alerts the developers, and belfryctl account resume goes on', async () => {
    const refused = await createTenant(stack, 'refused', { accounts: false });
    account('refused', { ...smtpConfig(postbox), host: 'localhost' }); // kept connections to other names are not used
    const { user, email } = await person(refused);
    const alert = stack.ctl('alert', 'set', 'refused', '--webhook', `${postbox.httpsUrl}/webhooks/refused-alerts`, '--json');
    postbox.setWebhookSecrets('refused-alerts', [alert.secret]);
    postbox.fault({ kind: 'email', next: 1, smtp: { stage: 'auth', code: 535, text: '5.7.8 Authentication credentials invalid' }, match: postbox.user });
    const id = await send(refused, user);
    await stack.until(() => accountState('refused')[0] === 'paused', 'the account is paused', DEADLINE_MS).catch(async (error) => {
      throw new Error(`${error.message}; ${JSON.stringify(await timeline(refused, id))}`);
    });
    const told = await postbox.waitFor((m) => m.kind === 'webhook' && m.name === 'refused-alerts', { timeoutMs: DEADLINE_MS });
    assert.equal(told.problem, null);
    assert.match(`${told.payload.data.title} ${told.payload.data.body}`, /smtp/);
    assert.doesNotMatch(told.text, new RegExp(postbox.password));
    await untilState(stack, refused, id, 'scheduled');
    stack.ctl('account', 'resume', 'refused', 'smtp');
    await untilState(stack, refused, id, 'sent');
    assert.equal(mailsTo(email).length, 1);
  });
});
