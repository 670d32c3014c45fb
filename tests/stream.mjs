// A client of GET /stream: what a browser's EventSource does, with the events at hand.
//
//   const stream = await openStream(stack, tenant.bearer('u1'), 'feeds=inbox');
//   const event = await stream.next((e) => e.event === 'update');   // {id, event, data}; data is parsed
//   stream.close();
import assert from 'node:assert/strict';

export async function openStream(stack, headers, query) {
  const control = new AbortController();
  const response = await fetch(`${stack.url}/api/v1/stream?${query}`, { headers, signal: control.signal });
  if (response.status !== 200) throw new Error(`stream: ${response.status} ${await response.text()}`);
  assert.match(response.headers.get('content-type'), /^text\/event-stream/);
  const events = [];
  const waiting = new Set();
  const stream = { response, events, ended: false, close: () => control.abort() };
  const tell = () => [...waiting].forEach((look) => look());
  stream.closed = read(response.body, events, tell).catch(() => {}).then(() => {
    stream.ended = true;
    tell();
  });
  /** The first event, from number `from` on, for which the condition holds. */
  stream.next = (condition, { timeoutMs = 60_000, from = 0 } = {}) => new Promise((resolve, reject) => {
    const settle = (act, value) => {
      clearTimeout(timer);
      waiting.delete(look);
      act(value);
    };
    const look = () => {
      const found = events.slice(from).find(condition);
      if (found) settle(resolve, found);
      else if (stream.ended) settle(reject, new Error(`the stream ended; it said ${JSON.stringify(events.slice(-5))}`));
    };
    const timer = setTimeout(() => settle(reject, new Error(`no such event; so far ${JSON.stringify(events.slice(-5))}`)), timeoutMs);
    waiting.add(look);
    look();
  });
  return stream;
}

async function read(body, events, tell) {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const event = parse(text.slice(0, end));
      text = text.slice(end + 2);
      if (event) events.push(event);
      tell();
    }
  }
}

function parse(block) {
  const fields = {};
  for (const line of block.split('\n')) {
    const match = /^(id|event|data): ?(.*)$/.exec(line);
    if (match) fields[match[1]] = fields[match[1]] === undefined ? match[2] : `${fields[match[1]]}\n${match[2]}`;
  }
  return fields.data === undefined ? null : { event: 'message', id: null, ...fields, data: JSON.parse(fields.data) };
}
