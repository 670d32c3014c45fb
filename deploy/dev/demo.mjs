// What `make run` adds to a stack so that there is something to see: a postbox, a tenant, a person
// who can be reached in every way, and the files that say so.
//
//   build/run/demo.json        what was made once and outlives a restart (credentials)
//   build/run/demo.env         for other programs; rewritten whole whenever a pid changes
//   build/run/public/demo.json for the page, as /demo.json: only this stack serves it, on loopback
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { postboxClient } from '../../tests/postbox/client.mjs';
import { directLauncher } from './launch.mjs';
import { Service } from './service.mjs';
import { ALL_SCOPES, smtpConfig, tenantClient } from './tenant.mjs';

const POSTBOX = new URL('../../tests/postbox/main.mjs', import.meta.url).pathname;
const TENANT = 'demo';
const USER = 'ada';
const ISSUER = 'https://demo.example.com';
const TOKEN_SECONDS = 30 * 24 * 3600;
const PID_NAMES = { api: 'API', worker: 'WORKER', scheduler: 'SCHEDULER', postgres: 'POSTGRES', redis: 'REDIS', web: 'WEB', postbox: 'POSTBOX' };

/** Replaces a file whole: a reader sees the old one or the new one. */
export function replaceFile(file, content, mode = 0o600) {
  writeFileSync(`${file}.new`, content, { mode });
  renameSync(`${file}.new`, file);
}

const readJson = (file) => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {});

/** The postbox as a service of its own, on the ports of its last run where they are still free. */
export async function makePostbox({ dir, host, findPort }) {
  const home = join(dir, 'postbox');
  mkdirSync(home, { recursive: true });
  const infoFile = join(home, 'postbox.json');
  const logFile = join(dir, 'log', 'postbox.log');
  mkdirSync(join(dir, 'log'), { recursive: true });
  const ports = await freePorts(readJson(infoFile), host, findPort);
  const service = new Service({
    name: 'postbox',
    logFile,
    launch: (onExit) => directLauncher({
      command: [process.execPath, POSTBOX, '--dir', home, '--host', host, ...Object.entries(ports).flat().map(String)],
      env: { PATH: process.env.PATH }, cwd: dir, logFile,
    })(onExit),
    ready: async () => readJson(infoFile).pid === service.pid
      && (await fetch(`${readJson(infoFile).url}/health`)).status === 204,
    stopSignals: [['SIGTERM', 3000]],
  });
  await service.start();
  Object.assign(ports, portsOf(readJson(infoFile))); // where it has to be again after a crash
  return { service, postbox: postboxClient(readJson(infoFile)) };
}

const portsOf = (info) => ({
  '--http-port': Number(new URL(info.url).port), '--https-port': Number(new URL(info.httpsUrl).port),
  '--smtp-port': info.smtpPort, '--smtps-port': info.smtpsPort,
});

// Those of the last run; 0, the system's choice, for each that somebody else has now.
async function freePorts(last, host, findPort) {
  if (!last.url) return {};
  const ports = portsOf(last);
  for (const [name, port] of Object.entries(ports)) if (await findPort(host, port) !== port) ports[name] = 0;
  return ports;
}

/** Makes, once, what outlives a restart; each step is remembered as soon as it is done. */
export async function makeDemo(stack, postbox) {
  const file = join(stack.dir, 'demo.json');
  const made = readJson(file);
  const step = async (name, act) => {
    made[name] ??= (await act()) ?? true;
    replaceFile(file, `${JSON.stringify(made, null, 1)}\n`);
    return made[name];
  };
  const account = (channel, provider, config) => stack.ctl('account', 'create', TENANT, '--channel', channel,
    '--provider', provider, '--config', JSON.stringify(config), '--json');
  await step('tenant', () => stack.ctl('tenant', 'create', TENANT, '--json'));
  const key = await step('key', () => stack.ctl('key', 'create', TENANT, '--scopes', ALL_SCOPES, '--json'));
  const issuer = await step('issuer', () => stack.ctl('issuer', 'create', TENANT, '--name', ISSUER, '--alg', 'HS256', '--json'));
  if (made.smtp && made.smtpPort !== postbox.smtpPort) {
    stack.ctl('account', 'delete', TENANT, made.smtp.id);
    delete made.smtp;
  }
  await step('smtp', () => account('email', 'smtp', smtpConfig(postbox)));
  made.smtpPort = postbox.smtpPort;
  await step('webpush', () => account('push', 'webpush', { subject: 'mailto:ops@example.com' }));
  await step('webhook', () => account('webhook', 'webhook', {}));
  const subscription = await step(`push ${postbox.httpsUrl}`, () => postbox.subscribe());
  const client = tenantClient(stack, {
    name: TENANT, appKey: key.appKey, appSecret: key.appSecret, issuer: ISSUER, secret: issuer.secret,
  }, postbox);
  await client.addPerson(USER, {
    profile: { name: 'Ada', locale: 'en', timeZone: 'Europe/London' }, webhook: TENANT, subscription,
  });
  return client;
}

/** Gives the function that writes demo.env as things are now. */
export function makeEnvWriter(stack, client, postbox, postboxService) {
  const exp = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
  const token = client.token(USER, { exp });
  writePageFile(stack, client, postbox, token);
  return () => {
    const pids = { ...stack.pids(), ...(postboxService.pid ? { postbox: postboxService.pid } : {}) };
    const lines = {
      BELFRY_URL: stack.url,
      BELFRY_APP_KEY: client.appKey,
      BELFRY_APP_SECRET: client.appSecret,
      BELFRY_USER: USER,
      BELFRY_USER_TOKEN: token,
      BELFRY_POSTBOX_URL: postbox.url,
      BELFRY_DB: stack.db,
      BELFRY_REDIS: stack.redis,
    };
    for (const [name, label] of Object.entries(PID_NAMES)) if (pids[name]) lines[`BELFRY_PID_${label}`] = pids[name];
    const text = Object.entries(lines).map(([name, value]) => `${name}=${shellWord(String(value))}\n`).join('');
    replaceFile(join(stack.dir, 'demo.env'), text);
  };
}

// Plain words stay plain, so that the simplest of readers understands the file.
function shellWord(text) {
  return /^[A-Za-z0-9_@%+=:,./~-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The path and the file of the page's settings, for startStack's `files`. */
export const pageFiles = (dir) => ({ '/demo.json': join(dir, 'public', 'demo.json') });

function writePageFile(stack, client, postbox, token) {
  mkdirSync(join(stack.dir, 'public'), { recursive: true });
  const facts = {
    user: USER, userToken: token, appKey: client.appKey, appSecret: client.appSecret, postboxUrl: postbox.url,
  };
  replaceFile(join(stack.dir, 'public', 'demo.json'), `${JSON.stringify(facts, null, 1)}\n`, 0o644);
}
