/**
 * "What arrived": for one notification, what the receiver of each channel got, read from the postbox, and
 * the notification's timeline, read from Belfry.
 *
 * The postbox answers `GET` with `{messages: [{n, at, kind, problem, …}]}`; `since` and `wait` make that a
 * long-poll. A message belongs to the notification whose id it mentions.
 */

import { h } from './client/dom.js';

const WAIT_S = 20;
const RETRY_MS = 2000;
const TIMELINE_MS = 400;
const TIMELINE_SLOW_MS = 1500;
const MESSAGES_MAX = 400;
const ENDED = ['sent', 'failed', 'expired', 'cancelled', 'unknown', 'dead'];
const STATE_WORDS = { scheduled: 'waiting for its time', ready: 'ready', leased: 'under way' };
const CHANNELS = [
  { kind: 'email', name: 'E-mail', render: renderEmail },
  { kind: 'push', name: 'Web Push', render: renderPush },
  { kind: 'webhook', name: 'Webhook', render: renderWebhook },
];

export class Arrived {
  #parts;
  /** What the postbox holds, by number. @type {Map<number, any>} */
  #messages = new Map();
  #since = 0;
  /** The notification on show. @type {any} */
  #shown = null;
  /** When we first saw an id in the inbox: it may be there before the answer to the send. @type {Map<string, number>} */
  #inboxAt = new Map();
  #timeline = null;
  /** The parts as they are drawn. @type {Map<string, { key: string, element: HTMLElement }>} */
  #drawn = new Map();
  #timelineTimer = 0;

  /** @param {{ client: EventTarget, service: Function, postboxUrl: string, place: HTMLElement }} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#parts.client.addEventListener('change', () => this.#noticeInbox());
  }

  /** Reads the postbox from now on. */
  async start() {
    let wait = false; // the first answer tells what is there
    for (;;) {
      try {
        const url = new URL(this.#parts.postboxUrl, document.baseURI);
        url.searchParams.set('since', String(this.#since));
        if (wait) url.searchParams.set('wait', String(WAIT_S));
        const startMs = Date.now();
        const { messages } = await (await fetch(url, { cache: 'no-store' })).json();
        this.#keep(messages);
        if (wait && !messages.length && Date.now() - startMs < 1000) await sleep(RETRY_MS / 2);
        wait = true;
      } catch {
        this.#since = 0; // gone or started anew: read it from the beginning
        wait = false;
        await sleep(RETRY_MS);
      }
    }
  }

  /** Shows an item of the inbox, or what was just sent: then the request's body with `id` and `sentAtMs`. @param {any} notification */
  show(notification) {
    this.#shown = notification;
    this.#timeline = null;
    if (!this.#drawn.size) this.#parts.place.replaceChildren();
    this.#draw();
    this.#readTimeline(notification.id);
  }

  #keep(messages) {
    for (const message of messages) {
      this.#messages.set(message.n, message);
      this.#since = Math.max(this.#since, message.n);
    }
    for (const n of [...this.#messages.keys()].slice(0, -MESSAGES_MAX)) this.#messages.delete(n);
    if (messages.length) this.#draw();
  }

  #noticeInbox() {
    for (const { id } of this.#parts.client.state.notifications) {
      if (!this.#inboxAt.has(id)) this.#inboxAt.set(id, Date.now());
    }
    this.#draw();
  }

  async #readTimeline(id) {
    window.clearTimeout(this.#timelineTimer);
    if (this.#shown?.id !== id) return;
    const { status, body } = await this.#parts.service('GET', `/notifications/${id}/timeline`).catch(() => ({ status: 0, body: null }));
    if (this.#shown?.id !== id) return;
    if (status === 200) this.#timeline = body;
    this.#draw();
    const ended = status === 200 && body.status !== 'scheduled' && body.deliveries.every((one) => ENDED.includes(one.state));
    if (status === 404 || (ended && body.deliveries.length)) return;
    const delayMs = status === 200 && body.deliveries.some((one) => one.state === 'scheduled') ? TIMELINE_SLOW_MS : TIMELINE_MS;
    this.#timelineTimer = window.setTimeout(() => this.#readTimeline(id), status === 200 && !body.deliveries.length ? TIMELINE_SLOW_MS : delayMs);
  }

  /** The postbox's messages about the notification on show, by kind. */
  #found(kind) {
    return [...this.#messages.values()].filter((message) => message.kind === kind && JSON.stringify(message).includes(this.#shown.id));
  }

  #draw() {
    const shown = this.#shown;
    if (!shown) return;
    this.#put('subject', [shown.id], () => h('p', { class: 'subject' }, h('b', {}, shown.title), h('code', {}, shown.id)));
    this.#put('inbox', [shown.id, this.#inboxAt.get(shown.id)], () => this.#inboxRow(shown));
    for (const channel of CHANNELS) {
      const messages = this.#found(channel.kind);
      const key = [shown.id, messages.map(({ n }) => n), messages.length ? null : this.#timeline];
      this.#put(channel.kind, key, () => this.#channelRow(channel, messages, shown));
    }
    this.#put('timeline', [shown.id, this.#timeline], () => this.#timelineRow(shown));
  }

  /** Draws a part again only when what it shows changed: an opened detail stays open. @param {string} name @param {unknown} key @param {() => HTMLElement} make */
  #put(name, key, make) {
    const text = JSON.stringify(key);
    const held = this.#drawn.get(name);
    if (held?.key === text) return;
    const element = make();
    if (held) held.element.replaceWith(element);
    else this.#parts.place.append(element);
    this.#drawn.set(name, { key: text, element });
  }

  #inboxRow(shown) {
    const at = this.#inboxAt.get(shown.id);
    const there = at !== undefined;
    const expected = shown.scheduledAt ? `due at ${clock(shown.scheduledAt)}` : 'on its way';
    const took = there ? tookText(shown, at) : expected;
    return channelRow('Inbox', there ? 'done' : 'waiting', took);
  }

  #channelRow({ kind, name, render }, messages, shown) {
    if (!messages.length) return this.#absentRow(kind, name, shown);
    const [first] = messages;
    const good = messages.some((message) => message.ok ?? !message.problem);
    return channelRow(name, good ? 'done' : 'bad', tookText(shown, Date.parse(first.at)), ...messages.map((message) => render(message)));
  }

  /** Nothing came: because it will not, or not yet. */
  #absentRow(kind, name, shown) {
    const deliveries = this.#timeline?.deliveries.filter((one) => one.channel === kind) ?? [];
    const [decision] = this.#timeline?.decisions.filter((one) => one.channel === kind && one.decision !== 'deliver') ?? [];
    const asked = shown.channels === undefined || shown.channels === null || shown.channels.includes(kind);
    if (!asked) return channelRow(name, 'off', 'not chosen');
    if (decision && !deliveries.length) return channelRow(name, 'off', `${decision.decision}: ${decision.reason}`);
    if (deliveries.length && deliveries.every((one) => ENDED.includes(one.state))) {
      const sent = deliveries.some((one) => one.state === 'sent');
      return channelRow(name, sent ? 'done' : 'bad', deliveries.map((one) => one.state).join(', '));
    }
    if (!shown.sentAtMs && !deliveries.length) return channelRow(name, 'off', 'nothing');
    return channelRow(name, 'waiting', shown.scheduledAt ? `due at ${clock(shown.scheduledAt)}` : 'on its way');
  }

  #timelineRow(shown) {
    if (!this.#timeline) return h('section', { hidden: true });
    const entries = timelineEntries(this.#timeline, shown).map(({ kind, text, more, at }) => h('li', { class: kind },
      at ? h('span', { class: 'when' }, clock(at, true)) : null,
      text,
      more ? h('span', { class: 'more' }, more) : null));
    return h('section', { class: 'timeline', 'aria-label': 'Timeline' }, h('h3', {}, 'Timeline'), h('ol', {}, ...entries));
  }
}

/** The timeline as sentences, in the order in which things happened. */
function timelineEntries(timeline, shown) {
  const tried = timeline.deliveries.flatMap((delivery) => delivery.attempts.map((attempt) => attemptEntry(delivery, attempt)));
  tried.sort((a, b) => ((a.at ?? '') < (b.at ?? '') ? -1 : 1));
  const open = timeline.deliveries.filter((delivery) => !ENDED.includes(delivery.state) && !delivery.attempts.length).map((delivery) => ({
    kind: 'wait', text: `${channelName(delivery.channel)}: ${STATE_WORDS[delivery.state] ?? delivery.state}`, more: delivery.provider, at: null,
  }));
  return [acceptedEntry(timeline, shown), ...decisionEntries(timeline.decisions), ...tried, ...open];
}

function acceptedEntry(timeline, shown) {
  const at = shown.createdAt ?? (shown.sentAtMs ? new Date(shown.sentAtMs).toISOString() : null);
  if (timeline.status !== 'scheduled') return { kind: 'good', text: 'Accepted', more: '', at };
  return { kind: 'wait', text: `Scheduled for ${clock(shown.scheduledAt)}`, more: '', at };
}

/** What is delivered in one line; what is not, each with its reason. */
function decisionEntries(decisions) {
  const names = [...new Set(decisions.filter((one) => one.decision === 'deliver').map((one) => channelName(one.channel)))];
  const others = decisions.filter((one) => one.decision !== 'deliver').map(({ channel, decision, reason }) => ({
    kind: 'wait', text: `${channelName(channel)}: ${decision}`, more: reason, at: null,
  }));
  const planned = names.length ? [{ kind: 'good', text: `Planned: ${names.join(', ')}`, more: '', at: null }] : [];
  return [...planned, ...others];
}

function attemptEntry(delivery, attempt) {
  const again = attempt.retryAt ? `again at ${clock(attempt.retryAt)}` : '';
  return {
    kind: attempt.outcome === 'sent' ? 'good' : ['retry', 'throttled'].includes(attempt.outcome) ? 'wait' : 'bad',
    text: attempt.number === 1 && attempt.outcome === 'sent' ? `${channelName(delivery.channel)}: sent` : `${channelName(delivery.channel)}: attempt ${attempt.number}, ${attempt.outcome}`,
    more: [delivery.provider, attempt.code, attempt.detail, again, durationText(attempt)].filter(Boolean).join(' · '),
    at: attempt.finishedAt ?? attempt.startedAt,
  };
}

// ---- the receivers' views ----------------------------------------------------------------------

function renderEmail(message) {
  return letter(message,
    facts({ From: message.headerFrom ?? message.from, To: message.headerTo ?? [message.to].flat().join(', '), Subject: message.subject }),
    message.text ? h('p', { class: 'text' }, message.text.trim()) : null,
    note(message, message.tls === 'none' || !message.tls ? 'received by SMTP' : 'received by SMTP with TLS'),
    source(message, message.raw ?? message));
}

function renderPush(message) {
  const payload = message.payload ?? {};
  return letter(message,
    h('p', { class: 'push-title' }, payload.title ?? '(no title)'),
    payload.body ? h('p', { class: 'push-body' }, payload.body) : null,
    note(message, 'decrypted with the key of the subscription'),
    source(message, message.payload ?? message));
}

function renderWebhook(message) {
  return letter(message,
    facts({ Type: message.payload?.type, Id: message.id }),
    note(message, 'signature verified'),
    source(message, message.payload ?? message));
}

function letter(message, ...children) {
  return h('div', { class: 'letter' }, ...children);
}

function facts(pairs) {
  return h('dl', {}, ...Object.entries(pairs).filter(([, value]) => value).flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, String(value))]));
}

function note(message, good) {
  return message.problem ? h('p', { class: 'note bad' }, `✕ ${message.problem}`) : h('p', { class: 'note' }, `✓ ${good}`);
}

function source(message, content) {
  return h('details', { 'data-n': message.n }, h('summary', {}, 'What came, in full'), h('pre', { tabindex: '0' }, typeof content === 'string' ? content : JSON.stringify(content, null, 2)));
}

function channelRow(name, state, took, ...letters) {
  return h('section', { class: `channel ${state}` }, h('header', {}, h('span', { class: 'lamp' }), h('h3', {}, name), h('span', { class: 'took' }, took)), ...letters);
}

// ---- words -------------------------------------------------------------------------------------

function channelName(channel) {
  return CHANNELS.find(({ kind }) => kind === channel)?.name ?? channel[0].toUpperCase() + channel.slice(1);
}

/** How long it took from the send, or from the time that it was scheduled for. */
function tookText(shown, atMs) {
  if (!shown.sentAtMs) return 'arrived';
  const ms = atMs - (shown.scheduledAt ? Date.parse(shown.scheduledAt) : shown.sentAtMs);
  const took = ms < 10_000 ? `${Math.max(ms, 0)} ms` : `${Math.round(ms / 1000)} s`;
  return shown.scheduledAt ? `${took} after it was due` : `after ${took}`;
}

function durationText({ startedAt, finishedAt }) {
  return startedAt && finishedAt ? `${Date.parse(finishedAt) - Date.parse(startedAt)} ms` : '';
}

function clock(iso, exact = false) {
  return new Date(iso).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', ...(exact ? { fractionalSecondDigits: 3 } : {}), hour12: false });
}

function sleep(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
