// The Server-Sent Events parser of the browser client: www/client/sse.js.
import assert from 'node:assert/strict';
import test from 'node:test';
import { MESSAGE_CHARS_MAX, SseParser } from '../../www/client/sse.js';

const read = (...pieces) => {
  const parser = new SseParser();
  return pieces.flatMap((piece) => parser.push(piece));
};
const SAMPLE = ': hello\nretry: 3000\n\nid: c1\nevent: update\ndata: {"a":1}\n\nid: c2\ndata: one\ndata: two\n\n';

test('a message has its event, data and id', () => {
  assert.deepEqual(read(SAMPLE), [
    { event: 'update', data: '{"a":1}', id: 'c1' },
    { event: 'message', data: 'one\ntwo', id: 'c2' },
  ]);
});

test('the text may be cut anywhere, with any of the three line ends', () => {
  for (const lineEnd of ['\n', '\r\n', '\r']) {
    const text = SAMPLE.replaceAll('\n', lineEnd);
    for (let cut = 0; cut <= text.length; cut += 1) {
      assert.deepEqual(read(text.slice(0, cut), text.slice(cut)), read(SAMPLE), `${JSON.stringify(lineEnd)} cut at ${cut}`);
    }
    assert.deepEqual(read(...text), read(SAMPLE), 'one character at a time');
  }
});

test('a message without its blank line is not given', () => {
  assert.deepEqual(read('data: half\n'), []);
});

test('comments and messages without data give nothing', () => {
  assert.deepEqual(read(': hb\n\nevent: update\n\nid: x\n\n'), []);
});

test('an event name does not leak into the next message, an id does', () => {
  assert.deepEqual(read('id: 7\nevent: end\ndata: a\n\ndata: b\n\n').map(({ event, id }) => [event, id]), [['end', '7'], ['message', '7']]);
});

test('one space after the colon belongs to the format, a second one to the value', () => {
  assert.deepEqual(read('data:x\n\ndata:  y\n\ndata\n\n').map(({ data }) => data), ['x', ' y', '']);
});

test('an id with NUL and a retry that is no number are ignored', () => {
  const parser = new SseParser();
  parser.push('id: good\nid: b\0d\nretry: 3s\n');
  assert.equal(parser.retryMs, null);
  assert.equal(parser.push('data: x\n\n')[0].id, 'good');
  parser.push('retry: 1500\n');
  assert.equal(parser.retryMs, 1500);
});

test('a byte order mark at the start is skipped', () => {
  assert.deepEqual(read('\uFEFFdata: x\n\n').map(({ data }) => data), ['x']);
});

test('a message without end is refused before it fills the memory', () => {
  const parser = new SseParser();
  const piece = `data: ${'x'.repeat(1024 * 1024)}\n`;
  assert.throws(() => {
    for (let n = 0; n * piece.length < 2 * MESSAGE_CHARS_MAX; n += 1) parser.push(piece);
  }, RangeError);
  assert.throws(() => new SseParser().push('x'.repeat(MESSAGE_CHARS_MAX + 1)), RangeError);
});
