import assert from 'node:assert/strict';
import { test } from 'node:test';

import { hasFlag, readMagic, readMagicAhead, settingOption } from '../lib/cells/magicLine.js';

const words = (source, kind) => readMagic(source).words.filter(word => word.kind === kind).map(word => source.slice(word.from, word.to));
const edited = (source, value = 'gpu-2') => {
  const { from, to, text } = settingOption(source, readMagic(source), '--instance', value);
  return source.slice(0, from) + text + source.slice(to);
};

test('a cell is ours by its first line that says anything', () => {
  assert.equal(readMagic('%%llm\nhi').kind, 'llm');
  assert.equal(readMagic('\n  \n  %%sandbox --fresh\n1').kind, 'sandbox');
  assert.equal(readMagic('%%llm').kind, 'llm');
  assert.equal(readMagic('%%llm  \nhi').kind, 'llm');
});

test('what only looks like it is not ours', () => {
  for (const source of ['', 'x = 1\n%%llm\nhi', '%llm models', '%%llm? ', '%%llmx\n', '# %%llm', '%%bash\n%%llm', 'print("%%llm")', '%%LLM\n']) {
    assert.equal(readMagic(source), null, source);
  }
});

test('magics that hand the cell on may stand above', () => {
  const source = '%%capture out\n\n%%time\n%%llm -m a\nhi';
  const magic = readMagic(source);
  assert.equal(source.slice(magic.from, magic.to), '%%llm -m a');
  assert.deepEqual(magic.above.map(word => source.slice(word.from, word.to)), ['%%capture', 'out', '%%time']);
});

test('words are told apart as a shell does it', () => {
  const source = `%%llm -m llama3.2 --system "You're \\"it\\" #1" --tags=gpu,big --option temperature=-1 'a b' # don't`;
  assert.deepEqual(words(source, 'magic'), ['%%llm']);
  assert.deepEqual(words(source, 'option'), ['-m', '--system', '--tags', '--option']);
  assert.deepEqual(words(source, 'value'), ['llama3.2', `"You're \\"it\\" #1"`, 'gpu,big', 'temperature=-1', "'a b'"]);
  assert.deepEqual(words(source, 'comment'), ["# don't"]);
});

test('a quote that is never closed takes the line and no more', () => {
  const source = `%%llm --system "open\nbody's text`;
  assert.deepEqual(words(source, 'value'), ['"open']);
});

test('a flag is one word, not a part of one', () => {
  const flagged = source => hasFlag(source, readMagic(source), '--raw');
  assert.deepEqual(['%%llm --raw', '%%llm --rawer', '%%llm --system "--raw x"', '%%llm # --raw'].map(flagged), [true, false, false, false]);
});

test('an instance is set where none was', () => {
  assert.equal(edited('%%llm\nhi'), '%%llm --instance gpu-2\nhi');
  assert.equal(edited('%%time\n%%llm -m a # why\nhi'), '%%time\n%%llm --instance gpu-2 -m a # why\nhi');
});

test('an instance that was set is replaced, however it was written', () => {
  assert.equal(edited('%%llm --instance north -m a\nhi'), '%%llm --instance gpu-2 -m a\nhi');
  assert.equal(edited('%%llm --instance=north\nhi'), '%%llm --instance=gpu-2\nhi');
  assert.equal(edited('%%llm --instance "{best of}" -q\n'), '%%llm --instance gpu-2 -q\n');
  assert.equal(edited('%%llm --instance --raw\n'), '%%llm --instance gpu-2 --raw\n');
});

test('the body is never edited', () => {
  assert.equal(edited('%%llm\nuse --instance north'), '%%llm --instance gpu-2\nuse --instance north');
});

test('no more of a long cell is read than its magic line needs', () => {
  const read = [];
  const look = source =>
    readMagicAhead(source.length, size => {
      read.push(size);
      return source.slice(0, size);
    });
  assert.equal(look(`%%llm\n${'word '.repeat(100_000)}`).to, 5);
  assert.deepEqual(read, [2048]);
  const line = `%%llm --schema '${'x'.repeat(5000)}'`;
  assert.equal(look(`${line}\nhi`).to, line.length);
});
