// What the tests in a real browser share: Chromium, a page whose every complaint is kept, and a stack
// with the demo in it, as `make run` makes it.
//
//   const demo = await startDemo();                       // {stack, postbox, client, user, url, stop()}
//   const browser = await startBrowser();
//   const tab = await openTab(browser, demo.url);         // {page, context, complaints, polls, open (polls)}
//   tab.assertQuiet();                                    // no error, no warning, no violation of the policy
//
// Promises: nothing here sleeps; Playwright's and our own waits end with a condition or a deadline.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { makeDemo, makeEnvWriter, pageFiles } from '../../deploy/dev/demo.mjs';
import { startStack } from '../../deploy/dev/stack.mjs';
import { startPostbox } from '../postbox/index.mjs';

export const DEADLINE_MS = 20_000; // less than a poll waits: what only comes with its end comes too late
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
// Debian's wrapper adds what it likes; these keep the browser on this machine and out of the way.
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

export async function startBrowser() {
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args: ARGUMENTS });
}

/** A stack, a postbox and the demo's tenant and person, in a directory that stop() removes. */
export async function startDemo(options = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'belfry-page-'));
  const postbox = await startPostbox();
  const discard = async () => {
    await postbox.close();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const stack = await startStack({ ...options, dir, postbox, files: { ...pageFiles(dir), ...options.files }, connect: [postbox.url] });
    const client = await makeDemo(stack, postbox);
    makeEnvWriter(stack, client, postbox, { pid: null })();
    const stop = async () => {
      await stack.stop();
      await discard();
    };
    return { stack, postbox, client, user: 'ada', url: `${stack.url}/`, stop };
  } catch (error) {
    await discard();
    throw error;
  }
}

/** A tab in the context, or in a browser's new context. complaints: what its console and its policy said. */
export async function openTab(where, url, options = {}) {
  const context = where.newContext ? await where.newContext({ viewport: { width: 1440, height: 900 }, ...options }) : where;
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  const tab = { page, context, complaints: [], polls: [], open: new Set() };
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) tab.complaints.push(`${message.type()}: ${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => tab.complaints.push(`uncaught: ${error.stack}`));
  page.on('dialog', (dialog) => {
    tab.complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    if (!/\/api\/v1\/poll\?/.test(request.url())) return;
    tab.polls.push(request);
    tab.open.add(request);
  });
  for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => tab.open.delete(request));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  await page.goto(url);
  tab.assertQuiet = () => assert.deepEqual(tab.complaints, []);
  return tab;
}

/** Resolves, with the request, when a poll of the tab waits at the server. */
export async function waitForParkedPoll(tab) {
  const parked = (request) => Number(new URL(request.url()).searchParams.get('wait')) > 0;
  await waitFor(() => [...tab.open].some(parked), 'a poll that waits at the server');
  return [...tab.open].find(parked);
}

/** Repeats until the condition gives something true, and gives that. */
export async function waitFor(condition, what, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited for ${deadlineMs / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
