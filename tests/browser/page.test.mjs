// The page that `make run` prints, as a person uses it, in Chromium: what is sent arrives in the inbox, as an
// e-mail, as Web Push and as a webhook; tabs share; a lost network is told and made up for; the keyboard and
// the names that assistive programs read.
import assert from 'node:assert/strict';
import { after, before, beforeEach, afterEach, describe, test } from 'node:test';
import { checkContrast, checkNames } from './accessibility.mjs';
import { openTab, startBrowser, startDemo, waitFor, waitForParkedPoll } from './lib.mjs';

let demo;
let browser;
before(async () => {
  [demo, browser] = await Promise.all([startDemo(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await demo?.stop();
});

const inboxOf = (tab) => tab.page.locator('#inbox');
const rowOf = (tab, title) => inboxOf(tab).getByRole('listitem').filter({ hasText: title });
const channelOf = (tab, name) => tab.page.locator('#arrived .channel').filter({ has: tab.page.getByRole('heading', { name, exact: true }) });
const isLive = (tab) => tab.page.locator('#who-text').filter({ hasText: 'live' }).waitFor();

async function sendFromPage(tab, title, fill = async () => {}) {
  await tab.page.getByLabel('Title').fill(title);
  await fill(tab.page);
  await tab.page.getByRole('button', { name: 'Send', exact: true }).click();
}

/** From the backend, without the page. Gives the id. */
async function sendFromBackend(title, more = {}) {
  const answer = await demo.client.service('POST', '/notifications', { to: [demo.user], title, channels: [], ...more });
  assert.equal(answer.status, 202, JSON.stringify(answer.body));
  return answer.body.notifications[0].id;
}

describe('the page', () => {
  let tab;
  beforeEach(async () => {
    await demo.client.user(demo.user, 'DELETE', '/inbox');
    tab = await openTab(browser, demo.url);
    await isLive(tab);
  });
  afterEach(() => tab.context.close());

  test('what is sent is in the inbox through the poll that waited, and arrives by e-mail, Web Push and webhook', async () => {
    const parked = await waitForParkedPoll(tab);
    await sendFromPage(tab, 'Your parcel 📦 is here');
    await rowOf(tab, 'Your parcel 📦 is here').waitFor();
    const answer = await (await parked.response()).json();
    const [event] = answer.feeds.inbox.events;
    assert.equal(event.notification.title, 'Your parcel 📦 is here', 'the waiting poll brought it');

    await channelOf(tab, 'E-mail').getByText('received by SMTP with TLS').waitFor();
    await channelOf(tab, 'Web Push').getByText('decrypted with the key of the subscription').waitFor();
    await channelOf(tab, 'Webhook').getByText('signature verified').waitFor();
    await tab.page.locator('.channel.done').nth(3).waitFor();
    assert.match(await channelOf(tab, 'E-mail').locator('.letter').innerText(), /Subject\s+Your parcel 📦 is here/);
    assert.equal(await channelOf(tab, 'Web Push').locator('.push-title').innerText(), 'Your parcel 📦 is here');
    const steps = tab.page.getByRole('region', { name: 'Timeline' }).getByRole('listitem');
    for (const step of ['Accepted', 'Planned: E-mail, Web Push, Webhook', 'E-mail: sent', 'Web Push: sent', 'Webhook: sent']) {
      await steps.filter({ hasText: step }).waitFor();
    }
    for (const kind of ['email', 'push', 'webhook']) {
      const messages = demo.postbox.messages({ kind }).filter((message) => JSON.stringify(message).includes(event.notification.id));
      assert.deepEqual(messages.map((message) => message.problem), [null], `${kind}: exactly one, and the receiver was content`);
    }
    await tab.page.getByRole('button', { name: 'Notifications, 1 unread' }).waitFor();
    assert.equal(await tab.page.title(), '(1) Belfry demo');
    tab.assertQuiet();
  });

  test('a pressed button, archiving and its undo, and "all as read" show at once and stay after a reload', async () => {
    for (const title of ['First', 'Second', 'Third']) {
      await sendFromBackend(title, { actions: [{ id: 'yes', label: 'Yes' }, { id: 'no', label: 'No' }] });
    }
    await rowOf(tab, 'First').getByRole('button', { name: 'Yes' }).click();
    await rowOf(tab, 'First').getByRole('button', { name: 'Yes', pressed: true }).waitFor();
    assert.ok(await rowOf(tab, 'First').getByRole('button', { name: 'No' }).isDisabled());
    await inboxOf(tab).getByText('2 unread').waitFor();
    await rowOf(tab, 'Second').getByRole('button', { name: 'Archive: Second' }).click();
    await rowOf(tab, 'Second').waitFor({ state: 'detached' });
    await inboxOf(tab).getByText('1 unread').waitFor();
    await inboxOf(tab).getByRole('button', { name: 'Undo' }).click();
    await rowOf(tab, 'Second').waitFor();
    await rowOf(tab, 'Third').getByRole('button', { name: 'Archive: Third' }).click();
    await rowOf(tab, 'Third').waitFor({ state: 'detached' });
    await inboxOf(tab).getByRole('button', { name: 'Mark all as read' }).click();
    await tab.page.getByRole('button', { name: 'Notifications', exact: true }).waitFor();

    await tab.page.reload();
    await rowOf(tab, 'Second').waitFor();
    assert.deepEqual(await inboxOf(tab).getByRole('listitem').locator('.title').allInnerTexts(), ['Second', 'First']);
    await rowOf(tab, 'First').getByRole('button', { name: 'Yes', pressed: true }).waitFor();
    assert.equal(await tab.page.title(), 'Belfry demo');
    tab.assertQuiet();
  });

  test('a channel that was not chosen or that the user does not want gets nothing, and the page says why', async () => {
    const preferences = (body) => demo.client.user(demo.user, 'PUT', '/preferences', body);
    await preferences({ channels: { email: false }, categories: {} });
    await sendFromPage(tab, 'Only by push', (page) => page.getByLabel('Webhook').uncheck());
    await channelOf(tab, 'Web Push').getByText('decrypted with').waitFor();
    await channelOf(tab, 'E-mail').getByText('skip: opted out').waitFor();
    await channelOf(tab, 'Webhook').getByText('not chosen').waitFor();
    await preferences({ channels: {}, categories: {} });
    const kinds = demo.postbox.messages().filter((message) => JSON.stringify(message).includes('Only by push')).map((message) => message.kind);
    assert.deepEqual(kinds, ['push']);
    tab.assertQuiet();
  });

  test('something scheduled appears by itself when it is due', async () => {
    const id = await sendFromBackend('Later', { scheduledAt: new Date(Date.now() + 1500).toISOString() });
    const listed = await demo.client.service('GET', `/notifications/${id}`);
    assert.equal(listed.body.status, 'scheduled');
    await rowOf(tab, 'Later').waitFor();
    tab.assertQuiet();
  });

  test('what somebody wrote never becomes markup, in the inbox or in what arrived', async () => {
    const nasty = '<img src=x onerror=alert(1)>';
    await sendFromPage(tab, nasty, async (page) => {
      await page.getByLabel('Text').fill('<script>alert(2)</script>');
      await page.getByLabel('Buttons').fill('<b>bold</b>');
    });
    await rowOf(tab, nasty).getByRole('button', { name: '<b>bold</b>' }).waitFor();
    await tab.page.locator('.channel.done').nth(3).waitFor();
    assert.equal(await tab.page.locator('#arrived').locator('img, script, b:not(.subject b)').count(), 0);
    assert.equal(await inboxOf(tab).locator('li img, li script, li b').count(), 0);
    tab.assertQuiet();
  });

  test('a fault in what was entered is told beside the button', async () => {
    await sendFromPage(tab, '   ');
    await tab.page.getByText('/title: must have 1 to 256 characters').waitFor();
    assert.ok(await tab.page.getByRole('button', { name: 'Send', exact: true }).isEnabled());
    assert.ok(tab.complaints.every((line) => /status of 422/.test(line)), tab.complaints.join('\n'));
  });

  test('without the network it says so; afterwards it shows what came meanwhile, once', async () => {
    await waitForParkedPoll(tab);
    await tab.context.setOffline(true);
    await inboxOf(tab).getByText('No connection.').waitFor();
    await sendFromBackend('Sent meanwhile');
    assert.equal(await rowOf(tab, 'Sent meanwhile').count(), 0);
    await tab.context.setOffline(false);
    await rowOf(tab, 'Sent meanwhile').waitFor();
    await isLive(tab);
    assert.equal(await rowOf(tab, 'Sent meanwhile').count(), 1);
    await inboxOf(tab).getByText('No connection.').waitFor({ state: 'hidden' });
  });

  test('when Belfry is away and comes back, "Try again" goes on at once, and sending works', async () => {
    await waitForParkedPoll(tab);
    const names = ['web', 'api'];
    await Promise.all(names.map((name) => demo.stack.stopService(name)));
    try {
      await inboxOf(tab).getByText('No connection.').waitFor();
      await sendFromPage(tab, 'Into the void');
      await tab.page.getByText('Belfry cannot be reached.').waitFor();
    } finally {
      await Promise.all(names.map((name) => demo.stack.startService(name)));
    }
    await inboxOf(tab).getByRole('button', { name: 'Try again' }).click();
    await isLive(tab);
    await sendFromPage(tab, 'Here again');
    await rowOf(tab, 'Here again').waitFor();
    assert.equal(await rowOf(tab, 'Into the void').count(), 0);
  });

  test('one of two tabs polls, both show everything, and the other takes over', async () => {
    await waitForParkedPoll(tab);
    const other = await openTab(tab.context, demo.url);
    await isLive(other);
    await sendFromPage(other, 'For both');
    await Promise.all([tab, other].map((one) => rowOf(one, 'For both').waitFor()));
    assert.equal(other.polls.length, 0, 'the second tab asked for itself');
    await inboxOf(other).getByRole('button', { name: 'Mark as read: For both' }).click();
    await inboxOf(tab).getByRole('button', { name: 'Mark as unread: For both' }).waitFor();
    tab.assertQuiet();
    await tab.page.close();
    const parked = await waitForParkedPoll(other);
    assert.ok(new URL(parked.url()).searchParams.get('cursor'), 'it goes on from the cursor that it heard of');
    await sendFromBackend('For the one that is left');
    await rowOf(other, 'For the one that is left').waitFor();
    assert.equal(await rowOf(other, 'For both').count(), 1);
    other.assertQuiet();
  });

  test('the keyboard reaches everything: the bell, the list, its shortcuts, and back', async () => {
    for (const title of ['Lower', 'Upper']) await sendFromBackend(title, { url: 'https://shop.example.com/' });
    await rowOf(tab, 'Upper').waitFor();
    const { keyboard } = tab.page;
    const bell = tab.page.getByRole('button', { name: /^Notifications/ });
    const panel = tab.page.getByRole('dialog', { name: 'Notifications' });
    const focused = () => tab.page.evaluate(() => {
      let element = document.activeElement;
      while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
      return element?.textContent.trim() ?? '';
    });
    await bell.focus();
    assert.equal(await bell.getAttribute('aria-expanded'), 'false');
    await keyboard.press('Enter');
    await panel.waitFor();
    assert.equal(await bell.getAttribute('aria-expanded'), 'true');
    await keyboard.press('ArrowDown');
    assert.match(await focused(), /Upper$/);
    await keyboard.press('End');
    assert.match(await focused(), /Lower$/);
    await keyboard.press('r');
    await panel.getByRole('button', { name: 'Mark as unread: Lower' }).waitFor();
    await keyboard.press('e');
    await panel.getByRole('listitem').filter({ hasText: 'Lower' }).waitFor({ state: 'detached' });
    assert.match(await focused(), /Upper$/, 'the focus goes to the row that is left');
    await keyboard.press('Escape');
    await panel.waitFor({ state: 'hidden' });
    assert.ok(await bell.evaluate((element) => element.getRootNode().activeElement === element), 'the focus is back on the bell');
    tab.assertQuiet();
  });
});

for (const colorScheme of ['light', 'dark']) {
  test(`everything has a name and enough contrast, nothing is wider than a phone (${colorScheme})`, async () => {
    const tab = await openTab(browser, demo.url, { colorScheme, viewport: { width: 375, height: 800 }, reducedMotion: 'reduce' });
    await isLive(tab);
    await sendFromPage(tab, 'A very-long-word-without-any-place-to-break-it-that-must-not-push-the-page-apart', (page) => page.getByLabel('Priority').selectOption('urgent'));
    await tab.page.locator('.channel.done').nth(3).waitFor();
    await tab.page.getByRole('button', { name: /^Notifications, / }).click();
    await checkNames(tab.page);
    await checkContrast(tab.page);
    assert.equal(await tab.page.evaluate(() => document.documentElement.scrollWidth), 375);
    tab.assertQuiet();
    await tab.context.close();
  });
}

test('the postbox has a page of its own that shows the three kinds', async () => {
  await sendFromBackend('Seen in the postbox', { channels: ['email', 'push', 'webhook'] });
  const tab = await openTab(browser, `${demo.postbox.url}/`);
  await waitFor(async () => (await tab.page.getByText('Seen in the postbox').count()) >= 2, 'it is listed');
  tab.assertQuiet();
  await tab.context.close();
});
