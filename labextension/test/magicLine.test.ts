import { expect, test } from '@jest/globals';

import { firstLine, hasFlag, type MagicLine, PLAIN_NAME, readMagic, readMagicAhead, settingOption, type Word } from '../src/magicLine';

const magicOf = (source: string): MagicLine => {
  const magic = readMagic(source);
  if (!magic) {
    throw new Error(`no magic in ${source}`);
  }
  return magic;
};
const words = (source: string, kind: Word['kind']): string[] =>
  magicOf(source)
    .words.filter(word => word.kind === kind)
    .map(word => source.slice(word.from, word.to));
const edited = (source: string, value = 'gpu-2'): string => {
  const { from, to, text } = settingOption(source, magicOf(source), '--instance', value);
  return source.slice(0, from) + text + source.slice(to);
};

test('a cell is ours by its first line that says anything', () => {
  expect(readMagic('%%llm\nhi')?.kind).toBe('llm');
  expect(readMagic('\n  \n  %%sandbox --fresh\n1')?.kind).toBe('sandbox');
  expect(readMagic('%%llm')?.kind).toBe('llm');
  expect(readMagic('%%llm  \nhi')?.kind).toBe('llm');
});

test('what only looks like it is not ours', () => {
  const others = ['', 'x = 1\n%%llm\nhi', '%llm models', '%%llm? ', '%%llmx\n', '# %%llm', '%%bash\n%%llm', 'print("%%llm")', '%%LLM\n'];
  expect(others.filter(source => readMagic(source) !== null)).toEqual([]);
});

test('magics that hand the cell on may stand above', () => {
  const source = '%%capture out\n\n%%time\n%%llm -m a\nhi';
  const magic = magicOf(source);
  expect(source.slice(magic.from, magic.to)).toBe('%%llm -m a');
  expect(magic.above.map(word => source.slice(word.from, word.to))).toEqual(['%%capture', 'out', '%%time']);
});

test('words are told apart as a shell does it', () => {
  const source = `%%llm -m llama3.2 --system "You're \\"it\\" #1" --tags=gpu,big --option temperature=-1 'a b' # don't`;
  expect(words(source, 'magic')).toEqual(['%%llm']);
  expect(words(source, 'option')).toEqual(['-m', '--system', '--tags', '--option']);
  expect(words(source, 'value')).toEqual(['llama3.2', `"You're \\"it\\" #1"`, 'gpu,big', 'temperature=-1', "'a b'"]);
  expect(words(source, 'comment')).toEqual(["# don't"]);
});

test('a quote that is never closed takes the line and no more', () => {
  const source = `%%llm --system "open\nbody's text`;
  expect(words(source, 'value')).toEqual(['"open']);
});

test('a flag is one word, not a part of one', () => {
  const flagged = (source: string): boolean => hasFlag(source, magicOf(source), '--raw');
  expect(['%%llm --raw', '%%llm --rawer', '%%llm --system "--raw x"', '%%llm # --raw'].map(flagged)).toEqual([true, false, false, false]);
});

test('an instance is set where none was', () => {
  expect(edited('%%llm\nhi')).toBe('%%llm --instance gpu-2\nhi');
  expect(edited('%%time\n%%llm -m a # why\nhi')).toBe('%%time\n%%llm --instance gpu-2 -m a # why\nhi');
});

test('an instance that was set is replaced, however it was written', () => {
  expect(edited('%%llm --instance north -m a\nhi')).toBe('%%llm --instance gpu-2 -m a\nhi');
  expect(edited('%%llm --instance=north\nhi')).toBe('%%llm --instance=gpu-2\nhi');
  expect(edited('%%llm --instance "{best of}" -q\n')).toBe('%%llm --instance gpu-2 -q\n');
  expect(edited('%%llm --instance --raw\n')).toBe('%%llm --instance gpu-2 --raw\n');
});

test('the body is never edited', () => {
  expect(edited('%%llm\nuse --instance north')).toBe('%%llm --instance gpu-2\nuse --instance north');
});

test('no more of a long cell is read than its magic line needs', () => {
  const read: number[] = [];
  const look = (source: string): MagicLine | null =>
    readMagicAhead(source.length, size => {
      read.push(size);
      return source.slice(0, size);
    });
  expect(look(`%%llm\n${'word '.repeat(100_000)}`)?.to).toBe(5);
  expect(read).toEqual([2048]);
  const line = `%%llm --schema '${'x'.repeat(5000)}'`;
  expect(look(`${line}\nhi`)?.to).toBe(line.length);
});

test('a new cell names the model that a person wants there, and only where a model answers', () => {
  expect(firstLine('llm', '')).toBe('%%llm');
  expect(firstLine('llm', 'llama3.2')).toBe('%%llm --model llama3.2');
  expect(firstLine('sandbox', 'llama3.2')).toBe('%%sandbox');
});

test('names that could say something else in a magic line are told from the plain ones', () => {
  const names = ['gpu-1', 'größe', 'fine-1.local:11434', 'a b', '{x}', '-q', 'a"b', "a'b", 'a\nb', '#', ''];
  expect(names.filter(name => PLAIN_NAME.test(name))).toEqual(['gpu-1', 'größe', 'fine-1.local:11434']);
});
