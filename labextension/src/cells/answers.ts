/** What an output of `%%llm` says of itself, and what can be taken out of it. Pure; all of it may come from a file that somebody else made. */

import type { InstanceView } from '../kernel/model';
import { PLAIN_NAME } from '../magicLine';

/** `arriving`: more is coming. `cut`: it ended before its end. */
export type AnswerState = 'arriving' | 'cut' | 'whole';

export interface AnswerFacts {
  readonly state: AnswerState;
  /** "" where the output does not say: nobody has answered yet, or to the end; of several answers, the model alone is one. */
  readonly model: string;
  readonly instance: string;
  readonly note: string;
}

export interface CodeBlock {
  readonly language: string;
  readonly code: string;
}

const KEY = 'gleitzeit_nb';
const NAME_CHARS = 80;
const LABEL_CHARS = 40;
// As the kernel's own `--run` sees it (jupyter/llm/answer_code.py).
const PYTHON = ['python', 'py', 'python3', 'py3', 'ipython', 'ipython3'];
const SHELL = ['bash', 'sh', 'shell', 'zsh'];
const FENCE = /^((?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])))*[ \t]*)(`{3,}|~{3,})([^`]*)$/;
const LEFT_OUT = /\n… [\d,]+ more characters$/;

/** One line of it, cut. */
function line(value: unknown, chars = NAME_CHARS): string {
  const text = typeof value === 'string' ? value.replace(/[\s\p{Cc}\p{Cf}]+/gu, ' ').trim() : '';
  return text.length > chars ? `${text.slice(0, chars - 1)}…` : text;
}

function get(record: unknown, key: string): unknown {
  return typeof record === 'object' && record !== null && Object.prototype.hasOwnProperty.call(record, key)
    ? (record as Readonly<Record<string, unknown>>)[key]
    : undefined;
}

/** What the metadata of an output says; null where it is no answer. */
export function readFacts(metadata: unknown): AnswerFacts | null {
  const ours = get(metadata, KEY);
  const [state, model, instance, note] = ['state', 'model', 'instance', 'note'].map(key => get(ours, key));
  if (state === 'arriving' || state === 'cut') {
    return { state, model: line(model), instance: line(instance), note: line(note, 400) };
  }
  if (typeof model === 'string' && typeof instance === 'string') {
    return { state: 'whole', model: line(model), instance: line(instance), note: '' };
  }
  const several = get(ours, 'answers');
  const first = Array.isArray(several) ? several.map(each => get(each, 'model')).find(name => typeof name === 'string') : undefined;
  return first === undefined ? null : { state: 'whole', model: line(first), instance: '', note: '' };
}

/** The answer as the model wrote it, as far as the output holds it. `data`: the output by type. */
export function answerText(data: unknown, facts: AnswerFacts): string {
  const [plain, markdown] = ['text/plain', 'text/markdown'].map(key => get(data, key));
  if (typeof plain === 'string' && (typeof markdown !== 'string' || !LEFT_OUT.test(plain))) {
    const note = `(${facts.note})`;
    return facts.note && plain.endsWith(note) ? plain.slice(0, -note.length).trimEnd() : plain;
  }
  return typeof markdown === 'string' ? markdown : '';
}

/** The form of an output in which its blocks of code are looked for. Several answers side by side have HTML and plain text only. */
export function markdownOf(data: unknown): string {
  const found = ['text/markdown', 'text/plain'].map(key => get(data, key)).find(text => typeof text === 'string');
  return typeof found === 'string' ? found : '';
}

/** The blocks of code between fences, also in lists and quotes. A fence that is never closed ends with the text. */
export function codeBlocks(markdown: string): CodeBlock[] {
  const found: CodeBlock[] = [];
  const lines = markdown.split('\n');
  for (let at = 0; at < lines.length; at++) {
    const opening = FENCE.exec(lines[at]);
    if (!opening) {
      continue;
    }
    const [, prefix, fence, info] = opening;
    const code: string[] = [];
    for (at += 1; at < lines.length && !closes(inside(lines[at], prefix), fence); at++) {
      code.push(inside(lines[at], prefix));
    }
    const [language = ''] = info.trim().split(/\s/);
    found.push({ language: line(language.replace(/^[{.]+|[}]+$/g, '').toLowerCase(), LABEL_CHARS), code: code.join('\n') });
  }
  return found.filter(block => block.code.trim());
}

/** A line without what the list or quote around the block puts before it. */
function inside(text: string, prefix: string): string {
  let at = 0;
  for (const char of prefix) {
    if (char === '>' ? text[at] === '>' : text[at] === ' ' || text[at] === '\t') {
      at += 1;
    } else if (char === '>') {
      break;
    }
  }
  return text.slice(at);
}

function closes(text: string, fence: string): boolean {
  const bare = text.trim();
  return bare.length >= fence.length && bare.split('').every(char => char === fence[0]);
}

/** Whether the sandbox can run it. A block that does not say what it is may be Python where no other block says that it is. */
export function runnable(blocks: readonly CodeBlock[]): readonly CodeBlock[] {
  const tagged = blocks.filter(block => PYTHON.includes(block.language));
  return tagged.length ? tagged : blocks.filter(block => !block.language);
}

/** What a block is called in a menu: "2: python, 14 lines: import numpy". */
export function blockLabel(block: CodeBlock, index: number, lines: (count: number) => string): string {
  const rows = block.code.split('\n');
  const first = line(rows.find(row => row.trim()), LABEL_CHARS);
  return `${index + 1}: ${[block.language, lines(rows.length)].filter(Boolean).join(', ')}: ${first}`;
}

/** The source of a cell that holds the block: what it is not run by Python says so in its first line. */
export function cellSource(block: CodeBlock): string {
  return SHELL.includes(block.language) ? `%%bash\n${block.code}` : block.code;
}

/** The source of a cell that runs the blocks in the sandbox, as one program. */
export function sandboxSource(blocks: readonly CodeBlock[]): string {
  return `%%sandbox\n${blocks.map(block => block.code.replace(/^\n+|\n+$/g, '')).join('\n\n')}`;
}

/** Instances that could answer as well, those with the model in memory first. Of an unknown model, all of them. */
export function others(instances: readonly InstanceView[], facts: AnswerFacts): InstanceView[] {
  const wanted = facts.model && fullName(facts.model);
  const has = (names: readonly string[]): boolean => !wanted || names.some(name => fullName(name) === wanted);
  const isWarm = (instance: InstanceView): boolean => has(instance.warm.map(model => model.name));
  return instances
    .filter(({ id, models, warm }) => id !== facts.instance && PLAIN_NAME.test(id) && (has(models) || has(warm.map(model => model.name))))
    .sort((one, other) => Number(isWarm(other)) - Number(isWarm(one)));
}

/** Ollama's own way to read a name without a tag. */
function fullName(model: string): string {
  return model.slice(model.lastIndexOf('/') + 1).includes(':') ? model : `${model}:latest`;
}
