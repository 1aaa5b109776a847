import assert from 'node:assert/strict';
import { test } from 'node:test';

import { answerText, blockLabel, cellSource, codeBlocks, markdownOf, others, readFacts, runnable, sandboxSource } from '../lib/cells/answers.js';

const whole = { state: 'whole', model: 'llama3.2', instance: 'north', note: '' };
const lines = count => `${count} lines`;
const instance = (id, models, warm = []) => ({ id, models, warm: warm.map(name => ({ name })), draining: false });

test('an answer is known by what the kernel says of it', () => {
  assert.deepEqual(readFacts({ gleitzeit_nb: { model: 'llama3.2', instance: 'north', tokens: 3 } }), whole);
  assert.deepEqual(readFacts({ gleitzeit_nb: { state: 'arriving' } }), { state: 'arriving', model: '', instance: '', note: '' });
  assert.equal(readFacts({ gleitzeit_nb: { state: 'cut', note: 'interrupted' } }).note, 'interrupted');
});

test('several answers are one output of one model', () => {
  const answers = [{ ended: 'NoInstanceError' }, { model: 'llama3.2', instance: 'north' }, { model: 'llama3.2', instance: 'south' }];
  assert.deepEqual(readFacts({ gleitzeit_nb: { answers } }), { ...whole, instance: '' });
  assert.equal(readFacts({ gleitzeit_nb: { answers: [{ ended: 'interrupted' }] } }), null);
  assert.equal(markdownOf({ 'text/html': '<p>', 'text/plain': 'both' }), 'both');
  assert.equal(markdownOf({ 'text/markdown': 'this', 'text/plain': 'both' }), 'this');
});

test('what is not ours, or not well made, is no answer', () => {
  for (const metadata of [undefined, null, 'gleitzeit_nb', {}, { gleitzeit_nb: null }, { gleitzeit_nb: 'x' }, { gleitzeit_nb: [] }]) {
    assert.equal(readFacts(metadata), null);
  }
  assert.equal(readFacts({ gleitzeit_nb: { model: 3, instance: 'north' } }), null);
  assert.equal(readFacts({ gleitzeit_nb: { state: 'odd' } }), null);
  assert.equal(readFacts(Object.create({ gleitzeit_nb: { model: 'a', instance: 'b' } })), null);
});

test('names are one short line', () => {
  const { model, instance: id } = readFacts({ gleitzeit_nb: { model: 'a\n\u202eb\u0000c', instance: 'x'.repeat(500) } });
  assert.equal(model, 'a b c');
  assert.equal(id.length, 80);
});

test('what is copied is what the model wrote', () => {
  const data = { 'text/plain': 'a_b\n\n- c', 'text/markdown': 'a&#95;b\n\n- c' };
  assert.equal(answerText(data, whole), 'a_b\n\n- c');
  assert.equal(answerText({ 'text/markdown': 'so far' }, { ...whole, state: 'arriving' }), 'so far');
  assert.equal(answerText({ 'text/plain': 'so far\n(interrupted)' }, { ...whole, state: 'cut', note: 'interrupted' }), 'so far');
  assert.equal(answerText({}, whole), '');
});

test('of a long answer the form that holds more of it is copied', () => {
  assert.equal(answerText({ 'text/plain': 'beginn\n… 12,345 more characters', 'text/markdown': 'all of it' }, whole), 'all of it');
});

test('blocks of code are found with their languages', () => {
  const markdown = 'Text\n```python\nx = 1\n\nprint(x)\n```\nmore `inline`\n~~~ {.Bash}\nls\n~~~\n````\n```\ninner\n```\n````';
  assert.deepEqual(codeBlocks(markdown), [
    { language: 'python', code: 'x = 1\n\nprint(x)' },
    { language: 'bash', code: 'ls' },
    { language: '', code: '```\ninner\n```' }
  ]);
});

test('blocks in lists and quotes lose what stands before them, and no more', () => {
  const listed = '1. do this:\n\n   ```python\n   if x:\n       y()\n\n   z\n   ```\n\n- ```py\n  a\n    b\n  ```\n> quoted\n> ```\n> c\n>  d\n> ```';
  assert.deepEqual(
    codeBlocks(listed).map(block => block.code),
    ['if x:\n    y()\n\nz', 'a\n  b', 'c\n d']
  );
});

test('a block that is not closed ends with the text, and one without code is none', () => {
  assert.deepEqual(codeBlocks('```python\nx = 1'), [{ language: 'python', code: 'x = 1' }]);
  assert.deepEqual(codeBlocks('```\n\n```\ninline ``` fence ``` here'), []);
});

test('many fences cost little', () => {
  const began = performance.now();
  codeBlocks('> '.repeat(20_000) + '```\n' + '- ```\n'.repeat(20_000));
  assert.ok(performance.now() - began < 5_000);
});

test('Python is what says so, else what says nothing', () => {
  const [py, none, js] = ['python', '', 'js'].map(language => ({ language, code: 'x' }));
  assert.deepEqual(runnable([js, none, py]), [py]);
  assert.deepEqual(runnable([js, none]), [none]);
  assert.deepEqual(runnable([js]), []);
});

test('cells that hold blocks', () => {
  assert.equal(cellSource({ language: 'python', code: 'x' }), 'x');
  assert.equal(cellSource({ language: 'sh', code: 'ls' }), '%%bash\nls');
  assert.equal(sandboxSource([{ language: '', code: '\nx = 1\n' }, { language: 'python', code: 'print(x)' }]), '%%sandbox\nx = 1\n\nprint(x)');
});

test('a label is one short line', () => {
  const label = blockLabel({ language: 'python', code: `\n${'x'.repeat(100)}\ny` }, 1, lines);
  assert.equal(label, `2: python, 3 lines: ${'x'.repeat(39)}…`);
  assert.equal(blockLabel({ language: '', code: 'a\tb' }, 0, lines), '1: 1 lines: a b');
});

test('those who could answer too: with the model, warm ones first, without the one that did', () => {
  const instances = [
    instance('north', ['llama3.2:latest']),
    instance('cold', ['llama3.2:latest', 'phi']),
    instance('other', ['llama3.2:70b']),
    instance('warm', ['llama3.2:latest'], ['llama3.2:latest'])
  ];
  assert.deepEqual(
    others(instances, whole).map(each => each.id),
    ['warm', 'cold']
  );
  assert.deepEqual(
    others(instances, { ...whole, model: '', instance: '' }).map(each => each.id),
    ['north', 'cold', 'other', 'warm']
  );
});

test('a name that could say something else in a magic line is not offered', () => {
  const names = ['a b', '{x}', '-q', 'a"b', "a'b", 'a\nb', '#', '', 'fine-1.local:11434', 'größe'];
  assert.deepEqual(
    others(names.map(name => instance(name, ['llama3.2'])), whole).map(each => each.id),
    ['fine-1.local:11434', 'größe']
  );
});
