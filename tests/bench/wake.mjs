// 8,000 parked long-polls: what they cost in memory, and how soon they hear of a send.
import { address, get, privateKb, sendToAll } from './bench.mjs';
import { expectWhole, parkWaiters } from './waiting.mjs';

const WAITERS = 8000;
const WAKES = 10;
const RATE = 200;
const SECONDS = 20;

export async function run(bench) {
  const { stack, tenant, ask, parked, before } = await parkWaiters(bench, WAITERS);
  for (let wake = 1; wake <= WAKES; wake++) {
    const { received } = await ask('stats');
    await sendToAll(tenant, WAITERS, `n wake ${wake}`);
    await stack.until(async () => (await ask('stats')).received >= received + WAITERS, 'everybody was woken', 60_000);
    await stack.until(parked, 'every waiter is parked again', 120_000);
  }
  const api = (privateKb(stack.pids().api) - before.api) * 1024 / WAITERS;
  const web = (privateKb(stack.pids().web) - before.web) * 1024 / WAITERS;
  bench.figure(`memory for each parked long-poll in the handler, ${WAITERS} of them, after ${WAKES} wakes of all`, api, { most: 2048, unit: ' bytes', digits: 0 });
  bench.figure('the same with lighttpd', api + web, { most: 8192, unit: ' bytes', digits: 0 });

  const reference = await bench.load(address(stack), 1, 3, [get('/empty')]);
  const result = await ask(`run ${RATE} ${SECONDS}`);
  expectWhole(bench, result);
  console.log(`  ${result.sent} sends at ${(result.sent / SECONDS).toFixed(0)}/s; empty FastCGI round trip p50 ${reference.p50} ms, p99 ${reference.p99} ms`);
  console.log(`  time to commit (the send's own answer): p50 ${result.commitP50} ms, p99 ${result.commitP99} ms`);
  console.log(`  wake: p50 ${result.wakeP50} ms, p90 ${result.wakeP90} ms, max ${result.wakeMax} ms; ${(result.wakeP99 / reference.p99).toFixed(1)} times the reference's p99`);
  bench.figure(`wake with ${WAITERS} parked, 99th percentile`, result.wakeP99, { most: 10, unit: ' ms' });
}
