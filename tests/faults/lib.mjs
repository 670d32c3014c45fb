// What the fault tests share: a receiver of webhooks that can hold its answers, a sender that repeats
// what stays open with the same key, and questions to the queue's tables.
//
// Every wait is a condition with a generous deadline; nothing here sleeps as a proof.
import http from 'node:http';
import assert from 'node:assert/strict';
import { pause } from '../../deploy/dev/service.mjs';

export const DEADLINE_MS = 60_000;

// Answers come without limits of rate; leases and retries are short, so that what is lost comes back soon.
export const QUICK = {
  BELFRY_RATE_SERVICE: '1000000', BELFRY_RATE_USER: '100000',
  BELFRY_RETRY_BASE_MS: '100', BELFRY_RETRY_CAP_MS: '1000', BELFRY_LEASE_MS: '4000',
};

/**
 * A receiver of webhooks that has a message only once its 200 has been written: one whose connection
 * is cut before that was never received, as with a provider that had not yet committed.
 */
export class Receiver {
  arrived = new Map(); // webhook-id → requests begun
  taken = new Map(); // webhook-id → requests answered 200
  payloads = new Map(); // webhook-id → body of the last request
  #held = [];
  #holding = false;
  #servers = [];
  #next = 0;
  onRequest = () => {};

  /** With several origins, for a slow one gets few transfers at a time. */
  static async start(origins = 8) {
    const receiver = new Receiver();
    for (let i = 0; i < origins; i++) {
      const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => receiver.#receive(request, response));
      await new Promise((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 2048 }, resolve));
      receiver.#servers.push(server);
    }
    return receiver;
  }

  /** An address for somebody, at the next origin. */
  url(name) {
    return `http://127.0.0.1:${this.#servers[this.#next++ % this.#servers.length].address().port}/${name}`;
  }

  async #receive(request, response) {
    const chunks = [];
    request.on('error', () => {});
    response.on('error', () => {});
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // cut before all of it was here
    }
    const one = { id: request.headers['webhook-id'], name: request.url.slice(1), request, response, cut: false };
    response.once('close', () => {
      one.cut = !response.writableFinished;
      this.#held = this.#held.filter((other) => other !== one);
    });
    count(this.arrived, one.id);
    this.payloads.set(one.id, JSON.parse(Buffer.concat(chunks)));
    if (this.onRequest(one) === false) return; // the test answers by itself, or never
    if (this.#holding) this.#held.push(one);
    else this.answer(one);
  }

  /** Takes a message and says so. */
  answer(one) {
    if (one.cut) return;
    count(this.taken, one.id);
    one.response.writeHead(200, { 'Content-Length': 0 }).end();
  }

  /** From now on answers wait for release(). */
  hold() {
    this.#holding = true;
  }

  get held() {
    return this.#held.length;
  }

  heldIds() {
    return this.#held.map((one) => one.id);
  }

  /** Takes out those held now: they are answered by whoever has them. */
  detach(most = Infinity) {
    return this.#held.splice(0, most);
  }

  release() {
    this.#holding = false;
    for (const one of this.detach()) this.answer(one);
  }

  async close() {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }
}

export const count = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);

/** Gives each user a webhook at the receiver, many at a time. */
export async function addWebhooks(tenant, receiver, users, device = 'hook') {
  await inParallel(users, 16, async (user) => {
    const answer = await tenant.service('PUT', `/users/${user}/devices/${device}`, { channel: 'webhook', url: receiver.url(user) });
    assert.ok(answer.status === 200 || answer.status === 201, `device of ${user}: ${answer.status} ${JSON.stringify(answer.body)}`);
  });
}

export async function inParallel(items, width, work) {
  const left = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = left.next(); !next.done; next = left.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/**
 * POSTs with an idempotency key until there is an answer that settles it: no answer, a cut one, a 5xx
 * and "still running" are open. Gives the answer and how often it had to be asked.
 */
export async function settle(tenant, path, body, key, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  for (let tries = 1; ; tries++) {
    const answer = await tenant.service('POST', path, body, { 'Idempotency-Key': key }).catch((error) => ({ status: 0, body: error }));
    const isOpen = answer.status === 0 || answer.status >= 500 || answer.status === 409;
    if (!isOpen) return { ...answer, tries };
    if (Date.now() > end) throw new Error(`${path} stays open: ${answer.status} ${JSON.stringify(answer.body)}`);
    await pause(50);
  }
}

/** All that a user's inbox lists, over all pages. */
export async function wholeInbox(tenant, user) {
  const found = [];
  for (let cursor = null; ;) {
    const { status, body } = await tenant.user(user, 'GET', `/inbox?limit=100${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
    assert.equal(status, 200, JSON.stringify(body));
    found.push(...body.notifications);
    if (body.nextCursor === null) return { notifications: found, unreadCount: body.unreadCount, unseenCount: body.unseenCount };
    cursor = body.nextCursor;
  }
}

export const webhookId = (notification, n = 1) => `msg_${notification}_${n}`;

const number = (stack, query) => Number(stack.sql(query));
export const leases = (stack) => number(stack, 'select count(*) from belfry.lease');
/** Deliveries that have not ended: ready, leased, or waiting for a time. */
export const unfinished = (stack) => number(stack, `select (select count(*) from belfry.ready) + (select count(*) from belfry.lease)
  + (select count(*) from belfry.scheduled) + (select count(*) from belfry.send_request where failure is null)`);

/** The webhook ids of what workers have claimed. */
export const leasedIds = (stack) => stack.sql("select 'msg_' || notification_id || '_' || n from belfry.lease").split('\n').filter(Boolean);

/** Waits until no session of a role is in the middle of a statement: what it sent has been committed or refused. */
export const roleIsQuiet = (stack, role) => stack.until(
  () => number(stack, `select count(*) from pg_stat_activity where usename = '${role}' and state = 'active'`) === 0, `${role} is quiet`);

/** The counters of a feed and of the queue equal a recount of the rows. */
export function assertNothingDrifted(stack) {
  const drifted = stack.sql(`
    select f.key, f.unread, f.unseen, c.unread, c.unseen from belfry.feed f cross join lateral (
      select count(*) filter (where n.read_at is null and n.rev > f.read_all_rev) as unread,
             count(*) filter (where n.seen_at is null and n.rev > f.seen_all_rev) as unseen
      from belfry.notification n
      where n.tenant_id = f.tenant_id and 'inbox:' || n.user_id = f.key and n.in_inbox and n.deleted_at is null and n.archived_at is null
        and n.cancelled_at is null and n.rev > f.delete_all_rev) c
    where (f.unread, f.unseen) <> (c.unread, c.unseen)`);
  assert.equal(drifted, '', 'feed counters equal a recount');
  const depths = stack.sql(`
    select coalesce(sum(ready), 0) - (select count(*) from belfry.ready), coalesce(sum(leased), 0) - (select count(*) from belfry.lease),
           coalesce(sum(scheduled), 0) - (select count(*) from belfry.scheduled), coalesce(sum(dead), 0) - (select count(*) from belfry.dead_letter)
    from belfry.queue_delta`);
  assert.equal(depths, '0|0|0|0', 'queue depths equal a recount');
}

/** The end of every program's log, for a failed test. */
export function logs(stack) {
  return ['api', 'worker', 'scheduler', 'web'].map((name) => `---- ${name}\n${stack.logTail(name)}`).join('\n');
}

/** Fails when a program said that it met a defect of its own (a sanitizer's report). */
export function assertNoSanitizerReport(stack) {
  for (const name of ['api', 'worker', 'scheduler']) {
    assert.doesNotMatch(stack.logTail(name), /AddressSanitizer|runtime error:|LeakSanitizer/, `${name} is clean`);
  }
}
