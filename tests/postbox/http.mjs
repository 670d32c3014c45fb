// The postbox's HTTP and HTTPS listeners and their few routes.
//
//   GET  /                        JSON {messages, counts, dropped}; a page if text/html is asked for
//        ?kind=&since=&wait=      only of a kind, only after number `since`; wait up to that many
//                                 seconds (30 at most) until at least one such message is there
//   DELETE /messages              forget them
//   POST /faults, GET, DELETE     see faults.mjs
//   POST /push/subscriptions      {secure?, applicationServerKey?} -> 201 {id, endpoint, keys, expirationTime}
//   DELETE /push/subscriptions/ID expire it: its endpoint answers 410 from now on
//   POST /push/ID                 the endpoint
//   PUT  /webhooks/NAME/secrets   {secrets: ["whsec_..."]} -> 204
//   POST /webhooks/NAME           the receiver
//   GET  /info                    addresses, SMTP credentials, path of the CA certificate
//   GET  /health                  204
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const BODY_BYTES_MAX = 1024 * 1024;
const WAIT_SECONDS_MAX = 30;
const PAGE_FILES = {
  '/index.html': 'text/html; charset=utf-8',
  '/postbox.css': 'text/css; charset=utf-8',
  '/postbox.js': 'text/javascript; charset=utf-8',
};
const PAGE_HEADERS = {
  'Content-Security-Policy': "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'",
  'X-Content-Type-Options': 'nosniff',
};

/** Starts both listeners: {url, httpsUrl, close()}. */
export async function startHttp({ host, port, tlsPort, tls, ...parts }) {
  const address = host.includes(':') ? `[${host}]` : host;
  const serve = (request, response) => {
    const scheme = request.socket.encrypted ? 'https' : 'http';
    request.origin = `${scheme}://${address}:${request.socket.localPort}`;
    answer(parts, request, response).catch((error) => {
      if (!response.headersSent) write(response, { status: 500, body: { error: error.message } });
    });
  };
  const options = { keepAliveTimeout: 30_000, requestTimeout: 60_000 };
  const clear = http.createServer(options, serve);
  const secure = https.createServer({ ...options, ...tls }, serve);
  await Promise.all([listen(clear, port, host), listen(secure, tlsPort, host)]);
  return {
    url: `http://${address}:${clear.address().port}`,
    httpsUrl: `https://${address}:${secure.address().port}`,
    close: () => Promise.all([close(clear), close(secure)]),
  };
}

async function answer(parts, request, response) {
  const url = new URL(request.url, request.origin);
  const cutEarly = resetBeforeBody(parts.faults, request, url.pathname);
  if (cutEarly) return request.socket.destroy();
  const body = await readBody(request);
  if (body === null) return write(response, { status: 413, body: { error: 'body too large' } });
  const result = await route(parts, request, url, body);
  if (result.reset) return request.socket.destroy();
  return write(response, result);
}

// A fault with reset "before" cuts the connection with the body unread: nothing was received.
function resetBeforeBody(faults, request, path) {
  const target = /^\/(push|webhooks)\/([^/]+)$/.exec(path);
  if (request.method !== 'POST' || !target) return false;
  const kind = target[1] === 'push' ? 'push' : 'webhook';
  const waiting = faults.list().find((fault) =>
    fault.kind === kind && (fault.match === undefined || target[2].includes(fault.match)));
  return waiting?.reset === 'before' && faults.take(kind, target[2]) !== null;
}

async function route(parts, request, url, body) {
  const path = url.pathname;
  const is = (method, pattern) => (request.method === method ? pattern.exec(path) : null);
  let match;
  if (is('GET', /^\/(messages)?$/)) return show(parts.mailbox, request, url);
  if (request.method === 'GET' && PAGE_FILES[path]) return pageFile(path);
  if (is('DELETE', /^\/messages$/)) return done(parts.mailbox.clear());
  if (is('GET', /^\/faults$/)) return { status: 200, body: { faults: parts.faults.list() } };
  if (is('DELETE', /^\/faults$/)) return done(parts.faults.clear());
  if (is('POST', /^\/faults$/)) return ordered(() => ({ status: 201, body: parts.faults.add(JSON.parse(body)) }));
  if (is('POST', /^\/push\/subscriptions$/)) {
    return ordered(() => ({ status: 201, body: parts.push.subscribe(body.length > 0 ? JSON.parse(body) : {}) }));
  }
  if ((match = is('DELETE', /^\/push\/subscriptions\/([^/]+)$/))) {
    return { status: parts.push.expire(match[1]) ? 204 : 404 };
  }
  if ((match = is('POST', /^\/push\/([^/]+)$/))) return parts.push.receive(match[1], request, body);
  if ((match = is('PUT', /^\/webhooks\/([^/]+)\/secrets$/))) {
    return ordered(() => done(parts.webhooks.setSecrets(match[1], JSON.parse(body).secrets)));
  }
  if ((match = is('POST', /^\/webhooks\/([^/]+)$/))) return parts.webhooks.receive(match[1], request, body);
  if (is('GET', /^\/info$/)) return { status: 200, body: parts.info() };
  if (is('GET', /^\/health$/)) return { status: 204 };
  return { status: 404, body: { error: 'there is nothing here' } };
}

const done = () => ({ status: 204 });

function ordered(act) {
  try {
    return act();
  } catch (error) {
    return { status: 400, body: { error: error.message } };
  }
}

async function show(mailbox, request, url) {
  if (url.pathname === '/' && (request.headers.accept ?? '').includes('text/html')) return pageFile('/index.html');
  const filter = { kind: url.searchParams.get('kind'), since: Number(url.searchParams.get('since') ?? 0) };
  const seconds = Math.min(Number(url.searchParams.get('wait') ?? 0), WAIT_SECONDS_MAX);
  if (seconds > 0) await waitForMessage(mailbox, request, filter, seconds);
  const body = { messages: mailbox.list(filter), counts: mailbox.counts(), dropped: mailbox.dropped };
  return { status: 200, headers: { 'Access-Control-Allow-Origin': '*', 'Cache-Control': 'no-store' }, body };
}

// Until there is one, or the time is over, or whoever asked is gone.
async function waitForMessage(mailbox, request, filter, seconds) {
  const gone = new AbortController();
  const onClose = () => gone.abort();
  request.socket.once('close', onClose);
  const wanted = (message) => filter.kind === null || message.kind === filter.kind;
  await mailbox.waitFor(wanted, { timeoutMs: seconds * 1000, since: filter.since, signal: gone.signal }).catch(() => {});
  request.socket.off('close', onClose);
}

function pageFile(path) {
  const body = readFileSync(new URL(`page${path}`, import.meta.url));
  return { status: 200, headers: { ...PAGE_HEADERS, 'Content-Type': PAGE_FILES[path] }, body };
}

async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function write(response, { status, headers = {}, body }) {
  const raw = body === undefined || Buffer.isBuffer(body) || typeof body === 'string';
  const bytes = raw ? body : JSON.stringify(body);
  response.writeHead(status, { ...(raw ? {} : { 'Content-Type': 'application/json' }), ...headers });
  response.end(bytes);
}

function listen(server, port, host) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host, backlog: 4096 }, resolve);
  });
}

function close(server) {
  return new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
}
