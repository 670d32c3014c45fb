// What assistive programs and weak eyes need, checked on the page as it stands: WCAG 2.2, success criteria
// 1.1.1, 1.3.1, 1.4.3, 2.4.6, 3.1.1 and 4.1.2, as far as a program can tell.
import assert from 'node:assert/strict';

const NAMED_ROLES = ['button', 'link', 'textbox', 'searchbox', 'checkbox', 'combobox', 'dialog', 'region', 'image', 'heading', 'group', 'list'];
const NAMELESS_IS_FINE = ['group', 'list'];
const CONTRAST_MIN = 4.5;
const CONTRAST_LARGE_MIN = 3;

/** Everything to operate has a name, headings are in order, ids are unique, references lead somewhere. */
export async function checkNames(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  await session.detach();
  const shown = nodes.filter((node) => !node.ignored && NAMED_ROLES.includes(node.role?.value));
  const nameless = shown.filter((node) => !node.name?.value?.trim() && !NAMELESS_IS_FINE.includes(node.role.value));
  assert.deepEqual(nameless.map((node) => `${node.role.value} ${JSON.stringify(node.properties)}`), []);
  for (const role of ['button', 'textbox', 'checkbox', 'combobox', 'dialog', 'heading']) {
    assert.ok(shown.some((node) => node.role.value === role), `there is no ${role}: the tree was not read`);
  }
  assert.deepEqual(await page.evaluate(findFaults), []);
}

/** Text stands out from what is behind it. Runs in both colour schemes. */
export async function checkContrast(page) {
  const faults = await page.evaluate(findPale, { normal: CONTRAST_MIN, large: CONTRAST_LARGE_MIN });
  assert.deepEqual(faults, []);
}

// Runs in the page.
function findFaults() {
  const faults = [];
  const roots = [document, ...[...document.querySelectorAll('*')].map((element) => element.shadowRoot).filter(Boolean)];
  for (const root of roots) {
    const ids = [...root.querySelectorAll('[id]')].map((element) => element.id);
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`the id ${id} is there twice`);
    for (const attribute of ['aria-labelledby', 'aria-controls', 'aria-describedby', 'for']) {
      for (const element of root.querySelectorAll(`[${attribute}]`)) {
        for (const id of element.getAttribute(attribute).split(/\s+/)) if (!ids.includes(id)) faults.push(`${attribute}=${id} leads nowhere`);
      }
    }
    for (const image of root.querySelectorAll('img:not([alt])')) faults.push(`an image has no alt: ${image.src}`);
    for (const element of root.querySelectorAll('[tabindex]')) if (element.tabIndex > 0) faults.push('a positive tabindex');
  }
  if (!document.documentElement.lang) faults.push('the page has no language');
  if (!document.title) faults.push('the page has no title');
  if (document.querySelectorAll('main').length !== 1) faults.push('there is not one main');
  const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map((heading) => Number(heading.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) faults.push('there is not one h1');
  levels.forEach((level, i) => {
    if (i > 0 && level > levels[i - 1] + 1) faults.push(`heading ${i + 1} skips a level`);
  });
  return faults;
}

// Runs in the page. Colours are flattened over what lies behind them; text over pictures is not judged.
function findPale(least) {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], back) => [r, g, b].map((value, i) => value * a + back[i] * (1 - a));
  const parentOf = (element) => element.assignedSlot ?? element.parentElement ?? element.getRootNode().host ?? null;
  const backgroundOf = (element) => {
    const layers = [];
    for (let at = element; at; at = parentOf(at)) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((back, layer) => over(layer, back), rgba('Canvas').slice(0, 3));
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faults = new Set();
  let judged = 0;
  const judge = (element) => {
    const style = getComputedStyle(element);
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join('');
    const field = element.matches('input, textarea, select') ? element.value : '';
    if (!text && !field) return;
    // What cannot be operated, is not drawn, or only read aloud has no contrast to keep.
    if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || element.closest(':disabled, .sr, svg')) return;
    if (element.matches('label:has(:disabled), option')) return;
    const back = backgroundOf(element);
    const [light, dark] = [luminance(over(rgba(style.color), back)), luminance(back)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = Number.parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    judged += 1;
    if (ratio < (isLarge ? least.large : least.normal)) faults.add(`${ratio.toFixed(2)}: ${element.className || element.tagName} "${(text || field).slice(0, 30)}"`);
  };
  const walk = (root) => {
    for (const element of root.querySelectorAll('*')) {
      judge(element);
      if (element.shadowRoot) walk(element.shadowRoot);
    }
  };
  walk(document.body);
  if (judged < 20) faults.add(`only ${judged} texts were judged`);
  return [...faults];
}
