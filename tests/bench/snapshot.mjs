// The rate of deliveries while another session holds a snapshot, as a backup does, against that without.
import { spawn } from 'node:child_process';
import { startPostbox } from '../postbox/index.mjs';
import { drain, queue, stackWithDevices, startSink } from './deliveries.mjs';

const QUEUED = 300_000;

export async function run(bench) {
  const postbox = await startPostbox();
  bench.onStop(() => postbox.close());
  const rates = {};
  for (const held of [false, true]) {
    const { port, stats } = await startSink(bench, false, 'webhook-id');
    const { stack, tenant } = await stackWithDevices(bench, postbox, `http://127.0.0.1:${port}/`);
    const holder = held ? await holdSnapshot(stack) : null;
    await queue(stack, tenant, QUEUED);
    rates[held] = await drain(bench, stack, stats, QUEUED);
    console.log(`  ${rates[held].toFixed(0)} deliveries a second ${held ? 'while a snapshot is held' : 'without a snapshot held'}`);
    holder?.kill();
    await stack.stop();
  }
  bench.figure('deliveries with a snapshot held / without', rates[true] / rates[false], { least: 0.9 });
}

async function holdSnapshot(stack) {
  const holder = spawn('psql', ['-X', '-q', '-A', '-t', stack.conninfo()], { stdio: ['pipe', 'pipe', 'inherit'] });
  holder.stdin.write('begin isolation level repeatable read; select count(*) from belfry.ready;\n');
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  return holder;
}
