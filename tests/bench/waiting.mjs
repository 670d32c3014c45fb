// Many parked long-polls, each of a user of its own, and somebody who can send to them (tests/bench/waiters.c).
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { address, emptyAnswers, post, privateKb, sendToAll, user } from './bench.mjs';

/**
 * Starts a stack and parks `count` polls at it. Gives {stack, tenant, ask(command), parked(), before}: what the
 * program answers to a command, whether every poll waits, and the private memory of the processes before.
 */
export async function parkWaiters(bench, count) {
  const stack = await bench.stack({
    apiEnv: { BELFRY_WAITERS_MAX: String(count + 500) },
    webSettings: emptyAnswers(bench),
  });
  const tenant = await bench.tenant();
  await sendToAll(tenant, count, 'Before');
  const indices = Array.from({ length: count }, (_, i) => i);
  const tokens = bench.file('tokens', indices.map((i) => `${tenant.token(user(i))}\n`).join(''));
  const sends = bench.file('sends', indices.map((i) => `${post('/api/v1/notifications', tenant.authorization, { to: [user(i)], title: 'n@@@@@@@@' })}\0`).join(''));

  const before = { api: privateKb(stack.pids().api), web: privateKb(stack.pids().web) };
  const waiters = bench.program('waiters', [address(stack), tokens, sends]);
  const lines = createInterface({ input: waiters.stdout });
  const ask = async (command) => {
    const answer = once(lines, 'line');
    waiters.stdin.write(`${command}\n`);
    return JSON.parse((await answer)[0]);
  };
  const parked = async () => {
    const { waiting } = await ask('stats');
    return waiting === count && (await metric(stack, 'belfry_parked_requests')) >= count * 0.99;
  };
  await stack.until(parked, 'every waiter is parked', 120_000);
  return { stack, tenant, ask, parked, before };
}

/** What the programs' metrics say, over all labels. */
async function metric(stack, name) {
  const text = await (await fetch(`${stack.url}/metrics`)).text();
  return text.split('\n').filter((line) => line.startsWith(name)).reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** A run of sends lost nothing, repeated nothing and met no error. */
export function expectWhole(bench, result) {
  if (result.lost || result.repeated || result.errors) bench.fault(`lost ${result.lost}, repeated ${result.repeated}, errors ${result.errors}`);
}
