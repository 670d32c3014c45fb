// The postbox: one small program that stands in for the providers on a laptop and in tests.
//
// It takes e-mail (SMTP with STARTTLS and with implicit TLS), Web Push (RFC 8030; decrypts each
// message with the subscription's keys) and webhooks (verifies Standard Webhooks signatures), keeps
// what arrived in bounded memory, and shows it as JSON and as a page. It checks strictly, answers as
// the real provider would, and can be told to fail.
//
// In a test:
//   import { startPostbox } from '../postbox/index.mjs';
//   const postbox = await startPostbox();                 // every port is free and private
//   postbox.url, postbox.httpsUrl, postbox.smtpPort, postbox.smtpsPort, postbox.user,
//   postbox.password, postbox.caFile                      // for belfryctl and BELFRY_CA_FILE
//   const subscription = postbox.subscribe();             // {id, endpoint, keys:{p256dh, auth}}
//   postbox.setWebhookSecrets('orders', ['whsec_...']);   // then POST to .../webhooks/orders
//   postbox.fault({ kind: 'webhook', next: 3, status: 503, retryAfter: 1 });
//   const mail = await postbox.waitFor((m) => m.kind === 'email' && m.to.includes('a@example.org'));
//   postbox.messages({ kind: 'push', since: 12 });        // newest last
//   await postbox.close();
// Outside of Node it is `node tests/postbox/main.mjs`, and http.mjs lists its HTTP interface.
//
// Does not promise: durability of messages. Subscriptions, webhook secrets and the certificate
// outlive a restart when `dir` is given.
// One more kind of provider: a file like webhook.mjs, a line in http.mjs, its `kind` in faults.mjs.
import { Mailbox } from './mailbox.mjs';
import { Faults } from './faults.mjs';
import { openState } from './state.mjs';
import { PushService } from './push.mjs';
import { WebhookReceiver } from './webhook.mjs';
import { startSmtp } from './smtp.mjs';
import { startHttp } from './http.mjs';

/**
 * Starts a postbox and resolves when all four listeners accept.
 *
 * Options, all optional: dir (state, certificate and postbox.json are kept here; otherwise in a
 * temporary directory that close() removes), host, httpPort, httpsPort, smtpPort, smtpsPort (0 or
 * absent: a free one), user, password (SMTP), startTls (false: the plain port does not offer it),
 * messagesMax, bytesMax (what is kept; the oldest go first).
 */
export async function startPostbox(options = {}) {
  const host = options.host ?? '127.0.0.1';
  const state = openState(options.dir);
  const mailbox = new Mailbox(options);
  const faults = new Faults();
  const push = new PushService({ mailbox, faults, state });
  const webhooks = new WebhookReceiver({ mailbox, faults, state });
  const tls = state.certificate();

  const smtp = await startSmtp({
    host, tls, mailbox, faults,
    port: options.smtpPort ?? 0,
    tlsPort: options.smtpsPort ?? 0,
    user: options.user ?? 'postbox',
    password: options.password ?? 'postbox-secret',
    startTls: options.startTls ?? true,
  });
  const http = await startHttp({
    host, tls, mailbox, faults, push, webhooks,
    port: options.httpPort ?? 0,
    tlsPort: options.httpsPort ?? 0,
    info: () => info,
  });
  push.setBases(http.url, http.httpsUrl);

  const info = {
    pid: process.pid,
    url: http.url,
    httpsUrl: http.httpsUrl,
    host,
    smtpPort: smtp.port,
    smtpsPort: smtp.tlsPort,
    user: smtp.user,
    password: smtp.password,
    caFile: state.caFile,
  };
  state.publish(info);

  return {
    ...info,
    messages: (filter) => mailbox.list(filter),
    clear: () => mailbox.clear(),
    waitFor: (predicate, waitOptions) => mailbox.waitFor(predicate, waitOptions),
    fault: (fault) => faults.add(fault),
    clearFaults: () => faults.clear(),
    subscribe: (subscribeOptions) => push.subscribe(subscribeOptions),
    expire: (id) => push.expire(id),
    setWebhookSecrets: (name, secrets) => webhooks.setSecrets(name, secrets),
    connections: () => smtp.connections(),
    async close() {
      await Promise.all([http.close(), smtp.close()]);
      state.close();
    },
  };
}
