// The mail server: a port with STARTTLS and one with TLS from the first byte, both asking for
// AUTH PLAIN or LOGIN inside TLS. Mail is parsed as a mail program would and kept decoded.
import { simpleParser } from 'mailparser';
import { SMTPServer } from 'smtp-server';
import { delay, faultProblem } from './faults.mjs';

const MESSAGE_BYTES_MAX = 2 * 1024 * 1024;
const RAW_CHARS_KEPT = 64 * 1024;

/** Starts both listeners: {port, tlsPort, user, password, connections(), close()}. */
export async function startSmtp({ host, port, tlsPort, tls, user, password, startTls, mailbox, faults }) {
  const make = (implicitTls) => makeServer({ implicitTls, tls, user, password, startTls, mailbox, faults });
  const [plain, implicit] = [make(false), make(true)];
  await Promise.all([listen(plain, port, host), listen(implicit, tlsPort, host)]);
  return {
    port: plain.server.address().port,
    tlsPort: implicit.server.address().port,
    user,
    password,
    connections: () => plain.connections.size + implicit.connections.size,
    close: () => Promise.all([close(plain), close(implicit)]),
  };
}

function makeServer({ implicitTls, tls, user, password, startTls, mailbox, faults }) {
  const context = { mailbox, faults, implicitTls, connectionOf: new WeakMap() };
  const server = new SMTPServer({
    ...tls,
    secure: implicitTls,
    size: MESSAGE_BYTES_MAX,
    authMethods: ['PLAIN', 'LOGIN'],
    hideSTARTTLS: !startTls,
    disabledCommands: startTls || implicitTls ? [] : ['STARTTLS'],
    hideENHANCEDSTATUSCODES: false,
    disableReverseLookup: true,
    logger: false,
    closeTimeout: 200,
    onConnect(session, callback) {
      const connection = [...server.connections].find((one) => one.session === session);
      context.connectionOf.set(session, connection);
      scriptDataCommand(context, connection);
      stage(context, session, 'connect', '', callback);
    },
    onAuth(auth, session, callback) {
      const known = auth.username === user && auth.password === password;
      stage(context, session, 'auth', auth.username ?? '', (fault) => {
        if (fault) return callback(fault);
        return known ? callback(null, { user }) : callback(smtpError(535, 'Authentication failed'));
      });
    },
    onMailFrom: (address, session, callback) => stage(context, session, 'mail', address.address, callback),
    onRcptTo: (address, session, callback) => stage(context, session, 'rcpt', address.address, callback),
    onData: (stream, session, callback) => receive(context, stream, session, callback),
  });
  server.on('error', () => {}); // a client that hangs up is no news here
  return server;
}

// smtp-server has no callback before it answers 354, so the command's handler is wrapped.
function scriptDataCommand(context, connection) {
  const handle = connection.handler_DATA;
  connection.handler_DATA = function scripted(command, callback) {
    const recipients = this.session.envelope.rcptTo.map((one) => one.address).join(' ');
    stage(context, this.session, 'data', recipients, (error) => {
      if (!error) return handle.call(this, command, callback);
      this.send(error.responseCode, error.message);
      return callback();
    });
  };
}

// Applies a scripted failure of one stage, if there is one, else calls back without an error.
async function stage(context, session, name, address, callback) {
  const fault = context.faults.take('email', address, name);
  if (!fault) return callback();
  await delay(fault.delayMs);
  if (fault.reset) return cut(context, session);
  return callback(smtpError(fault.smtp.code, fault.smtp.text));
}

const cut = (context, session) => context.connectionOf.get(session)?._socket?.destroy();

function smtpError(code, text) {
  return Object.assign(new Error(text ?? 'Scripted failure'), { responseCode: code ?? 451 });
}

async function receive(context, stream, session, callback) {
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  await new Promise((resolve) => stream.once('end', resolve).once('error', resolve));
  const raw = Buffer.concat(chunks);
  const recipients = session.envelope.rcptTo.map((one) => one.address);
  const fault = context.faults.take('email', recipients.join(' '), 'end');
  const tooLarge = stream.sizeExceeded ? 'message too large' : null;
  const message = await describe(raw, session, context.implicitTls);
  const kept = context.mailbox.add({ ...message, problem: tooLarge ?? message.problem ?? faultProblem(fault) }, message.messageId);
  await delay(fault?.delayMs);
  if (fault?.reset) return cut(context, session);
  if (fault?.smtp) return callback(smtpError(fault.smtp.code, fault.smtp.text));
  if (tooLarge) return callback(smtpError(552, 'Message exceeds the fixed maximum size'));
  return callback(null, `OK: queued as ${kept.n}`);
}

async function describe(raw, session, implicitTls) {
  const parsed = await simpleParser(raw, { skipImageLinks: true }).catch((error) => ({ failure: error }));
  const lines = raw.toString('latin1').split('\r\n');
  return {
    kind: 'email',
    from: session.envelope.mailFrom.address,
    to: session.envelope.rcptTo.map((one) => one.address),
    tls: session.secure ? (implicitTls ? 'implicit' : 'starttls') : 'none',
    user: session.user ?? null,
    session: session.id,
    messageId: parsed.messageId ?? null,
    subject: parsed.subject ?? null,
    headerFrom: parsed.from?.text ?? null,
    headerTo: parsed.to?.text ?? null,
    date: parsed.date?.toISOString() ?? null,
    text: parsed.text ?? null,
    html: parsed.html || null,
    headers: rawHeaders(parsed.headerLines ?? []),
    raw: raw.toString('latin1').slice(0, RAW_CHARS_KEPT),
    problem: mailProblem(parsed, lines),
  };
}

function rawHeaders(headerLines) {
  return Object.fromEntries(headerLines.map(({ key, line }) => [key, line.slice(line.indexOf(':') + 1).trim()]));
}

// What a strict receiver would object to (RFC 5322 sections 2.1.1 and 3.6).
function mailProblem(parsed, lines) {
  if (parsed.failure) return `cannot parse: ${parsed.failure.message}`;
  if (!parsed.messageId) return 'Message-ID missing';
  if (!parsed.date) return 'Date missing';
  if (!parsed.from) return 'From missing';
  if (lines.some((line) => line.length > 998)) return 'a line is longer than 998 octets';
  if (lines.some((line) => /[\r\n]/.test(line))) return 'a line does not end in CRLF';
  return null;
}

function listen(server, port, host) {
  return new Promise((resolve, reject) => {
    server.server.once('error', reject);
    server.listen(port, host, resolve);
  });
}

function close(server) {
  return new Promise((resolve) => server.close(resolve));
}
