/** The line that makes a cell one of ours: where it stands, what its words are, and how an option is set in it. Pure. */

export type MagicKind = 'llm' | 'sandbox';

/** Names that need neither quotes nor braces in a magic line, and cannot be taken for an option. */
export const PLAIN_NAME = /^[\p{L}\p{N}_][\p{L}\p{N}_.:@/+-]*$/u;

export interface Word {
  readonly kind: 'magic' | 'option' | 'value' | 'comment';
  readonly from: number;
  readonly to: number;
}

export interface MagicLine {
  readonly kind: MagicKind;
  /** Of the line, without its indentation and its end. */
  readonly from: number;
  readonly to: number;
  readonly words: readonly Word[];
  /** The words of the lines above it, which hand the cell on to it (`%%time`). */
  readonly above: readonly Word[];
}

export interface Edit {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

const FIRST_LOOK = 2048;
const OURS = /^%%(llm|sandbox)(?= |$)/;
/** Magics that hand the rest of the cell on to IPython, which then finds a magic of ours in it. */
const HANDS_ON = /^%%(?:capture|time|timeit|prun)(?: |$)/;

/** The first line of a new cell. `model`: the one that a person wants there; "" leaves the choice to the pool. */
export function firstLine(kind: MagicKind, model: string): string {
  return kind === 'llm' && model ? `%%llm --model ${model}` : `%%${kind}`;
}

/** The magic line of a cell with this source; null where the cell is something else. */
export function readMagic(source: string): MagicLine | null {
  const above: Word[] = [];
  let from = 0;
  while (from <= source.length) {
    const end = source.indexOf('\n', from);
    const to = end < 0 ? source.length : end;
    const line = source.slice(from, to).trimStart();
    const found = OURS.exec(line.trimEnd());
    if (found) {
      const start = to - line.length;
      return { kind: found[1] as MagicKind, from: start, to, words: wordsOf(source, start, to), above };
    }
    if (end < 0 || (line && !HANDS_ON.test(line))) {
      return null;
    }
    above.push(...wordsOf(source, from, to));
    from = to + 1;
  }
  return null;
}

/** The same of a text of which `read(n)` gives the first n characters: no more is read than the line needs. */
export function readMagicAhead(length: number, read: (length: number) => string): MagicLine | null {
  for (let size = FIRST_LOOK; ; size *= 4) {
    const found = readMagic(read(Math.min(size, length)));
    if (!found || found.to < size || size >= length) {
      return found;
    }
  }
}

function wordsOf(source: string, from: number, to: number): Word[] {
  const words: Word[] = [];
  let at = from;
  while (at < to) {
    if (/\s/.test(source[at])) {
      at += 1;
    } else if (source[at] === '#') {
      words.push({ kind: 'comment', from: at, to });
      at = to;
    } else {
      const end = wordEnd(source, at, to);
      words.push(...split(source.slice(at, end), at, words.length === 0));
      at = end;
    }
  }
  return words;
}

/** Where a word ends, as a shell sees it: quotes and backslashes keep spaces inside. */
function wordEnd(source: string, from: number, to: number): number {
  let quote = '';
  let at = from;
  for (; at < to; at++) {
    const char = source[at];
    if (char === '\\' && quote !== "'") {
      at += 1;
    } else if (quote) {
      quote = char === quote ? '' : quote;
    } else if (char === '"' || char === "'") {
      quote = char;
    } else if (/\s/.test(char)) {
      break;
    }
  }
  return Math.min(at, to);
}

function split(word: string, from: number, isFirst: boolean): Word[] {
  const to = from + word.length;
  if (isFirst) {
    return [{ kind: 'magic', from, to }];
  }
  if (!/^-{1,2}[A-Za-z]/.test(word)) {
    return [{ kind: 'value', from, to }];
  }
  const equals = word.startsWith('--') ? word.indexOf('=') : -1;
  if (equals < 0) {
    return [{ kind: 'option', from, to }];
  }
  return [
    { kind: 'option', from, to: from + equals },
    { kind: 'value', from: from + equals + 1, to }
  ];
}

/** Whether an option without a value stands in the line. */
export function hasFlag(source: string, magic: MagicLine, flag: string): boolean {
  return magic.words.some(word => word.kind === 'option' && source.slice(word.from, word.to) === flag);
}

/** The edit that gives an option this value, be it there or not. `value` is a PLAIN_NAME. */
export function settingOption(source: string, magic: MagicLine, option: string, value: string): Edit {
  const { words } = magic;
  for (let index = words.length - 1; index > 0; index--) {
    const word = words[index];
    if (word.kind === 'option' && source.slice(word.from, word.to) === option) {
      const next: Word | undefined = words[index + 1];
      return next?.kind === 'value' ? { from: next.from, to: next.to, text: value } : { from: word.to, to: word.to, text: ` ${value}` };
    }
  }
  const after = words[0].to;
  return { from: after, to: after, text: ` ${option} ${value}` };
}
