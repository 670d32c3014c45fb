/**
 * Small helpers to make elements. Text only ever becomes a text node, and addresses are checked: nothing
 * that a notification holds can become markup or script.
 */

/**
 * An element with attributes and children. `null`, `undefined` and `false` leave an attribute out;
 * a function is a listener (`onclick`).
 * @param {string} name
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string | null)} children
 * @returns {any}
 */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(key.slice(2), /** @type {EventListener} */ (value));
    else element.setAttribute(key, value === true ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const ICONS = {
  bell: ['M6 9.5a6 6 0 0 1 12 0c0 4.2 1.2 5.6 2 6.5H4c.8-.9 2-2.3 2-6.5Z', 'M9.8 19a2.3 2.3 0 0 0 4.4 0', 'M12 3.5V2'],
  read: ['M4.5 12.5 9.5 17.5 19.5 7'],
  unread: ['M3.5 6.5h17v11h-17z', 'm3.5 7.5 8.5 6 8.5-6'],
  archive: ['M3.5 5h17v4h-17z', 'M5 9v10h14V9', 'M10 13h4'],
  all: ['m2.5 12.5 4.5 4.5 8-9', 'm12 15.5 1.5 1.5 8-9'],
};

/** A line icon of 24 units that takes the text's colour. @param {keyof typeof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  for (const d of ICONS[name]) {
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('d', d);
    svg.append(path);
  }
  return svg;
}

/** The address if it is http or https, else null: `javascript:` and its like lead nowhere. @param {string | null | undefined} url */
export function safeUrl(url) {
  if (!url) return null;
  try {
    const parsed = new URL(url, document.baseURI);
    return parsed.protocol === 'https:' || parsed.protocol === 'http:' ? parsed.href : null;
  } catch {
    return null;
  }
}

const UNITS = /** @type {[Intl.RelativeTimeFormatUnit, number][]} */ ([['minute', 60], ['hour', 3600], ['day', 86400]]);

/**
 * "now", "5 min. ago", "yesterday"; a date after a week.
 * @param {string} iso
 * @param {number} nowMs
 * @param {string} [locale]  the browser's where absent
 */
export function relativeTime(iso, nowMs, locale) {
  const seconds = Math.round((nowMs - Date.parse(iso)) / 1000);
  const format = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' });
  if (seconds < 60) return format.format(0, 'second');
  if (seconds > 7 * 86400) return new Intl.DateTimeFormat(locale, { dateStyle: 'medium' }).format(Date.parse(iso));
  const [unit, size] = UNITS.filter(([, unitSize]) => seconds >= unitSize).at(-1) ?? UNITS[0];
  return format.format(-Math.floor(seconds / size), unit);
}
