// A tenant with everything to send and receive: app key, issuer of user tokens, and accounts at the
// postbox. The demo is one; tests make as many as they need.
//
//   const shop = await createTenant(stack, 'shop');
//   shop.authorization                  // of a service: {Authorization: 'Basic ...'}
//   shop.bearer('u1')                   // of a user: {Authorization: 'Bearer ...'}; made here, no process
//   await shop.service('POST', '/notifications', { to: ['u1'], title: 'Hi' })   // {status, headers, body}
//   await shop.user('u1', 'GET', '/inbox')
//   await shop.addPerson('u1')          // e-mail, webhook and push at the postbox
import { createHmac } from 'node:crypto';

export const ALL_SCOPES = 'send,send:urgent,read,users,ops';

/** options: scopes, sandbox, origins, accounts (false: none), postbox (default: the stack's). */
export async function createTenant(stack, name, options = {}) {
  const { scopes = ALL_SCOPES, sandbox = false, origins = [], accounts = true } = options;
  const postbox = options.postbox ?? stack.options.postbox;
  stack.ctl('tenant', 'create', name, ...origins.flatMap((origin) => ['--origin', origin]), '--json');
  const key = stack.ctl('key', 'create', name, '--scopes', scopes, ...(sandbox ? ['--sandbox'] : []), '--json');
  const issuer = `https://${name}.example.com`;
  const made = stack.ctl('issuer', 'create', name, '--name', issuer, '--alg', 'HS256', '--json');
  if (accounts && postbox) createAccounts(stack, name, postbox);
  return tenantClient(stack, { name, appKey: key.appKey, appSecret: key.appSecret, issuer, secret: made.secret }, postbox);
}

/** Accounts of all three kinds at a postbox. */
export function createAccounts(stack, name, postbox) {
  const account = (channel, provider, config) => stack.ctl('account', 'create', name, '--channel', channel,
    '--provider', provider, '--config', JSON.stringify(config), '--json');
  account('email', 'smtp', smtpConfig(postbox));
  account('push', 'webpush', { subject: 'mailto:ops@example.com' });
  account('webhook', 'webhook', {});
}

export function smtpConfig(postbox, tls = 'starttls') {
  return {
    host: postbox.host, port: tls === 'implicit' ? postbox.smtpsPort : postbox.smtpPort, tls,
    user: postbox.user, password: postbox.password, from: 'Belfry <notify@example.com>',
  };
}

/** What one does with a tenant whose credentials are known. */
export function tenantClient(stack, credentials, postbox = null) {
  const basic = Buffer.from(`${credentials.appKey}:${credentials.appSecret}`).toString('base64');
  const authorization = { Authorization: `Basic ${basic}` };
  const token = (user, claims = {}) => signToken(credentials, user, claims);
  const bearer = (user, claims) => ({ Authorization: `Bearer ${token(user, claims)}` });
  const client = {
    ...credentials,
    authorization,
    token,
    bearer,
    service: (method, path, body, headers) => call(stack.url, method, path, body, { ...authorization, ...headers }),
    user: (user, method, path, body, headers) => call(stack.url, method, path, body, { ...bearer(user), ...headers }),
    addPerson: (user, options) => addPerson(client, postbox, user, options),
  };
  return client;
}

/** A user token (HS256), valid for an hour unless `claims` says otherwise. */
function signToken({ issuer, secret }, user, claims) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ iss: issuer, sub: user, iat: now, exp: now + 3600, ...claims })}`;
  return `${signed}.${createHmac('sha256', Buffer.from(secret, 'base64url')).update(signed).digest('base64url')}`;
}

/** One request below /api/v1: {status, headers, body}; the body is parsed if it is JSON. */
async function call(url, method, path, body, headers) {
  const response = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: { ...(body === undefined ? {} : { 'Content-Type': 'application/json' }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return { status: response.status, headers: response.headers, body: isJson && text ? JSON.parse(text) : text };
}

/**
 * A user with an e-mail address, a webhook and a push subscription at the postbox (devices
 * "postbox-webhook" and "postbox-push"); may be repeated. Gives {user, email, subscription, webhook}.
 */
async function addPerson(client, postbox, user, options = {}) {
  const { profile = {}, webhook = `${client.name}-${user}`, secure = true } = options;
  const put = async (path, body) => {
    const answer = await client.service('PUT', path, body);
    if (answer.status !== 200 && answer.status !== 201) {
      throw new Error(`PUT ${path} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    }
    return answer.body;
  };
  const base = secure ? postbox.httpsUrl : postbox.url;
  const email = `${user}@example.com`;
  await put(`/users/${user}`, { email, ...profile });
  const secret = `whsec_${createHmac('sha256', client.appSecret).update(`${user}\n${webhook}`).digest('base64')}`;
  await postbox.setWebhookSecrets(webhook, [secret]);
  await put(`/users/${user}/devices/postbox-webhook`, { channel: 'webhook', url: `${base}/webhooks/${webhook}`, secret });
  const subscription = options.subscription ?? await postbox.subscribe({ secure });
  await put(`/users/${user}/devices/postbox-push`, {
    channel: 'push', provider: 'webpush', subscription: { endpoint: subscription.endpoint, keys: subscription.keys },
  });
  return { user, email, subscription, webhook };
}
