// /metrics of all processes, as Prometheus reads it.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { startPostbox } from '../postbox/index.mjs';

const TOKEN = 'metrics-token-of-the-test';
let postbox;
let stack;
let tenant;

before(async () => {
  postbox = await startPostbox();
  stack = await startStack({ postbox, apiProcs: 2, apiEnv: { BELFRY_METRICS_TOKEN: TOKEN } });
  tenant = await createTenant(stack, 'shop');
  await tenant.addPerson('alice');
});
after(async () => {
  await stack?.stop();
  await postbox?.close();
});

const read = (headers = { Authorization: `Bearer ${TOKEN}` }) => fetch(`${stack.url}/metrics`, { headers });

/** Samples as {name, labels, value}. */
function parse(text) {
  return text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const [, name, labels = '', value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    return { name, value: Number(value), labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1], m[2]])) };
  });
}

/** Reads until the condition on the samples holds: processes report every few seconds. */
async function untilSamples(condition, what) {
  let samples = [];
  await stack.until(async () => {
    samples = parse(await (await read()).text());
    return condition(samples);
  }, what, 40_000).catch((error) => {
    throw new Error(`${error.message}; there are ${[...new Set(samples.map((s) => s.name))].join(' ')}`);
  });
  return samples;
}

test('/metrics wants its token', async () => {
  const answer = await read({});
  assert.equal(answer.status, 401);
  assert.equal((await read({ Authorization: 'Bearer wrong' })).status, 401);
});

test('promtool accepts /metrics', async () => {
  await tenant.service('POST', '/notifications', { to: ['alice'], title: 'Hi' });
  await untilSamples((samples) => samples.some((s) => s.name === 'belfry_attempts_total'), 'attempts are reported');
  const answer = await read();
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type'), /^text\/plain; ?version=0\.0\.4/);
  const check = spawnSync('promtool', ['check', 'metrics'], { input: await answer.text(), encoding: 'utf8' });
  assert.equal(check.status, 0, check.stdout + check.stderr);
});

test('metrics tell the queue\'s depth and the age of its oldest', async () => {
  await stack.stopService('worker');
  await tenant.service('POST', '/notifications', { to: ['alice'], title: 'waits' });
  const samples = await untilSamples((all) => all.some((s) => s.labels.channel === 'email' && s.value >= 1 && s.name === 'belfry_queue_deliveries' && s.labels.state === 'ready'), 'a depth of the queue');
  assert.ok(samples.some((s) => s.name === 'belfry_queue_oldest_ready_seconds' && s.labels.channel === 'email'), 'age of the oldest ready one');
  await stack.startService('worker');
});

test('metrics count outcomes by provider', async () => {
  const samples = await untilSamples((all) => ['smtp', 'webpush', 'webhook'].every((provider) =>
    all.some((s) => s.name === 'belfry_attempts_total' && s.labels.provider === provider && s.labels.outcome === 'sent' && s.value >= 1)), 'outcomes of all three providers');
  assert.ok(samples.length > 0);
});

test('metrics count parked requests', async () => {
  const first = await tenant.user('bob', 'GET', '/poll?feeds=inbox');
  const control = new AbortController();
  const parked = fetch(`${stack.url}/api/v1/poll?feeds=inbox&wait=25&cursor=${encodeURIComponent(first.body.cursor)}`, {
    headers: tenant.bearer('bob'), signal: control.signal,
  }).catch(() => {});
  await untilSamples((all) => all.some((s) => s.name === 'belfry_parked_requests' && s.value >= 1), 'one parked request');
  control.abort();
  await parked;
});

test('metrics have a latency histogram by kind', async () => {
  const samples = await untilSamples((all) => all.some((s) => s.name === 'belfry_request_duration_seconds_bucket' && s.labels.kind === 'send' && s.value >= 1), 'a histogram of sends');
  const { name } = samples.find((s) => s.name === 'belfry_request_duration_seconds_bucket');
  const buckets = samples.filter((s) => s.name === name && s.labels.kind === 'send');
  assert.ok(buckets.some((s) => s.labels.le === '+Inf'));
  for (let i = 1; i < buckets.length; i++) assert.ok(buckets[i].value >= buckets[i - 1].value, 'buckets are cumulative');
});

test('metrics are of all processes', async () => {
  await untilSamples((all) => ['api', 'worker', 'scheduler'].every((program) => all.some((s) => s.labels.program === program)), 'every program reports');
  const samples = await untilSamples((all) => all.filter((s) => s.labels.program === 'api' && s.name === 'belfry_process_start_time_seconds').length === 2, 'both handlers report');
  assert.ok(samples.length > 0);
});
