// Takes every WHERE clause out of a statement, those of subqueries too: what a programmer could have forgotten.
// It knows strings, quoted names and parentheses; FILTER (WHERE …) stays, for it is no condition on rows that are read.

const ENDS = ['group', 'order', 'limit', 'offset', 'returning', 'union', 'except', 'intersect', 'having', 'window', 'for', 'on', 'fetch'];

/** [{text, depth}] of words, strings, spaces and signs. */
function* tokens(sql) {
  const pattern = /'(?:[^']|'')*'|"[^"]*"|\s+|\w+|[^\w\s]/g;
  let depth = 0;
  for (const [text] of sql.matchAll(pattern)) {
    if (text === ')') depth -= 1;
    yield { text, depth };
    if (text === '(') depth += 1;
  }
}

export function stripWhere(sql) {
  let out = '';
  let skipping = null; // the depth of the WHERE that is being left out
  let last = ''; // the last two words or signs
  let cases = 0; // CASE … END inside the clause: its words end nothing
  for (const { text, depth } of tokens(sql)) {
    const word = text.toLowerCase();
    if (skipping !== null) {
      if (word === 'case') cases += 1;
      if (word === 'end') cases -= 1;
      const ends = (depth < skipping && text === ')') || (depth === skipping && cases === 0 && ENDS.includes(word));
      if (!ends) continue;
      skipping = null;
      out += ' ';
    } else if (word === 'where' && last !== 'filter(') {
      skipping = depth;
      cases = 0;
      continue;
    }
    out += text;
    if (word.trim()) last = text === '(' ? `${last}(` : word;
  }
  return out;
}
