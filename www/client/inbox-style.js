/**
 * The look of `<belfry-inbox>`. A constructed style sheet, which a strict Content-Security-Policy allows.
 * A product changes colours and fonts with the custom properties `--belfry-…` on the element, and the
 * parts `bell`, `badge` and `panel` with `::part()`.
 */

const CSS = `
:host {
  --_accent: var(--belfry-accent, #2f5d8a);
  --_on-accent: var(--belfry-on-accent, #ffffff);
  --_badge: var(--belfry-badge, #b3402a);
  --_surface: var(--belfry-surface, #ffffff);
  --_tint: var(--belfry-tint, #f2f5f8);
  --_text: var(--belfry-text, #1c2530);
  --_muted: var(--belfry-muted, #5a6775);
  --_line: var(--belfry-line, #dfe5eb);
  --_radius: var(--belfry-radius, 14px);
  position: relative;
  display: inline-block;
  color: var(--_text);
  font: 400 15px/1.45 var(--belfry-font, system-ui, sans-serif);
  text-align: start;
}
:host([hidden]) { display: none; }
:host([inline]) { display: block; }
@media (prefers-color-scheme: dark) {
  :host(:not([theme="light"])) {
    --_accent: var(--belfry-accent, #8fbbe6);
    --_on-accent: var(--belfry-on-accent, #0f1a26);
    --_badge: var(--belfry-badge, #e0755d);
    --_surface: var(--belfry-surface, #18212b);
    --_tint: var(--belfry-tint, #202b37);
    --_text: var(--belfry-text, #e6ecf2);
    --_muted: var(--belfry-muted, #9aa9b8);
    --_line: var(--belfry-line, #2c3947);
  }
}
:host([theme="dark"]) {
  --_accent: var(--belfry-accent, #8fbbe6);
  --_on-accent: var(--belfry-on-accent, #0f1a26);
  --_badge: var(--belfry-badge, #e0755d);
  --_surface: var(--belfry-surface, #18212b);
  --_tint: var(--belfry-tint, #202b37);
  --_text: var(--belfry-text, #e6ecf2);
  --_muted: var(--belfry-muted, #9aa9b8);
  --_line: var(--belfry-line, #2c3947);
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
.sr {
  position: absolute; width: 1px; height: 1px; margin: -1px; padding: 0;
  overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
svg { width: 1.25em; height: 1.25em; fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linecap: round; stroke-linejoin: round; flex: none; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px; }

.bell {
  position: relative; display: grid; place-items: center; width: 44px; height: 44px;
  border-radius: 50%; font-size: 19px;
}
.bell:hover, .bell[aria-expanded="true"] { background: var(--_tint); }
.bell.ring svg { animation: ring .7s ease-in-out; transform-origin: 50% 10%; }
.badge {
  position: absolute; top: 2px; inset-inline-start: 23px; min-width: 18px; padding: 0 4px; border-radius: 9px;
  background: var(--_badge); color: #fff; box-shadow: 0 0 0 2px var(--_surface);
  font: 700 11px/18px var(--belfry-font, system-ui, sans-serif); text-align: center; font-variant-numeric: tabular-nums;
}
:host([theme="dark"]) .badge { color: #14100e; }
@media (prefers-color-scheme: dark) { :host(:not([theme="light"])) .badge { color: #14100e; } }

.panel {
  display: flex; flex-direction: column; background: var(--_surface); outline: none; overflow: hidden;
  border: 1px solid var(--_line); border-radius: var(--_radius);
}
:host(:not([inline])) .panel {
  position: absolute; z-index: 1000; top: calc(100% + 8px); inset-inline-end: 0; width: min(400px, calc(100vw - 24px));
  max-height: min(620px, calc(100vh - 96px)); box-shadow: 0 18px 50px rgb(10 25 45 / .22), 0 2px 8px rgb(10 25 45 / .08);
}
:host([inline]) .panel { height: 100%; border: 0; border-radius: 0; }
@media (max-width: 520px) {
  :host(:not([inline])) .panel { position: fixed; top: 72px; inset-inline: 12px; width: auto; }
  .text-button svg { display: none; }
}

.head { display: flex; align-items: center; gap: 10px; padding: 14px 16px 10px; }
.head h2 { margin: 0; font-size: 1.06em; font-weight: 650; letter-spacing: -.005em; }
.count { white-space: nowrap; color: var(--_muted); font-size: .87em; font-variant-numeric: tabular-nums; }
.text-button { white-space: nowrap; display: inline-flex; align-items: center; gap: 6px; color: var(--_accent); font-size: .87em; font-weight: 550; border-radius: 8px; padding: 6px 8px; }
.text-button:hover { background: var(--_tint); }
.text-button:disabled { color: var(--_muted); opacity: .55; cursor: default; background: none; }
.head .text-button { margin-inline-start: auto; margin-inline-end: -8px; }
.filters { display: flex; gap: 4px; padding: 0 12px 10px; border-bottom: 1px solid var(--_line); }
.filter { padding: 4px 12px; border-radius: 20px; font-size: .87em; color: var(--_muted); }
.filter:hover { background: var(--_tint); }
.filter[aria-pressed="true"] { background: var(--_tint); color: var(--_text); font-weight: 600; }
.notice { margin: 0; padding: 8px 16px; background: var(--_tint); color: var(--_muted); font-size: .87em; display: flex; gap: 8px; align-items: center; }
.scroll { overflow-y: auto; overscroll-behavior: contain; flex: 1 1 auto; min-height: 0; }
.list { list-style: none; margin: 0; padding: 0; }

.row {
  position: relative; display: grid; grid-template-columns: 36px 1fr auto; gap: 12px; padding: 14px 12px 14px 16px;
  border-bottom: 1px solid var(--_line); transition: background-color .2s;
}
.row:last-child { border-bottom: 0; }
.row:hover { background: var(--_tint); }
.row.unread::before {
  content: ""; position: absolute; inset-inline-start: 5px; top: 29px; width: 7px; height: 7px; border-radius: 50%; background: var(--_accent);
}
.row.fresh { animation: arrive .5s ease-out, glow 2.6s ease-out; }
.avatar {
  width: 36px; height: 36px; border-radius: 50%; overflow: hidden; display: grid; place-items: center;
  background: color-mix(in srgb, var(--hue) 17%, var(--_surface)); color: color-mix(in srgb, var(--hue) 60%, var(--_text)); font-weight: 650;
  --hue: #4a7ab0;
}
.avatar[data-hue="1"] { --hue: #b5852a; }
.avatar[data-hue="2"] { --hue: #3f8f6b; }
.avatar[data-hue="3"] { --hue: #a65a86; }
.avatar[data-hue="4"] { --hue: #7a6bc0; }
.avatar img { width: 100%; height: 100%; object-fit: cover; }
.main { min-width: 0; }
.meta { display: flex; align-items: baseline; gap: 8px; color: var(--_muted); font-size: .82em; }
.sender { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.meta time { white-space: nowrap; }
.meta time::before { content: "·"; margin-inline-end: 8px; }
.priority { padding: 0 7px; border-radius: 9px; font-size: .92em; font-weight: 600; white-space: nowrap; background: color-mix(in srgb, var(--_badge) 14%, var(--_surface)); color: color-mix(in srgb, var(--_badge) 80%, var(--_text)); }
.title { display: inline; font-size: 1em; font-weight: 450; color: inherit; text-decoration: none; text-align: start; overflow-wrap: anywhere; border-radius: 4px; }
.title:hover { text-decoration: underline; text-underline-offset: 3px; }
.unread .title { font-weight: 650; }
.body { margin: 2px 0 0; color: var(--_muted); font-size: .93em; white-space: pre-line; overflow-wrap: anywhere; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.row.open .body { display: block; }
.actions { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 10px; }
.action {
  display: inline-flex; align-items: center; gap: 6px; min-height: 32px; padding: 4px 14px; border-radius: 9px; font-size: .87em; font-weight: 550;
  border: 1px solid var(--_line); background: var(--_surface);
}
.action:hover:not(:disabled) { border-color: var(--_accent); color: var(--_accent); }
.action:first-child:not(:disabled):not([aria-pressed]) { background: var(--_accent); border-color: var(--_accent); color: var(--_on-accent); }
.action:first-child:hover:not(:disabled):not([aria-pressed]) { filter: brightness(1.08); }
.action[aria-pressed="true"] { color: var(--_accent); border-color: var(--_accent); cursor: default; }
.action:disabled { opacity: .5; cursor: default; }
.tools { display: flex; flex-direction: column; gap: 2px; opacity: .62; transition: opacity .15s; }
.row:hover .tools, .row:focus-within .tools { opacity: 1; }
.tool { display: grid; place-items: center; width: 30px; height: 30px; border-radius: 8px; color: var(--_muted); font-size: 14px; }
.tool:hover { background: color-mix(in srgb, var(--_accent) 14%, transparent); color: var(--_accent); }

.empty { display: grid; justify-items: center; gap: 6px; padding: 44px 24px; color: var(--_muted); text-align: center; }
.empty svg { width: 34px; height: 34px; stroke-width: 1.2; opacity: .7; }
.empty strong { color: var(--_text); font-weight: 600; }
.older { display: block; width: 100%; padding: 12px; color: var(--_accent); font-size: .87em; font-weight: 550; border-top: 1px solid var(--_line); }
.older:hover { background: var(--_tint); }
.undo { display: flex; align-items: center; justify-content: space-between; gap: 8px; padding: 8px 12px 8px 16px; border-top: 1px solid var(--_line); font-size: .9em; }

@keyframes ring { 0%, 100% { rotate: 0deg } 20% { rotate: 14deg } 40% { rotate: -11deg } 60% { rotate: 7deg } 80% { rotate: -4deg } }
@keyframes arrive { from { opacity: 0; translate: 0 -10px } }
@keyframes glow { from { background: color-mix(in srgb, var(--_accent) 16%, var(--_surface)) } }
@media (prefers-reduced-motion: reduce) { *, .row.fresh, .bell.ring svg { animation: none !important; transition: none !important; } }
@media (pointer: coarse) { .tool { width: 40px; height: 40px; } .action { min-height: 40px; } .tools { opacity: 1; } }
`;

/** @type {CSSStyleSheet | null} */
let sheet = null;

/** The one style sheet that all elements share. */
export function inboxStyle() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
