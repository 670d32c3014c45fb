// `make run`: everything in the foreground, with a demo to look at. deploy/dev/run starts this.
//
// Promises (other programs rely on them): when all is up, a line "Belfry is ready: " and the page's
// address, and demo.env written (demo.mjs); what dies is back within 1 s and demo.env rewritten
// whole; SIGINT or SIGTERM stops everything in order; data outlives a restart.
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { makeDemo, makeEnvWriter, makePostbox, pageFiles } from './demo.mjs';
import { findPort, startStack } from './stack.mjs';

const PREFERRED_PORT = 8080;
const HOST = '127.0.0.1';
const text = { type: 'string' };
const { values } = parseArgs({ options: { build: text, dir: text, port: text } });
const dir = resolve(values.dir);
const say = (words) => console.log(words);

async function demandedPort() {
  if (values.port === undefined) return 0;
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw new Error(`PORT must be a port number, not "${values.port}"`);
  if (await findPort(HOST, port) !== port) throw new Error(`Port ${port} is taken; choose another with PORT=`);
  return port;
}

const running = { stack: null, postbox: null, stopping: false };

async function stop(code) {
  if (running.stopping) process.exit(1); // a second signal: at once; the kernel ends our children
  running.stopping = true;
  rmSync(join(dir, 'demo.env'), { force: true });
  await running.stack?.stop();
  await running.postbox?.stop();
  process.exit(code);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    say('Stopping.');
    stop(0);
  });
}

try {
  rmSync(join(dir, 'demo.env'), { force: true });
  const port = await demandedPort();
  const { service, postbox } = await makePostbox({ dir, host: HOST, findPort });
  running.postbox = service;
  await startStack({
    dir, buildDir: values.build, host: HOST, port, preferPort: PREFERRED_PORT, postbox, say, files: pageFiles(dir), connect: [postbox.url],
    created: (stack) => { running.stack = stack; },
  });
  const { stack } = running;
  const client = await makeDemo(stack, postbox);
  const writeEnv = makeEnvWriter(stack, client, postbox, service);
  for (const source of [stack, service]) {
    source.on('change', writeEnv);
    source.on('exit', (exit) => {
      if (!exit.expected) say(`${exit.service.name} (${exit.pid}) ended: ${exit.status}. Starting it again.`);
    });
  }
  writeEnv();
  say(`Postbox: ${postbox.url}/`);
  say(`Settings for other programs: ${join(dir, 'demo.env')}`);
  say(`Belfry is ready: ${stack.url}/`);
} catch (error) {
  if (running.stopping) await new Promise(() => {}); // it was told to stop while it started
  console.error(error.message);
  await stop(1);
}
