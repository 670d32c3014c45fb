// What `make run` promises to people and to other programs (deploy/dev/main.mjs): the line when all is up,
// demo.env, everything back that dies, an end in good order, data that outlives it.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { findPort } from '../../deploy/dev/stack.mjs';
import { postboxClient } from '../postbox/client.mjs';
import { waitFor } from './lib.mjs';

const RUN = new URL('../../deploy/dev/run', import.meta.url).pathname;
const BUILD = process.env.BUILD ?? new URL('../../build', import.meta.url).pathname;
const PROGRAMS = { API: 'belfry-api', WORKER: 'belfry-worker', SCHEDULER: 'belfry-scheduler', POSTGRES: 'postgres', REDIS: 'redis-server', WEB: 'lighttpd' };
const FIELDS = ['URL', 'APP_KEY', 'APP_SECRET', 'USER', 'USER_TOKEN', 'POSTBOX_URL', 'DB', 'REDIS', ...Object.keys(PROGRAMS).map((name) => `PID_${name}`)]
  .map((name) => `BELFRY_${name}`);

const dir = mkdtempSync(join(tmpdir(), 'belfry-run-'));
const envFile = join(dir, 'demo.env');
let running = null;
after(async () => {
  running?.kill('SIGKILL'); // the kernel ends its children
  await running?.gone;
  rmSync(dir, { recursive: true, force: true });
});

/** Starts it and resolves at the line that says so: {address, kill(signal), gone (resolves with code and signal)}. */
async function start(...words) {
  const child = spawn(RUN, ['--build', BUILD, '--dir', dir, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { output += data; });
  running = { kill: (signal) => child.kill(signal), gone: once(child, 'exit'), ended: false };
  running.gone.then(() => { running.ended = true; });
  await waitFor(() => /^Belfry is ready: /m.test(output) || running.ended, 'it is ready', 60_000);
  assert.match(output, /^Belfry is ready: http:\/\/127\.0\.0\.1:\d+\/$/m, output);
  return { ...running, address: /^Belfry is ready: (.*)$/m.exec(output)[1] };
}

/** demo.env as a shell reads it. */
function readEnv() {
  const text = execFileSync('sh', ['-c', 'set -a; . "$1"; env', 'sh', envFile], { encoding: 'utf8', env: { PATH: process.env.PATH } });
  return Object.fromEntries(text.split('\n').filter((line) => line.startsWith('BELFRY_')).map((line) => line.split(/=(.*)/s).slice(0, 2)));
}

const asShop = (env) => ({ Authorization: `Basic ${Buffer.from(`${env.BELFRY_APP_KEY}:${env.BELFRY_APP_SECRET}`).toString('base64')}` });
const asUser = (env) => ({ Authorization: `Bearer ${env.BELFRY_USER_TOKEN}` });

async function send(env, title) {
  const response = await fetch(`${env.BELFRY_URL}/api/v1/notifications`, {
    method: 'POST', headers: { ...asShop(env), 'Content-Type': 'application/json', 'Idempotency-Key': title },
    body: JSON.stringify({ to: [env.BELFRY_USER], title }),
  }).catch((error) => ({ status: error.message }));
  return response.status === 202;
}

/** A connection that a killed database leaves behind may cost a 503, which says to come again. */
const inboxTitles = async (env) => {
  const list = await waitFor(async () => {
    const response = await fetch(`${env.BELFRY_URL}/api/v1/inbox`, { headers: asUser(env) });
    const body = await response.json();
    return response.status === 200 && body.notifications;
  }, 'the inbox answers');
  return list.map(({ title }) => title);
};

/** A new notification reaches the user's inbox and all three receivers. */
async function assertWorks(env, title) {
  await waitFor(() => send(env, title), `"${title}" is accepted`);
  assert.ok((await inboxTitles(env)).includes(title));
  const postbox = postboxClient({ url: env.BELFRY_POSTBOX_URL });
  for (const kind of ['email', 'push', 'webhook']) {
    const message = await postbox.waitFor((one) => one.kind === kind && JSON.stringify(one).includes(title), { timeoutMs: 30_000 });
    assert.equal(message.problem, null);
  }
}

const commandOf = (pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split(/[\0 ]/)[0].split('/').at(-1);
const isAlive = (pid) => existsSync(`/proc/${pid}`);

/** Processes that have to do with our directory. */
function leftOvers() {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid).flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return `${command} ${readlinkSync(`/proc/${pid}/cwd`)}`.includes(dir) ? [`${pid} ${command}`] : [];
    } catch {
      return []; // gone meanwhile, or somebody else's
    }
  });
}

test('it says when it is ready, on the port that was asked for, and demo.env has what it promises', async () => {
  const port = await findPort('127.0.0.1');
  const { address } = await start('--port', String(port));
  assert.equal(address, `http://127.0.0.1:${port}/`);
  const env = readEnv();
  assert.deepEqual(FIELDS.filter((name) => !env[name]), []);
  assert.equal(env.BELFRY_URL, `http://127.0.0.1:${port}`);
  for (const [name, program] of Object.entries(PROGRAMS)) assert.equal(commandOf(env[`BELFRY_PID_${name}`]), program);
  const page = await (await fetch(address)).text();
  assert.match(page, /<title>Belfry demo<\/title>/);
  assert.deepEqual((await (await fetch(env.BELFRY_POSTBOX_URL)).json()).messages, []);
  assert.equal(execFileSync('psql', ['-XAt', env.BELFRY_DB, '-c', 'select count(*) from belfry.tenant'], { encoding: 'utf8' }).trim(), '1');
  assert.match(env.BELFRY_REDIS, /^unix:\//);
  const redis = spawnSync('redis-cli', ['-s', env.BELFRY_REDIS.replace('unix:', ''), 'ping'], { encoding: 'utf8' });
  if (!redis.error) assert.equal(redis.stdout, 'PONG\n');
  await assertWorks(env, 'The first');
});

test('a second one in the same directory is refused', () => {
  const second = spawnSync(RUN, ['--build', BUILD, '--dir', dir], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(second.status, 75);
  assert.match(second.stderr, /already runs/);
  assert.ok(existsSync(envFile));
});

for (const name of Object.keys(PROGRAMS)) {
  test(`killed, ${PROGRAMS[name]} is back, demo.env says so, and the rest goes on`, async () => {
    const before = readEnv();
    const pid = before[`BELFRY_PID_${name}`];
    process.kill(Number(pid), 'SIGKILL');
    const env = await waitFor(() => {
      const now = readEnv(); // at any moment a whole file
      assert.deepEqual(FIELDS.filter((field) => !now[field]), []);
      return now[`BELFRY_PID_${name}`] !== pid && now;
    }, 'another pid in demo.env');
    assert.equal(isAlive(pid), false);
    await waitFor(() => commandOf(env[`BELFRY_PID_${name}`]) === PROGRAMS[name], `it is a ${PROGRAMS[name]}`);
    assert.deepEqual({ ...env, [`BELFRY_PID_${name}`]: pid }, before, 'nothing else changed');
    await assertWorks(env, `After ${PROGRAMS[name]}`);
  });
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal} ends all of it, and what was sent is there after the next start`, async () => {
    const before = readEnv();
    const titles = await inboxTitles(before);
    assert.ok(titles.includes('The first'));
    running.kill(signal);
    assert.deepEqual(await running.gone, [0, null]);
    assert.deepEqual(leftOvers(), []);
    assert.equal(existsSync(envFile), false, 'demo.env names nobody any more');
    if (signal === 'SIGINT') return;
    await start();
    const env = readEnv();
    assert.deepEqual(await inboxTitles(env), titles);
    assert.deepEqual([env.BELFRY_APP_KEY, env.BELFRY_POSTBOX_URL], [before.BELFRY_APP_KEY, before.BELFRY_POSTBOX_URL]);
    await assertWorks(env, 'After a restart');
  });
}
