// Deliveries a second: 100,000 queued signed webhooks and one worker process, against libcurl alone.
import { execFile } from 'node:child_process';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startPostbox } from '../postbox/index.mjs';
import { BUILD, forEach, sendToAll, user, USERS } from './bench.mjs';

const QUEUED = 100_000;
const IN_FLIGHT = 256;
const run_ = promisify(execFile);

export async function run(bench) {
  const postbox = await startPostbox({ dir: bench.dir }); // its certificate serves the sink with TLS
  bench.onStop(() => postbox.close());
  await measure(bench, postbox, { label: 'signed webhook, HTTP', scheme: 'http', least: 0.25, leastRate: 14_000 });
  await measure(bench, postbox, { label: 'signed webhook, HTTPS', scheme: 'https' });
  await measure(bench, postbox, { label: 'Web Push, HTTPS', scheme: 'https', push: true });
}

async function measure(bench, postbox, { label, scheme, push, least, leastRate }) {
  const { port, forget, stats } = await startSink(bench, scheme === 'https', push ? 'topic' : 'webhook-id');
  const reference = await alone(port, scheme, postbox);
  await forget();
  const { stack, tenant } = await stackWithDevices(bench, postbox, `${scheme}://127.0.0.1:${port}/`, push);
  await queue(stack, tenant, QUEUED);
  const rate = await drain(bench, stack, stats, QUEUED);
  console.log(`  ${label}: ${rate.toFixed(0)} a second; libcurl alone ${reference.toFixed(0)}`);
  bench.figure(`${label} / libcurl alone`, rate / reference, least === undefined ? {} : { least });
  if (leastRate) bench.figure(`${label}, a second`, rate, { least: leastRate, digits: 0 });
  await stack.stop();
}

export async function startSink(bench, tls, key) {
  const args = ['--status', key === 'topic' ? 201 : 200, '--key', key, ...(tls ? ['--tls', join(bench.dir, 'server.pem'), join(bench.dir, 'server.key')] : [])];
  const sink = bench.program('sink', args);
  const line = await new Promise((resolve) => sink.stdout.once('data', (data) => resolve(data.toString())));
  const stats = () => new Promise((resolve) => {
    sink.stdout.once('data', (data) => resolve(JSON.parse(data.toString())));
    sink.kill('SIGTERM');
  });
  const port = Number(/listening (\d+)/.exec(line)[1]);
  const forget = () => sinkRequest(port, tls, 'DELETE', '/stats');
  return { port, forget, stats };
}

function sinkRequest(port, tls, method, path) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, method, path, rejectUnauthorized: false };
    (tls ? https : http).request(options, (answer) => answer.resume().on('end', resolve)).on('error', reject).end();
  });
}

async function alone(port, scheme, postbox) {
  const args = [`${scheme}://127.0.0.1:${port}/`, IN_FLIGHT, 100_000, ...(scheme === 'https' ? [postbox.caFile] : [])];
  const { stdout } = await run_(join(BUILD, 'bench/curl_alone'), args.map(String));
  return JSON.parse(stdout).perSecond;
}

export async function stackWithDevices(bench, postbox, url, push) {
  const stack = await bench.stack({ postbox });
  const tenant = await bench.tenant({ accounts: true });
  await stack.stopService('worker');
  const { keys } = push ? await postbox.subscribe() : {};
  await forEach(USERS, 16, async (i) => {
    const device = push
      ? { channel: 'push', provider: 'webpush', subscription: { endpoint: `${url}${i}`, keys } }
      : { channel: 'webhook', url: `${url}${i}` };
    const answer = await tenant.service('PUT', `/users/${user(i)}/devices/d`, device);
    if (answer.status !== 201) throw new Error(`PUT device: ${answer.status} ${JSON.stringify(answer.body)}`);
  });
  return { stack, tenant };
}

export async function queue(stack, tenant, count) {
  for (let done = 0; done < count; done += USERS) await sendToAll(tenant, USERS, `Round ${done / USERS}`, { body: 'The schedule of ward 3 was published.' });
  const ready = Number(stack.sql('select count(*) from belfry.ready'));
  if (ready !== count) throw new Error(`${ready} deliveries are ready, not ${count}`);
}

/** Starts the worker and waits until nothing is left; gives deliveries a second, from its start to its last settle. */
export async function drain(bench, stack, stats, count) {
  const began = Date.now();
  await stack.startService('worker');
  // The counters: looking at the tables would walk over all that a held snapshot keeps, every time.
  const left = 'select coalesce(sum(ready + leased), 0) from belfry.queue_delta';
  await stack.until(() => Number(stack.sql(left)) === 0, 'everything was delivered', 300_000);
  const seconds = (Date.now() - began) / 1000;
  const arrived = await stats();
  const sent = Number(stack.sql("select count(*) from belfry.attempt where outcome = 'sent'"));
  if (arrived.unique !== count || arrived.duplicates !== 0 || sent !== count) {
    bench.fault(`${count} queued, ${arrived.unique} arrived, ${arrived.duplicates} twice, ${sent} settled as sent`);
  }
  return count / seconds;
}
