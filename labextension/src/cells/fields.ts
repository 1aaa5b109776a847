/** `{expression}` in a prompt, read as the kernel reads it (jupyter/template.py; both are held to the same cases). Pure. */

export interface Field {
  /** `refused`: the kernel will not expand it, since it is empty, a mere literal or never closed. `escape`: `{{` or `}}`. */
  readonly kind: 'field' | 'escape' | 'refused';
  readonly from: number;
  readonly to: number;
}

const OPENING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };
const CONVERSION = /^![rsa](?=[:}])/;
const QUOTED = /^[rbu]{0,2}(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')$/is;
const OTHER_LITERAL = /^(?:[0-9][0-9_]*(?:\.[0-9_]*)?(?:e[+-]?[0-9_]+)?j?|\.[0-9][0-9_]*(?:e[+-]?[0-9_]+)?j?|0[xob][0-9a-f_]+|True|False|None|\.\.\.)$/;
/** An expression that is longer, or holds a blank line, is taken for a brace that is never closed: nobody writes one. */
const LONGEST = 2000;
const BLANK_LINE = /\n[ \t]*\n/;

/** All of them in `text`, in their order, with offsets from `start`. */
export function readFields(text: string, start = 0): Field[] {
  const found: Field[] = [];
  let at = 0;
  while (at < text.length) {
    const char = text[at];
    if ((char === '{' || char === '}') && text[at + 1] === char) {
      found.push({ kind: 'escape', from: start + at, to: start + at + 2 });
      at += 2;
    } else if (char === '{') {
      const field = fieldAt(text, at);
      found.push({ kind: field.kind, from: start + at, to: start + field.to });
      at = field.to;
    } else {
      at += 1;
    }
  }
  return found;
}

function fieldAt(text: string, from: number): Field {
  const closers: string[] = [];
  const last = Math.min(text.length, from + LONGEST);
  let at = from + 1;
  while (at < last) {
    const char = text[at];
    if (char === '"' || char === "'") {
      at = afterString(text, at, last);
      continue;
    }
    if (!closers.length && (char === ':' || char === '}' || CONVERSION.test(text.slice(at, at + 3)))) {
      return closed(text, from, at);
    }
    if (char in OPENING) {
      closers.push(OPENING[char]);
    } else if (char === closers[closers.length - 1]) {
      closers.pop();
    }
    at += 1;
  }
  return { kind: 'refused', from, to: from + 1 };
}

function closed(text: string, from: number, at: number): Field {
  const expression = text.slice(from + 1, at).trim();
  const end = text.indexOf('}', at);
  if (end < 0 || end - from > LONGEST || BLANK_LINE.test(text.slice(from, end))) {
    return { kind: 'refused', from, to: from + 1 };
  }
  const isLiteral = !expression || QUOTED.test(expression) || OTHER_LITERAL.test(expression);
  return { kind: isLiteral ? 'refused' : 'field', from, to: end + 1 };
}

function afterString(text: string, from: number, last: number): number {
  const quote = text.startsWith(text[from].repeat(3), from) ? text[from].repeat(3) : text[from];
  let at = from + quote.length;
  while (at < last && !text.startsWith(quote, at)) {
    at += text[at] === '\\' ? 2 : 1;
  }
  return at + quote.length;
}
