// The inbox reducer of the browser client: www/client/inbox.js.
import assert from 'node:assert/strict';
import test from 'node:test';
import { apply, applyOwn, arrivals, emptyInbox, ITEMS_MAX, mergePage, visibleItems } from '../../www/client/inbox.js';

const NOW = '2026-11-20T12:00:00.000Z';

function item(n, more = {}) {
  const two = String(n % 60).padStart(2, '0');
  return {
    id: `01935f6e-8a30-7c11-9d2f-${String(n).padStart(12, '0')}`,
    type: 'general', title: `Title ${n}`, body: '', data: {}, sender: null, category: 'general', priority: 'medium',
    actions: [], url: null, createdAt: `2026-11-20T10:${String(Math.floor(n / 60)).padStart(2, '0')}:${two}.000Z`,
    expiresAt: null, seenAt: null, readAt: null, archivedAt: null, snoozedUntil: null, action: null, actedAt: null,
    ...more,
  };
}
const row = (n, rev, more) => ({ type: 'notification', rev, notification: item(n, more) });
const feed = (events, more = {}) => ({ events, unreadCount: 0, unseenCount: 0, reset: false, ...more });
const titles = (state) => state.notifications.map((one) => one.title);
const start = (...numbers) => apply(emptyInbox(), feed(numbers.map((n) => row(n, n)), { reset: true, unreadCount: numbers.length }), NOW);

test('rows are shown newest first, whatever the order of their revs', () => {
  assert.deepEqual(titles(start(2, 3, 1)), ['Title 3', 'Title 2', 'Title 1']);
});

test('a row replaces the older version of itself', () => {
  const state = apply(start(1, 2), feed([row(1, 5, { readAt: NOW })], { unreadCount: 1 }), NOW);
  assert.equal(state.notifications.length, 2);
  assert.equal(state.notifications[1].readAt, NOW);
  assert.equal(state.unreadCount, 1);
});

test('a deletion removes the item and is not undone by a page read before it', () => {
  const before = start(1, 2);
  const state = apply(before, feed([{ type: 'deleted', rev: 3, id: item(1).id }]), NOW);
  assert.deepEqual(titles(state), ['Title 2']);
  assert.deepEqual(titles(mergePage(state, [item(1), item(2)], state.version)), ['Title 2']);
});

test('marks hold for what was there, not for the rows that come with them', () => {
  // Even when the rows stand first: the order within the answer is the server's promise, not ours to rely on.
  const state = apply(start(1), feed([row(2, 9), { type: 'read-all', rev: 8 }]), NOW);
  assert.equal(state.notifications[0].title, 'Title 2');
  assert.equal(state.notifications[0].readAt, null);
  assert.equal(state.notifications[1].readAt, NOW);
  assert.equal(state.notifications[1].seenAt, NOW);
});

test('read-all keeps the time of what was read before', () => {
  const earlier = '2026-11-20T11:00:00.000Z';
  const held = apply(start(1), feed([row(1, 2, { readAt: earlier, seenAt: earlier })]), NOW);
  assert.equal(apply(held, feed([{ type: 'read-all', rev: 3 }]), NOW).notifications[0].readAt, earlier);
});

test('seen-all leaves things unread', () => {
  const [one] = apply(start(1), feed([{ type: 'seen-all', rev: 3 }]), NOW).notifications;
  assert.equal(one.seenAt, NOW);
  assert.equal(one.readAt, null);
});

test('delete-all empties, and what came after it stays', () => {
  const state = apply(start(1, 2), feed([{ type: 'delete-all', rev: 8 }, row(3, 9)], { unreadCount: 1 }), NOW);
  assert.deepEqual(titles(state), ['Title 3']);
});

test('reset drops everything that was held', () => {
  const state = apply(start(1, 2), feed([row(3, 3)], { reset: true, unreadCount: 7 }), NOW);
  assert.deepEqual(titles(state), ['Title 3']);
  assert.equal(state.unreadCount, 7);
});

test('an answer without news gives the same object, so nobody renders', () => {
  const state = start(1);
  assert.equal(apply(state, feed([], { unreadCount: 1 }), NOW), state);
});

test('a change of the counts alone is a change', () => {
  assert.notEqual(apply(start(1), feed([], { unreadCount: 9 }), NOW), start(1));
  assert.equal(apply(start(1), feed([], { unreadCount: 9 }), NOW).unreadCount, 9);
});

test('no state is ever changed in place', () => {
  const state = start(1, 2);
  const copy = structuredClone(state);
  apply(state, feed([{ type: 'read-all', rev: 3 }, { type: 'deleted', rev: 4, id: item(1).id }]), NOW);
  applyOwn(state, { mark: 'delete-all', unreadCount: 0, unseenCount: 0 }, state.version, NOW);
  mergePage(state, [item(3)], state.version);
  assert.deepEqual(state, copy);
});

test('the answer to an own change shows at once', () => {
  const state = start(1, 2);
  const after = applyOwn(state, { notification: item(1, { archivedAt: NOW }), unreadCount: 1, unseenCount: 0 }, state.version, NOW);
  assert.deepEqual(visibleItems(after, { now: NOW }).map((one) => one.title), ['Title 2']);
  assert.equal(after.unreadCount, 1);
});

test('the answer to an own change is left out when the feed moved on meanwhile', () => {
  const sent = start(1);
  const newer = apply(sent, feed([row(1, 6, { archivedAt: NOW, readAt: NOW })]), NOW);
  assert.equal(applyOwn(newer, { notification: item(1, { readAt: NOW }), unreadCount: 5, unseenCount: 5 }, sent.version, NOW), newer);
});

test('an own mark is applied, and a page asked for before it is left out', () => {
  const state = start(1);
  const after = applyOwn(state, { mark: 'read-all', unreadCount: 0, unseenCount: 0 }, state.version, NOW);
  assert.equal(after.notifications[0].readAt, NOW);
  assert.equal(mergePage(after, [item(0)], state.version), null);
});

test('a page adds older items and does not touch what the feed brought', () => {
  const state = apply(start(5), feed([row(5, 6, { readAt: NOW })]), NOW);
  const merged = mergePage(state, [item(5), item(4)], state.version);
  assert.deepEqual(titles(merged), ['Title 5', 'Title 4']);
  assert.equal(merged.notifications[0].readAt, NOW);
});

test('what is archived, snoozed or expired is held and not shown', () => {
  const later = '2026-11-20T13:00:00.000Z';
  const state = apply(emptyInbox(), feed([
    row(1, 1, { archivedAt: NOW }), row(2, 2, { snoozedUntil: later }), row(3, 3, { expiresAt: NOW }),
    row(4, 4, { readAt: NOW }), row(5, 5, { expiresAt: later }),
  ], { reset: true }), NOW);
  assert.equal(state.notifications.length, 5);
  const shown = (how) => visibleItems(state, how).map((one) => one.title);
  assert.deepEqual(shown({ now: NOW }), ['Title 5', 'Title 4']);
  assert.deepEqual(shown({ now: NOW, unreadOnly: true }), ['Title 5']);
  assert.deepEqual(shown({ now: '2026-11-20T14:00:00.000Z' }), ['Title 4', 'Title 2']);
});

test('memory is bounded: the oldest go', () => {
  const numbers = Array.from({ length: ITEMS_MAX + 20 }, (_, n) => n + 1);
  const state = start(...numbers);
  assert.equal(state.notifications.length, ITEMS_MAX);
  assert.equal(state.notifications[0].title, `Title ${ITEMS_MAX + 20}`);
});

test('arrivals are the new unread ones, never those of a first state, and of a whole state only newer ones', () => {
  const events = feed([row(1, 3, { readAt: NOW }), row(2, 4), row(3, 5, { archivedAt: NOW })]);
  assert.deepEqual(arrivals(start(1), events).map((one) => one.title), ['Title 2']);
  assert.deepEqual(arrivals(emptyInbox(), events), []);
  assert.deepEqual(arrivals(start(1), { ...events, reset: true }).map((one) => one.title), ['Title 2']);
  assert.deepEqual(arrivals(start(4), { ...events, reset: true }), [], 'older ones that we had let go');
  assert.deepEqual(arrivals(start(), { ...events, reset: true }).map((one) => one.title), ['Title 2'], 'the first of all');
});

test('a reader that gets the feed in pieces of any size ends with the same state', () => {
  // Per item only the newest event counts, as the server sends it; marks come alone here, between pieces.
  const events = [row(1, 1), row(2, 2), row(3, 3), { type: 'deleted', rev: 4, id: item(2).id }, row(1, 5, { readAt: NOW }), row(4, 6)];
  const whole = apply(emptyInbox(), feed(events, { unreadCount: 2 }), NOW);
  for (let cut = 1; cut < events.length; cut += 1) {
    const first = apply(emptyInbox(), feed(events.slice(0, cut)), NOW);
    const second = apply(first, feed(events.slice(cut), { unreadCount: 2 }), NOW);
    assert.deepEqual(second.notifications, whole.notifications, `cut at ${cut}`);
    assert.equal(second.unreadCount, whole.unreadCount);
  }
});
